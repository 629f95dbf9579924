data "sampan_route" "shop" {
  namespace = "shop"
  name      = "shop"
}

output "urls" {
  value = data.sampan_route.shop.status.urls
}
