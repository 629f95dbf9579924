output "namespace" {
  description = "Name of the namespace; what is in it waits for it, and for the secrets."
  value       = sampan_namespace.environment.name
  depends_on  = [sampan_secret.environment]
}
