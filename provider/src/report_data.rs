//! One data source over all reports: what the platform says beside the nouns.

use crate::mapping::{Use, attributes, from_json};
use crate::report;
use crate::settings::Connection;
use sampan_schema::report::Report;
use serde_json::{Value as Json, json};
use tf_plugin::{Attr, Context, DataAnswer, DataRequest, DataSource, Diagnostic, Object, Path, Schema, path};

/// The data source of a report.
pub(crate) struct ReportData {
    report: &'static Report,
    type_name: String,
}

impl ReportData {
    pub(crate) fn new(report: &'static Report) -> Self {
        Self { report, type_name: format!("sampan_{}", report.name) }
    }

    fn argument(&self) -> Path {
        Path::attr(self.report.argument.0)
    }
}

impl DataSource<Connection> for ReportData {
    fn type_name(&self) -> &str {
        &self.type_name
    }

    fn schema(&self) -> Schema {
        let (argument, about) = self.report.argument;
        let mut schema =
            Schema::new(0).describe(self.report.about).attr(Attr::string(argument).required().describe(about));
        if self.report.namespaced {
            let text = "Namespace of the application. Null means the provider's.";
            schema = schema.attr(Attr::string("namespace").optional().computed().describe(text));
        }
        let read = attributes(&self.report.schema(), Use::Read);
        schema.attrs(read.into_iter().filter(|attr| attr.name != argument))
    }

    async fn read(&self, cx: &Context, to: &Connection, rq: DataRequest) -> DataAnswer {
        let name = rq.config.attr(self.report.argument.0).as_str().unwrap_or_default();
        let ns = match rq.config.attr("namespace").as_str().or(to.namespace.as_deref()) {
            _ if !self.report.namespaced => "",
            Some(ns) => ns,
            None => {
                let text = "Set namespace here or in the provider block.";
                return DataAnswer::failed(Diagnostic::error("Which namespace?", text).at(path!("namespace")));
            }
        };
        let mut read: Json = match cx.run(to.client.call(self.report.endpoint, (ns, name), &[], None)).await {
            Ok(Ok(read)) => read,
            Ok(Err(error)) if error.is_not_found() => {
                return DataAnswer::failed(report::plain("Not found", &error).at(self.argument()));
            }
            Ok(Err(error)) => return DataAnswer::failed(report::plain("Cannot be read", &error)),
            Err(interrupted) => return DataAnswer::failed(Diagnostic::error("Not read", interrupted.to_string())),
        };
        if let Some((list, _)) = self.report.list {
            read = json!({ list: read.get_mut("items").map(Json::take) });
        }
        let mut state = Object::new();
        for attr in self.schema().body.attrs {
            let json = read.get(&attr.name).unwrap_or(&Json::Null);
            state.set(attr.name.clone(), from_json(&attr.kind, json));
        }
        state.set(self.report.argument.0, name);
        if self.report.namespaced {
            state.set("namespace", ns);
        }
        DataAnswer::state(state)
    }
}
