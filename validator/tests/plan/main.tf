# Planned by terraform and evaluated by the linter; tests/plan.rs compares the two.

variable "env" {
  type    = string
  default = "dev"
}

variable "apps" {
  type = map(object({
    replicas = optional(number, 2)
    image    = string
    labels   = optional(map(string), {})
    probe    = optional(object({ path = optional(string, "/healthz"), port = optional(number, 8080) }), {})
    enabled  = optional(bool, true)
  }))
  default = {
    web  = { image = "web:1", replicas = "3", labels = { tier = "front" } }
    api  = { image = "api:2", probe = { port = 9090 } }
    cron = { image = "cron:1", enabled = false }
  }
}

variable "zones" {
  type    = list(string)
  default = ["b", "a", "c"]
}

variable "nothing" {
  type     = string
  default  = "kept"
  nullable = false
}

locals {
  on       = { for k, v in var.apps : k => v if v.enabled }
  pairs    = { for p in setproduct(keys(local.on), var.zones) : "${p[0]}-${p[1]}" => { app = p[0], zone = p[1] } }
  grouped  = { for k, v in var.apps : v.enabled ? "on" : "off" => k... }
  subnets  = cidrsubnets("10.0.0.0/16", 4, 4, 8)
  settings = merge({ env = var.env, debug = false }, var.env == "dev" ? { debug = true } : {})
  text     = <<-EOT
    %{for name, app in local.on~}
    ${name}=${app.replicas}
    %{endfor~}
  EOT
}

resource "terraform_data" "single" {
  input = local.settings
}

resource "terraform_data" "counted" {
  count = length(var.zones)
  input = "${var.env}-${count.index}-${var.zones[count.index]}"
}

resource "terraform_data" "off" {
  count = var.env == "prod" ? 1 : 0
  input = var.zones[9]
}

resource "terraform_data" "each" {
  for_each = local.on
  input = {
    name   = each.key
    app    = each.value
    labels = merge({ env = var.env }, each.value.labels)
    port   = each.value.probe.port + 1
  }
}

resource "terraform_data" "pairs" {
  for_each = local.pairs
  input    = [each.value.zone, each.value.app, each.key]
}

resource "terraform_data" "set" {
  for_each = toset(var.zones)
  input    = each.value == each.key
}

resource "terraform_data" "functions" {
  input = {
    grouped  = local.grouped
    subnets  = local.subnets
    text     = local.text
    json     = jsonencode(local.pairs)
    hash     = sha256(yamlencode(local.settings))
    file     = trimspace(file("${path.module}/note.txt"))
    template = templatefile("${path.module}/note.tftpl", { items = var.zones, env = var.env })
    sorted   = sort(var.zones)
    try      = try(var.apps["none"].image, var.apps.web.image, "x")
    number   = 7 / 2 + 0.1
    splat    = values(var.apps)[*].replicas
    null     = null
    choice   = var.env == "prod" ? "p" : null
    nothing  = var.nothing
  }
}

resource "terraform_data" "depends" {
  input = { of = terraform_data.single.output, known = [for k, v in local.on : k] }
}

module "app" {
  source   = "./modules/app"
  for_each = local.on
  name     = each.key
  config   = { size = each.value.replicas, tags = ["x", var.env] }
  override = each.key == "web" ? "given" : null
}

module "late" {
  source = "./modules/app"
  name   = "late"
  config = { size = 1 }
  later  = terraform_data.single.output
}

output "names" {
  value = { for k, m in module.app : k => m.full_name }
}
