resource "sampan_application" "cart" {
  namespace = sampan_namespace.shop.name
  name      = "cart"
  replicas  = 3
  resources = {
    cpu    = "500m"
    memory = "512Mi"
  }
  container = {
    image = "registry.example.com/shop/cart:1.8.2"
    env = {
      LOG_FORMAT = "json"
    }
    env_refs = {
      DATABASE_PASSWORD = { secret = { name = sampan_secret.database.name, key = "DATABASE_PASSWORD" } }
      INSTANCE          = { field = "instance.name" }
    }
    env_from = [{ config_map = sampan_config_map.cart.name }]
    probes = {
      readiness = { http_get = { path = "/ready", port = "http" } }
      liveness  = { tcp_socket = { port = "http" }, period_seconds = 30 }
    }
  }
  network = {
    ports = {
      http = { container_port = 8080, protocol = "HTTP" }
    }
  }
  update_strategy = {
    max_unavailable = "1"
  }
  rollout = {
    on_failure = "rollback"
  }
}
