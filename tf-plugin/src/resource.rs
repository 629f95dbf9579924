//! A resource: something that is created, read, updated and deleted.

use crate::context::Context;
use crate::deferred::DeferredReason;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::generate::default_config;
use crate::identity::{IdentitySchema, IdentityUpgrade};
use crate::moved::StateMove;
use crate::path::Path;
use crate::private::Private;
use crate::schema::Schema;
use crate::value::{Object, Value};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// A future in a box, as the erased twins return it.
pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A resource of a provider whose client is `C`.
///
/// A handler that sees [`Context::cancelled`] returns what was reached: its state is saved, also with an error.
pub trait Resource<C: Sync>: Send + Sync + 'static {
    /// Its type, such as `acme_thing`.
    fn type_name(&self) -> &str;

    /// Its schema. Asked once.
    fn schema(&self) -> Schema;

    /// Creates the object. Every unknown of the plan must be known in the answer.
    fn create(&self, cx: &Context, client: &C, request: CreateRequest) -> impl Future<Output = Applied> + Send;

    /// Reads the object.
    fn read(&self, cx: &Context, client: &C, request: ReadRequest) -> impl Future<Output = Observed> + Send;

    /// Changes the object. Every unknown of the plan must be known in the answer.
    fn update(&self, cx: &Context, client: &C, request: UpdateRequest) -> impl Future<Output = Applied> + Send;

    /// Deletes the object and answers [`Applied::gone`], also when it was not there.
    fn delete(&self, cx: &Context, client: &C, request: DeleteRequest) -> impl Future<Output = Applied> + Send;

    /// Checks the configuration beyond what the schema says. Unknown values may occur.
    fn validate(&self, _cx: &Context, _config: &Object, _d: &mut Diagnostics) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Changes the plan, after defaults, modifiers and unknown marking. Called for create, update and destroy, without
    /// a client when the provider block is not known yet.
    ///
    /// Terraform plans again when it applies: the answer may depend on nothing that moves.
    fn modify_plan(
        &self,
        _cx: &Context,
        _client: Option<&C>,
        _plan: &mut Plan,
        _d: &mut Diagnostics,
    ) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Makes a state of an id that a user gave. Terraform reads it afterwards, so the id attributes are enough.
    fn import(&self, _cx: &Context, _client: &C, _request: ImportRequest) -> impl Future<Output = Imported> + Send {
        async { Imported::unsupported() }
    }

    /// One entry for each older version of the schema; each goes straight to the current one.
    fn upgrades(&self) -> Vec<StateUpgrade> {
        Vec::new()
    }

    /// What the object is called at the other side, apart from its state. Asked once.
    fn identity(&self) -> Option<IdentitySchema> {
        None
    }

    /// One entry for each older version of the identity; each goes straight to the current one.
    fn identity_upgrades(&self) -> Vec<IdentityUpgrade> {
        Vec::new()
    }

    /// Ways to take over the state of another resource, tried in order.
    fn moves(&self) -> Vec<StateMove> {
        Vec::new()
    }

    /// The configuration that leads to a state, for `-generate-config-out`.
    fn generate_config(&self, state: &Object) -> Object {
        default_config(&self.schema(), state)
    }
}

/// What [`Resource::create`] is asked.
#[derive(Clone, Debug)]
pub struct CreateRequest {
    /// The planned state; write-only values are null in it.
    pub plan: Object,
    /// The configuration, with the write-only values.
    pub config: Object,
    /// Data that the plan left.
    pub private: Private,
    /// The identity as it was planned; unknown values may occur.
    pub identity: Option<Object>,
    /// The `provider_meta` block of the module, where the provider has one.
    pub meta: Option<Object>,
}

/// What [`Resource::read`] is asked.
#[derive(Clone, Debug)]
pub struct ReadRequest {
    /// The stored state.
    pub state: Object,
    /// Data beside it.
    pub private: Private,
    /// The stored identity, if there is one.
    pub identity: Option<Object>,
    /// The `provider_meta` block of the module, where the provider has one.
    pub meta: Option<Object>,
}

/// What [`Resource::update`] is asked.
#[derive(Clone, Debug)]
pub struct UpdateRequest {
    /// The stored state.
    pub prior: Object,
    /// The planned state; write-only values are null in it.
    pub plan: Object,
    /// The configuration, with the write-only values.
    pub config: Object,
    /// Data that the plan left.
    pub private: Private,
    /// The identity as it was planned.
    pub identity: Option<Object>,
    /// The `provider_meta` block of the module, where the provider has one.
    pub meta: Option<Object>,
}

/// What [`Resource::delete`] is asked.
#[derive(Clone, Debug)]
pub struct DeleteRequest {
    /// The stored state.
    pub state: Object,
    /// Data beside it.
    pub private: Private,
    /// The stored identity, if there is one.
    pub identity: Option<Object>,
    /// The `provider_meta` block of the module, where the provider has one.
    pub meta: Option<Object>,
}

impl CreateRequest {
    /// The time that `timeouts.create` gives, or the default.
    pub fn timeout(&self, default: Duration) -> Duration {
        timeout(&self.config, "create", default)
    }
}

impl ReadRequest {
    /// The time that `timeouts.read` gives, or the default.
    pub fn timeout(&self, default: Duration) -> Duration {
        timeout(&self.state, "read", default)
    }
}

impl UpdateRequest {
    /// The time that `timeouts.update` gives, or the default.
    pub fn timeout(&self, default: Duration) -> Duration {
        timeout(&self.config, "update", default)
    }
}

impl DeleteRequest {
    /// The time that `timeouts.delete` of the stored state gives, or the default.
    pub fn timeout(&self, default: Duration) -> Duration {
        timeout(&self.state, "delete", default)
    }
}

/// The duration `timeouts.<operation>` of an object, or the default when it is absent or no duration.
pub fn timeout(object: &Object, operation: &str, default: Duration) -> Duration {
    let text = object.attr("timeouts").as_object().and_then(|t| t.attr(operation).as_str());
    text.and_then(parse_duration).unwrap_or(default)
}

/// Reads a duration such as `30s`, `1.5h` or `1h30m`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let amount: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        rest = &rest[letters..];
        total = total.checked_add(Duration::try_from_secs_f64(amount * unit).ok()?)?;
    }
    Some(total)
}

/// What happened to an object.
#[derive(Clone, Debug, Default)]
pub(crate) enum Outcome {
    /// It is there, like this.
    State(Object),
    /// It is not there.
    Gone,
    /// Nothing was changed, or nothing is known.
    #[default]
    Unchanged,
}

/// What create, update and delete answer.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Applied {
    pub(crate) outcome: Outcome,
    pub(crate) private: Option<Private>,
    pub(crate) identity: Option<Object>,
    pub(crate) diagnostics: Diagnostics,
}

impl Applied {
    /// The object is there, like this. With an error diagnostic added, a created object is tainted.
    pub fn state(state: Object) -> Self {
        Self { outcome: Outcome::State(state), ..Self::default() }
    }

    /// The object is deleted or was not there.
    pub fn gone() -> Self {
        Self { outcome: Outcome::Gone, ..Self::default() }
    }

    /// Nothing was changed: a create made no object, an update or delete left it as it was.
    pub fn failed(diagnostics: impl Into<Diagnostics>) -> Self {
        Self { diagnostics: diagnostics.into(), ..Self::default() }
    }

    /// The same with other data beside the state. Without it, the data of the request is kept.
    pub fn with_private(mut self, private: Private) -> Self {
        self.private = Some(private);
        self
    }

    /// The same with an identity that is not in the state.
    pub fn with_identity(mut self, identity: Object) -> Self {
        self.identity = Some(identity);
        self
    }

    /// The same with more to say. An error does not make the state disappear.
    pub fn with_diagnostics(mut self, more: impl IntoIterator<Item = Diagnostic>) -> Self {
        self.diagnostics.extend(more);
        self
    }
}

/// What read answers.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Observed {
    pub(crate) outcome: Outcome,
    pub(crate) private: Option<Private>,
    pub(crate) identity: Option<Object>,
    pub(crate) deferred: Option<DeferredReason>,
    pub(crate) diagnostics: Diagnostics,
}

impl Observed {
    /// The object is there, like this.
    pub fn state(state: Object) -> Self {
        Self { outcome: Outcome::State(state), ..Self::default() }
    }

    /// The object is gone; Terraform will plan to create it.
    pub fn gone() -> Self {
        Self { outcome: Outcome::Gone, ..Self::default() }
    }

    /// It could not be read.
    pub fn failed(diagnostics: impl Into<Diagnostics>) -> Self {
        Self { diagnostics: diagnostics.into(), ..Self::default() }
    }

    /// The same with other data beside the state. Without it, the data of the request is kept.
    pub fn with_private(mut self, private: Private) -> Self {
        self.private = Some(private);
        self
    }

    /// The same with an identity that is not in the state.
    pub fn with_identity(mut self, identity: Object) -> Self {
        self.identity = Some(identity);
        self
    }

    /// It cannot be read yet; the state stays as it is.
    pub fn deferred(reason: DeferredReason) -> Self {
        Self { deferred: Some(reason), ..Self::default() }
    }

    /// The same with more to say.
    pub fn with_diagnostics(mut self, more: impl IntoIterator<Item = Diagnostic>) -> Self {
        self.diagnostics.extend(more);
        self
    }
}

/// A plan on its way to Terraform.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Plan {
    /// The stored state; `None` on create.
    pub prior: Option<Object>,
    /// The configuration with the write-only values; `None` on destroy.
    pub config: Option<Object>,
    /// The planned state, to be changed; `None` on destroy, and it stays so.
    pub planned: Option<Object>,
    /// Places whose change replaces the resource.
    pub requires_replace: Vec<Path>,
    /// Data for the apply. Before Terraform 1.16 a plan at apply starts from that of the state again.
    pub private: Private,
    /// The identity, where it is not in the state: `None` lets the framework take it from there.
    pub identity: Option<Object>,
    /// The `provider_meta` block of the module, where the provider has one.
    pub meta: Option<Object>,
    pub(crate) deferred: Option<DeferredReason>,
}

impl Plan {
    /// Whether the object is to be made, also as the second half of a replacement.
    pub fn is_create(&self) -> bool {
        self.prior.is_none()
    }

    /// Whether the object is to be deleted.
    pub fn is_destroy(&self) -> bool {
        self.planned.is_none()
    }

    /// Whether an existing object is to be kept, changed or not.
    pub fn is_update(&self) -> bool {
        !self.is_create() && !self.is_destroy()
    }

    /// Puts the change off. A Terraform that takes no deferral gets an error that names what is unknown.
    pub fn defer(&mut self, reason: DeferredReason) {
        self.deferred = Some(reason);
    }

    /// Asks for a replacement because of this place.
    pub fn replace_because_of(&mut self, path: Path) {
        if !self.requires_replace.contains(&path) {
            self.requires_replace.push(path);
        }
    }
}

/// What [`Resource::import`] is asked.
#[derive(Clone, Debug)]
pub struct ImportRequest {
    /// The id that the user gave; empty in an import by identity.
    pub id: String,
    /// The identity that the user gave instead of an id.
    pub identity: Option<Object>,
    /// A state with every attribute null, to be filled.
    pub empty: Object,
}

impl ImportRequest {
    /// A state with the id at one attribute and null everywhere else; in an import by identity, with the attributes of
    /// the identity that the state has too.
    pub fn passthrough(self, attribute: &str) -> Imported {
        let Some(identity) = self.identity else { return Imported::state(self.empty.with(attribute, self.id)) };
        let mut state = self.empty;
        for (name, value) in identity.iter() {
            if let Some(place) = state.get_mut(name) {
                *place = value.clone();
            }
        }
        Imported::state(state).with_identity(identity)
    }
}

/// What import answers.
#[derive(Clone, Debug)]
#[must_use]
pub struct Imported {
    pub(crate) outcome: ImportOutcome,
    pub(crate) private: Private,
    pub(crate) identity: Option<Object>,
    pub(crate) diagnostics: Diagnostics,
}

#[derive(Clone, Debug)]
pub(crate) enum ImportOutcome {
    Unsupported,
    State(Object),
    Deferred(DeferredReason),
    Failed,
}

impl Imported {
    fn of(outcome: ImportOutcome) -> Self {
        Self { outcome, private: Private::new(), identity: None, diagnostics: Diagnostics::new() }
    }

    /// The resource cannot be imported.
    pub fn unsupported() -> Self {
        Self::of(ImportOutcome::Unsupported)
    }

    /// A state, which Terraform reads next.
    pub fn state(state: Object) -> Self {
        Self::of(ImportOutcome::State(state))
    }

    /// The id is wrong, or the object could not be found.
    pub fn failed(diagnostics: impl Into<Diagnostics>) -> Self {
        Self { diagnostics: diagnostics.into(), ..Self::of(ImportOutcome::Failed) }
    }

    /// It cannot be imported yet.
    pub fn deferred(reason: DeferredReason) -> Self {
        Self::of(ImportOutcome::Deferred(reason))
    }

    /// The same with data beside the state.
    pub fn with_private(mut self, private: Private) -> Self {
        self.private = private;
        self
    }

    /// The same with an identity that is not in the state.
    pub fn with_identity(mut self, identity: Object) -> Self {
        self.identity = Some(identity);
        self
    }

    /// The same with more to say.
    pub fn with_diagnostics(mut self, more: impl IntoIterator<Item = Diagnostic>) -> Self {
        self.diagnostics.extend(more);
        self
    }
}

/// How a state of one older version becomes one of the current version.
#[derive(Clone)]
pub struct StateUpgrade {
    pub(crate) from: i64,
    pub(crate) how: UpgradeHow,
}

#[derive(Clone)]
pub(crate) enum UpgradeHow {
    Typed(Box<Schema>, Arc<dyn Fn(Object) -> Result<Object, Diagnostics> + Send + Sync>),
    Json(Arc<dyn Fn(serde_json::Value) -> Result<serde_json::Value, Diagnostics> + Send + Sync>),
}

impl fmt::Debug for StateUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateUpgrade(from {})", self.from)
    }
}

impl StateUpgrade {
    /// From a version whose schema is at hand. Attributes that the result lacks become null.
    pub fn from(
        version: i64,
        schema: Schema,
        upgrade: impl Fn(Object) -> Result<Object, Diagnostics> + Send + Sync + 'static,
    ) -> Self {
        Self { from: version, how: UpgradeHow::Typed(Box::new(schema), Arc::new(upgrade)) }
    }

    /// From the stored JSON to JSON in the shape of the current schema. Attributes that the schema does not have are
    /// dropped afterwards, missing ones become null. Numbers above 2^53 lose digits here; use [`StateUpgrade::from`].
    pub fn from_json(
        version: i64,
        upgrade: impl Fn(serde_json::Value) -> Result<serde_json::Value, Diagnostics> + Send + Sync + 'static,
    ) -> Self {
        Self { from: version, how: UpgradeHow::Json(Arc::new(upgrade)) }
    }
}

/// The twin of [`Resource`] that can be boxed.
pub(crate) trait AnyResource<C>: Send + Sync {
    fn schema(&self) -> Schema;
    fn upgrades(&self) -> Vec<StateUpgrade>;
    fn identity(&self) -> Option<IdentitySchema>;
    fn identity_upgrades(&self) -> Vec<IdentityUpgrade>;
    fn moves(&self) -> Vec<StateMove>;
    fn generate_config(&self, state: &Object) -> Object;
    fn create<'a>(&'a self, cx: &'a Context, client: &'a C, rq: CreateRequest) -> BoxFuture<'a, Applied>;
    fn read<'a>(&'a self, cx: &'a Context, client: &'a C, rq: ReadRequest) -> BoxFuture<'a, Observed>;
    fn update<'a>(&'a self, cx: &'a Context, client: &'a C, rq: UpdateRequest) -> BoxFuture<'a, Applied>;
    fn delete<'a>(&'a self, cx: &'a Context, client: &'a C, rq: DeleteRequest) -> BoxFuture<'a, Applied>;
    fn validate<'a>(&'a self, cx: &'a Context, config: &'a Object, d: &'a mut Diagnostics) -> BoxFuture<'a, ()>;
    fn modify_plan<'a>(
        &'a self,
        cx: &'a Context,
        client: Option<&'a C>,
        plan: &'a mut Plan,
        d: &'a mut Diagnostics,
    ) -> BoxFuture<'a, ()>;
    fn import<'a>(&'a self, cx: &'a Context, client: &'a C, rq: ImportRequest) -> BoxFuture<'a, Imported>;
}

impl<C: Sync + 'static, T: Resource<C>> AnyResource<C> for T {
    fn schema(&self) -> Schema {
        Resource::schema(self)
    }

    fn upgrades(&self) -> Vec<StateUpgrade> {
        Resource::upgrades(self)
    }

    fn identity(&self) -> Option<IdentitySchema> {
        Resource::identity(self)
    }

    fn identity_upgrades(&self) -> Vec<IdentityUpgrade> {
        Resource::identity_upgrades(self)
    }

    fn moves(&self) -> Vec<StateMove> {
        Resource::moves(self)
    }

    fn generate_config(&self, state: &Object) -> Object {
        Resource::generate_config(self, state)
    }

    fn create<'a>(&'a self, cx: &'a Context, client: &'a C, rq: CreateRequest) -> BoxFuture<'a, Applied> {
        Box::pin(Resource::create(self, cx, client, rq))
    }

    fn read<'a>(&'a self, cx: &'a Context, client: &'a C, rq: ReadRequest) -> BoxFuture<'a, Observed> {
        Box::pin(Resource::read(self, cx, client, rq))
    }

    fn update<'a>(&'a self, cx: &'a Context, client: &'a C, rq: UpdateRequest) -> BoxFuture<'a, Applied> {
        Box::pin(Resource::update(self, cx, client, rq))
    }

    fn delete<'a>(&'a self, cx: &'a Context, client: &'a C, rq: DeleteRequest) -> BoxFuture<'a, Applied> {
        Box::pin(Resource::delete(self, cx, client, rq))
    }

    fn validate<'a>(&'a self, cx: &'a Context, config: &'a Object, d: &'a mut Diagnostics) -> BoxFuture<'a, ()> {
        Box::pin(Resource::validate(self, cx, config, d))
    }

    fn modify_plan<'a>(
        &'a self,
        cx: &'a Context,
        client: Option<&'a C>,
        plan: &'a mut Plan,
        d: &'a mut Diagnostics,
    ) -> BoxFuture<'a, ()> {
        Box::pin(Resource::modify_plan(self, cx, client, plan, d))
    }

    fn import<'a>(&'a self, cx: &'a Context, client: &'a C, rq: ImportRequest) -> BoxFuture<'a, Imported> {
        Box::pin(Resource::import(self, cx, client, rq))
    }
}

/// Puts null at every write-only place, also where an older state holds a value.
pub(crate) fn without_write_only(schema: &Schema, mut object: Object) -> Object {
    schema.take_write_only(&mut object);
    object
}

/// The unknown places of an object, for a message.
pub(crate) fn unknown_places(object: &Object) -> Vec<Path> {
    let mut found = Vec::new();
    object.walk(&mut |path, value| {
        if matches!(value, Value::Unknown(_)) {
            found.push(path.clone());
        }
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let seconds = |text| parse_duration(text).map(|d| d.as_secs_f64());
        assert_eq!(seconds("90s"), Some(90.0));
        assert_eq!(seconds("1h30m"), Some(5400.0));
        assert_eq!(seconds("1.5h"), Some(5400.0));
        assert_eq!(seconds("20ms"), Some(0.02));
        for wrong in ["", "5", "s", "-1s", "1y", "1..2s", "1e400h", "999999999999999999999h", "ä"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_timeout_that_is_not_there_is_the_default() {
        let object = Object::new().with("timeouts", Object::new().with("create", "5m"));
        assert_eq!(timeout(&object, "create", Duration::from_secs(1)), Duration::from_mins(5));
        assert_eq!(timeout(&object, "update", Duration::from_secs(1)), Duration::from_secs(1));
        assert_eq!(timeout(&Object::new(), "create", Duration::from_secs(1)), Duration::from_secs(1));
    }
}
