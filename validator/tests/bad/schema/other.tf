locals {
  # 32 KiB
  large = join("", [for i in range(1024) : "0123456789abcdef0123456789abcdef"])
}

resource "sampan_namespace" "r32" {
  name = "system"
}

resource "sampan_namespace" "r33" {
  name = "My_App"
}

resource "sampan_config_map" "r34" {
  namespace = "shop"
  name      = "c1"
  data      = { "a b" = "x" }
}

resource "sampan_config_map" "r35" {
  namespace = "shop"
  name      = "c2"
  data      = { A = join("", [for i in range(40) : local.large]) }
}

resource "sampan_route" "r36" {
  namespace = "shop"
  name      = "r36"
  hostnames = ["Shop!"]
  rules     = [{ name = "all", backends = [{ application = "a", port = "80" }] }]
}

resource "sampan_route" "r37" {
  namespace = "shop"
  name      = "r37"
  hostnames = ["shop.example.com"]
  rules = [
    { name = "all", matches = [{ path = { value = "/a" } }], backends = [{ application = "a", port = "80" }] },
    { name = "all", backends = [{ application = "a", port = "80" }] },
  ]
}

resource "sampan_route" "r38" {
  namespace = "shop"
  name      = "r38"
  hostnames = ["shop.example.com"]
  rules     = [{ name = "all", backends = [{ application = "a", port = "80", weight = 0 }] }]
}

resource "sampan_route" "r39" {
  namespace = "shop"
  name      = "r39"
  hostnames = ["shop.example.com"]
  rules     = [{ name = "all", backends = [{ application = "a", port = "70000" }] }]
}

resource "sampan_secret" "logins" {
  namespace  = "shop"
  name       = "logins"
  wo_version = 1
  data_wo    = { ".dockerconfigjson" = jsonencode({ auths = { "registry.example.com" = { username = "team" } } }) }
}
