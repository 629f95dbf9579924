output "next_opening" {
  value = provider::sampan::cron_next("0 8 * * 1-5", "Europe/Berlin", "2026-03-27T12:00:00Z")
}
