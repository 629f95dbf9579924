//! The endpoint table. Every row has a handler, a permission, a line in OpenAPI and a row in the authorisation test.

use crate::permission::Verb;

/// One endpoint. Paths are templates: `{ns}`, `{name}`, `{id}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// Stable name, `application_get`.
    pub name: &'static str,
    pub method: &'static str,
    pub path: &'static str,
    pub verb: Verb,
    /// Kind of the object, empty for endpoints of the server.
    pub kind: &'static str,
    pub about: &'static str,
}

const fn e(
    name: &'static str,
    method: &'static str,
    path: &'static str,
    verb: Verb,
    kind: &'static str,
    about: &'static str,
) -> Endpoint {
    Endpoint { name, method, path, verb, kind, about }
}

macro_rules! crud {
    ($kind:literal, $base:literal, $item:literal) => {
        [
            e(concat!($kind, "_list"), "GET", $base, Verb::Read, $kind, "List, sorted by id; `limit`, `page_token`."),
            e(concat!($kind, "_get"), "GET", $item, Verb::Read, $kind, "Read; `ETag` is the generation."),
            e(
                concat!($kind, "_put"),
                "PUT",
                $item,
                Verb::Write,
                $kind,
                "Create (`If-None-Match: *`) or replace (`If-Match`) the whole spec.",
            ),
            e(concat!($kind, "_delete"), "DELETE", $item, Verb::Write, $kind, "Delete; needs `If-Match`."),
            e(
                concat!($kind, "_dry_run"),
                "POST",
                concat!($item, "/dry-run"),
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
const APPLICATION: [Endpoint; 5] =
    crud!("application", "/v1/namespaces/{ns}/applications", "/v1/namespaces/{ns}/applications/{name}");
const ROUTE: [Endpoint; 5] = crud!("route", "/v1/namespaces/{ns}/routes", "/v1/namespaces/{ns}/routes/{name}");

const MORE: &[Endpoint] = &[
    e(
        "application_instances",
        "GET",
        "/v1/namespaces/{ns}/applications/{name}/instances",
        Verb::Read,
        "application",
        "Instances, sorted by name.",
    ),
    e(
        "application_revisions",
        "GET",
        "/v1/namespaces/{ns}/applications/{name}/revisions",
        Verb::Read,
        "application",
        "Revisions, newest first.",
    ),
    e(
        "application_restart",
        "POST",
        "/v1/namespaces/{ns}/applications/{name}/restart",
        Verb::Write,
        "application",
        "Restart every instance in place under max_unavailable; resolves the image tag again.",
    ),
    e(
        "application_logs",
        "GET",
        "/v1/namespaces/{ns}/applications/{name}/logs",
        Verb::Read,
        "application",
        "Log lines as JSON lines; `instance`, `tail`, `follow`.",
    ),
    e(
        "application_exec",
        "POST",
        "/v1/namespaces/{ns}/applications/{name}/exec",
        Verb::Exec,
        "application",
        "Run a command in one instance and return its output.",
    ),
    e("operation_get", "GET", "/v1/operations/{id}", Verb::Read, "", "An operation; `wait=30` seconds long poll."),
    e("event_list", "GET", "/v1/events", Verb::Read, "", "Events, oldest first; `namespace`, `kind`, `name`, `since`."),
    e(
        "watch",
        "GET",
        "/v1/watch",
        Verb::Read,
        "",
        "Change log as server-sent events from `since` on; 410 when compacted.",
    ),
    e("server_get", "GET", "/v1/server", Verb::Read, "", "Version, isolation classes, node."),
    e("isolation_class_list", "GET", "/v1/isolation-classes", Verb::Read, "", "Classes and whether each can be had."),
];

const N: usize = 25 + MORE.len();

/// Every endpoint.
pub const API: &[Endpoint] = &{
    let mut all = [MORE[0]; N];
    let groups: [&[Endpoint]; 6] = [&NAMESPACE, &CONFIG_MAP, &SECRET, &APPLICATION, &ROUTE, MORE];
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
