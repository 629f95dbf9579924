data "sampan_application_revisions" "cart" {
  namespace   = "shop"
  application = "cart"
}

output "images" {
  value = data.sampan_application_revisions.cart.revisions[*].image
}
