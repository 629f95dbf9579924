//! Whether a schema is one that Terraform takes.

use std::collections::BTreeSet;

use super::fields::number_fits;
use super::{Attr, Block, Field, Fields, Kind, Nesting, Replace, Schema};
use crate::diagnostic::Diagnostics;
use crate::path::{Path, Step};
use crate::validate::Rule;

pub(super) const INVALID: &str = "Invalid schema";

/// Names that the language takes at the root of a resource or data source.
pub(super) const RESERVED: [&str; 7] =
    ["count", "depends_on", "for_each", "lifecycle", "provider", "provisioner", "connection"];

/// What the level is within.
#[derive(Clone, Copy, Default)]
pub(super) struct Within {
    set: bool,
    write_only: bool,
}

pub(super) fn check_fields(
    schema: &Schema,
    fields: Fields<'_>,
    rules: &[Rule],
    path: &mut Path,
    within: Within,
    d: &mut Diagnostics,
) {
    let mut names = BTreeSet::new();
    for field in fields.iter() {
        let name = field.name();
        path.push(Step::Attr(name.to_owned()));
        let mut wrong = |text: &str| d.error(path.clone(), INVALID, text);
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
            wrong("a name consists of lowercase letters, digits and underscores");
        } else if name.starts_with(|c: char| c.is_ascii_digit()) {
            wrong("a name does not begin with a digit");
        }
        if !names.insert(name) {
            wrong("the name is there twice");
        }
        match field {
            Field::Attr(attr) => check_attr(schema, attr, within, &mut wrong),
            Field::Block(block) => check_block(block, within, &mut wrong),
        }
        if let Some((nesting, below)) = field.nested() {
            let within = Within {
                set: within.set || nesting == Nesting::Set,
                write_only: within.write_only || field.write_only(),
            };
            check_fields(schema, below, field.rules(), path, within, d);
        }
        path.pop();
    }
    for name in rules.iter().flat_map(Rule::names).filter(|n| !names.contains(n.as_str())) {
        d.error(path.clone(), INVALID, format!("a rule is about {name:?}, which is not there"));
    }
}

pub(super) fn check_attr(schema: &Schema, attr: &Attr, within: Within, wrong: &mut dyn FnMut(&str)) {
    let Attr { required, optional, computed, write_only, .. } = *attr;
    if !(required || optional || computed) {
        wrong("it is neither required nor optional nor computed");
    }
    if required && (optional || computed) {
        wrong("required excludes optional, computed and a default");
    }
    if write_only && computed {
        wrong("a write-only attribute is not computed and has no default, since nothing is stored for it");
    }
    if within.write_only && computed {
        wrong("within a write-only attribute nothing is computed");
    }
    if within.set && write_only {
        wrong("a set does not contain write-only attributes");
    }
    if within.set && attr.wire_type().has_dynamic() {
        wrong("a set does not contain dynamic attributes");
    }
    match &attr.kind {
        Kind::Set(element) if element.has_dynamic() => wrong("a set does not contain dynamic values"),
        Kind::Nested(Nesting::Group, _) => wrong("only blocks have the nesting of a group"),
        Kind::Nested(..) => {}
        _ if !attr.rules.is_empty() => wrong("only nested attributes have rules; others have validators"),
        _ => {}
    }
    let keeps = attr.keep_state || attr.keep_non_null_state;
    if keeps && !computed {
        wrong("only a computed attribute keeps its state");
    }
    if keeps && attr.default.is_some() {
        wrong("an attribute with a default does not keep its state");
    }
    if !attr.unknown_when.is_empty() && !keeps {
        wrong("unknown_when is for attributes that keep their state");
    }
    for place in &attr.unknown_when {
        let names: Vec<&str> = place.attribute_names().collect();
        if schema.fields().find(&names).is_none() {
            wrong(&format!("unknown_when names {place}, which is not in the schema"));
        }
    }
    if let Some(default) = &attr.default {
        if !computed {
            wrong("an attribute with a default is computed");
        }
        if default.is_null() || !default.is_wholly_known() {
            wrong("a default is known and not null");
        }
        if let Err((place, why)) = default.conforms(&attr.wire_type()) {
            let at = if place.is_root() { String::new() } else { format!(" at {place}") };
            wrong(&format!("the default is not of the type{at}: {why}"));
        }
        if let Some(Err(why)) = default.as_number().map(|n| number_fits(&attr.kind, n)) {
            wrong(&format!("the default does not fit: {why}"));
        }
        let mut d = Diagnostics::new();
        attr.validators.iter().filter(|v| v.problem().is_none()).for_each(|v| v.run(default, &Path::root(), &mut d));
        if d.has_errors() {
            wrong(&format!("the default is refused by a validator: {d}"));
        }
    }
    if write_only && !matches!(attr.replace, Replace::Never) {
        wrong("a write-only attribute is never seen to change, so it cannot replace the resource");
    }
    for problem in attr.validators.iter().filter_map(|v| v.problem()) {
        wrong(&format!("a validator cannot work: {problem}"));
    }
}

pub(super) fn check_block(block: &Block, within: Within, wrong: &mut dyn FnMut(&str)) {
    let (min, max) = (block.min_items, block.max_items);
    let good = match block.nesting {
        Nesting::Single => min == max && max <= 1,
        Nesting::Group | Nesting::Map => min == 0 && max == 0,
        Nesting::List | Nesting::Set => max == 0 || min <= max,
    };
    if !good {
        wrong("the limits of the number of blocks do not fit the nesting");
    }
    if within.write_only {
        wrong("a write-only attribute holds no blocks");
    }
}
