resource "sampan_scaling_rule" "r62" {
  namespace    = "shop"
  application  = "x62"
  name         = "s62"
  min_replicas = 7
  max_replicas = 6
  metrics      = { load = { type = "cpu", target = 60 } }
}

resource "sampan_scaling_rule" "r63" {
  namespace    = "shop"
  application  = "x63"
  name         = "s63"
  min_replicas = 1
  max_replicas = 6
  metrics      = { load = { type = "cpu", target = 60 } }
  schedules    = [{ name = "w", start = "61 * * * *", replicas = 2 }]
}

resource "sampan_scaling_rule" "r64" {
  namespace    = "shop"
  application  = "x64"
  name         = "s64"
  min_replicas = 1
  max_replicas = 6
}

resource "sampan_scaling_rule" "r65" {
  namespace    = "shop"
  application  = "x65"
  name         = "s65"
  min_replicas = 0
  max_replicas = 6
  metrics      = { load = { type = "cpu", target = 60 } }
}

resource "sampan_scaling_rule" "r66" {
  namespace    = "shop"
  application  = "x66"
  name         = "s66"
  min_replicas = 1
  max_replicas = 6
  metrics      = { load = { type = "cpu", target = -1 } }
}

resource "sampan_scaling_rule" "r67" {
  namespace    = "shop"
  application  = "x67"
  name         = "s67"
  min_replicas = 1
  max_replicas = 6
  metrics      = { load = { type = "cpu", target = 60, target_type = "value" } }
}

resource "sampan_scaling_rule" "r68" {
  namespace    = "shop"
  application  = "x68"
  name         = "s68"
  min_replicas = 1
  max_replicas = 6
  metrics      = { load = { type = "prometheus", target = 60 } }
}

resource "sampan_scaling_rule" "r69" {
  namespace    = "shop"
  application  = "x69"
  name         = "s69"
  min_replicas = 1
  max_replicas = 6
  metrics      = { load = { type = "cpu", target = 60 } }
  schedules    = [{ name = "w", start = "0 8 * * *", end = "0 9 * * *", min_replicas = 2 }]
}

resource "sampan_scaling_rule" "r70" {
  namespace    = "shop"
  application  = "x70"
  name         = "s70"
  min_replicas = 1
  max_replicas = 6
  metrics      = { load = { type = "cpu", target = 60 } }
  schedules    = [{ name = "w", start = "0 8 * * *", end = "0 9 * * *", replicas = 9 }]
}

resource "sampan_scaling_rule" "r71" {
  namespace    = "shop"
  application  = "x71"
  name         = "s71"
  min_replicas = 1
  max_replicas = 6
  metrics      = { load = { type = "cpu", target = 60 } }
  schedules    = [{ name = "w", start = "0 8 * * *", end = "0 9 * * *", replicas = 2, begin_date = "2026-99-99" }]
}

resource "sampan_scaling_rule" "r72" {
  namespace    = "shop"
  application  = "x72"
  name         = "s72"
  min_replicas = 1
  max_replicas = 6
  metrics      = { load = { type = "cpu", target = 60 } }
  schedules    = [{ name = "w", start = "0 8 * * *", end = "0 9 * * *", replicas = 2 }, { name = "w", start = "0 10 * * *", end = "0 11 * * *", replicas = 2 }]
}

resource "sampan_scaling_rule" "r73" {
  namespace    = "shop"
  application  = "x73"
  name         = "s73"
  min_replicas = 1
  max_replicas = 6
  metrics      = { load = { type = "memory", target = 60 } }
  prediction   = {}
}

resource "sampan_scaling_rule" "r74" {
  namespace    = "shop"
  application  = "x74"
  name         = "s74"
  min_replicas = 1
  max_replicas = 6
  metrics      = { load = { type = "cpu", target = 60 } }
  fallback     = { replicas = 9 }
}
