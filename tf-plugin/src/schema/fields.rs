//! Walks over what a schema declares and what an object holds.

use std::collections::{BTreeMap, BTreeSet};

use super::{Attr, Block, Body, Kind, Nesting};
use crate::diagnostic::Diagnostics;
use crate::path::{Path, Step};
use crate::validate::Rule;
use crate::value::{Object, Value};

/// Attributes and blocks of one level.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    pub(crate) attrs: &'a [Attr],
    pub(crate) blocks: &'a [Block],
}

/// An attribute or a block.
#[derive(Clone, Copy)]
pub(crate) enum Field<'a> {
    Attr(&'a Attr),
    Block(&'a Block),
}

impl<'a> Fields<'a> {
    pub(super) fn of(body: &'a Body) -> Self {
        Self { attrs: &body.attrs, blocks: &body.blocks }
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Field<'a>> {
        self.attrs.iter().map(Field::Attr).chain(self.blocks.iter().map(Field::Block))
    }

    /// Whether the answer is yes for an attribute here or below.
    pub(crate) fn any(self, test: &dyn Fn(&Attr) -> bool) -> bool {
        self.iter().any(|f| f.attr().is_some_and(test) || f.nested().is_some_and(|(_, below)| below.any(test)))
    }

    /// The field that a path of names leads to.
    pub(super) fn find(self, names: &[&str]) -> Option<Field<'a>> {
        let (first, rest) = names.split_first()?;
        let field = self.iter().find(|f| f.name() == *first)?;
        match (rest.is_empty(), field.nested(), field) {
            (true, ..) => Some(field),
            (false, Some((_, below)), _) => below.find(rest),
            // Names below that are attributes of a plain object type, or whatever a dynamic value has.
            (false, None, Field::Attr(a)) if matches!(a.kind, Kind::Object(_) | Kind::Dynamic) => Some(field),
            _ => None,
        }
    }
}

impl<'a> Field<'a> {
    pub(crate) fn name(self) -> &'a str {
        match self {
            Self::Attr(a) => &a.name,
            Self::Block(b) => &b.name,
        }
    }

    pub(crate) fn attr(self) -> Option<&'a Attr> {
        if let Self::Attr(a) = self { Some(a) } else { None }
    }

    /// What is within, unless the field is a plain attribute.
    pub(crate) fn nested(self) -> Option<(Nesting, Fields<'a>)> {
        match self {
            Self::Attr(a) => a.nested_attrs().map(|(nesting, attrs)| (nesting, Fields { attrs, blocks: &[] })),
            Self::Block(b) => Some((b.nesting, Fields::of(&b.body))),
        }
    }

    pub(crate) fn computed(self) -> bool {
        match self {
            Self::Attr(a) => a.computed,
            Self::Block(b) => b.computed,
        }
    }

    pub(crate) fn write_only(self) -> bool {
        self.attr().is_some_and(|a| a.write_only)
    }

    pub(super) fn rules(self) -> &'a [Rule] {
        match self {
            Self::Attr(a) => &a.rules,
            Self::Block(b) => &b.body.rules,
        }
    }
}

/// The objects that a nested value consists of, with the step that leads to each; nothing for [`Nesting::Single`].
pub(crate) fn objects(value: &Value) -> Vec<(Option<Step>, &Object)> {
    match value {
        Value::Object(o) => vec![(None, o)],
        Value::List(e) => {
            e.iter().enumerate().filter_map(|(i, v)| Some((Some(Step::Index(i)), v.as_object()?))).collect()
        }
        Value::Set(s) => {
            s.iter().filter_map(|v| Some((Some(Step::Element(Box::new(v.clone()))), v.as_object()?))).collect()
        }
        Value::Map(m) => m.iter().filter_map(|(k, v)| Some((Some(Step::Key(k.clone())), v.as_object()?))).collect(),
        _ => Vec::new(),
    }
}

/// Visits the values of all attributes, outermost first.
pub(super) fn visit(fields: Fields<'_>, object: &Object, path: &mut Path, f: &mut dyn FnMut(&Attr, &Value, &Path)) {
    for field in fields.iter() {
        let value = object.attr(field.name());
        path.push(Step::Attr(field.name().to_owned()));
        if let Some(attr) = field.attr() {
            f(attr, value, path);
        }
        if let Some((_, below)) = field.nested() {
            for (step, object) in objects(value) {
                path.down(step, |path| visit(below, object, path, f));
            }
        }
        path.pop();
    }
}

pub(super) fn number_fits(kind: &Kind, number: &crate::value::Number) -> Result<(), String> {
    let float = number.to_f64_lossy();
    match kind {
        Kind::Int64 => number.to_i64().map(drop).map_err(|e| format!("{e}.")),
        Kind::Int32 => number.to_i32().map(drop).map_err(|e| format!("{e}.")),
        Kind::Float64 if number.is_finite() && float.is_infinite() => {
            Err("The number is outside of the range of a 64-bit float.".to_owned())
        }
        Kind::Float32 if number.is_finite() && (float as f32).is_infinite() => {
            Err("The number is outside of the range of a 32-bit float.".to_owned())
        }
        _ => Ok(()),
    }
}

pub(super) fn validate_fields(
    fields: Fields<'_>,
    rules: &[Rule],
    object: &Object,
    path: &mut Path,
    d: &mut Diagnostics,
) {
    for field in fields.iter() {
        let value = object.attr(field.name());
        path.push(Step::Attr(field.name().to_owned()));
        for validator in field.attr().map(|a| a.validators.as_slice()).unwrap_or_default() {
            validator.run(value, path, d);
        }
        if let Some((_, below)) = field.nested() {
            for (step, object) in objects(value) {
                path.down(step, |path| validate_fields(below, field.rules(), object, path, d));
            }
        }
        path.pop();
    }
    if rules.is_empty() {
        return;
    }
    // Rules see blocks that are not there as null, as they see attributes.
    let mut seen = object.clone();
    for block in fields.blocks {
        let value = object.attr(&block.name);
        if *value == block.empty_value() {
            seen.set(block.name.clone(), Value::Null);
        }
    }
    for rule in rules {
        rule.run(&seen, path, d);
    }
}

pub(super) fn add_secret(text: &str, found: &mut BTreeSet<String>) {
    let escaped = format!("{text:?}");
    let lines = text.lines().map(str::trim).filter(|l| text.contains('\n') && l.len() >= 8);
    found.extend(lines.map(str::to_owned));
    for form in [text, text.trim(), &escaped[1..escaped.len() - 1]] {
        if !form.is_empty() {
            found.insert(form.to_owned());
        }
    }
}

pub(super) fn take_fields(fields: Fields<'_>, object: &mut Object) -> Object {
    let mut taken = Object::new();
    for field in fields.iter() {
        let name = field.name();
        if field.write_only() {
            let value = object.take(name);
            if !value.is_null() {
                taken.set(name, value);
            }
        } else if let Some((_, below)) = field.nested()
            && below.any(&|a| a.write_only)
            && let Some(value) = object.get_mut(name)
            && let Some(found) = take_nested(below, value)
        {
            taken.set(name, found);
        }
    }
    taken
}

/// What was taken out of a nested value, unless that is nothing.
pub(super) fn take_nested(fields: Fields<'_>, value: &mut Value) -> Option<Value> {
    match value {
        Value::Object(o) => Some(take_fields(fields, o)).filter(|t| !t.is_empty()).map(Value::Object),
        Value::List(elements) => {
            let taken: Vec<Option<Value>> = elements.iter_mut().map(|v| take_nested(fields, v)).collect();
            let any = taken.iter().any(Option::is_some);
            any.then(|| Value::list(taken.into_iter().map(|v| v.unwrap_or_else(|| Object::new().into()))))
        }
        Value::Map(elements) => {
            let taken: BTreeMap<String, Value> =
                elements.iter_mut().filter_map(|(k, v)| Some((k.clone(), take_nested(fields, v)?))).collect();
            (!taken.is_empty()).then_some(Value::Map(taken))
        }
        // The schema check forbids it; what is there all the same must not be stored.
        Value::Set(elements) => {
            let mut elements = std::mem::take(elements).into_vec();
            for v in &mut elements {
                take_nested(fields, v);
            }
            *value = Value::set(elements);
            None
        }
        _ => None,
    }
}
