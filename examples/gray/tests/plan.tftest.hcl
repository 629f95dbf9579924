# `terraform test` needs no server: what the provider would answer is made up.
mock_provider "sampan" {}

run "a_release_follows_the_policy_in_rising_steps" {
  command = plan

  assert {
    condition     = sampan_application.hello.gray_policy == sampan_gray_policy.careful.name
    error_message = "The application is released by the policy."
  }
  assert {
    condition     = [for step in sampan_gray_policy.careful.steps : step.weight_percent] == [25, 50]
    error_message = "A quarter of the requests first, then half."
  }
  assert {
    condition     = sampan_gray_policy.careful.steps[1].pause.manual
    error_message = "The last step waits for a person."
  }
  assert {
    condition     = sampan_gray_policy.careful.on_failure == "rollback"
    error_message = "A release that fails comes back by itself."
  }
}
