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

locals {
  # Who asks whom. Inside, an application is reached at http://APPLICATION.NAMESPACE.internal.
  applications = {
    front  = { next = "http://middle.gray-lane.internal", gray_policy = sampan_gray_policy.testers.name }
    middle = { next = "http://back.gray-lane.internal", gray_policy = null }
    back   = { next = null, gray_policy = sampan_gray_policy.testers.name }
  }
}

resource "sampan_namespace" "gray_lane" {
  name        = "gray-lane"
  description = "A gray lane across three applications."
}

# One policy for both: the same tag makes one lane of their gray revisions.
resource "sampan_gray_policy" "testers" {
  namespace = sampan_namespace.gray_lane.name
  name      = "testers"
  tag       = "testers"
  steps = [
    {
      replicas = "50%"
      matches  = [{ headers = [{ name = "x-user", value = "tester" }] }]
      pause    = { manual = true }
    },
  ]
}

resource "sampan_application" "all" {
  for_each    = local.applications
  namespace   = sampan_namespace.gray_lane.name
  name        = each.key
  replicas    = 2
  gray_policy = each.value.gray_policy
  resources = {
    cpu    = "100m"
    memory = "64Mi"
  }
  container = {
    image = var.images[each.key]
    env   = each.value.next == null ? {} : { NEXT = each.value.next }
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

resource "sampan_route" "front" {
  namespace  = sampan_namespace.gray_lane.name
  name       = "front"
  visibility = "public"
  hostnames  = [var.hostname]
  rules = [
    {
      name     = "all"
      backends = [{ application = sampan_application.all["front"].name, port = "http" }]
    },
  ]
}
