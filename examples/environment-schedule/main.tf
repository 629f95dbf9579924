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

resource "sampan_namespace" "test" {
  name        = "test"
  description = "A test environment that nobody needs at night."
}

resource "sampan_application" "hello" {
  for_each = toset(["backend", "frontend"])

  namespace = sampan_namespace.test.name
  name      = each.key
  labels    = { stage = "test" }
  replicas  = 2
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

resource "sampan_route" "frontend" {
  namespace  = sampan_namespace.test.name
  name       = "frontend"
  visibility = "public"
  hostnames  = ["frontend.${var.domain}"]
  rules = [
    {
      name     = "all"
      backends = [{ application = sampan_application.hello["frontend"].name, port = "http" }]
    },
  ]
}

# No instances from eight in the evening until seven in the morning, at weekends and on holidays. In the morning the
# frontend waits until the backend is ready.
resource "sampan_environment_schedule" "nights" {
  namespace   = sampan_namespace.test.name
  name        = "nights"
  description = "Working hours."
  selector    = { match_labels = { stage = "test" } }
  stop        = "0 20 * * *"
  start       = "0 7 * * 1-5"
  time_zone   = "Europe/Berlin"
  holidays    = ["2026-12-24", "2026-12-25", "2026-12-31", "2027-01-01"]
  start_order = [[sampan_application.hello["backend"].name]]
  enabled     = var.working_hours
}
