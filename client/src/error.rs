//! What can go wrong between a client and a server.

use sampan_schema::API_VERSION;
use sampan_schema::problem::Problem;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server refused, and said why.
    #[error("{}", text(.0))]
    Problem(Box<Problem>),
    /// The server has another version of the API.
    #[error(
        "the server at {endpoint} has {server}, this program speaks API version {API_VERSION}: use releases that fit together"
    )]
    Version {
        /// Where it is.
        endpoint: String,
        /// What it has, such as `API version v2 (release 3.1.0)`.
        server: String,
    },
    /// No connection, or it broke.
    #[error("the server at {endpoint} cannot be reached: {cause}")]
    Connection {
        /// Where it should be.
        endpoint: String,
        /// What happened.
        cause: String,
    },
    /// An answer that is none of this API: a proxy, or a defect.
    #[error("the server at {endpoint} answered {status} to {request}, and not in the form of the API: {body}")]
    Foreign {
        /// Where it is.
        endpoint: String,
        /// Method and path.
        request: String,
        /// HTTP status.
        status: u16,
        /// The beginning of the body.
        body: String,
    },
    /// The settings of the client cannot work.
    #[error("{0}")]
    Settings(String),
}

fn text(problem: &Problem) -> String {
    let mut text = format!("{} ({})", problem.title, problem.code);
    if !problem.detail.is_empty() {
        text = format!("{text}: {}", problem.detail);
    }
    if !problem.request_id.is_empty() {
        text = format!("{text} [request {}]", problem.request_id);
    }
    text
}

impl Error {
    /// The problem that the server sent, if it sent one.
    pub fn problem(&self) -> Option<&Problem> {
        if let Self::Problem(problem) = self { Some(problem) } else { None }
    }

    /// Its stable code: `VALIDATION`, `NOT_FOUND`; empty without a problem.
    pub fn code(&self) -> &str {
        self.problem().map_or("", |problem| &problem.code)
    }

    /// Whether the API itself says that the object does not exist. A 404 of a proxy is something else.
    pub fn is_not_found(&self) -> bool {
        self.problem().is_some_and(|problem| problem.status == 404 && problem.code == "NOT_FOUND")
    }

    /// Whether somebody else changed the object since it was read.
    pub fn is_mismatch(&self) -> bool {
        self.problem().is_some_and(|problem| problem.status == 412)
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}
