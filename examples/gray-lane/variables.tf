variable "images" {
  description = "Image of each application: front, middle and back."
  type        = map(string)
  default = {
    front  = "127.0.0.1:5000/demo/hello:1"
    middle = "127.0.0.1:5000/demo/hello:1"
    back   = "127.0.0.1:5000/demo/hello:1"
  }
}

variable "hostname" {
  description = "Host name at which the gateway answers."
  type        = string
  default     = "gray-lane.localhost"
}
