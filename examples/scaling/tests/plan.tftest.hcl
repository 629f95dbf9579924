# `terraform test` needs no server: what the provider would answer is made up.
mock_provider "sampan" {}

run "every_rule_is_about_an_application_of_its_own" {
  command = plan

  assert {
    condition = toset(keys(sampan_application.hello)) == toset([
      sampan_scaling_rule.timed.application,
      sampan_scaling_rule.metric.application,
      sampan_scaling_rule.mixed.application,
      sampan_scaling_rule.predictive.application,
      sampan_scaling_rule.to_zero.application,
    ])
    error_message = "Each application shows one kind of rule."
  }
  assert {
    condition     = sampan_scaling_rule.to_zero.min_replicas == 0
    error_message = "To zero means no instance at all."
  }
  assert {
    condition     = [for schedule in sampan_scaling_rule.timed.schedules : schedule.replicas] == [3, 1]
    error_message = "Three instances in office hours, one outside of them."
  }
}

run "host_names_follow_the_domain" {
  command = plan

  variables {
    domain = "example.com"
  }

  assert {
    condition     = contains(sampan_route.hello["timed"].hostnames, "timed.example.com")
    error_message = "Each application has a host name below the domain."
  }
}
