# `terraform test` needs no server: what the provider would answer is made up.
mock_provider "sampan" {}

run "only_who_asks_for_the_preview_gets_the_new_set" {
  command = plan

  assert {
    condition     = sampan_gray_policy.careful.strategy == "blue_green"
    error_message = "A full second set of instances is made."
  }
  assert {
    condition     = sampan_gray_policy.careful.steps[0].matches[0].headers[0].name == "x-preview"
    error_message = "The header x-preview asks for the new set."
  }
  assert {
    condition     = sampan_gray_policy.careful.steps[0].pause.manual
    error_message = "The switch waits for a person."
  }
}
