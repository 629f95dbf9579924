resource "sampan_namespace" "environment" {
  name        = var.name
  description = var.description
  quota       = var.quota
}

resource "sampan_secret" "environment" {
  for_each = var.secrets

  namespace  = sampan_namespace.environment.name
  name       = each.key
  wo_version = each.value
  data_wo    = lookup(var.secret_values, each.key, null)
}

# No instance at night, whatever the applications and their scaling rules say.
resource "sampan_environment_schedule" "nights" {
  count = var.nights == null ? 0 : 1

  namespace = sampan_namespace.environment.name
  name      = "nights"
  selector  = { all = true }
  stop      = var.nights.stop
  start     = var.nights.start
  time_zone = var.nights.time_zone
  holidays  = var.nights.holidays
}
