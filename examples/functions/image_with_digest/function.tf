variable "digest" {
  description = "Digest of the image, from whoever built it."
  type        = string
  default     = "sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"
}

output "pinned" {
  value = provider::sampan::image_with_digest("registry.example.com/shop/cart:1.4", var.digest)
}
