//! Type constraints of variables: what they accept, and the defaults inside of them.

use super::convert::{Mismatch, convert};
use super::expr::Expressions;
use super::types::{ObjectType, Type};
use super::value::{Data, Value};
use crate::ast::{Expr, ExprId, Key};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A type constraint as it is written.
#[derive(Clone, Debug)]
pub enum Constraint {
    /// A type without defaults inside, `any` among them.
    Plain(Type),
    /// `list(…)`
    List(Box<Constraint>),
    /// `set(…)`
    Set(Box<Constraint>),
    /// `map(…)`
    Map(Box<Constraint>),
    /// `tuple([…])`
    Tuple(Vec<Constraint>),
    /// `object({…})`
    Object(BTreeMap<Arc<str>, Field>),
}

/// An attribute of an object constraint.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its constraint.
    pub constraint: Constraint,
    /// Written in `optional(…)`.
    pub optional: bool,
    /// The second argument of `optional`.
    pub default: Option<Value>,
}

/// Why a constraint was not understood.
#[derive(Clone, Debug)]
pub struct NotAType {
    /// The expression to blame.
    pub id: ExprId,
    /// What is wrong with it.
    pub message: String,
}

impl Constraint {
    /// The type that values are converted to.
    pub fn ty(&self) -> Type {
        match self {
            Self::Plain(ty) => ty.clone(),
            Self::List(c) => Type::list(c.ty()),
            Self::Set(c) => Type::set(c.ty()),
            Self::Map(c) => Type::map(c.ty()),
            Self::Tuple(cs) => Type::tuple(cs.iter().map(Self::ty).collect::<Vec<_>>()),
            Self::Object(fields) => Type::Object(Arc::new(ObjectType {
                attributes: fields.iter().map(|(k, f)| (k.clone(), f.constraint.ty())).collect(),
                optional: fields.iter().filter(|(_, f)| f.optional).map(|(k, _)| k.clone()).collect(),
            })),
        }
    }

    /// The value in the constraint's type, with defaults where attributes are absent or null.
    pub fn accept(&self, value: &Value) -> Result<Value, Mismatch> {
        convert(&self.with_defaults(value), &self.ty())
    }

    fn has_defaults(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::List(c) | Self::Set(c) | Self::Map(c) => c.has_defaults(),
            Self::Tuple(cs) => cs.iter().any(Self::has_defaults),
            Self::Object(fields) => fields.values().any(|f| f.default.is_some() || f.constraint.has_defaults()),
        }
    }

    fn with_defaults(&self, value: &Value) -> Value {
        if !self.has_defaults() || !value.is_known() || value.is_null() {
            return value.clone();
        }
        let rebuilt = match (self, value.as_seq(), value.as_dict()) {
            // Elements may get different types here; the conversion that follows brings them together.
            (Self::List(c) | Self::Set(c), Some(items), _) => {
                Value::tuple(items.iter().map(|v| c.with_defaults(v)).collect())
            }
            (Self::Tuple(cs), Some(items), _) if cs.len() == items.len() => {
                Value::tuple(cs.iter().zip(items).map(|(c, v)| c.with_defaults(v)).collect())
            }
            (Self::Map(c), _, Some(items)) => {
                Value::object(items.iter().map(|(k, v)| (k.clone(), c.with_defaults(v))).collect())
            }
            (Self::Object(fields), _, Some(items)) => Value::object(filled(fields, items)),
            _ => return value.clone(),
        };
        rebuilt.marked(value.marks()).like(value)
    }
}

fn filled(fields: &BTreeMap<Arc<str>, Field>, items: &BTreeMap<Arc<str>, Value>) -> BTreeMap<Arc<str>, Value> {
    let mut result: BTreeMap<Arc<str>, Value> = items
        .iter()
        .map(|(k, v)| (k.clone(), fields.get(k).map_or_else(|| v.clone(), |f| f.constraint.with_defaults(v))))
        .collect();
    for (name, field) in fields {
        if let Some(default) = &field.default {
            if result.get(name).is_none_or(|v| matches!(v.data(), Data::Null(_))) {
                result.insert(name.clone(), field.constraint.with_defaults(default));
            }
        }
    }
    result
}

/// Reads a type constraint. Defaults are evaluated with `expressions`, which must know no names.
pub fn constraint(expressions: &Expressions<'_>, id: ExprId) -> Result<Constraint, NotAType> {
    let ast = expressions.ast;
    let wrong = |message: String| NotAType { id, message };
    match ast.expr(ast.bare(id)) {
        Expr::Variable(name) => plain(&name.text).map(Constraint::Plain).ok_or_else(|| {
            wrong(match &*name.text {
                "list" | "set" | "map" => format!("{} needs the type of its elements, such as {0}(string)", name.text),
                other => format!("\"{other}\" is not a type"),
            })
        }),
        // The quoted form of old versions.
        Expr::Literal(crate::ast::Literal::String(text)) => match &**text {
            "string" => Ok(Constraint::Plain(Type::String)),
            "list" => Ok(Constraint::Plain(Type::list(Type::Dynamic))),
            "map" => Ok(Constraint::Plain(Type::map(Type::Dynamic))),
            other => Err(wrong(format!("\"{other}\" is not a type"))),
        },
        Expr::Call { name, args, .. } => {
            let [arg] = args[..] else { return Err(wrong(format!("{} takes one argument here", name.text))) };
            match &*name.text {
                "list" => Ok(Constraint::List(Box::new(constraint(expressions, arg)?))),
                "set" => Ok(Constraint::Set(Box::new(constraint(expressions, arg)?))),
                "map" => Ok(Constraint::Map(Box::new(constraint(expressions, arg)?))),
                "tuple" => match ast.expr(ast.bare(arg)) {
                    Expr::List(items) => {
                        let items: Result<Vec<_>, _> = items.iter().map(|i| constraint(expressions, *i)).collect();
                        Ok(Constraint::Tuple(items?))
                    }
                    _ => Err(wrong("tuple needs a list of types".into())),
                },
                "object" => object(expressions, arg),
                "optional" => Err(wrong("optional is only possible for an attribute of an object".into())),
                other => Err(wrong(format!("\"{other}\" is not a type"))),
            }
        }
        Expr::NotAnalysed(_) => Ok(Constraint::Plain(Type::Dynamic)),
        _ => Err(wrong("not a type".into())),
    }
}

fn plain(name: &str) -> Option<Type> {
    match name {
        "string" => Some(Type::String),
        "number" => Some(Type::Number),
        "bool" => Some(Type::Bool),
        "any" => Some(Type::Dynamic),
        _ => None,
    }
}

fn object(expressions: &Expressions<'_>, id: ExprId) -> Result<Constraint, NotAType> {
    let ast = expressions.ast;
    let Expr::Object(entries) = ast.expr(ast.bare(id)) else {
        return Err(NotAType { id, message: "object needs a map from names to types".into() });
    };
    let mut fields = BTreeMap::new();
    for entry in entries {
        let name: Arc<str> = match &entry.key {
            Key::Name(name) => name.text.clone(),
            Key::Expr(key) => match ast.string(*key) {
                Some(text) => text.into(),
                None => return Err(NotAType { id: *key, message: "an attribute needs a name".into() }),
            },
        };
        fields.insert(name, field(expressions, entry.value)?);
    }
    Ok(Constraint::Object(fields))
}

fn field(expressions: &Expressions<'_>, id: ExprId) -> Result<Field, NotAType> {
    let ast = expressions.ast;
    let Expr::Call { name, args, .. } = ast.expr(ast.bare(id)) else {
        return Ok(Field { constraint: constraint(expressions, id)?, optional: false, default: None });
    };
    if &*name.text != "optional" {
        return Ok(Field { constraint: constraint(expressions, id)?, optional: false, default: None });
    }
    let (inner, default) = match args[..] {
        [inner] => (inner, None),
        [inner, default] => (inner, Some(default)),
        _ => return Err(NotAType { id, message: "optional takes a type and perhaps a default".into() }),
    };
    let inner = constraint(expressions, inner)?;
    let default = match default {
        None => None,
        Some(default) => {
            let value = expressions.evaluate(default).map_err(|f| NotAType { id: default, message: f.message })?;
            // A default may leave out what has a default itself.
            let value = convert(&inner.with_defaults(&value), &inner.ty()).map_err(|e| NotAType {
                id: default,
                message: format!("this default is not of the attribute's type: {e}"),
            })?;
            Some(value)
        }
    };
    Ok(Field { constraint: inner, optional: true, default })
}
