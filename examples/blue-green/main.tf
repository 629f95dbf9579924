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

resource "sampan_namespace" "blue_green" {
  name        = "blue-green"
  description = "A release with a full second set of instances."
}

resource "sampan_gray_policy" "careful" {
  namespace = sampan_namespace.blue_green.name
  name      = "careful"
  strategy  = "blue_green"
  # Only who asks for the preview gets the new set, until `sampan rollout promote`.
  steps = [
    {
      matches = [{ headers = [{ name = "x-preview", value = "yes" }] }]
      pause   = { manual = true }
    },
  ]
  # The old set stays so long after the switch.
  scale_down_delay_seconds = 2
}

resource "sampan_application" "hello" {
  namespace   = sampan_namespace.blue_green.name
  name        = "hello"
  replicas    = 2
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
  namespace  = sampan_namespace.blue_green.name
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
