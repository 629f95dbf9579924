output "id" {
  value = provider::sampan::build_id("shop", "cart")
}
