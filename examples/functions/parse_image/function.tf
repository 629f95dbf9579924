output "tag" {
  value = provider::sampan::parse_image("registry.example.com/shop/cart:1.4").tag
}
