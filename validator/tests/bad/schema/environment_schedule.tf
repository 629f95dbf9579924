resource "sampan_environment_schedule" "r130" {
  namespace = "shop"
  name      = "s130"
  selector  = { all = true }
  stop      = "61 * * * *"
  start     = "0 8 * * 1-5"
  time_zone = "Europe/Berlin"
}

resource "sampan_environment_schedule" "r131" {
  namespace = "shop"
  name      = "s131"
  selector  = { all = true }
  stop      = "0 20 * * 1-5"
  start     = "0 8 * * 1-5"
  time_zone = "Europe/Berlin"
  holidays  = ["25.12.2026"]
}

resource "sampan_environment_schedule" "r132" {
  namespace = "shop"
  name      = "s132"
  selector  = { all = true }
  stop      = "0 20 * * 1-5"
  start     = "0 20 * * 1-5"
  time_zone = "Europe/Berlin"
}

resource "sampan_environment_schedule" "r133" {
  namespace = "shop"
  name      = "s133"
  selector  = {}
  stop      = "0 20 * * 1-5"
  start     = "0 8 * * 1-5"
  time_zone = "Europe/Berlin"
}

resource "sampan_environment_schedule" "r134" {
  namespace   = "shop"
  name        = "s134"
  selector    = { all = true }
  stop        = "0 20 * * 1-5"
  start       = "0 8 * * 1-5"
  time_zone   = "Europe/Berlin"
  start_order = [["db"], ["db"]]
}
