# A quarter of a core: 250m.
output "quarter" {
  value = provider::sampan::format_quantity(0.25, "m")
}
