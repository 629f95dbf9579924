variable "image" {
  description = "Image of the applications."
  type        = string
  default     = "127.0.0.1:5000/demo/hello:1"
}

variable "domain" {
  description = "The gateway answers at `frontend.DOMAIN`."
  type        = string
  default     = "test.localhost"
}

variable "working_hours" {
  description = "False for a night of work: then everything runs, whatever the time."
  type        = bool
  default     = true
}
