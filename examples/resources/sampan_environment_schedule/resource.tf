# Nobody tests at night or at the weekend. In the morning the database is ready before the others start.
resource "sampan_environment_schedule" "nights" {
  namespace   = sampan_namespace.shop.name
  name        = "nights"
  selector    = { match_labels = { stage = "test" } }
  stop        = "0 20 * * *"
  start       = "0 7 * * 1-5"
  time_zone   = "Asia/Shanghai"
  holidays    = ["2027-01-01"]
  start_order = [["database"], ["cart", "orders"]]
}
