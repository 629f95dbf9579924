data "sampan_config_map" "cart" {
  namespace = "shop"
  name      = "cart"
}
