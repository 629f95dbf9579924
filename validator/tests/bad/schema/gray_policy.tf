resource "sampan_gray_policy" "r40" {
  namespace  = "shop"
  name       = "p40"
  on_failure = "rollback"
  steps      = [{ weight_percent = 10, pause = { manual = true } }, { weight_percent = 10, pause = { manual = true } }]
}

resource "sampan_gray_policy" "r41" {
  namespace  = "shop"
  name       = "p41"
  on_failure = "rollback"
  steps      = [{ replicas = "1", weight_percent = 5, pause = { manual = true }, matches = [{ method = "GET" }] }]
}

resource "sampan_gray_policy" "r42" {
  namespace  = "shop"
  name       = "p42"
  on_failure = "rollback"
  steps      = [{ replicas = "10%", weight_percent = 5, pause = { manual = true } }]
  strategy   = "batch"
}

resource "sampan_gray_policy" "r43" {
  namespace  = "shop"
  name       = "p43"
  on_failure = "rollback"
  steps      = [{ pause = { manual = true } }]
}

resource "sampan_gray_policy" "r44" {
  namespace  = "shop"
  name       = "p44"
  on_failure = "rollback"
  steps      = [{ replicas = "20%", pause = { manual = true } }, { replicas = "10%", pause = { manual = true } }]
  strategy   = "batch"
}

resource "sampan_gray_policy" "r45" {
  namespace  = "shop"
  name       = "p45"
  on_failure = "rollback"
  steps      = [{ weight_percent = 60, pause = { manual = true } }]
}

resource "sampan_gray_policy" "r46" {
  namespace                = "shop"
  name                     = "p46"
  on_failure               = "rollback"
  steps                    = [{ weight_percent = 10, pause = { manual = true } }]
  scale_down_delay_seconds = 60
}

resource "sampan_gray_policy" "r47" {
  namespace  = "shop"
  name       = "p47"
  on_failure = "rollback"
  steps      = [{ weight_percent = 10, pause = {} }]
}

resource "sampan_gray_policy" "r48" {
  namespace  = "shop"
  name       = "p48"
  on_failure = "rollback"
  steps      = [{ weight_percent = 1.234, pause = { manual = true } }]
}

resource "sampan_gray_policy" "r49" {
  namespace  = "shop"
  name       = "p49"
  on_failure = "rollback"
  steps      = [{ weight_percent = 10, pause = { manual = true }, analysis = ["errors"] }]
}

resource "sampan_gray_policy" "r50" {
  namespace  = "shop"
  name       = "p50"
  on_failure = "rollback"
  steps      = [{ weight_percent = 10, pause = { manual = true } }]
  analysis   = { errors = { type = "error_rate", max_p95_ms = 100 } }
}

resource "sampan_gray_policy" "r51" {
  namespace  = "shop"
  name       = "p51"
  on_failure = "rollback"
  steps      = [{ replicas = "1", pause = { manual = true }, matches = [{}] }]
}

resource "sampan_gray_policy" "r52" {
  namespace  = "shop"
  name       = "p52"
  on_failure = "rollback"
  steps      = [{ replicas = "1", pause = { manual = true }, matches = [{ headers = [{ name = "x", values = ["a"] }] }] }]
}

resource "sampan_gray_policy" "r53" {
  namespace  = "shop"
  name       = "p53"
  on_failure = "rollback"
  steps      = [{ replicas = "1", pause = { manual = true }, matches = [{ headers = [{ name = "x", type = "RegularExpression", value = "(" }] }] }]
}

resource "sampan_gray_policy" "r54" {
  namespace  = "shop"
  name       = "p54"
  on_failure = "rollback"
  steps      = [{ replicas = "1", pause = { manual = true }, matches = [{ source_cidrs = ["here"] }] }]
}

resource "sampan_gray_policy" "r55" {
  namespace  = "shop"
  name       = "p55"
  on_failure = "rollback"
  steps      = [{ replicas = "1", pause = { manual = true }, matches = [{ headers = [{ name = "baggage", value = "a" }] }] }]
}

resource "sampan_gray_policy" "r56" {
  namespace  = "shop"
  name       = "p56"
  on_failure = "rollback"
  steps      = [{ weight_percent = 10, pause = { manual = true } }]
  sticky     = { key = "header" }
}

resource "sampan_gray_policy" "r57" {
  namespace  = "shop"
  name       = "p57"
  on_failure = "rollback"
  steps      = [{ replicas = "1", pause = { manual = true }, matches = [{ method = "GET" }, { method = "GET" }] }]
}

resource "sampan_gray_policy" "r58" {
  namespace  = "shop"
  name       = "p58"
  on_failure = "rollback"
  steps      = [{ weight_percent = 10, pause = { manual = true } }]
  analysis   = { hook = { type = "webhook" } }
}

resource "sampan_gray_policy" "r59" {
  namespace  = "shop"
  name       = "p59"
  on_failure = "rollback"
  steps      = [{ weight_percent = 10, pause = { manual = true } }]
  analysis   = { load = { type = "prometheus", url = "https://prometheus.example.com", max = 1 } }
}

resource "sampan_gray_policy" "r60" {
  namespace  = "shop"
  name       = "p60"
  on_failure = "rollback"
  steps      = [{ weight_percent = 10, pause = { manual = true } }]
  analysis   = { load = { type = "prometheus", url = "https://prometheus.example.com", query = "up" } }
}

resource "sampan_gray_policy" "r61" {
  namespace  = "shop"
  name       = "p61"
  on_failure = "rollback"
  steps      = [{ weight_percent = 10, pause = { manual = true } }]
  analysis   = { load = { type = "prometheus", url = "http://prometheus.example.com", query = "up", max = 1, auth_secret = "s" } }
}
