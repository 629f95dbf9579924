resource "sampan_config_map" "cart" {
  namespace = sampan_namespace.shop.name
  name      = "cart"
  data = {
    LOG_LEVEL = "info"
    CURRENCY  = "EUR"
  }
}
