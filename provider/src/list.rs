//! The list of every kind, for `terraform query`.

use crate::report;
use crate::resource::KindResource;
use crate::settings::Connection;
use sampan_schema::Kind;
use sampan_schema::name::is_name;
use std::sync::OnceLock;
use tf_plugin::{
    Attr, Context, Diagnostic, Diagnostics, ListRequest, ListResource, ListSink, Listed, Object, Schema, path,
};

/// The list of a kind.
pub(crate) struct KindList {
    kind: &'static Kind,
    type_name: String,
    /// Made at the first list: most processes list nothing.
    resource: OnceLock<KindResource>,
}

impl KindList {
    pub(crate) fn new(kind: &'static Kind) -> Self {
        Self { kind, type_name: format!("sampan_{}", kind.name), resource: OnceLock::new() }
    }
}

impl ListResource<Connection> for KindList {
    fn type_name(&self) -> &str {
        &self.type_name
    }

    fn schema(&self) -> Schema {
        let schema = Schema::new(0).describe(self.kind.about);
        if !self.kind.namespaced {
            return schema;
        }
        let namespace = Attr::string("namespace").optional();
        schema.attr(namespace.describe("Where to look; null means the provider's namespace."))
    }

    async fn validate(&self, _: &Context, config: &Object, d: &mut Diagnostics) {
        if let Some(ns) = config.attr("namespace").as_str().filter(|ns| !is_name(ns)) {
            d.error(path!("namespace"), "Invalid namespace", format!("{ns:?} is no name of a namespace."));
        }
    }

    async fn list(&self, cx: &Context, to: &Connection, rq: ListRequest, out: ListSink) {
        let given = rq.config.attr("namespace").as_str().or(to.namespace.as_deref());
        let ns = match given {
            _ if !self.kind.namespaced => "",
            Some(ns) => ns,
            None => {
                let text = "Set namespace here or in the provider block.";
                let missing = Diagnostic::error("Which namespace?", text).at(path!("namespace"));
                out.push(Listed::failed(missing)).await;
                return;
            }
        };
        let all = match cx.run(to.client.list(self.kind, ns)).await {
            Ok(Ok(all)) => all,
            Ok(Err(error)) => {
                out.push(Listed::failed(report::plain("The objects cannot be listed", &error))).await;
                return;
            }
            Err(why) => {
                out.push(Listed::failed(Diagnostic::error("Nothing was listed", why.to_string()))).await;
                return;
            }
        };
        for remote in all {
            let name = remote.get("name").as_str().unwrap_or_default().to_owned();
            let mut identity = Object::new().with("name", name.as_str());
            if self.kind.namespaced {
                identity.set("namespace", ns);
            }
            let mut found = Listed::new(self.kind.id(ns, &name), identity);
            if rq.include_resource {
                let resource = self.resource.get_or_init(|| KindResource::new(self.kind));
                found = found.with_resource(resource.observed(to, &Object::new(), (ns, &name), &remote));
            }
            if !out.push(found).await {
                return;
            }
        }
    }
}
