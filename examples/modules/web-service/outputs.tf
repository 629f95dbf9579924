output "application" {
  description = "Name of the application."
  value       = sampan_application.service.name
}

output "internal_url" {
  description = "Where other applications reach it."
  value       = "http://${sampan_application.service.name}.${var.namespace}.internal"
}
