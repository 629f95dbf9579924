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
  description = "Image of the service."
  type        = string
  default     = "registry.example.com/shop/cart:1.0"
}

variable "api_key" {
  description = "A value that only the service sees."
  type        = string
  sensitive   = true
  ephemeral   = true
  default     = null
}

# Both modules together: an environment, and a service in it.
module "test" {
  source = "../.."

  name          = "test"
  description   = "Everybody's playground."
  quota         = { max_applications = 5, max_instances = 20 }
  secrets       = { keys = 1 }
  secret_values = var.api_key == null ? {} : { keys = { API_KEY = var.api_key } }
  nights = {
    stop      = "0 20 * * 1-5"
    start     = "0 7 * * 1-5"
    time_zone = "Europe/Berlin"
  }
}

module "cart" {
  source = "../../../web-service"

  namespace = module.test.namespace
  name      = "cart"
  image     = var.image
  hostname  = "cart.test.example.com"
  replicas  = { min = 2, max = 4 }
  resources = { cpu = "100m", memory = "64Mi" }
  secrets   = ["keys"]
}
