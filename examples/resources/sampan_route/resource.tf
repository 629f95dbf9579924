resource "sampan_route" "shop" {
  namespace  = sampan_namespace.shop.name
  name       = "shop"
  visibility = "public"
  hostnames  = ["shop.example.com"]
  rules = [
    {
      name     = "cart"
      matches  = [{ path = { value = "/cart" } }]
      backends = [{ application = sampan_application.cart.name, port = "http" }]
    },
  ]
}
