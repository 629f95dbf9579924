resource "sampan_namespace" "shop" {
  name        = "shop"
  description = "The web shop."
  labels = {
    team = "checkout"
  }
}
