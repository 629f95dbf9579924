//! Metadata and schemas.

use super::{Inner, wire};
use crate::diagnostic::Diagnostics;
use crate::proto::tfplugin6 as pb;
use crate::proto::{SchemaAnswer, SchemaFields};
use crate::provider::Provider;
use crate::schema::{Schema, Usage};

/// What every provider of this crate can do.
fn capabilities() -> pb::ServerCapabilities {
    pb::ServerCapabilities {
        plan_destroy: true,
        get_provider_schema_optional: true,
        move_resource_state: true,
        generate_resource_config: true,
    }
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
            functions: (registry.functions.keys())
                .map(|name| pb::get_metadata::FunctionMetadata { name: name.clone() })
                .collect(),
            ephemeral_resources: (registry.ephemerals.keys())
                .map(|name| pb::get_metadata::EphemeralMetadata { type_name: name.clone() })
                .collect(),
            list_resources: (registry.lists.keys())
                .map(|name| pb::get_metadata::ListResourceMetadata { type_name: name.clone() })
                .collect(),
            actions: (registry.actions.keys())
                .map(|name| pb::get_metadata::ActionMetadata { type_name: name.clone() })
                .collect(),
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
        for problem in registry.problems() {
            d.error(None, "Invalid provider", problem);
        }
        let mut checked = |what: String, schema: &Schema, usage: Usage| {
            if let Err(found) = schema.check_for(usage) {
                d.error(None, "Invalid schema", format!("{what}: {found}"));
            }
            wire::schema(schema)
        };
        let mut fields = SchemaFields {
            provider: Some(checked("provider".to_owned(), self.schema(), Usage::Other)),
            provider_meta: self.meta_schema().map(|meta| checked("provider_meta".to_owned(), meta, Usage::Other)),
            server_capabilities: Some(capabilities()),
            functions: self.functions(),
            ..Default::default()
        };
        for (name, entry) in &registry.resources {
            let schema = checked(format!("resource {name}"), entry.schema(), Usage::Resource);
            fields.resource_schemas.insert(name.clone(), schema);
        }
        for (name, entry) in &registry.data_sources {
            let schema = checked(format!("data source {name}"), entry.schema(), Usage::Other);
            fields.data_source_schemas.insert(name.clone(), schema);
        }
        for (name, entry) in &registry.ephemerals {
            let schema = checked(format!("ephemeral resource {name}"), entry.schema(), Usage::Ephemeral);
            fields.ephemeral_resource_schemas.insert(name.clone(), schema);
        }
        for (name, entry) in &registry.lists {
            let schema = checked(format!("list resource {name}"), entry.schema(), Usage::Arguments);
            fields.list_resource_schemas.insert(name.clone(), schema);
        }
        for (name, entry) in &registry.actions {
            let schema = Some(checked(format!("action {name}"), entry.schema(), Usage::Arguments));
            fields.action_schemas.insert(name.clone(), pb::ActionSchema { schema });
        }
        fields.diagnostics = self.wire(d);
        fields
    }
}
