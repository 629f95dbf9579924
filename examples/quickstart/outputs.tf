output "urls" {
  description = "Where the gateway answers."
  value       = sampan_route.hello.status.urls
}

output "hostnames" {
  description = "Send one of these as Host header."
  value       = sampan_route.hello.hostnames
}

output "application" {
  description = "Phase and revision of the application."
  value = {
    phase    = sampan_application.hello.status.phase
    revision = sampan_application.hello.status.current_revision
  }
}
