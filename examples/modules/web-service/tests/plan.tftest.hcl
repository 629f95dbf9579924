# `terraform test` needs no server: what the provider would answer is made up.
mock_provider "sampan" {}

variables {
  namespace = "shop"
  name      = "cart"
  image     = "registry.example.com/shop/cart:1.0"
  hostname  = "cart.example.com"
}

run "a_name_and_a_host_are_enough" {
  command = plan

  assert {
    condition     = sampan_application.service.replicas == 2 && sampan_scaling_rule.load[0].max_replicas == 10
    error_message = "Two instances, and ten at most."
  }
  assert {
    condition     = sampan_application.service.gray_policy == sampan_gray_policy.service.name
    error_message = "Releases go step by step."
  }
  assert {
    condition     = sampan_route.service.rules[0].backends[0].application == "cart"
    error_message = "The route leads to the application."
  }
}

run "a_fixed_number_has_no_rule" {
  command = plan

  variables {
    replicas = { min = 3, max = 3 }
  }

  assert {
    condition     = length(sampan_scaling_rule.load) == 0 && sampan_application.service.replicas == 3
    error_message = "Without a range there is nothing to decide."
  }
}

run "one_instance_cannot_be_released_step_by_step" {
  command = plan

  variables {
    replicas = { min = 1, max = 3 }
  }

  expect_failures = [var.replicas]
}

run "an_image_names_its_registry" {
  command = plan

  variables {
    image = "cart"
  }

  expect_failures = [var.image]
}
