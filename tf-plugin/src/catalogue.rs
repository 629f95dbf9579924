//! What a provider offers, for whoever writes its documentation. Needs no process and no configuration.

use crate::function::FunctionDef;
use crate::provider::{Provider, Registry};
use crate::schema::Schema;
use std::collections::BTreeMap;

/// Schemas and definitions by type name.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Catalogue {
    /// The provider block.
    pub provider: Schema,
    /// Resources.
    pub resources: BTreeMap<String, Schema>,
    /// Data sources.
    pub data_sources: BTreeMap<String, Schema>,
    /// Ephemeral resources.
    pub ephemeral_resources: BTreeMap<String, Schema>,
    /// Actions.
    pub actions: BTreeMap<String, Schema>,
    /// List resources.
    pub list_resources: BTreeMap<String, Schema>,
    /// Functions.
    pub functions: BTreeMap<String, FunctionDef>,
}

impl Catalogue {
    /// Everything that a provider registers.
    pub fn of<P: Provider>(provider: &P) -> Self {
        let registry = Registry::of(provider);
        let named = |(name, schema): (&String, &Schema)| (name.clone(), schema.clone());
        Self {
            provider: provider.schema(),
            resources: registry.resources.iter().map(|(name, e)| named((name, e.schema()))).collect(),
            data_sources: registry.data_sources.iter().map(|(name, e)| named((name, e.schema()))).collect(),
            ephemeral_resources: registry.ephemerals.iter().map(|(name, e)| named((name, e.schema()))).collect(),
            actions: registry.actions.iter().map(|(name, e)| named((name, e.schema()))).collect(),
            list_resources: registry.lists.iter().map(|(name, e)| named((name, e.schema()))).collect(),
            functions: registry.functions.iter().map(|(name, f)| (name.clone(), f.definition())).collect(),
        }
    }
}
