data "sampan_scaling_rules" "cart" {
  namespace   = "shop"
  application = "cart"
}

output "size" {
  value = "${data.sampan_scaling_rules.cart.ready} of ${data.sampan_scaling_rules.cart.desired}: ${data.sampan_scaling_rules.cart.reason}"
}
