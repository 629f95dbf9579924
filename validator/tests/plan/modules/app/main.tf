variable "name" { type = string }

variable "config" {
  type = object({ size = number, tags = optional(set(string), ["default"]) })
}

variable "override" {
  type     = string
  default  = "fallback"
  nullable = false
}

variable "later" {
  type    = any
  default = "early"
}

locals {
  full_name = format("%s-%02d", var.name, var.config.size)
}

resource "terraform_data" "app" {
  count = var.config.size > 1 ? 2 : 1
  input = {
    name     = "${local.full_name}-${count.index}"
    tags     = var.config.tags
    override = var.override
    later    = var.later
    path     = path.module
  }
}

output "full_name" {
  value = local.full_name
}
