resource "sampan_gray_policy" "careful" {
  namespace = sampan_namespace.shop.name
  name      = "careful"
  steps = [
    { replicas = "10%", weight_percent = 5, pause = { duration_seconds = 300 }, analysis = ["errors"] },
    { replicas = "50%", pause = { manual = true } },
  ]
  analysis   = { errors = { type = "error_rate", max_delta_percent = 0.5 } }
  on_failure = "rollback"
}
