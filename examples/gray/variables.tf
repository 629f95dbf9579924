variable "image" {
  description = "Image of the application. Another one is released in the steps of the policy."
  type        = string
  default     = "127.0.0.1:5000/demo/hello:1"
}

variable "hostname" {
  description = "Host name at which the gateway answers."
  type        = string
  default     = "gray.localhost"
}
