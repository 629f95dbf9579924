variable "image" {
  description = "Image of the application. Another tag restarts containers in place: sandboxes and addresses stay."
  type        = string
  default     = "127.0.0.1:5000/demo/hello:1"
}

variable "env" {
  description = "More environment of the application. A change restarts containers in place."
  type        = map(string)
  default     = {}
}

variable "greeting" {
  description = "A value of the config map."
  type        = string
  default     = "hello from a config map"
}

variable "api_key" {
  description = "A value of the secret. Ephemeral: Terraform keeps it in no file."
  type        = string
  sensitive   = true
  ephemeral   = true
  default     = "change-me"
}

variable "hostname" {
  description = "Host name at which the gateway answers."
  type        = string
  default     = "hello.localhost"
}
