# `terraform test` needs no server: what the provider would answer is made up.
mock_provider "sampan" {}

variables {
  name = "test"
}

run "a_name_is_enough" {
  command = plan

  assert {
    condition     = sampan_namespace.environment.name == "test" && length(sampan_environment_schedule.nights) == 0
    error_message = "A namespace, and nothing that stops it."
  }
}

run "everything" {
  command = plan

  variables {
    quota         = { max_instances = 20 }
    secrets       = { keys = 2 }
    secret_values = { keys = { API_KEY = "value" } }
    nights        = { stop = "0 20 * * *", start = "0 7 * * *" }
  }

  assert {
    condition     = sampan_namespace.environment.quota.max_instances == 20
    error_message = "The quota is the namespace's."
  }
  assert {
    condition     = sampan_secret.environment["keys"].wo_version == 2
    error_message = "A secret is sent again when its version is raised."
  }
  assert {
    condition     = sampan_environment_schedule.nights[0].selector.all && sampan_environment_schedule.nights[0].time_zone == "UTC"
    error_message = "All applications stop, by UTC unless a zone is given."
  }
}

run "versions_are_whole_numbers" {
  command = plan

  variables {
    secrets = { keys = 0.5 }
  }

  expect_failures = [var.secrets]
}
