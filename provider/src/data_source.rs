//! One data source over all kinds.

use crate::mapping::{Use, attributes, from_json};
use crate::report;
use crate::settings::Connection;
use sampan_schema::Kind;
use serde_json::Value as Json;
use tf_plugin::{Attr, Context, DataAnswer, DataRequest, DataSource, Diagnostic, Object, Schema, path};

/// The data source of a kind.
pub(crate) struct KindData {
    kind: &'static Kind,
    type_name: String,
}

impl KindData {
    pub(crate) fn new(kind: &'static Kind) -> Self {
        Self { kind, type_name: format!("sampan_{}", kind.name) }
    }
}

impl DataSource<Connection> for KindData {
    fn type_name(&self) -> &str {
        &self.type_name
    }

    fn schema(&self) -> Schema {
        let mut attrs = attributes(self.kind.spec_schema(), Use::Read);
        for attr in &mut attrs {
            if attr.name == "name" {
                (attr.required, attr.computed) = (true, false);
            } else if attr.name == "namespace" {
                attr.optional = true;
            }
        }
        Schema::new(0)
            .describe(self.kind.about)
            .attrs(attrs)
            .attr(Attr::string("id").computed().describe("Path of the names."))
            .attr(Attr::string("uid").computed().describe("Survives nothing but the object itself."))
            .attr(Attr::int64("generation").computed().describe("Number of changes of the spec."))
            .attr(Attr::string("create_time").computed().describe("When it was created."))
            .attr(Attr::string("update_time").computed().describe("When its spec was changed."))
            .attr(
                Attr::nested_single("status", attributes(self.kind.status_schema(), Use::Read))
                    .computed()
                    .describe("What the server observes."),
            )
    }

    async fn read(&self, cx: &Context, to: &Connection, rq: DataRequest) -> DataAnswer {
        let name = rq.config.attr("name").as_str().unwrap_or_default();
        let ns = match rq.config.attr("namespace").as_str().or(to.namespace.as_deref()) {
            Some(ns) => ns,
            None if self.kind.namespaced => {
                return DataAnswer::failed(
                    Diagnostic::error("Which namespace?", "Set namespace here or in the provider block.")
                        .at(path!("namespace")),
                );
            }
            None => "",
        };
        let object = match cx.run(to.client.get(self.kind, ns, name)).await {
            Ok(Ok(object)) => object,
            Ok(Err(error)) if error.is_not_found() => {
                let text = format!("There is no {} with the id {}.", self.kind.name, self.kind.id(ns, name));
                return DataAnswer::failed(Diagnostic::error("Not found", text).at(path!("name")));
            }
            Ok(Err(error)) => return DataAnswer::failed(report::plain("Cannot be read", &error)),
            Err(interrupted) => return DataAnswer::failed(Diagnostic::error("Not read", interrupted.to_string())),
        };
        let mut state = Object::new();
        for attr in self.schema().body.attrs {
            let json = object.0.get(&attr.name).unwrap_or(&Json::Null);
            state.set(attr.name.clone(), from_json(&attr.kind, json));
        }
        state.set("name", name);
        if self.kind.namespaced {
            state.set("namespace", ns);
        }
        DataAnswer::state(state)
    }
}
