data "sampan_rollout" "cart" {
  namespace   = "shop"
  application = "cart"
}

output "weight" {
  value = "${data.sampan_rollout.cart.phase}: ${data.sampan_rollout.cart.weight_percent} %"
}
