# As many instances as the requests need; in the evenings never fewer than three.
resource "sampan_scaling_rule" "load" {
  namespace    = sampan_namespace.shop.name
  application  = sampan_application.cart.name
  name         = "load"
  min_replicas = 1
  max_replicas = 10

  metrics = {
    requests = { type = "qps", target = 50 }
    cpu      = { type = "cpu", target = 60 }
  }
  schedules = [
    {
      name         = "evening"
      start        = "0 18 * * *"
      end          = "0 23 * * *"
      time_zone    = "Asia/Shanghai"
      min_replicas = 3
      max_replicas = 10
    },
  ]
}
