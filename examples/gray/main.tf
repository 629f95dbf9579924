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

resource "sampan_namespace" "gray" {
  name        = "gray"
  description = "A release that goes to some first, then to all."
}

resource "sampan_gray_policy" "careful" {
  namespace = sampan_namespace.gray.name
  name      = "careful"
  # One of four instances, then two; then somebody looks and says `sampan rollout promote`.
  steps = [
    { weight_percent = 25, pause = { duration_seconds = 5 } },
    { weight_percent = 50, pause = { manual = true }, analysis = [] },
  ]
  # Gray against stable, in the same five seconds. Real traffic deserves longer windows and more samples.
  analysis = {
    errors = { type = "error_rate", interval_seconds = 5, failure_limit = 1, min_samples = 5 }
  }
  on_failure = "rollback"
}

resource "sampan_application" "hello" {
  namespace   = sampan_namespace.gray.name
  name        = "hello"
  replicas    = 4
  gray_policy = sampan_gray_policy.careful.name
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
  namespace  = sampan_namespace.gray.name
  name       = "hello"
  visibility = "public"
  hostnames  = [var.hostname]
  rules = [
    {
      name     = "all"
      backends = [{ application = sampan_application.hello.name, port = "http" }]
    },
  ]
}
