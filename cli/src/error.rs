//! Why a verb fails, and how that is told: what, where, what to do.

use sampan_client::Error as Api;
use sampan_node::NodeError;
use sampan_schema::problem::Problem;

use crate::connection::Connection;
use crate::output::plain;

/// Why a verb did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Wrong arguments or settings; the text says which and what is right.
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Api(#[from] Api),
    #[error(transparent)]
    Server(#[from] sampan_server::Error),
    #[error(transparent)]
    Node(#[from] NodeError),
    /// Stdout cannot be written.
    #[error("the result cannot be written: {0}")]
    Output(#[from] std::io::Error),
    #[error("{0}")]
    Failed(String),
}

impl Failure {
    /// 2 for wrong usage, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Api(Api::Settings(_)) => 2,
            _ => 1,
        }
    }
}

/// The failure for a person. `connection` is where the server was looked for, and with which token.
pub fn text(failure: &Failure, connection: &Connection) -> String {
    match failure {
        Failure::Api(Api::Connection { endpoint, cause }) => format!(
            "error: the server at {} cannot be reached: {}\n  do: start one with `sampan dev --data-dir DIR`, or name \
             another with --endpoint or SAMPAN_ENDPOINT",
            plain(endpoint),
            plain(cause)
        ),
        Failure::Api(Api::Problem(problem)) => problem_text(problem, connection),
        other => format!("error: {}", plain(&other.to_string())),
    }
}

fn problem_text(problem: &Problem, connection: &Connection) -> String {
    let mut lines = vec![format!("error: {} ({} {})", plain(&problem.title), problem.status, plain(&problem.code))];
    for field in &problem.errors {
        let place = if field.field_path.is_empty() { "the whole object" } else { &field.field_path };
        lines.push(format!("  where: {}: {} ({})", plain(place), plain(&field.message), plain(&field.rule)));
    }
    if problem.status == 401 {
        lines.push(format!("  where: {}", connection.token_source()));
        lines.push(
            "  do: give the token of this server with --token-file, SAMPAN_TOKEN_FILE or SAMPAN_TOKEN; `sampan dev` \
             prints its token_file when it is ready"
                .into(),
        );
    } else {
        // With fields, the detail only repeats them.
        if !problem.detail.is_empty() && problem.errors.is_empty() {
            lines.push(format!("  what: {}", plain(&problem.detail)));
        }
        if let Some(next) = next_step(problem, connection) {
            lines.push(format!("  do: {next}"));
        }
    }
    if let Some(id) = problem.members.get("operation_id").and_then(serde_json::Value::as_str) {
        lines.push(format!("  operation: {}", plain(id)));
    }
    if !problem.request_id.is_empty() {
        lines.push(format!("  request: {}", plain(&problem.request_id)));
    }
    lines.join("\n")
}

fn next_step(problem: &Problem, connection: &Connection) -> Option<String> {
    let member = |name: &str| problem.members.get(name).and_then(serde_json::Value::as_str).map(plain);
    Some(match problem.code.as_str() {
        "NOT_FOUND" => match member("kind").as_deref() {
            Some("operation") => "the operation is gone: ask with `sampan rollout status`".into(),
            Some("revision") => "see what there is: `sampan rollout history APP`".into(),
            Some("instance") => "see what there is: `sampan get instances APP`".into(),
            Some(kind) => format!("see what there is: `sampan get {kind}`"),
            None => return None,
        },
        "FORBIDDEN" => format!("use a token with that permission; this was {}", connection.token_source()),
        "OPERATION_RUNNING" | "ROLLING_BACK" | "STEP_NOT_REACHED" => {
            "follow it: `sampan rollout status APP --watch`".into()
        }
        "NO_RELEASE" | "NO_STEPS" => "look at it: `sampan rollout status APP`".into(),
        "NO_EARLIER_REVISION" => "see what there is: `sampan rollout history APP`".into(),
        "VALIDATION" | "IMMUTABLE_FIELD" | "REFERENCE_NOT_FOUND" if !problem.errors.is_empty() => {
            "change these fields and try again".into()
        }
        _ if problem.status >= 500 => "look for the request in the server's log".into(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_schema::Violation;

    fn connection() -> Connection {
        Connection {
            endpoint: "http://127.0.0.1:7080".into(),
            token_file: Some("/data/admin.token".into()),
            token: None,
        }
    }

    fn shown(problem: Problem) -> String {
        text(&Failure::Api(problem.into()), &connection())
    }

    #[test]
    fn a_refusal_says_what_where_and_what_to_do() {
        let mut problem = Problem::new(400, "VALIDATION", "the spec breaks rules", "replicas: is -1");
        problem.errors.push(Violation::new("replicas", "SMP003", "is -1, below 0").into());
        problem.request_id = "ab12".into();
        insta::assert_snapshot!(shown(problem), @r"
        error: the spec breaks rules (400 VALIDATION)
          where: replicas: is -1, below 0 (SMP003)
          do: change these fields and try again
          request: ab12
        ");
    }

    #[test]
    fn a_missing_object_says_how_to_find_others() {
        let problem = Problem::new(404, "NOT_FOUND", "not found", "application \"a/b\" does not exist");
        insta::assert_snapshot!(shown(problem.with("kind", "application")), @r#"
        error: not found (404 NOT_FOUND)
          what: application "a/b" does not exist
          do: see what there is: `sampan get application`
        "#);
    }

    #[test]
    fn a_release_that_takes_no_verb_names_its_operation() {
        let detail = "application shop/cart: no release is under way";
        let problem = Problem::new(409, "NO_RELEASE", "the release does not take this", detail);
        insta::assert_snapshot!(shown(problem.with("operation_id", "ab12")), @r"
        error: the release does not take this (409 NO_RELEASE)
          what: application shop/cart: no release is under way
          do: look at it: `sampan rollout status APP`
          operation: ab12
        ");
    }

    #[test]
    fn text_of_the_server_does_not_steer_the_terminal() {
        let text = shown(Problem::new(409, "X\u{1b}[2J", "a\nb", "c\u{9b}d"));
        assert!(!text.contains('\u{1b}') && !text.contains('\u{9b}') && text.contains("a b"), "{text:?}");
    }
}
