//! The endpoint table. Every row has a handler, a permission, a line in OpenAPI and a row in the authorisation test.

use crate::permission::Verb;

/// What an endpoint does. Its handler, its answers and what else it takes follow from this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    List,
    Get,
    Put,
    Delete,
    DryRun,
    Instances,
    Revisions,
    Restart,
    Rollout,
    Scaling,
    Promote,
    Pause,
    Resume,
    Abort,
    Rollback,
    Logs,
    Exec,
    Operation,
    Events,
    Watch,
    Server,
    IsolationClasses,
    Tokens,
    TokenCreate,
    TokenRenew,
    TokenRevoke,
}

impl Action {
    /// Query parameters, each with what it does.
    pub const fn query(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::List => &[
                ("limit", "Items of a page, 1 to 500; 100 without it."),
                ("page_token", "`next_page_token` of the page before."),
            ],
            Self::Logs => &[
                ("instance", "One instance only."),
                ("tail", "Lines from the end, of each instance; 100 without it."),
                ("follow", "`true`: goes on until the caller leaves."),
            ],
            Self::Scaling => &[("limit", "Decisions, 1 to 2000; 20 without it.")],
            Self::Operation => &[("wait", "Seconds to wait for a change, at most 60.")],
            Self::Events => &[
                ("namespace", "Of this namespace only."),
                ("kind", "Of this kind only."),
                ("name", "Of the object of this name only."),
                ("since", "After this `seq`."),
                ("limit", "At most so many, up to 1000."),
            ],
            Self::Watch => &[("since", "After this revision of the change log; from now on without it.")],
            _ => &[],
        }
    }

    /// Request headers, each with what it does.
    pub const fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Put => &[
                ("If-None-Match", "`*` creates; 409 when there is one already."),
                ("If-Match", "The generation that is replaced; 412 when it is another one by now."),
                ("Idempotency-Key", "The same request again with the same key gets the first answer, for 24 h."),
                ("Sampan-Expected-Change-Class", "409 when the change would be harsher than planned."),
            ],
            Self::Delete => &[("If-Match", "The generation that is deleted; 412 when it is another one by now.")],
            Self::Restart | Self::Promote | Self::Pause | Self::Resume | Self::Abort | Self::Rollback => {
                &[("Idempotency-Key", "The same request again with the same key gets the first answer, for 24 h.")]
            }
            _ => &[],
        }
    }
}

/// One endpoint. Paths are templates: `{ns}`, `{name}`, `{id}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// Stable name, `application_get`.
    pub name: &'static str,
    pub method: &'static str,
    pub path: &'static str,
    pub action: Action,
    pub verb: Verb,
    /// Kind of the object, empty for endpoints of the server.
    pub kind: &'static str,
    pub about: &'static str,
}

const fn e(
    name: &'static str,
    method: &'static str,
    path: &'static str,
    action: Action,
    verb: Verb,
    kind: &'static str,
    about: &'static str,
) -> Endpoint {
    Endpoint { name, method, path, action, verb, kind, about }
}

macro_rules! crud {
    ($kind:literal, $base:literal, $item:literal) => {
        [
            e(
                concat!($kind, "_list"),
                "GET",
                $base,
                Action::List,
                Verb::Read,
                $kind,
                "List, sorted by id; `limit`, `page_token`.",
            ),
            e(concat!($kind, "_get"), "GET", $item, Action::Get, Verb::Read, $kind, "Read; `ETag` is the generation."),
            e(
                concat!($kind, "_put"),
                "PUT",
                $item,
                Action::Put,
                Verb::Write,
                $kind,
                "Create (`If-None-Match: *`) or replace (`If-Match`) the whole spec.",
            ),
            e(
                concat!($kind, "_delete"),
                "DELETE",
                $item,
                Action::Delete,
                Verb::Write,
                $kind,
                "Delete; needs `If-Match`.",
            ),
            e(
                concat!($kind, "_dry_run"),
                "POST",
                concat!($item, "/dry-run"),
                Action::DryRun,
                Verb::Read,
                $kind,
                "What a PUT of this spec would do. No side effects.",
            ),
        ]
    };
}

const NAMESPACE: [Endpoint; 5] = crud!("namespace", "/v1/namespaces", "/v1/namespaces/{name}");
const CONFIG_MAP: [Endpoint; 5] =
    crud!("config_map", "/v1/namespaces/{ns}/config-maps", "/v1/namespaces/{ns}/config-maps/{name}");
const SECRET: [Endpoint; 5] = crud!("secret", "/v1/namespaces/{ns}/secrets", "/v1/namespaces/{ns}/secrets/{name}");
const GRAY_POLICY: [Endpoint; 5] =
    crud!("gray_policy", "/v1/namespaces/{ns}/gray-policies", "/v1/namespaces/{ns}/gray-policies/{name}");
const APPLICATION: [Endpoint; 5] =
    crud!("application", "/v1/namespaces/{ns}/applications", "/v1/namespaces/{ns}/applications/{name}");
const SCALING_RULE: [Endpoint; 5] =
    crud!("scaling_rule", "/v1/namespaces/{ns}/scaling-rules", "/v1/namespaces/{ns}/scaling-rules/{name}");
const ENVIRONMENT_SCHEDULE: [Endpoint; 5] = crud!(
    "environment_schedule",
    "/v1/namespaces/{ns}/environment-schedules",
    "/v1/namespaces/{ns}/environment-schedules/{name}"
);
const ROUTE: [Endpoint; 5] = crud!("route", "/v1/namespaces/{ns}/routes", "/v1/namespaces/{ns}/routes/{name}");

const MORE: &[Endpoint] = &[
    e(
        "application_instances",
        "GET",
        "/v1/namespaces/{ns}/applications/{name}/instances",
        Action::Instances,
        Verb::Read,
        "application",
        "Instances, sorted by name.",
    ),
    e(
        "application_revisions",
        "GET",
        "/v1/namespaces/{ns}/applications/{name}/revisions",
        Action::Revisions,
        Verb::Read,
        "application",
        "Revisions, newest first.",
    ),
    e(
        "application_restart",
        "POST",
        "/v1/namespaces/{ns}/applications/{name}/restart",
        Action::Restart,
        Verb::Write,
        "application",
        "Restart every instance in place under max_unavailable; resolves the image tag again.",
    ),
    e(
        "application_rollout",
        "GET",
        "/v1/namespaces/{ns}/applications/{name}/rollout",
        Action::Rollout,
        Verb::Read,
        "application",
        "How far the newest release is: step, weight, verdicts of the analyses.",
    ),
    e(
        "application_scaling",
        "GET",
        "/v1/namespaces/{ns}/applications/{name}/scaling",
        Action::Scaling,
        Verb::Read,
        "application",
        "How many instances there are and shall be, what each rule wants, and the last decisions; `limit`.",
    ),
    e(
        "rollout_promote",
        "POST",
        "/v1/namespaces/{ns}/applications/{name}/rollout/promote",
        Action::Promote,
        Verb::Write,
        "application",
        "Go on to the next step, or with `full` to the end, without analysis. With `step`, that step is left: 200 when it was already.",
    ),
    e(
        "rollout_pause",
        "POST",
        "/v1/namespaces/{ns}/applications/{name}/rollout/pause",
        Action::Pause,
        Verb::Write,
        "application",
        "Take no further step; healing and scaling go on. 200 when it is paused so already.",
    ),
    e(
        "rollout_resume",
        "POST",
        "/v1/namespaces/{ns}/applications/{name}/rollout/resume",
        Action::Resume,
        Verb::Write,
        "application",
        "Go on where the release was paused. 200 when it is not paused.",
    ),
    e(
        "rollout_abort",
        "POST",
        "/v1/namespaces/{ns}/applications/{name}/rollout/abort",
        Action::Abort,
        Verb::Write,
        "application",
        "All requests to the stable revision, then the instances back to it. 200 when that is under way.",
    ),
    e(
        "application_rollback",
        "POST",
        "/v1/namespaces/{ns}/applications/{name}/rollback",
        Action::Rollback,
        Verb::Write,
        "application",
        "Return to the revision `to_revision`, or to the one before, in one step and without analysis. Changes the spec.",
    ),
    e(
        "application_logs",
        "GET",
        "/v1/namespaces/{ns}/applications/{name}/logs",
        Action::Logs,
        Verb::Read,
        "application",
        "Log lines as JSON lines; `instance`, `tail`, `follow`.",
    ),
    e(
        "application_exec",
        "POST",
        "/v1/namespaces/{ns}/applications/{name}/exec",
        Action::Exec,
        Verb::Exec,
        "application",
        "Run a command in one instance and return its output.",
    ),
    e(
        "operation_get",
        "GET",
        "/v1/operations/{id}",
        Action::Operation,
        Verb::Read,
        "",
        "An operation; `wait=30` seconds long poll.",
    ),
    e(
        "event_list",
        "GET",
        "/v1/events",
        Action::Events,
        Verb::Read,
        "",
        "Events, oldest first; `namespace`, `kind`, `name`, `since`.",
    ),
    e(
        "watch",
        "GET",
        "/v1/watch",
        Action::Watch,
        Verb::Read,
        "",
        "Change log as server-sent events from `since` on; 410 when compacted.",
    ),
    e("server_get", "GET", "/v1/server", Action::Server, Verb::Read, "", "Version, isolation classes, node."),
    e(
        "isolation_class_list",
        "GET",
        "/v1/isolation-classes",
        Action::IsolationClasses,
        Verb::Read,
        "",
        "Classes and whether each can be had.",
    ),
    e(
        "token_list",
        "GET",
        "/v1/tokens",
        Action::Tokens,
        Verb::Tokens,
        "",
        "Living tokens, without what is secret in them.",
    ),
    e(
        "token_create",
        "POST",
        "/v1/tokens",
        Action::TokenCreate,
        Verb::Tokens,
        "",
        "Make a token that ends by itself, and not after the caller's. The token is in this answer and in no other.",
    ),
    e(
        "token_renew",
        "POST",
        "/v1/tokens/{id}/renew",
        Action::TokenRenew,
        Verb::Tokens,
        "",
        "Let a living token end later.",
    ),
    e(
        "token_revoke",
        "DELETE",
        "/v1/tokens/{id}",
        Action::TokenRevoke,
        Verb::Tokens,
        "",
        "Revoke a token, and every token that was made with it.",
    ),
];

const N: usize = 40 + MORE.len();

/// Every endpoint.
pub const API: &[Endpoint] = &{
    let mut all = [MORE[0]; N];
    let groups: [&[Endpoint]; 9] = [
        &NAMESPACE,
        &CONFIG_MAP,
        &SECRET,
        &GRAY_POLICY,
        &APPLICATION,
        &SCALING_RULE,
        &ENVIRONMENT_SCHEDULE,
        &ROUTE,
        MORE,
    ];
    let (mut g, mut at) = (0, 0);
    while g < groups.len() {
        let mut i = 0;
        while i < groups[g].len() {
            all[at] = groups[g][i];
            at += 1;
            i += 1;
        }
        g += 1;
    }
    all
};

/// The endpoint of that name.
pub fn endpoint(name: &str) -> Option<&'static Endpoint> {
    API.iter().find(|e| e.name == name)
}

impl Endpoint {
    /// The path with `{ns}`, `{name}` and `{id}` filled in. Names need no escaping; an operation id neither.
    pub fn url(&self, ns: &str, name: &str) -> String {
        self.path.replace("{ns}", ns).replace("{name}", name).replace("{id}", name)
    }
}
