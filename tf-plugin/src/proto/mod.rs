//! The wire messages and services, generated from `proto/*.proto`.
//!
//! Most code does not need them: the traits of the crate work on values. They are public for tools and test clients.

use bytes::{Buf, BufMut, Bytes};
use prost::DecodeError;
use prost::Message;
use prost::encoding::{DecodeContext, WireType};
use std::collections::BTreeMap;

/// Messages and service of Terraform plugin protocol 6.
#[allow(clippy::all, clippy::pedantic, missing_docs)]
pub mod tfplugin6 {
    tonic::include_proto!("tfplugin6");
}

/// The services of a go-plugin host beside the provider's own.
#[allow(clippy::all, clippy::pedantic, missing_docs)]
pub mod goplugin {
    tonic::include_proto!("plugin");
}

/// The standard gRPC health service.
#[allow(clippy::all, clippy::pedantic, missing_docs)]
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}

/// Largest message, both ways, in bytes: what HashiCorp's Go server takes.
pub const MESSAGE_LIMIT: usize = 256 << 20;

/// The fields of the schema answer, by the numbers of the protocol.
#[derive(Clone, PartialEq, Message)]
pub struct SchemaFields {
    /// Schema of the provider block.
    #[prost(message, optional, tag = "1")]
    pub provider: Option<tfplugin6::Schema>,
    /// Schemas of resources by type name.
    #[prost(btree_map = "string, message", tag = "2")]
    pub resource_schemas: BTreeMap<String, tfplugin6::Schema>,
    /// Schemas of data sources by type name.
    #[prost(btree_map = "string, message", tag = "3")]
    pub data_source_schemas: BTreeMap<String, tfplugin6::Schema>,
    /// Findings about the schemas themselves.
    #[prost(message, repeated, tag = "4")]
    pub diagnostics: Vec<tfplugin6::Diagnostic>,
    /// Schema of `provider_meta`, if any.
    #[prost(message, optional, tag = "5")]
    pub provider_meta: Option<tfplugin6::Schema>,
    /// What the provider can do.
    #[prost(message, optional, tag = "6")]
    pub server_capabilities: Option<tfplugin6::ServerCapabilities>,
    /// Functions by name.
    #[prost(btree_map = "string, message", tag = "7")]
    pub functions: BTreeMap<String, tfplugin6::Function>,
    /// Schemas of ephemeral resources by type name.
    #[prost(btree_map = "string, message", tag = "8")]
    pub ephemeral_resource_schemas: BTreeMap<String, tfplugin6::Schema>,
    /// Schemas of list resources by type name.
    #[prost(btree_map = "string, message", tag = "9")]
    pub list_resource_schemas: BTreeMap<String, tfplugin6::Schema>,
    /// Schemas of state stores by type name.
    #[prost(btree_map = "string, message", tag = "10")]
    pub state_store_schemas: BTreeMap<String, tfplugin6::Schema>,
    /// Schemas of actions by type name.
    #[prost(btree_map = "string, message", tag = "11")]
    pub action_schemas: BTreeMap<String, tfplugin6::ActionSchema>,
}

/// The schema answer: fields when it was received, finished bytes when it is sent, so it is encoded once per process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SchemaAnswer {
    encoded: Option<Bytes>,
    /// The decoded fields; empty in an answer made by [`SchemaAnswer::encode_once`].
    pub fields: SchemaFields,
}

impl SchemaAnswer {
    /// Encodes the fields; clones of the result share the bytes.
    pub fn encode_once(fields: &SchemaFields) -> Self {
        Self { encoded: Some(fields.encode_to_vec().into()), fields: SchemaFields::default() }
    }
}

impl Message for SchemaAnswer {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        match &self.encoded {
            Some(bytes) => buf.put_slice(bytes),
            None => self.fields.encode_raw(buf),
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        self.fields.merge_field(tag, wire_type, buf, ctx)
    }

    fn encoded_len(&self) -> usize {
        self.encoded.as_ref().map_or_else(|| self.fields.encoded_len(), Bytes::len)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}
