//! The types of Terraform values, and how a type is written for people.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A type, or a type constraint: `Dynamic` stands for "any one type, not known yet".
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// Not known, or any.
    Dynamic,
    /// `bool`
    Bool,
    /// `number`
    Number,
    /// `string`
    String,
    /// `list(T)`
    List(Arc<Type>),
    /// `set(T)`
    Set(Arc<Type>),
    /// `map(T)`
    Map(Arc<Type>),
    /// `tuple([…])`
    Tuple(Arc<[Type]>),
    /// `object({…})`
    Object(Arc<ObjectType>),
}

/// Attributes of an object type; `optional` only in constraints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ObjectType {
    /// Types by name.
    pub attributes: BTreeMap<Arc<str>, Type>,
    /// Attributes that may be absent.
    pub optional: BTreeSet<Arc<str>>,
}

impl Type {
    /// `list(element)`
    pub fn list(element: Self) -> Self {
        Self::List(Arc::new(element))
    }
    /// `set(element)`
    pub fn set(element: Self) -> Self {
        Self::Set(Arc::new(element))
    }
    /// `map(element)`
    pub fn map(element: Self) -> Self {
        Self::Map(Arc::new(element))
    }
    /// `tuple(elements)`
    pub fn tuple(elements: impl Into<Arc<[Self]>>) -> Self {
        Self::Tuple(elements.into())
    }
    /// `object(attributes)` without optional ones.
    pub fn object(attributes: BTreeMap<Arc<str>, Self>) -> Self {
        Self::Object(Arc::new(ObjectType { attributes, optional: BTreeSet::new() }))
    }

    /// Bool, number or string.
    pub fn is_primitive(&self) -> bool {
        matches!(self, Self::Bool | Self::Number | Self::String)
    }
    /// List, set or tuple.
    pub fn is_sequence(&self) -> bool {
        matches!(self, Self::List(_) | Self::Set(_) | Self::Tuple(_))
    }
    /// Map or object.
    pub fn is_mapping(&self) -> bool {
        matches!(self, Self::Map(_) | Self::Object(_))
    }
    /// Element type of a list, set or map.
    pub fn element(&self) -> Option<&Self> {
        match self {
            Self::List(t) | Self::Set(t) | Self::Map(t) => Some(t),
            _ => None,
        }
    }

    /// Whether some part is not known.
    pub fn has_dynamic(&self) -> bool {
        match self {
            Self::Dynamic => true,
            Self::Bool | Self::Number | Self::String => false,
            Self::List(t) | Self::Set(t) | Self::Map(t) => t.has_dynamic(),
            Self::Tuple(ts) => ts.iter().any(Self::has_dynamic),
            Self::Object(o) => o.attributes.values().any(Self::has_dynamic),
        }
    }

    /// The same type with every attribute required: the type that values have.
    pub fn without_optional(&self) -> Self {
        match self {
            Self::List(t) => Self::list(t.without_optional()),
            Self::Set(t) => Self::set(t.without_optional()),
            Self::Map(t) => Self::map(t.without_optional()),
            Self::Tuple(ts) => Self::tuple(ts.iter().map(Self::without_optional).collect::<Vec<_>>()),
            Self::Object(o) => {
                Self::object(o.attributes.iter().map(|(k, t)| (k.clone(), t.without_optional())).collect())
            }
            other => other.clone(),
        }
    }

    /// The kind alone, as Terraform's messages name it.
    pub fn friendly(&self) -> String {
        match self {
            Self::Dynamic => "dynamic".into(),
            Self::Bool => "bool".into(),
            Self::Number => "number".into(),
            Self::String => "string".into(),
            Self::List(t) => format!("list of {}", t.friendly()),
            Self::Set(t) => format!("set of {}", t.friendly()),
            Self::Map(t) => format!("map of {}", t.friendly()),
            Self::Tuple(_) => "tuple".into(),
            Self::Object(_) => "object".into(),
        }
    }
}

impl std::fmt::Display for Type {
    /// As a type constraint is written.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dynamic => f.write_str("any"),
            Self::Bool => f.write_str("bool"),
            Self::Number => f.write_str("number"),
            Self::String => f.write_str("string"),
            Self::List(t) => write!(f, "list({t})"),
            Self::Set(t) => write!(f, "set({t})"),
            Self::Map(t) => write!(f, "map({t})"),
            Self::Tuple(ts) => {
                f.write_str("tuple([")?;
                for (i, t) in ts.iter().enumerate() {
                    write!(f, "{}{t}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str("])")
            }
            Self::Object(o) => {
                f.write_str("object({")?;
                for (i, (name, t)) in o.attributes.iter().enumerate() {
                    let sep = if i > 0 { ", " } else { "" };
                    if o.optional.contains(name) {
                        write!(f, "{sep}{name} = optional({t})")?;
                    } else {
                        write!(f, "{sep}{name} = {t}")?;
                    }
                }
                f.write_str("})")
            }
        }
    }
}
