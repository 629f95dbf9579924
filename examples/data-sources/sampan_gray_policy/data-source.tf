data "sampan_gray_policy" "careful" {
  namespace = "shop"
  name      = "careful"
}

output "followed_by" {
  value = data.sampan_gray_policy.careful.status.used_by
}
