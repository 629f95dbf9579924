//! What the platform reports beside the nouns, each read by one data source.

use serde_json::{Value, json};

use crate::operation::Operation;
use crate::revision::Revision;
use crate::rollout::Rollout;

/// One report: an endpoint of the table, and the arguments that its path is made from.
#[derive(Debug)]
pub struct Report {
    /// The Terraform type is `sampan_` + this.
    pub name: &'static str,
    /// Name in the endpoint table.
    pub endpoint: &'static str,
    /// One sentence for docs.
    pub about: &'static str,
    /// The required argument, which fills `{name}` or `{id}`, and what it is.
    pub argument: (&'static str, &'static str),
    /// The path has a `{ns}`: there is an optional argument `namespace`.
    pub namespaced: bool,
    /// Attribute that holds the answer's `items`; without it the answer is an object.
    pub list: Option<(&'static str, &'static str)>,
    schema: fn() -> Value,
}

impl Report {
    /// JSON Schema of what is read, an object.
    pub fn schema(&self) -> Value {
        let item = (self.schema)();
        match self.list {
            None => item,
            Some((name, about)) => json!({
                "type": "object", "properties": { name: { "type": "array", "description": about, "items": item } },
            }),
        }
    }
}

/// Every report.
pub static REPORTS: &[Report] = &[
    Report {
        name: "application_revisions",
        endpoint: "application_revisions",
        about: "Revisions of an application, newest first.",
        argument: ("application", "Name of the application."),
        namespaced: true,
        list: Some(("revisions", "Newest first.")),
        schema: crate::json_schema::<Revision>,
    },
    Report {
        name: "rollout",
        endpoint: "application_rollout",
        about: "How far the newest release of an application is.",
        argument: ("application", "Name of the application."),
        namespaced: true,
        list: None,
        schema: crate::json_schema::<Rollout>,
    },
    Report {
        name: "scaling_rules",
        endpoint: "application_scaling",
        about: "How many instances of an application there are and shall be, what each of its scaling rules wants, and why.",
        argument: ("application", "Name of the application."),
        namespaced: true,
        list: None,
        schema: crate::scaling::report_schema,
    },
    Report {
        name: "operation",
        endpoint: "operation_get",
        about: "What a write started, and how it ended.",
        argument: ("id", "Id of the operation, such as `status.last_operation.id` of an application."),
        namespaced: false,
        list: None,
        schema: crate::json_schema::<Operation>,
    },
];
