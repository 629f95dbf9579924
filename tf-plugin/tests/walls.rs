//! The walls that other frameworks have: each is a requirement, and each requirement has tests that exist.

#![allow(clippy::unwrap_used)]

use std::path::Path;

/// What is required, and the tests of this crate that hold it.
const WALLS: &[(&str, &[&str])] = &[
    (
        "states of every older version are upgraded, those of a later one are refused",
        &["a_state_of_the_first_version_is_upgraded_and_plans_empty", "states_of_every_version_are_upgraded"],
    ),
    (
        "nested attributes and blocks in every nesting, at any depth",
        &[
            "nested_single_list_set_map_and_group_are_planned_applied_and_settled",
            "a_note_is_applied_twice_changed_replaced_imported_and_destroyed",
        ],
    ),
    (
        "a connection without the one client certificate gets nothing",
        &["a_client_without_certificate_with_another_one_or_without_tls_is_refused"],
    ),
    (
        "messages of 256 MiB, and a clear error above",
        &[
            "two_unknowns_in_a_set_and_5_mb_in_an_attribute_are_applied",
            "a_state_value_of_100_mb_passes",
            "message_over_limit_is_a_clear_error",
            "schema_answer_is_small",
        ],
    ),
    (
        "an interrupt saves the state",
        &["an_interrupt_in_the_middle_of_an_apply_saves_the_state", "stop_cancels_an_apply_and_its_state_is_returned"],
    ),
    ("two unknowns in a set stay two", &["two_unknowns_in_a_set_stay_two_and_may_become_one"]),
    (
        "numbers of any size come back, and a wrong one is an error at its attribute",
        &[
            "number_1e30_number_23_digits_and_a_fraction_into_an_integer_point_at_the_attribute",
            "a_wrong_number_points_at_its_attribute",
        ],
    ),
    (
        "no diagnostic holds a backtrace, whatever panics",
        &[
            "a_panic_is_a_diagnostic_without_a_backtrace_and_keeps_the_prior_state",
            "panics_in_every_call_about_resources_are_diagnostics_and_lose_nothing",
            "panics_in_open_renew_and_close_are_diagnostics",
            "panics_in_plan_and_invoke_of_an_action_are_diagnostics",
            "a_list_that_is_invalid_panics_or_has_no_client_says_so",
            "a_panic_in_a_function_is_an_error_without_its_text",
        ],
    ),
    ("moved across types", &["moved_from_terraform_data", "moved_from_terraform_data_and_from_another_provider"]),
    (
        "ephemeral resources are opened, renewed and closed",
        &[
            "ephemeral_feeds_write_only",
            "an_ephemeral_resource_is_opened_renewed_and_closed_with_its_data",
            "what_cannot_be_opened_is_refused_before_or_in_the_call",
            "close_after_stop",
        ],
    ),
    (
        "write-only values are in no plan and no state",
        &[
            "ephemeral_feeds_write_only",
            "write_only_unknown_in_plan",
            "write_only_old_client",
            "a_write_only_value_is_null_after_upgrade_import_and_move",
        ],
    ),
    (
        "identity, its upgrade and import by it",
        &[
            "identity_imports_an_object",
            "identity_of_every_version_is_upgraded",
            "identity_that_a_refresh_changes_is_refused",
        ],
    ),
    (
        "lists with limit, errors of one object and back pressure",
        &["list_limit", "list_error_event_continues", "list_cancel_and_back_pressure"],
    ),
    (
        "actions with progress and cancellation",
        &["action_progress_then_completed_once", "action_cancel_by_stop_and_by_a_client_that_goes_away"],
    ),
    (
        "deferral, and a refusal by name where it is not taken",
        &[
            "deferred_plan_with_each_reason",
            "deferred_plan_is_refused_by_name_when_the_client_takes_none",
            "deferred_read_leaves_the_state_as_it_is",
            "deferred_data_source_has_unknowns_for_what_is_computed",
            "deferred_import_imports_nothing_and_is_no_error",
            "deferred_actions_are_put_off_or_refused",
        ],
    ),
    ("a private unix socket that is removed", &["the_socket_is_private_and_removed_at_the_end"]),
    ("debug mode", &["terraform_attaches_to_a_provider_that_a_person_has_started"]),
    (
        "logs in the host's form, masked, with levels of subsystems",
        &["every_line_of_the_log_parses_and_none_holds_the_token", "a_subsystem_has_a_level_of_its_own"],
    ),
    ("the cookie is required", &["without_a_cookie_it_exits_with_1_and_a_silent_stdout"]),
    ("cancellation reaches a handler", &["stop_cancels_an_apply_and_its_state_is_returned"]),
    (
        "values of dynamic type",
        &["dynamic_values_of_every_type_come_back", "blocks_are_counted_and_a_dynamic_value_keeps_its_type"],
    ),
    (
        "blocks have limits",
        &["the_nesting_and_the_limits_of_blocks_are_told", "blocks_are_counted_and_a_dynamic_value_keeps_its_type"],
    ),
    ("a delete that does not say that it deleted is an error", &["delete_not_gone_is_error"]),
];

/// Text of every Rust file below a folder.
fn sources(folder: &Path, found: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_wall_has_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    for folder in ["src", "tests"] {
        sources(&root.join(folder), &mut text);
    }
    for (wall, tests) in WALLS {
        assert!(!tests.is_empty(), "{wall}");
        for test in *tests {
            assert!(text.contains(&format!("fn {test}()")), "{wall}: there is no test {test}");
        }
    }
}
