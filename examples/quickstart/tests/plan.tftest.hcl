# `terraform test` needs no server: what the provider would answer is made up.
mock_provider "sampan" {}

run "defaults" {
  command = plan

  assert {
    condition     = sampan_application.hello.replicas == 2
    error_message = "The quickstart shows two instances."
  }
  assert {
    condition     = sampan_route.hello.rules[0].backends[0].application == sampan_application.hello.name
    error_message = "The route leads to the application."
  }
  assert {
    condition     = sampan_config_map.settings.data["GREETING"] == "hello from a config map"
    error_message = "The greeting has a default."
  }
}

run "variables_reach_the_container" {
  command = plan

  variables {
    image    = "registry.example.com/shop/cart:2"
    env      = { COLOR = "blue" }
    hostname = "cart.example.com"
  }

  assert {
    condition     = sampan_application.hello.container.image == var.image
    error_message = "The image is that of the variable."
  }
  assert {
    condition     = sampan_application.hello.container.env == tomap({ COLOR = "blue", SHOW_ENV = "GREETING" })
    error_message = "More environment is added to what the example sets."
  }
  assert {
    condition     = contains(sampan_route.hello.hostnames, "cart.example.com")
    error_message = "The gateway answers at the host name of the variable."
  }
}
