//! Schemas as they came over the wire, and configurations by them.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::identity::IdentitySchema;
use crate::json;
use crate::proto::tfplugin6 as pb;
use crate::schema::{Attr, Body, Kind, Nesting, Schema};
use crate::service::wire;
use crate::value::{Object, Value};

/// A configuration in which everything that was left out is null, or an absent block, at every depth.
pub(super) fn filled(schema: &Schema, config: Object) -> Object {
    filled_body(&schema.body, config)
}

fn filled_body(body: &Body, config: Object) -> Object {
    let mut all = body.empty_object();
    for (name, value) in config {
        let attr = body.attrs.iter().find(|attr| attr.name == name);
        let block = body.blocks.iter().find(|block| block.name == name);
        let value = match (attr, block) {
            (Some(attr), _) => filled_attr(attr, value),
            (None, Some(block)) => each_object(value, &|object| filled_body(&block.body, object)),
            // Core's codec says what is wrong with it.
            (None, None) => value,
        };
        all.set(name, value);
    }
    all
}

fn filled_attr(attr: &Attr, value: Value) -> Value {
    let Some((_, attrs)) = attr.nested_attrs() else { return value };
    each_object(value, &|mut object| {
        let mut all: Object = attrs.iter().map(|a| (a.name.clone(), filled_attr(a, object.take(&a.name)))).collect();
        for (name, value) in object.into_iter().filter(|(_, value)| !value.is_null()) {
            if all.get(&name).is_none() {
                all.set(name, value);
            }
        }
        all
    })
}

/// The same with every object of a nested value changed.
fn each_object(value: Value, change: &dyn Fn(Object) -> Object) -> Value {
    let one = |value: Value| match value {
        Value::Object(object) => Value::Object(change(object)),
        other => other,
    };
    match value {
        Value::List(items) => Value::list(items.into_iter().map(one)),
        Value::Set(items) => Value::set(items.into_iter().map(one)),
        Value::Map(items) => Value::map(items.into_iter().map(|(key, item)| (key, one(item)))),
        other => one(other),
    }
}

pub(super) fn read_diagnostics(all: Vec<pb::Diagnostic>) -> Diagnostics {
    let one = |d: pb::Diagnostic| {
        let path = d.attribute.as_ref().map(wire::read_path);
        let made = match d.severity() {
            pb::diagnostic::Severity::Warning => Diagnostic::warning(d.summary, d.detail),
            _ => Diagnostic::error(d.summary, d.detail),
        };
        made.at(path)
    };
    all.into_iter().map(one).collect()
}

/// An identity of the wire.
pub(super) fn read_identity(schema: &pb::ResourceIdentitySchema) -> Result<IdentitySchema, Diagnostic> {
    let mut read = IdentitySchema::new(schema.version);
    for attribute in &schema.identity_attributes {
        if attribute.required_for_import == attribute.optional_for_import {
            return Err(Diagnostic::error("identity attribute is neither required nor optional", &attribute.name));
        }
        let ty = json::decode_type(&attribute.r#type)?;
        read = if attribute.required_for_import {
            read.required(&attribute.name, ty)
        } else {
            read.optional(&attribute.name, ty)
        };
    }
    Ok(read)
}

/// A schema of the wire without what is not on the wire: defaults, modifiers, validators.
pub(super) fn read_schema(schema: &pb::Schema) -> Result<Schema, Diagnostic> {
    let empty = pb::schema::Block::default();
    Ok(Schema { version: schema.version, body: read_body(schema.block.as_ref().unwrap_or(&empty))? })
}

fn read_body(block: &pb::schema::Block) -> Result<Body, Diagnostic> {
    let mut body = Body::new().describe(block.description.clone());
    for attr in &block.attributes {
        body = body.attr(read_attribute(attr)?);
    }
    for nested in &block.block_types {
        use pb::schema::nested_block::NestingMode;
        let inner = read_body(nested.block.as_ref().unwrap_or(&pb::schema::Block::default()))?;
        let name = nested.type_name.as_str();
        let (min, max) = (nested.min_items.unsigned_abs(), nested.max_items.unsigned_abs());
        let mut made = match nested.nesting() {
            NestingMode::Single => crate::schema::Block::single(name, inner),
            NestingMode::List => crate::schema::Block::list(name, inner),
            NestingMode::Set => crate::schema::Block::set(name, inner),
            NestingMode::Map => crate::schema::Block::map(name, inner),
            NestingMode::Group => crate::schema::Block::group(name, inner),
            NestingMode::Invalid => return Err(Diagnostic::error("invalid nesting", name)),
        };
        (made.min_items, made.max_items) = (min, max);
        made.computed = nested.block.as_ref().is_some_and(|block| block.computed);
        body = body.block(made);
    }
    Ok(body)
}

fn read_attribute(attr: &pb::schema::Attribute) -> Result<Attr, Diagnostic> {
    let kind = match &attr.nested_type {
        Some(_) if !attr.r#type.is_empty() => {
            return Err(Diagnostic::error("Type and NestedType cannot both be set", attr.name.clone()));
        }
        Some(object) => {
            use pb::schema::object::NestingMode;
            let nesting = match object.nesting() {
                NestingMode::Single => Nesting::Single,
                NestingMode::List => Nesting::List,
                NestingMode::Set => Nesting::Set,
                NestingMode::Map => Nesting::Map,
                NestingMode::Invalid => return Err(Diagnostic::error("invalid nesting", attr.name.clone())),
            };
            Kind::Nested(nesting, object.attributes.iter().map(read_attribute).collect::<Result<_, _>>()?)
        }
        None => {
            use crate::value::Type;
            match json::decode_type(&attr.r#type)? {
                Type::String => Kind::String,
                Type::Bool => Kind::Bool,
                Type::Number => Kind::Number,
                Type::List(t) => Kind::List(*t),
                Type::Set(t) => Kind::Set(*t),
                Type::Map(t) => Kind::Map(*t),
                Type::Object(attributes) => Kind::Object(attributes),
                Type::Dynamic | Type::Tuple(_) => Kind::Dynamic,
            }
        }
    };
    let mut made = Attr::new(attr.name.clone(), kind).describe(attr.description.clone());
    made.required = attr.required;
    made.optional = attr.optional;
    made.computed = attr.computed;
    made.sensitive = attr.sensitive;
    made.write_only = attr.write_only;
    Ok(made)
}
