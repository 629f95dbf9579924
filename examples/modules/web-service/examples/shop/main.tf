terraform {
  required_version = ">= 1.11"
  required_providers {
    sampan = {
      source = "sampan/sampan"
    }
  }
}

# The address and the token of the server come from SAMPAN_ENDPOINT and SAMPAN_TOKEN_FILE.
provider "sampan" {}

variable "image" {
  description = "Image of the cart."
  type        = string
  default     = "registry.example.com/shop/cart:1.0"
}

variable "replicas" {
  description = "Fewest and most instances."
  type        = object({ min = number, max = number })
  default     = { min = 2, max = 10 }
}

resource "sampan_namespace" "shop" {
  name = "shop"
}

module "cart" {
  source = "../.."

  namespace = sampan_namespace.shop.name
  name      = "cart"
  image     = var.image
  hostname  = "cart.example.com"
  replicas  = var.replicas
  resources = { cpu = "100m", memory = "64Mi" }
  env       = { GREETING = "hello" }
}

output "internal_url" {
  description = "Where other applications reach the cart."
  value       = module.cart.internal_url
}
