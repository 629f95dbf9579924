terraform {
  required_providers {
    other = { source = "example/other" }
  }
}

variable "token" {
  type      = string
  sensitive = true
  default   = "t"
}

variable "unused" {
  default = { a = 1, a = 2 }
}

locals {
  list  = [1, 2]
  first = local.list.0
  wrong = local.list[7]
}

output "token" {
  value = var.token
}

output "locals" {
  value = [local.first, local.wrong]
}

# sampan:ignore SMP301 reason="nothing is here" until=2027-12-31
resource "sampan_namespace" "prod" {
  name        = "prod"
  description = var.token
  quota       = { max_instances = 0 }
}

resource "sampan_future" "x" {
  name = "x"
}

module "child" {
  source = "./child"
  nmae   = "x"
}

module "elsewhere" {
  source = "example/net/sampan"
}

module "gone" {
  source = "./gone"
}
