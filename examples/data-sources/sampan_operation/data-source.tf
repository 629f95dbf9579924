data "sampan_operation" "last" {
  id = data.sampan_application.cart.status.last_operation.id
}

output "last_operation" {
  value = data.sampan_operation.last.phase
}
