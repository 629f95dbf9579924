resource "sampan_namespace" "a" {
  name = = "a"
}
