output "namespace" {
  value = provider::sampan::parse_id("shop/cart").namespace
}
