data "sampan_environment_schedule" "nights" {
  namespace = "shop"
  name      = "nights"
}

output "next" {
  value = data.sampan_environment_schedule.nights.status.next_boundary
}
