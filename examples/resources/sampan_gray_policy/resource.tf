resource "sampan_gray_policy" "careful" {
  namespace = sampan_namespace.shop.name
  name      = "careful"

  # 5 % of the requests for five minutes, then half of the instances until somebody promotes it.
  steps = [
    { weight_percent = 5, pause = { duration_seconds = 300 } },
    { replicas = "50%", pause = { manual = true } },
  ]

  analysis = {
    errors   = { type = "error_rate", max_delta_percent = 0.5 }
    latency  = { type = "response_time", max_p95_ratio = 1.25 }
    restarts = { type = "restart_count" }
  }
  on_failure = "rollback"
}

# Colleagues see the new version first; their requests stay on its lane through every application.
resource "sampan_gray_policy" "colleagues" {
  namespace = sampan_namespace.shop.name
  name      = "colleagues"
  tag       = "colleagues"
  steps = [
    {
      replicas = "1"
      matches  = [{ headers = [{ name = "x-colleague", value = "yes" }] }]
      pause    = { manual = true }
    },
  ]
}
