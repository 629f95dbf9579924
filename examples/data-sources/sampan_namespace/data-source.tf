data "sampan_namespace" "shop" {
  name = "shop"
}
