variable "image" {
  description = "Image of the application. For another one a full second set of instances is made."
  type        = string
  default     = "127.0.0.1:5000/demo/hello:1"
}

variable "hostname" {
  description = "Host name at which the gateway answers."
  type        = string
  default     = "blue-green.localhost"
}
