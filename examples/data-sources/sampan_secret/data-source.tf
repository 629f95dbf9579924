# Shows which keys there are, not what they hold.
data "sampan_secret" "database" {
  namespace = "shop"
  name      = "database"
}
