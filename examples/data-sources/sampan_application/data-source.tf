data "sampan_application" "cart" {
  namespace = "shop"
  name      = "cart"
}

output "ready" {
  value = data.sampan_application.cart.status.ready_replicas
}
