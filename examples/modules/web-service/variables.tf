variable "namespace" {
  description = "Namespace that the service belongs to. Give the attribute of the resource, so that it is created first."
  type        = string
}

variable "name" {
  description = "Name of the application, its route, its scaling rule and its gray policy."
  type        = string

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$", var.name))
    error_message = "A name has 1 to 40 lower-case letters, digits and \"-\", and begins with a letter."
  }
}

variable "image" {
  description = "Image with its registry and version. It answers HTTP on `port`, and 200 at `health_path` when it is ready."
  type        = string

  validation {
    condition     = can(provider::sampan::parse_image(var.image))
    error_message = "Write registry, repository and version, such as registry.example.com/team/app:1.0."
  }
}

variable "hostname" {
  description = "Host name that the service answers to."
  type        = string
}

variable "replicas" {
  description = "Fewest and most instances. The load decides in between; with two equal numbers there is no scaling rule."
  type = object({
    min = number
    max = number
  })
  default = { min = 2, max = 10 }

  validation {
    condition     = var.replicas.min >= 2 && var.replicas.max >= var.replicas.min
    error_message = "There are at least two instances, so that a release can go step by step, and max is not below min."
  }
}

variable "requests_per_instance" {
  description = "Requests per second that one instance is to carry; about 70 % of what it can."
  type        = number
  default     = 50

  validation {
    condition     = var.requests_per_instance > 0
    error_message = "An instance carries something."
  }
}

variable "port" {
  description = "Port that the container listens on."
  type        = number
  default     = 8080
}

variable "health_path" {
  description = "Path that answers 200 when an instance is ready."
  type        = string
  default     = "/healthz"
}

variable "resources" {
  description = "Size of one instance."
  type = object({
    cpu    = string
    memory = string
  })
  default = { cpu = "500m", memory = "512Mi" }
}

variable "env" {
  description = "Environment of the container. No secrets: name those in `secrets`."
  type        = map(string)
  default     = {}
}

variable "secrets" {
  description = "Secrets of the namespace whose keys become environment variables."
  type        = list(string)
  default     = []
}

variable "image_pull_secret" {
  description = "Secret of the namespace with the login of the registry."
  type        = string
  default     = null
}

variable "canary" {
  description = "Percent of the requests that a new version gets first, and for how many seconds; then half of them for as long."
  type = object({
    weight_percent = number
    seconds        = number
  })
  default = { weight_percent = 10, seconds = 300 }

  validation {
    condition     = var.canary.weight_percent > 0 && var.canary.weight_percent < 50
    error_message = "The first step is below 50 percent, which is the second."
  }
}
