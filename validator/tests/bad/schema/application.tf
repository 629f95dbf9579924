resource "sampan_application" "r1" {
  namespace = "shop"
  name      = "a1"
  replicas  = 2
  container = {
    image  = "registry.example.com/shop/api:1"
    probes = { readiness = { http_get = { port = "80" } } }
  }
}

resource "sampan_application" "r2" {
  namespace = "shop"
  name      = "a2"
  replicas  = "three"
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image  = "registry.example.com/shop/api:1"
    probes = { readiness = { http_get = { port = "80" } } }
  }
}

resource "sampan_application" "r3" {
  namespace = "shop"
  name      = "a3"
  replicas  = 2
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image  = "registry.example.com/shop/api:1"
    probes = { readiness = { http_get = { port = "80" } } }
  }
  rollout = { wait_for = "never" }
}

resource "sampan_application" "r4" {
  namespace = "shop"
  name      = "a4"
  replicas  = 2
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image  = "registry.example.com/shop/api:1"
    probes = { readiness = { http_get = { port = "80" } } }
  }
  description = join("", [for i in range(300) : "x"])
}

resource "sampan_application" "r5" {
  namespace = "shop"
  name      = "a5"
  replicas  = -1
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image  = "registry.example.com/shop/api:1"
    probes = { readiness = { http_get = { port = "80" } } }
  }
}

resource "sampan_application" "r6" {
  namespace = "shop"
  name      = "a6"
  replicas  = 2
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image   = "registry.example.com/shop/api:1"
    probes  = { readiness = { http_get = { port = "80" } } }
    command = []
  }
  lifecycle_hooks = { pre_stop = { exec = { command = [] } } }
}

resource "sampan_application" "r7" {
  namespace = "shop"
  name      = "a7"
  replicas  = 2
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image  = "registry.example.com/shop/api:1"
    probes = { readiness = { http_get = { port = "80" } } }
  }
  replica = 2
}

resource "sampan_application" "r8" {
  namespace = "shop"
  name      = "a8"
  replicas  = 2
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image  = "registry.example.com/shop/api:1"
    probes = { readiness = { http_get = { port = "80" } } }
  }
  labels = { "${join("", [for i in range(70) : "x"])}" = "v" }
}

resource "sampan_application" "r9" {
  namespace = "shop"
  name      = "a9"
  replicas  = 2
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image  = "registry.example.com/shop/api:1"
    probes = { readiness = { http_get = { port = "80" } } }
  }
  labels = { "sampan.owner" = "v" }
}

resource "sampan_application" "r10" {
  namespace = "shop"
  name      = "a10"
  replicas  = 2
  resources = { cpu = "many", memory = "1Gi" }
  container = {
    image  = "registry.example.com/shop/api:1"
    probes = { readiness = { http_get = { port = "80" } } }
  }
}

resource "sampan_application" "r11" {
  namespace = "shop"
  name      = "a11"
  replicas  = 2
  resources = { cpu = "1000", memory = "1Gi" }
  container = {
    image  = "registry.example.com/shop/api:1"
    probes = { readiness = { http_get = { port = "80" } } }
  }
}

resource "sampan_application" "r12" {
  namespace = "shop"
  name      = "a12"
  replicas  = 2
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image  = "registry.example.com/shop/api:1"
    probes = { readiness = { http_get = { port = "80" } } }
  }
  update_strategy = { max_unavailable = "0", max_surge = "0" }
}

resource "sampan_application" "r13" {
  namespace = "shop"
  name      = "a13"
  replicas  = 2
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image  = "registry.example.com/shop/api:1"
    probes = { readiness = { http_get = { port = "80" } } }
  }
  network = { ports = { "Web_1" = { container_port = 80 } } }
}

resource "sampan_application" "r14" {
  namespace = "shop"
  name      = "a14"
  replicas  = 2
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image  = "api:1"
    probes = { readiness = { http_get = { port = "80" } } }
  }
}

resource "sampan_application" "r15" {
  namespace = "shop"
  name      = "a15"
  replicas  = 2
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image  = "registry.example.com/shop/api:1"
    probes = { readiness = { period_seconds = 5 } }
  }
}

resource "sampan_application" "r16" {
  namespace = "shop"
  name      = "a16"
  replicas  = 2
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image  = "registry.example.com/shop/api:1"
    probes = { readiness = { timeout_seconds = 20, http_get = { port = "80" } } }
  }
}

resource "sampan_application" "r17" {
  namespace = "shop"
  name      = "a17"
  replicas  = 2
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image = "registry.example.com/shop/api:1"
    probes = {
      readiness = { http_get = { port = "80" } }
      liveness  = { success_threshold = 2, http_get = { port = "80" } }
    }
  }
}

resource "sampan_application" "r18" {
  namespace = "shop"
  name      = "a18"
  replicas  = 2
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image  = "registry.example.com/shop/api:1"
    probes = { readiness = { http_get = { port = "web" } } }
  }
}

resource "sampan_application" "r19" {
  namespace = "shop"
  name      = "a19"
  replicas  = 2
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image  = "registry.example.com/shop/api:1"
    probes = { readiness = { http_get = { port = "80" } } }
    env    = { "1A" = "x" }
  }
}

resource "sampan_application" "r20" {
  namespace = "shop"
  name      = "a20"
  replicas  = 2
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image  = "registry.example.com/shop/api:1"
    probes = { readiness = { http_get = { port = "80" } } }
    env    = { A = join("", [for i in range(9) : local.large]) }
  }
}

resource "sampan_application" "r21" {
  namespace = "shop"
  name      = "a21"
  replicas  = 2
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image    = "registry.example.com/shop/api:1"
    probes   = { readiness = { http_get = { port = "80" } } }
    env_refs = { "1A" = { field = "revision" } }
  }
}

resource "sampan_application" "r22" {
  namespace = "shop"
  name      = "a22"
  replicas  = 2
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image    = "registry.example.com/shop/api:1"
    probes   = { readiness = { http_get = { port = "80" } } }
    env_refs = { A = {} }
  }
}

resource "sampan_application" "r23" {
  namespace = "shop"
  name      = "a23"
  replicas  = 2
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image    = "registry.example.com/shop/api:1"
    probes   = { readiness = { http_get = { port = "80" } } }
    env_from = [{}]
  }
}

resource "sampan_application" "r24" {
  namespace = "shop"
  name      = "a24"
  replicas  = 2
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image  = "registry.example.com/shop/api:1"
    probes = { readiness = { http_get = { port = "80", expect_status = [99] } } }
  }
}

resource "sampan_application" "r25" {
  namespace = "shop"
  name      = "a25"
  replicas  = 2
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image  = "registry.example.com/shop/api:1"
    probes = { readiness = { http_get = { port = "80", headers = { "a b" = "x" } } } }
  }
}

resource "sampan_application" "r26" {
  namespace = "shop"
  name      = "a26"
  replicas  = 2
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image  = "registry.example.com/shop/api:1"
    probes = { readiness = { http_get = { port = "80" } } }
  }
  update_strategy = { min_ready_seconds = 600 }
}

resource "sampan_application" "r27" {
  namespace = "shop"
  name      = "a27"
  replicas  = 2
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image  = "registry.example.com/shop/api:1"
    probes = { readiness = { http_get = { port = "80" } } }
  }
  update_strategy = { type = "InPlaceOnly", max_surge = "1" }
}

resource "sampan_application" "r28" {
  namespace = "shop"
  name      = "a28"
  replicas  = 2
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image  = "registry.example.com/shop/api:1"
    probes = { readiness = { http_get = { port = "80" } } }
  }
  lifecycle_hooks = { pre_stop = {} }
}

resource "sampan_application" "r29" {
  namespace = "shop"
  name      = "a29"
  replicas  = 2
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image  = "registry.example.com/shop/api:1"
    probes = { readiness = { http_get = { port = "80" } } }
  }
  lifecycle_hooks = { pre_stop = { sleep_seconds = 40 } }
}

resource "sampan_application" "r30" {
  namespace = "shop"
  name      = "a30"
  replicas  = 2
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image  = "registry.example.com/shop/api:1"
    probes = { readiness = { http_get = { port = "80" } } }
  }
  lifecycle_hooks = { online = { registration_delay_seconds = 600 } }
}

resource "sampan_application" "r31" {
  namespace = "shop"
  name      = "a31"
  replicas  = 2
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image  = "registry.example.com/shop/api:1"
    probes = { readiness = { http_get = { port = "80" } } }
  }
  status = {}
}

resource "sampan_application" "r135" {
  namespace = "shop"
  name      = "a135"
  replicas  = 2
  resources = { cpu = "1", memory = "1Gi" }
  container = {
    image  = "registry.example.com/shop/api:1"
    probes = { readiness = { http_get = { port = "80" } } }
  }
  idle = { mode = "stop" }
}
