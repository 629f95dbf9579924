variable "name" {
  description = "Name of the namespace."
  type        = string

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$", var.name))
    error_message = "A name has 1 to 40 lower-case letters, digits and \"-\", and begins with a letter."
  }
}

variable "description" {
  description = "What the environment is for."
  type        = string
  default     = null
}

variable "quota" {
  description = "Most applications and most instances; null for no limit."
  type = object({
    max_applications = optional(number)
    max_instances    = optional(number)
  })
  default = null
}

variable "secrets" {
  description = "Secrets by name, with a version: raise it to send the values of `secret_values` again."
  type        = map(number)
  default     = {}

  validation {
    condition     = alltrue([for version in values(var.secrets) : version >= 1 && floor(version) == version])
    error_message = "Versions are whole numbers from 1 on."
  }
}

variable "secret_values" {
  description = "Keys and values of each secret. They are in no plan and in no state."
  type        = map(map(string))
  default     = {}
  sensitive   = true
  ephemeral   = true
}

variable "nights" {
  description = "When everything stops and starts again, as cron expressions; null to run all the time."
  type = object({
    stop      = string
    start     = string
    time_zone = optional(string, "UTC")
    holidays  = optional(list(string), [])
  })
  default = null
}
