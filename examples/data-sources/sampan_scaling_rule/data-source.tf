data "sampan_scaling_rule" "load" {
  namespace = "shop"
  name      = "load"
}

output "instances" {
  value = data.sampan_scaling_rule.load.status.desired
}
