# `terraform test` needs no server: what the provider would answer is made up.
mock_provider "sampan" {}

run "one_policy_makes_one_lane_of_two_applications" {
  command = plan

  assert {
    condition     = keys(sampan_application.all) == ["back", "front", "middle"]
    error_message = "Three applications call each other."
  }
  assert {
    condition     = [for name, app in sampan_application.all : name if app.gray_policy == "testers"] == ["back", "front"]
    error_message = "The first and the last one have the policy, the middle one has none."
  }
  assert {
    condition     = sampan_application.all["front"].container.env["NEXT"] == "http://middle.gray-lane.internal"
    error_message = "The first application asks the middle one."
  }
  assert {
    condition     = sampan_route.front.rules[0].backends[0].application == "front"
    error_message = "Requests come in at the first application."
  }
}
