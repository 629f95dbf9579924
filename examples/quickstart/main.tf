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

resource "sampan_namespace" "quickstart" {
  name        = "quickstart"
  description = "What the README shows."
}

resource "sampan_config_map" "settings" {
  namespace = sampan_namespace.quickstart.name
  name      = "settings"
  data = {
    GREETING = var.greeting
  }
}

# The value goes to the server and into no state and no plan. To change it, raise wo_version.
resource "sampan_secret" "credentials" {
  namespace  = sampan_namespace.quickstart.name
  name       = "credentials"
  wo_version = 1
  data_wo = {
    API_KEY = var.api_key
  }
}

resource "sampan_application" "hello" {
  namespace = sampan_namespace.quickstart.name
  name      = "hello"
  replicas  = 2
  resources = {
    cpu    = "100m"
    memory = "64Mi"
  }
  container = {
    image = var.image
    env   = merge({ SHOW_ENV = "GREETING" }, var.env)
    env_from = [
      { config_map = sampan_config_map.settings.name },
      { secret = sampan_secret.credentials.name },
    ]
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
  namespace  = sampan_namespace.quickstart.name
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
