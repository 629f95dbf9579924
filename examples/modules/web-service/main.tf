# A new version gets some requests first, then half of them. When it fails more of them than the version before, it goes back by itself.
resource "sampan_gray_policy" "service" {
  namespace = var.namespace
  name      = var.name
  steps = [
    {
      weight_percent = var.canary.weight_percent
      pause          = { duration_seconds = var.canary.seconds }
    },
    {
      weight_percent = 50
      pause          = { duration_seconds = var.canary.seconds }
    },
  ]
  analysis = {
    errors = { type = "error_rate", max_delta_percent = 1 }
  }
  on_failure = "rollback"
}

resource "sampan_application" "service" {
  namespace         = var.namespace
  name              = var.name
  replicas          = var.replicas.min
  gray_policy       = sampan_gray_policy.service.name
  image_pull_secret = var.image_pull_secret
  resources         = var.resources
  container = {
    image    = var.image
    env      = var.env
    env_from = [for name in var.secrets : { secret = name }]
    probes = {
      readiness = {
        http_get       = { path = var.health_path, port = "http" }
        period_seconds = 2
      }
    }
  }
  network = {
    ports = {
      http = { container_port = var.port, protocol = "HTTP" }
    }
  }
}

resource "sampan_route" "service" {
  namespace  = var.namespace
  name       = var.name
  visibility = "public"
  hostnames  = [var.hostname]
  rules = [
    {
      name     = "all"
      backends = [{ application = sampan_application.service.name, port = "http" }]
    },
  ]
}

resource "sampan_scaling_rule" "load" {
  count = var.replicas.max > var.replicas.min ? 1 : 0

  namespace    = var.namespace
  application  = sampan_application.service.name
  name         = var.name
  min_replicas = var.replicas.min
  max_replicas = var.replicas.max
  metrics = {
    requests = { type = "qps", target = var.requests_per_instance }
  }
}
