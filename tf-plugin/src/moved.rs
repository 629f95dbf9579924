//! A `moved` block across types: the state of another resource becomes one of ours (protocol 6.5).

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::json::{self, Attributes};
use crate::private::Private;
use crate::schema::Schema;
use crate::value::Object;
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// The state that is to become another one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MoveSource {
    /// Source address of its provider, such as `terraform.io/builtin/terraform`.
    pub provider_address: String,
    /// Its type, such as `terraform_data`.
    pub type_name: String,
    /// Version of its schema.
    pub schema_version: i64,
    /// Version of its identity.
    pub identity_version: i64,
    pub(crate) state: Bytes,
    pub(crate) identity: Bytes,
    pub(crate) private: Bytes,
}

impl MoveSource {
    /// The state as JSON. Numbers above 2^53 lose digits here; use [`MoveSource::decode`].
    ///
    /// # Errors
    /// It is not JSON.
    pub fn json(&self) -> Result<serde_json::Value, Diagnostic> {
        serde_json::from_slice(&self.state).map_err(|e| {
            Diagnostic::error("State of the source cannot be read", format!("It is not JSON at line {}.", e.line()))
        })
    }

    /// The state in the shape of a schema: what the schema does not have is dropped, what is missing is null.
    ///
    /// # Errors
    /// It is of another shape.
    pub fn decode(&self, schema: &Schema) -> Result<Object, Diagnostic> {
        let state = json::decode_object(&self.state, &schema.object_type(), Attributes::Lenient)?;
        state.ok_or_else(|| Diagnostic::error("State of the source cannot be read", "It is null."))
    }

    /// The identity as JSON; nothing when the source has none.
    pub fn identity(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.identity).ok()
    }

    /// The private data, when a provider of this framework wrote it.
    pub fn private(&self) -> Option<Private> {
        Private::decode(&self.private).ok().filter(|private| !private.is_empty())
    }
}

/// A state that was moved.
#[derive(Clone, Debug)]
#[must_use]
pub struct Moved {
    pub(crate) state: Object,
    pub(crate) private: Private,
    pub(crate) identity: Option<Object>,
}

impl Moved {
    /// The state in the current shape. Attributes that it lacks become null.
    pub fn state(state: Object) -> Self {
        Self { state, private: Private::new(), identity: None }
    }

    /// The same with data beside it.
    pub fn with_private(mut self, private: Private) -> Self {
        self.private = private;
        self
    }

    /// The same with an identity that is not in the state.
    pub fn with_identity(mut self, identity: Object) -> Self {
        self.identity = Some(identity);
        self
    }
}

type MoveFn = dyn Fn(&MoveSource) -> Option<Result<Moved, Diagnostics>> + Send + Sync;

/// One way to take over the state of another resource.
#[derive(Clone)]
pub struct StateMove(Arc<MoveFn>);

impl fmt::Debug for StateMove {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StateMove")
    }
}

impl StateMove {
    /// A way that looks at the source first: `None` means that another one may try.
    pub fn new(how: impl Fn(&MoveSource) -> Option<Result<Moved, Diagnostics>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(how))
    }

    /// A way for sources of one type, whichever provider they come from.
    pub fn from_type(
        type_name: impl Into<String>,
        how: impl Fn(&MoveSource) -> Result<Moved, Diagnostics> + Send + Sync + 'static,
    ) -> Self {
        let type_name = type_name.into();
        Self::new(move |source| (source.type_name == type_name).then(|| how(source)))
    }

    pub(crate) fn run(&self, source: &MoveSource) -> Option<Result<Moved, Diagnostics>> {
        (self.0)(source)
    }
}
