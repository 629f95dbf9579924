//! Metadata and schemas.

use super::{Inner, wire};
use crate::diagnostic::Diagnostics;
use crate::proto::tfplugin6 as pb;
use crate::proto::{SchemaAnswer, SchemaFields};
use crate::provider::Provider;
use crate::schema::Schema;

/// What every provider of this crate can do.
fn capabilities() -> pb::ServerCapabilities {
    pb::ServerCapabilities { plan_destroy: true, get_provider_schema_optional: true, ..Default::default() }
}

impl<P: Provider> Inner<P> {
    pub(super) fn metadata(&self) -> pb::get_metadata::Response {
        let registry = self.registry();
        let resource = |name: &String| pb::get_metadata::ResourceMetadata { type_name: name.clone() };
        let data_source = |name: &String| pb::get_metadata::DataSourceMetadata { type_name: name.clone() };
        pb::get_metadata::Response {
            server_capabilities: Some(capabilities()),
            resources: registry.resources.keys().map(resource).collect(),
            data_sources: registry.data_sources.keys().map(data_source).collect(),
            ..Default::default()
        }
    }

    /// Encoded once; later answers share the bytes.
    pub(super) fn schemas(&self) -> SchemaAnswer {
        self.answer.get_or_init(|| SchemaAnswer::encode_once(&self.fields())).clone()
    }

    fn fields(&self) -> SchemaFields {
        let registry = self.registry();
        let mut d = Diagnostics::new();
        for problem in &registry.problems {
            d.error(None, "Invalid provider", problem.clone());
        }
        let mut checked = |what: String, schema: &Schema| {
            if let Err(found) = schema.check() {
                d.error(None, "Invalid schema", format!("{what}: {found}"));
            }
            wire::schema(schema)
        };
        SchemaFields {
            provider: Some(checked("provider".to_owned(), self.schema())),
            resource_schemas: registry
                .resources
                .iter()
                .map(|(name, entry)| (name.clone(), checked(format!("resource {name}"), entry.schema())))
                .collect(),
            data_source_schemas: registry
                .data_sources
                .iter()
                .map(|(name, entry)| (name.clone(), checked(format!("data source {name}"), entry.schema())))
                .collect(),
            server_capabilities: Some(capabilities()),
            diagnostics: self.wire(d),
            ..Default::default()
        }
    }
}
