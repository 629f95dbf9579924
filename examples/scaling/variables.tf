variable "image" {
  description = "Image of the applications."
  type        = string
  default     = "127.0.0.1:5000/demo/hello:1"
}

variable "domain" {
  description = "The gateway answers at `timed.DOMAIN`, `metric.DOMAIN`, `mixed.DOMAIN` and `to-zero.DOMAIN`."
  type        = string
  default     = "scaling.localhost"
}
