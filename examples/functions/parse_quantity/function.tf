output "bytes" {
  value = provider::sampan::parse_quantity("1.5Gi")
}
