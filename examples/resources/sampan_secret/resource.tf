variable "database_password" {
  type      = string
  sensitive = true
  ephemeral = true
}

# data_wo is in no state and in no plan. Raise wo_version to send it again.
resource "sampan_secret" "database" {
  namespace  = sampan_namespace.shop.name
  name       = "database"
  wo_version = 1
  data_wo = {
    DATABASE_PASSWORD = var.database_password
  }
}
