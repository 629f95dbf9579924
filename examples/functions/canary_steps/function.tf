# Three steps, each with five minutes before the next.
resource "sampan_gray_policy" "by_function" {
  namespace = "shop"
  name      = "by-function"
  steps     = provider::sampan::canary_steps(300, 5, 25, 50)
}
