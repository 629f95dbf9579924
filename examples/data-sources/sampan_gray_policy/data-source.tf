data "sampan_gray_policy" "careful" {
  namespace = "shop"
  name      = "careful"
}

output "releases_with_care" {
  value = data.sampan_gray_policy.careful.status.used_by
}
