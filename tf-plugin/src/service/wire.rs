//! Between the types of this crate and the messages of the protocol.

use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::identity::IdentitySchema;
use crate::log::Secrets;
use crate::path::{Path, Step};
use crate::proto::tfplugin6 as pb;
use crate::proto::tfplugin6::attribute_path::step::Selector;
use crate::schema::{Attr, Block, Body, Kind, Nesting, Schema};
use crate::value::{Object, Type, Value};
use crate::{json, msgpack};

/// Reads an object or null. An absent message is null.
pub(crate) fn object(value: Option<&pb::DynamicValue>, ty: &Type) -> Result<Option<Object>, Diagnostic> {
    match value {
        None => Ok(None),
        Some(v) if !v.msgpack.is_empty() => msgpack::decode_object(&v.msgpack, ty),
        Some(v) if !v.json.is_empty() => json::decode_object(&v.json, ty, json::Attributes::Exact),
        Some(_) => Ok(None),
    }
}

/// Writes an object or null.
pub(crate) fn value(object: Option<&Object>, ty: &Type) -> Result<pb::DynamicValue, Diagnostic> {
    Ok(pb::DynamicValue { msgpack: msgpack::encode_object(object, ty)?.into(), json: Default::default() })
}

/// Reads one value of a type. An absent message is null.
pub(crate) fn single(value: Option<&pb::DynamicValue>, ty: &Type) -> Result<Value, Diagnostic> {
    match value {
        Some(v) if !v.msgpack.is_empty() => msgpack::decode(&v.msgpack, ty),
        Some(v) if !v.json.is_empty() => json::decode(&v.json, ty, json::Attributes::Exact),
        _ => Ok(Value::Null),
    }
}

/// Writes one value of a type.
pub(crate) fn dynamic(value: &Value, ty: &Type) -> Result<pb::DynamicValue, Diagnostic> {
    Ok(pb::DynamicValue { msgpack: msgpack::encode(value, ty)?.into(), json: Default::default() })
}

/// Reads an identity; nothing where there is none.
pub(crate) fn identity(
    data: Option<&pb::ResourceIdentityData>,
    schema: &IdentitySchema,
) -> Result<Option<Object>, Diagnostic> {
    object(data.and_then(|data| data.identity_data.as_ref()), &schema.object_type())
}

/// Writes an identity.
pub(crate) fn identity_data(
    identity: &Object,
    schema: &IdentitySchema,
) -> Result<pb::ResourceIdentityData, Diagnostic> {
    Ok(pb::ResourceIdentityData { identity_data: Some(value(Some(identity), &schema.object_type())?) })
}

/// A null, which fits every type.
pub(crate) fn null() -> pb::DynamicValue {
    pb::DynamicValue { msgpack: vec![0xc0].into(), json: Default::default() }
}

/// Steps of a place; nothing for the root.
pub(crate) fn path(steps: &[Step]) -> pb::AttributePath {
    let step = |step: &Step| {
        let selector = match step {
            Step::Attr(name) => Selector::AttributeName(name.clone()),
            Step::Key(key) => Selector::ElementKeyString(key.clone()),
            Step::Index(index) => Selector::ElementKeyInt(i64::try_from(*index).unwrap_or(i64::MAX)),
            Step::Element(_) => return None,
        };
        Some(pb::attribute_path::Step { selector: Some(selector) })
    };
    pb::AttributePath { steps: steps.iter().map_while(step).collect() }
}

/// The place that a message names.
#[cfg(feature = "testkit")]
pub(crate) fn read_path(path: &pb::AttributePath) -> Path {
    let step = |step: &pb::attribute_path::Step| {
        Some(match step.selector.as_ref()? {
            Selector::AttributeName(name) => Step::Attr(name.clone()),
            Selector::ElementKeyString(key) => Step::Key(key.clone()),
            Selector::ElementKeyInt(index) => Step::Index(usize::try_from(*index).ok()?),
        })
    };
    Path::from_steps(path.steps.iter().filter_map(step))
}

/// Places for `requires_replace`.
pub(crate) fn paths<'a>(places: impl IntoIterator<Item = &'a Path>) -> Vec<pb::AttributePath> {
    places.into_iter().map(|place| path(place.wire_steps())).collect()
}

/// Diagnostics without any value that is known to be secret.
pub(crate) fn diagnostics(all: Diagnostics, secrets: &Secrets) -> Vec<pb::Diagnostic> {
    let one = |d: Diagnostic| {
        let severity = match d.severity {
            Severity::Error => pb::diagnostic::Severity::Error,
            Severity::Warning => pb::diagnostic::Severity::Warning,
        };
        let (steps, detail) = d.wire();
        pb::Diagnostic {
            severity: severity.into(),
            summary: secrets.mask(&d.summary),
            detail: secrets.mask(&detail),
            attribute: (!steps.is_empty()).then(|| path(steps)),
        }
    };
    all.into_iter().map(one).collect()
}

/// A schema as Terraform reads it.
pub(crate) fn schema(schema: &Schema) -> pb::Schema {
    pb::Schema { version: schema.version, block: Some(body(&schema.body, false)) }
}

fn body(body: &Body, computed: bool) -> pb::schema::Block {
    pb::schema::Block {
        version: 0,
        attributes: body.attrs.iter().map(attribute).collect(),
        block_types: body.blocks.iter().map(block).collect(),
        description: body.description.clone(),
        description_kind: pb::StringKind::Markdown.into(),
        deprecated: body.deprecated.is_some(),
        deprecation_message: body.deprecated.clone().unwrap_or_default(),
        computed,
    }
}

fn attribute(attr: &Attr) -> pb::schema::Attribute {
    // Exactly one of the two is set; Terraform refuses the provider otherwise.
    let (ty, nested_type) = match &attr.kind {
        Kind::Nested(nesting, attrs) => {
            use pb::schema::object::NestingMode;
            let nesting = match nesting {
                Nesting::Single | Nesting::Group => NestingMode::Single,
                Nesting::List => NestingMode::List,
                Nesting::Set => NestingMode::Set,
                Nesting::Map => NestingMode::Map,
            };
            let attributes = attrs.iter().map(attribute).collect();
            let object = pb::schema::Object { attributes, nesting: nesting.into(), ..Default::default() };
            (Vec::new(), Some(object))
        }
        _ => (json::encode_type(&attr.wire_type()), None),
    };
    pb::schema::Attribute {
        name: attr.name.clone(),
        r#type: ty.into(),
        nested_type,
        description: attr.description.clone(),
        required: attr.required,
        optional: attr.optional,
        computed: attr.computed,
        sensitive: attr.sensitive,
        description_kind: pb::StringKind::Markdown.into(),
        deprecated: attr.deprecated.is_some(),
        write_only: attr.write_only,
        deprecation_message: attr.deprecated.clone().unwrap_or_default(),
    }
}

fn block(block: &Block) -> pb::schema::NestedBlock {
    use pb::schema::nested_block::NestingMode;
    let nesting = match block.nesting {
        Nesting::Single => NestingMode::Single,
        Nesting::List => NestingMode::List,
        Nesting::Set => NestingMode::Set,
        Nesting::Map => NestingMode::Map,
        Nesting::Group => NestingMode::Group,
    };
    pb::schema::NestedBlock {
        type_name: block.name.clone(),
        block: Some(body(&block.body, block.computed)),
        nesting: nesting.into(),
        min_items: i64::try_from(block.min_items).unwrap_or(i64::MAX),
        max_items: i64::try_from(block.max_items).unwrap_or(i64::MAX),
    }
}
