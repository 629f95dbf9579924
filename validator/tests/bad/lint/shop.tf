resource "sampan_application" "api" {
  namespace   = "prod"
  name        = "api"
  replicas    = 1
  gray_policy = sampan_gray_policy.jump.name
  resources   = { cpu = "1", memory = "1Gi" }
  container = {
    image = "docker.example.org/shop/api:latest"
    env   = { DB_PASSWORD = "hunter2-hunter2" }
  }
  lifecycle_hooks = {
    termination_grace_period_seconds = 5
    offline                          = { drain_timeout_seconds = 15 }
  }
  id = "prod/api"
}

resource "sampan_application" "again" {
  namespace   = "prod"
  name        = "api"
  replicas    = 4
  gray_policy = sampan_gray_policy.batches.name
  resources   = { cpu = "1", memory = "1Gi" }
  container = {
    image  = "registry.example.com/shop/api:1"
    probes = { readiness = { http_get = { port = "80" } } }
  }
}

resource "sampan_application" "dev" {
  namespace = "dev"
  name      = "api"
  replicas  = 200
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image = "registry.example.com/shop/api:1"
  }
}

resource "sampan_gray_policy" "jump" {
  namespace = "prod"
  name      = "jump"
  steps     = [{ weight_percent = 30 }]
}

resource "sampan_gray_policy" "batches" {
  namespace  = "prod"
  name       = "batches"
  strategy   = "batch"
  on_failure = "rollback"
  steps = [
    { replicas = "5%", pause = { manual = true } },
    { replicas = "20%", pause = { manual = true } },
  ]
}

resource "sampan_route" "shop" {
  namespace = "prod"
  name      = "shop"
  hostnames = ["shop.example.com"]
  rules = [
    { name = "first", backends = [{ application = "api", port = "80" }] },
    { name = "second", backends = [{ application = "api", port = "81" }] },
  ]
}

resource "sampan_scaling_rule" "idle" {
  namespace    = "dev"
  application  = "api"
  name         = "idle"
  min_replicas = 100
  max_replicas = 100
  metrics      = { cpu = { type = "cpu", target = 97 } }
  behavior     = { scale_down = { stabilization_window_seconds = 0 } }
}

resource "sampan_scaling_rule" "zero" {
  namespace     = "dev"
  application   = "api"
  name          = "zero"
  min_replicas  = 0
  max_replicas  = 20
  metrics       = { cpu = { type = "cpu", target = 60 } }
  scale_to_zero = {}
}

resource "sampan_scaling_rule" "elsewhere" {
  namespace    = "dev"
  application  = sampan_application.again.name
  name         = "elsewhere"
  min_replicas = 1
  max_replicas = 20
  metrics      = { cpu = { type = "cpu", target = 60 } }
}
