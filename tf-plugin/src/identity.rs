//! The identity of a resource: what an object is called at the other side, apart from its state (protocol 6.9).

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::path::Path;
use crate::value::{Object, Type};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// What an identity consists of.
///
/// Where a resource gives no identity of its own, the framework takes the attributes of the same names from the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentitySchema {
    /// Version of the shape.
    pub version: i64,
    /// What is in it.
    pub attributes: Vec<IdentityAttribute>,
    /// An object may come to have another identity, for example by a rename in place.
    pub mutable: bool,
}

/// An attribute of an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityAttribute {
    /// Name.
    pub name: String,
    /// A primitive type or a list of one.
    pub ty: Type,
    /// An import must give it; otherwise it may.
    pub required: bool,
    /// For the documentation.
    pub description: String,
}

impl IdentitySchema {
    /// An empty identity of that version.
    pub fn new(version: i64) -> Self {
        Self { version, ..Self::default() }
    }

    /// Adds an attribute that an import must give.
    #[must_use]
    pub fn required(self, name: impl Into<String>, ty: Type) -> Self {
        self.with(name.into(), ty, true)
    }

    /// Adds an attribute that an import may give.
    #[must_use]
    pub fn optional(self, name: impl Into<String>, ty: Type) -> Self {
        self.with(name.into(), ty, false)
    }

    fn with(mut self, name: String, ty: Type, required: bool) -> Self {
        self.attributes.push(IdentityAttribute { name, ty, required, description: String::new() });
        self
    }

    /// Describes the attribute that was added last.
    #[must_use]
    pub fn describe(mut self, text: impl Into<String>) -> Self {
        if let Some(last) = self.attributes.last_mut() {
            last.description = text.into();
        }
        self
    }

    /// An object may come to have another identity.
    #[must_use]
    pub fn mutable(mut self) -> Self {
        self.mutable = true;
        self
    }

    /// The type on the wire.
    pub fn object_type(&self) -> Type {
        Type::object(self.attributes.iter().map(|a| (a.name.clone(), a.ty.clone())))
    }

    /// The attributes of the same names.
    pub fn of(&self, state: &Object) -> Object {
        self.attributes.iter().map(|a| (a.name.clone(), state.attr(&a.name).clone())).collect()
    }

    /// The identity with every name; what was left out is null.
    pub(crate) fn complete(&self, identity: &Object) -> Object {
        self.of(identity)
    }

    /// Finds what Terraform refuses.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut names = BTreeSet::new();
        if self.version < 0 {
            found.push("the version of the identity is negative".to_owned());
        }
        if self.attributes.is_empty() {
            found.push("the identity has no attributes".to_owned());
        }
        for attribute in &self.attributes {
            if !names.insert(&attribute.name) {
                found.push(format!("the identity has {:?} twice", attribute.name));
            }
            let primitive = |ty: &Type| matches!(ty, Type::String | Type::Number | Type::Bool);
            if !primitive(&attribute.ty) && !matches!(&attribute.ty, Type::List(t) if primitive(t)) {
                found.push(format!("{:?} of the identity is neither primitive nor a list of such", attribute.name));
            }
        }
        found
    }

    /// Refuses an import that lacks a required attribute.
    pub(crate) fn check_import(&self, identity: &Object, d: &mut Diagnostics) {
        for attribute in &self.attributes {
            if attribute.required && identity.attr(&attribute.name).is_null() {
                let text = format!("An import by identity needs {}.", attribute.name);
                d.push(Diagnostic::error("Identity is not complete", text).at(Path::attr(&attribute.name)));
            }
        }
    }
}

/// Whether an identity says which object is meant: it is known and not all null.
pub(crate) fn is_complete(identity: &Object) -> bool {
    identity.is_wholly_known() && identity.iter().any(|(_, value)| !value.is_null())
}

type TypedUpgrade = Arc<dyn Fn(Object) -> Result<Object, Diagnostics> + Send + Sync>;
type JsonUpgrade = Arc<dyn Fn(serde_json::Value) -> Result<serde_json::Value, Diagnostics> + Send + Sync>;

/// How an identity of one older version becomes one of the current version.
#[derive(Clone)]
pub struct IdentityUpgrade {
    pub(crate) from: i64,
    pub(crate) how: IdentityHow,
}

#[derive(Clone)]
pub(crate) enum IdentityHow {
    Typed(IdentitySchema, TypedUpgrade),
    Json(JsonUpgrade),
}

impl fmt::Debug for IdentityUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityUpgrade(from {})", self.from)
    }
}

impl IdentityUpgrade {
    /// From a shape that is at hand; its version says which.
    pub fn from(
        schema: IdentitySchema,
        upgrade: impl Fn(Object) -> Result<Object, Diagnostics> + Send + Sync + 'static,
    ) -> Self {
        Self { from: schema.version, how: IdentityHow::Typed(schema, Arc::new(upgrade)) }
    }

    /// From the stored JSON to JSON in the current shape.
    pub fn from_json(
        version: i64,
        upgrade: impl Fn(serde_json::Value) -> Result<serde_json::Value, Diagnostics> + Send + Sync + 'static,
    ) -> Self {
        Self { from: version, how: IdentityHow::Json(Arc::new(upgrade)) }
    }
}

/// Whether a fresh identity is that of the stored one: what an import left out may have been filled in.
pub(crate) fn continues(stored: &Object, fresh: &Object) -> bool {
    stored.iter().all(|(name, value)| value.is_null() || value.same(fresh.attr(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_taken_from_the_state_and_its_shape_is_checked() {
        let schema = IdentitySchema::new(1)
            .required("name", Type::String)
            .describe("Its name.")
            .optional("zones", Type::list(Type::String));
        assert!(schema.problems().is_empty());
        let state = Object::new().with("name", "a").with("other", 1);
        let identity = schema.of(&state);
        assert_eq!(identity.attr("name").as_str(), Some("a"));
        assert!(identity.get("other").is_none() && identity.get("zones").is_some());
        assert!(is_complete(&identity) && !is_complete(&schema.of(&Object::new())));
        let mut d = Diagnostics::new();
        schema.check_import(&Object::new(), &mut d);
        assert_eq!(d.len(), 1);
        let bad = schema.required("name", Type::map(Type::String));
        assert_eq!(bad.problems().len(), 2);
        assert_eq!(IdentitySchema::new(-1).problems().len(), 2);
    }
}
