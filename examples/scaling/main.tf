terraform {
  required_version = ">= 1.11"
  required_providers {
    sampan = {
      source = "sampan/sampan"
    }
  }
}

# The address and the token of the server come from SAMPAN_ENDPOINT and SAMPAN_TOKEN_FILE.
provider "sampan" {}

resource "sampan_namespace" "scaling" {
  name        = "scaling"
  description = "As many instances as are needed."
}

# Each application shows one kind of rule. `replicas` is where it starts, and what counts without a rule.
resource "sampan_application" "hello" {
  for_each = toset(["timed", "metric", "mixed", "predictive", "to-zero"])

  namespace = sampan_namespace.scaling.name
  name      = each.key
  replicas  = 1
  resources = {
    cpu    = "100m"
    memory = "64Mi"
  }
  container = {
    image = var.image
    probes = {
      readiness = {
        http_get       = { path = "/healthz", port = "http" }
        period_seconds = 2
      }
    }
  }
  network = {
    ports = {
      http = { container_port = 8080, protocol = "HTTP" }
    }
  }
}

resource "sampan_route" "hello" {
  for_each = sampan_application.hello

  namespace  = sampan_namespace.scaling.name
  name       = each.key
  visibility = "public"
  hostnames  = ["${each.key}.${var.domain}"]
  rules = [
    {
      name     = "all"
      backends = [{ application = each.value.name, port = "http" }]
    },
  ]
}

# By the clock: three instances in office hours, one outside of them.
resource "sampan_scaling_rule" "timed" {
  namespace    = sampan_namespace.scaling.name
  application  = sampan_application.hello["timed"].name
  name         = "timed"
  min_replicas = 1
  max_replicas = 3
  schedules = [
    {
      name      = "office"
      start     = "0 8 * * 1-5"
      end       = "0 18 * * 1-5"
      time_zone = "Europe/Berlin"
      replicas  = 3
    },
    {
      name      = "rest"
      start     = "0 18 * * 1-5"
      end       = "0 8 * * 1-5"
      time_zone = "Europe/Berlin"
      replicas  = 1
    },
  ]
}

# By what happens: whichever metric asks for more wins, and instances go only when all agree.
resource "sampan_scaling_rule" "metric" {
  namespace    = sampan_namespace.scaling.name
  application  = sampan_application.hello["metric"].name
  name         = "metric"
  min_replicas = 1
  max_replicas = 4
  metrics = {
    requests = { type = "qps", target = 20, window_seconds = 10 }
    cpu      = { type = "cpu", target = 60 }
  }
  behavior = {
    scale_down = { stabilization_window_seconds = 30, period_seconds = 10 }
  }
}

# Both: the window sets the bounds, and the metric moves inside them.
resource "sampan_scaling_rule" "mixed" {
  namespace    = sampan_namespace.scaling.name
  application  = sampan_application.hello["mixed"].name
  name         = "mixed"
  min_replicas = 1
  max_replicas = 6
  metrics = {
    busy = { type = "concurrency", target = 10 }
  }
  schedules = [
    {
      name         = "sale"
      start        = "0 20 * * *"
      end          = "0 23 * * *"
      time_zone    = "Asia/Shanghai"
      min_replicas = 3
      max_replicas = 6
    },
  ]
}

# Ahead of what happens: the forecast of the last weeks is a floor, but only while it has proven itself on the last seven
# days. Until then it is shown, and the metric alone decides.
resource "sampan_scaling_rule" "predictive" {
  namespace    = sampan_namespace.scaling.name
  application  = sampan_application.hello["predictive"].name
  name         = "predictive"
  min_replicas = 1
  max_replicas = 6
  metrics = {
    requests = { type = "qps", target = 20 }
  }
  prediction = { mode = "auto" }
}

# None at all while nobody asks. The gateway holds the first requests until an instance is ready.
resource "sampan_scaling_rule" "to_zero" {
  namespace     = sampan_namespace.scaling.name
  application   = sampan_application.hello["to-zero"].name
  name          = "to-zero"
  min_replicas  = 0
  max_replicas  = 3
  scale_to_zero = { cooldown_seconds = 60 }
  metrics = {
    busy = { type = "concurrency", target = 10 }
  }
}
