//! A provider that has one of everything and keeps its objects in memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};
use tf_plugin::fake_core::{FakeCore, State};
use tf_plugin::{
    Action, Applied, Attr, Block, Body, Configured, Context, CreateRequest, CustomType, DataAnswer, DataRequest,
    DataSource, DeferredReason, DeleteRequest, Diagnostic, Diagnostics, EphemeralResource, Function, FunctionDef,
    FunctionError, IdentitySchema, IdentityUpgrade, ImportRequest, Imported, Kind, ListRequest, ListResource, ListSink,
    Listed, Moved, Object, Observed, OpenRequest, Opened, Parameter, Plan, Private, Progress, Provider, ReadRequest,
    Registry, Renewed, Resource, Schema, StateMove, StateUpgrade, Type, UpdateRequest, Value, path, validate,
};

/// What the tests look at from outside.
#[derive(Default)]
pub struct Seen {
    pub boxes: Mutex<BTreeMap<String, Object>>,
    pub secrets: Mutex<Vec<String>>,
    pub closed: Mutex<Vec<String>>,
    pub renewals: AtomicU32,
    pub cancelled: AtomicU32,
    pub listed: AtomicU32,
    pub odd: AtomicU32,
}

impl Seen {
    pub fn cancellations(&self) -> u32 {
        self.cancelled.load(Ordering::SeqCst)
    }
}

#[derive(Clone, Default)]
pub struct Lab(pub Arc<Seen>);

/// A configured provider, and what it has seen.
pub async fn lab() -> (FakeCore, Arc<Seen>) {
    let lab = Lab::default();
    let seen = lab.0.clone();
    let core = FakeCore::in_process(lab).await.unwrap();
    let d = core.configure(Object::new()).await.unwrap();
    assert!(d.is_empty(), "{d}");
    (core, seen)
}

/// A provider whose region is not known yet.
pub async fn offline() -> FakeCore {
    let core = FakeCore::in_process(Lab::default()).await.unwrap();
    let d = core.configure(Object::new().with("region", Value::UNKNOWN)).await.unwrap();
    assert!(d.is_empty(), "{d}");
    core
}

pub fn named(name: &str) -> Object {
    Object::new().with("name", name)
}

pub async fn created(core: &FakeCore, type_name: &str, config: Object) -> State {
    let (state, d) = core.change(type_name, None, Some(config)).await.unwrap();
    assert!(d.is_empty(), "{d}");
    state.unwrap()
}

pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What every panic of the lab says; no user may read it.
pub const PANIC: &str = "a panic with a secret text";

pub fn assert_internal_error(d: &Diagnostics) {
    let text = d.to_string();
    assert!(d.has_errors() && text.contains("Internal error of the provider"), "{text}");
    for part in [PANIC, "lab.rs", "backtrace", "::"] {
        assert!(!text.contains(part), "{part}: {text}");
    }
}

impl Provider for Lab {
    type Client = Arc<Seen>;

    fn schema(&self) -> Schema {
        Schema::new(0).attr(Attr::string("region").optional()).attr(Attr::string("token").optional().sensitive())
    }

    fn meta_schema(&self) -> Option<Schema> {
        Some(Schema::new(0).attr(Attr::string("module").optional()))
    }

    fn register(&self, registry: &mut Registry<Arc<Seen>>) {
        registry.resource(Case).resource(Nest).resource(Plain).data_source(Probe);
        registry.ephemeral(Token).action(Ping).list(Cases);
        for name in FUNCTIONS {
            registry.function(Compute(name, AtomicU32::new(0)));
        }
    }

    async fn configure(&self, _: &Context, config: Object, _: &mut Diagnostics) -> Configured<Arc<Seen>> {
        Configured::offline_if_unknown(&config).unwrap_or_else(|| Configured::Ready(self.0.clone()))
    }
}

// === functions

const FUNCTIONS: [&str; 10] =
    ["join", "div", "describe", "later", "short", "wobbly", "vague", "boom", "mistyped", "swap"];

struct Compute(&'static str, AtomicU32);

impl Function for Compute {
    fn name(&self) -> &str {
        self.0
    }

    fn definition(&self) -> FunctionDef {
        let text = || Parameter::new("text", Type::String);
        let def = FunctionDef::new(Type::String).summary("A function.").describe("A *function*.");
        match self.0 {
            "join" => def.parameter(Parameter::new("separator", Type::String)).variadic(text()),
            "div" => FunctionDef::new(Type::Number)
                .parameter(Parameter::new("a", Type::Number))
                .parameter(Parameter::new("b", Type::Number)),
            "describe" => def.parameter(Parameter::new("value", Type::Dynamic).allow_null().allow_unknown()),
            "later" => def.parameter(text().allow_unknown()),
            "short" => def.parameter(text().validate(validate::length(..=3))).deprecated("Use `join`."),
            "vague" => def.parameter(text()),
            "swap" => FunctionDef::new(Type::Dynamic).parameter(Parameter::new("value", Type::Dynamic)),
            _ => def,
        }
    }

    fn call(&self, args: Vec<Value>) -> Result<Value, FunctionError> {
        let text = |i: usize| args[i].as_str().unwrap_or_default().to_owned();
        Ok(match self.0 {
            "join" => {
                let parts: Vec<String> = (1..args.len()).map(text).collect();
                parts.join(&text(0)).into()
            }
            "div" => match (args[0].as_i64(), args[1].as_i64()) {
                (_, Some(0)) => return Err(FunctionError::at(1, "b must not be 0")),
                (Some(a), Some(b)) => Value::from(a / b),
                _ => return Err(FunctionError::new("whole numbers are needed")),
            },
            "describe" if args[0].is_null() => "null".into(),
            "describe" if args[0].is_unknown() => "unknown".into(),
            "describe" => match &args[0] {
                Value::Dynamic(ty, _) => ty.to_string().into(),
                other => other.kind_name().into(),
            },
            "later" | "short" => args[0].clone(),
            "wobbly" => self.1.fetch_add(1, Ordering::Relaxed).to_string().into(),
            "vague" => Value::UNKNOWN,
            "swap" => match args[0].inner() {
                Value::Tuple(parts) => {
                    let swapped: Vec<Value> = parts.iter().rev().cloned().collect();
                    let types = swapped.iter().map(|v| if v.as_str().is_some() { Type::String } else { Type::Number });
                    Value::Dynamic(Type::Tuple(types.collect()), Box::new(Value::Tuple(swapped)))
                }
                _ => args[0].clone(),
            },
            "mistyped" => Value::from(1),
            _ => panic!("{PANIC}"),
        })
    }
}

// === a resource with everything beside its state

struct Case;

fn case_insensitive() -> CustomType {
    CustomType::new("case-insensitive text", Kind::String)
        .semantic(|a, b| a.as_str().map(str::to_lowercase) == b.as_str().map(str::to_lowercase))
        .validate(validate::length(1..=20))
}

pub fn case_schema() -> Schema {
    Schema::new(1)
        .attr(Attr::string("name").required().replace_on_change())
        .attr(Attr::string("region").default("north"))
        .attr(Attr::custom("label", &case_insensitive()).optional())
        .attr(Attr::int64("size").optional())
        .attr(Attr::dynamic("any").optional())
        .attr(Attr::set("tags", Type::String).optional())
        .attr(Attr::string("secret_wo").optional().write_only())
        .attr(Attr::int64("secret_version").optional())
        .attr(Attr::nested_single("login", [Attr::string("key_wo").optional().write_only()]).optional())
        .attr(Attr::string("act").optional().describe("What goes wrong."))
        .attr(Attr::string("id").computed().keep_state())
        .attr(Attr::int64("revision").computed())
        .attr(Attr::string("module").computed())
        .rule(validate::requires_all("secret_wo", ["secret_version"]))
}

impl Case {
    fn acts(object: &Object, what: &str) -> bool {
        object.attr("act").as_str() == Some(what)
    }

    fn save(
        seen: &Seen,
        (plan, config): (&Object, &Object),
        private: Private,
        revision: i64,
        meta: Option<&Object>,
    ) -> Applied {
        assert!(!Self::acts(plan, "panic in apply"), "{PANIC}");
        for place in ["secret_wo", "login.key_wo"] {
            if let Some(secret) = config.at(place).and_then(Value::as_str) {
                seen.secrets.lock().unwrap().push(secret.to_owned());
            }
        }
        let known = Value::from(plan.clone()).unknown_as_null();
        let mut state = known.as_object().cloned().unwrap();
        let name = plan.attr("name").as_str().unwrap().to_owned();
        state.set("id", format!("id-{name}"));
        state.set("revision", revision);
        state.set("module", meta.map_or(Value::Null, |meta| meta.attr("module").clone()));
        if let Some(label) = state.attr("label").as_str().map(str::to_uppercase) {
            state.set("label", label);
        }
        seen.boxes.lock().unwrap().insert(name.clone(), state.clone());
        let mut private = private;
        private.set("applies", &revision).unwrap();
        if Self::acts(plan, "fail") {
            let failed = Diagnostic::error("It failed half way", format!("secret: {:?}", config.at("secret_wo")));
            return Applied::state(state).with_private(private).with_diagnostics([failed]);
        }
        Applied::state(state).with_private(private)
    }
}

impl Resource<Arc<Seen>> for Case {
    fn type_name(&self) -> &'static str {
        "lab_case"
    }

    fn schema(&self) -> Schema {
        case_schema()
    }

    fn identity(&self) -> Option<IdentitySchema> {
        Some(
            IdentitySchema::new(2)
                .required("name", Type::String)
                .describe("Its name.")
                .optional("region", Type::String),
        )
    }

    fn identity_upgrades(&self) -> Vec<IdentityUpgrade> {
        let title = IdentitySchema::new(0).required("title", Type::String);
        vec![
            IdentityUpgrade::from(title, |old| Ok(Object::new().with("name", old.attr("title").clone()))),
            IdentityUpgrade::from_json(1, |mut old| {
                let place = old.get_mut("place").map(serde_json::Value::take);
                if let (Some(place), Some(all)) = (place, old.as_object_mut()) {
                    all.insert("region".to_owned(), place);
                }
                Ok(old)
            }),
        ]
    }

    fn upgrades(&self) -> Vec<StateUpgrade> {
        let old = Schema::new(0).attr(Attr::string("title").required());
        vec![StateUpgrade::from(0, old, |old| Ok(Object::new().with("name", old.attr("title").clone())))]
    }

    fn moves(&self) -> Vec<StateMove> {
        vec![
            StateMove::from_type("terraform_data", |source| {
                let name = source.json()?["output"]["value"].as_str().unwrap_or_default().to_owned();
                Ok(Moved::state(Object::new().with("name", name.as_str()).with("id", format!("id-{name}"))))
            }),
            StateMove::new(|source| {
                if !source.provider_address.ends_with("/old") {
                    return None;
                }
                let schema =
                    Schema::new(0).attr(Attr::string("title").required()).attr(Attr::number("amount").optional());
                Some(source.decode(&schema).map_err(Diagnostics::from).map(|old| {
                    let state = Object::new().with("name", old.attr("title").clone()).with("secret_wo", "moved secret");
                    Moved::state(state.with("any", Value::Dynamic(Type::Number, Box::new(old.attr("amount").clone()))))
                }))
            }),
        ]
    }

    async fn validate(&self, _: &Context, config: &Object, d: &mut Diagnostics) {
        if Self::acts(config, "invalid") {
            d.error(path!("act"), "Not this", format!("secret: {:?}", config.at("secret_wo")));
        }
    }

    async fn modify_plan(&self, _: &Context, _: Option<&Arc<Seen>>, plan: &mut Plan, _: &mut Diagnostics) {
        let Some(config) = plan.config.clone() else { return };
        assert!(!Self::acts(&config, "panic in plan"), "{PANIC}");
        if Self::acts(&config, "defer") {
            plan.defer(DeferredReason::AbsentPrerequisite);
        }
        if config.attr("size").is_unknown() && Self::acts(&config, "defer when unknown") {
            plan.defer(DeferredReason::ResourceConfigUnknown);
        }
        let planned: u32 = plan.private.get("planned").unwrap().unwrap_or(0);
        plan.private.set("planned", &(planned + 1)).unwrap();
    }

    async fn create(&self, _: &Context, seen: &Arc<Seen>, rq: CreateRequest) -> Applied {
        Self::save(seen, (&rq.plan, &rq.config), rq.private, 1, rq.meta.as_ref())
    }

    async fn read(&self, _: &Context, seen: &Arc<Seen>, rq: ReadRequest) -> Observed {
        let name = rq.state.attr("name").as_str().unwrap_or_default();
        assert!(name != "panic", "{PANIC}");
        if name == "deferred" {
            return Observed::deferred(DeferredReason::AbsentPrerequisite);
        }
        let Some(mut state) = seen.boxes.lock().unwrap().get(name).cloned() else { return Observed::gone() };
        if Self::acts(&state, "shift") {
            state.set("name", "another");
        }
        let mut private = rq.private;
        let reads: u32 = private.get("reads").unwrap().unwrap_or(0);
        private.set("reads", &(reads + 1)).unwrap();
        Observed::state(state).with_private(private)
    }

    async fn update(&self, _: &Context, seen: &Arc<Seen>, rq: UpdateRequest) -> Applied {
        let revision = rq.prior.attr("revision").as_i64().unwrap_or(0) + 1;
        Self::save(seen, (&rq.plan, &rq.config), rq.private, revision, rq.meta.as_ref())
    }

    async fn delete(&self, _: &Context, seen: &Arc<Seen>, rq: DeleteRequest) -> Applied {
        if Self::acts(&rq.state, "stay") {
            return Applied::state(rq.state);
        }
        seen.boxes.lock().unwrap().remove(rq.state.attr("name").as_str().unwrap());
        Applied::gone()
    }

    async fn import(&self, _: &Context, _: &Arc<Seen>, rq: ImportRequest) -> Imported {
        assert!(rq.id != "panic", "{PANIC}");
        match rq.id.as_str() {
            "defer" => Imported::deferred(DeferredReason::AbsentPrerequisite),
            "secret" => Imported::state(rq.empty.with("name", "a").with("secret_wo", "imported")),
            _ => {
                let mut private = Private::new();
                private.set("imported", &true).unwrap();
                rq.passthrough("name").with_private(private)
            }
        }
    }
}

// === every nesting

struct Nest;

fn parts() -> [Attr; 2] {
    [Attr::string("n").optional(), Attr::string("c").computed()]
}

fn body() -> Body {
    Body::new().attr(Attr::string("n").optional()).attr(Attr::string("c").computed())
}

impl Resource<Arc<Seen>> for Nest {
    fn type_name(&self) -> &'static str {
        "lab_nest"
    }

    fn schema(&self) -> Schema {
        let deep = body().block(Block::list("inner", body()).items(..=2));
        Schema::new(0)
            .attr(Attr::nested_single("a_single", parts()).optional())
            .attr(Attr::nested_list("a_list", parts()).optional())
            .attr(Attr::nested_set("a_set", parts()).optional())
            .attr(Attr::nested_map("a_map", [Attr::nested_single("deep", parts()).optional()]).optional())
            .attr(Attr::string("id").computed().keep_state())
            .block(Block::single("b_single", body()))
            .block(Block::list("b_list", deep).items(1..=3))
            .block(Block::set("b_set", body()))
            .block(Block::map("b_map", body()))
            .block(Block::group("b_group", body()))
            .block(Block::list("b_computed", Body::new().attr(Attr::string("n").optional())).computed())
    }

    async fn create(&self, _: &Context, _: &Arc<Seen>, rq: CreateRequest) -> Applied {
        Applied::state(made(rq.plan))
    }

    async fn read(&self, _: &Context, _: &Arc<Seen>, rq: ReadRequest) -> Observed {
        Observed::state(rq.state)
    }

    async fn update(&self, _: &Context, _: &Arc<Seen>, rq: UpdateRequest) -> Applied {
        Applied::state(made(rq.plan))
    }

    async fn delete(&self, _: &Context, _: &Arc<Seen>, _: DeleteRequest) -> Applied {
        Applied::gone()
    }
}

/// The plan with a text at every unknown place.
fn made(mut plan: Object) -> Object {
    if plan.attr("b_computed").is_unknown() {
        plan.set("b_computed", Value::list([Object::new().with("n", "by the provider").into()]));
    }
    let filled = Value::from(plan).rebuild(&mut |v| v.is_unknown().then(|| "made".into()));
    filled.as_object().cloned().unwrap()
}

// === a resource without identity and import

struct Plain;

impl Resource<Arc<Seen>> for Plain {
    fn type_name(&self) -> &'static str {
        "lab_plain"
    }

    fn schema(&self) -> Schema {
        Schema::new(0).attr(Attr::string("name").required())
    }

    async fn create(&self, _: &Context, _: &Arc<Seen>, rq: CreateRequest) -> Applied {
        Applied::state(rq.plan)
    }

    async fn read(&self, _: &Context, _: &Arc<Seen>, rq: ReadRequest) -> Observed {
        Observed::state(rq.state)
    }

    async fn update(&self, _: &Context, _: &Arc<Seen>, rq: UpdateRequest) -> Applied {
        Applied::state(rq.plan)
    }

    async fn delete(&self, _: &Context, _: &Arc<Seen>, _: DeleteRequest) -> Applied {
        Applied::gone()
    }
}

struct Probe;

impl DataSource<Arc<Seen>> for Probe {
    fn type_name(&self) -> &'static str {
        "lab_probe"
    }

    fn schema(&self) -> Schema {
        Schema::new(0).attr(Attr::string("name").required()).attr(Attr::string("module").computed())
    }

    async fn read(&self, _: &Context, _: &Arc<Seen>, rq: DataRequest) -> DataAnswer {
        match rq.config.attr("name").as_str() {
            Some("defer") => DataAnswer::deferred(DeferredReason::AbsentPrerequisite),
            Some("panic") => panic!("{PANIC}"),
            _ => {
                let module = rq.meta.map_or(Value::Null, |meta| meta.attr("module").clone());
                DataAnswer::state(rq.config.with("module", module))
            }
        }
    }
}

// === an ephemeral resource

struct Token;

impl EphemeralResource<Arc<Seen>> for Token {
    fn type_name(&self) -> &'static str {
        "lab_token"
    }

    fn schema(&self) -> Schema {
        Schema::new(0)
            .attr(Attr::string("name").required().validate(validate::length(1..)))
            .attr(Attr::int64("seconds").optional())
            .attr(Attr::string("token").computed().sensitive())
    }

    async fn validate(&self, _: &Context, config: &Object, d: &mut Diagnostics) {
        if config.attr("name").as_str() == Some("invalid") {
            d.error(path!("name"), "Not this one", "");
        }
    }

    async fn open(&self, _: &Context, seen: &Arc<Seen>, rq: OpenRequest) -> Opened {
        let name = rq.config.attr("name").as_str().unwrap_or_default().to_owned();
        let mut private = Private::new();
        private.set("name", &name).unwrap();
        let opened =
            |token: Value| Opened::result(rq.config.clone().with("token", token)).with_private(private.clone());
        match name.as_str() {
            "panic" => panic!("{PANIC}"),
            "fail" => Opened::failed(Diagnostic::error("No token", "There is none left.")),
            "nothing" => Opened::default(),
            "defer" => Opened::deferred(DeferredReason::AbsentPrerequisite),
            "unknown" => opened(Value::UNKNOWN),
            "other" => Opened::result(rq.config.clone().with("name", "another").with("token", "t")),
            "leak" => opened("tok-leak".into()).with_diagnostics([Diagnostic::warning("Made", "It is tok-leak.")]),
            _ => {
                seen.odd.fetch_add(1, Ordering::SeqCst);
                let opened = opened(format!("tok-{name}").into());
                match rq.config.attr("seconds").as_i64() {
                    Some(s) => opened.renew_at(SystemTime::now() + Duration::from_secs(s.unsigned_abs())),
                    None => opened,
                }
            }
        }
    }

    async fn renew(&self, _: &Context, seen: &Arc<Seen>, mut private: Private) -> Renewed {
        let name: String = private.get("name").unwrap().unwrap_or_default();
        assert!(name != "panic in renew", "{PANIC}");
        let renewals = seen.renewals.fetch_add(1, Ordering::SeqCst) + 1;
        if renewals == 1 {
            // The data of the request is kept.
            return Renewed::until(SystemTime::now() + Duration::from_mins(1));
        }
        private.set("name", &format!("{name}, renewed")).unwrap();
        Renewed::default().with_private(private)
    }

    async fn close(&self, _: &Context, seen: &Arc<Seen>, private: Private, d: &mut Diagnostics) {
        let name: String = private.get("name").unwrap().unwrap_or_default();
        assert!(name != "panic in close", "{PANIC}");
        if name == "stuck" {
            d.warn(None, "It stays", "");
        }
        seen.closed.lock().unwrap().push(name);
    }
}

// === an action

struct Ping;

impl Action<Arc<Seen>> for Ping {
    fn type_name(&self) -> &'static str {
        "lab_ping"
    }

    fn schema(&self) -> Schema {
        Schema::new(0)
            .attr(Attr::string("host").required())
            .attr(Attr::int64("count").optional().validate(validate::range(1..=100)))
            .attr(Attr::string("password").optional().sensitive())
    }

    async fn validate(&self, _: &Context, config: &Object, d: &mut Diagnostics) {
        if config.attr("host").as_str() == Some("invalid") {
            d.error(path!("host"), "No such host", "");
        }
    }

    async fn plan(
        &self,
        _: &Context,
        _: Option<&Arc<Seen>>,
        config: &Object,
        d: &mut Diagnostics,
    ) -> Option<DeferredReason> {
        match config.attr("host").as_str() {
            Some("panic in plan") => panic!("{PANIC}"),
            Some("warned") => d.warn(None, "It may take long", ""),
            Some("defer") => return Some(DeferredReason::AbsentPrerequisite),
            _ => {}
        }
        None
    }

    async fn invoke(&self, cx: &Context, seen: &Arc<Seen>, config: Object, progress: Progress) -> Diagnostics {
        let host = config.attr("host").as_str().unwrap_or_default().to_owned();
        let count = config.attr("count").as_i64().unwrap_or(1);
        let password = config.attr("password").as_str().unwrap_or_default().to_owned();
        for n in 1..=count {
            progress.say(format!("{n} of {count} {password}")).await;
        }
        match host.as_str() {
            "panic" => panic!("{PANIC}"),
            "fail" => Diagnostic::error("No answer", format!("with {password}")).into(),
            "wait" => {
                cx.cancelled().await;
                seen.cancelled.fetch_add(1, Ordering::SeqCst);
                Diagnostic::warning("Interrupted", "").into()
            }
            "leave" => {
                // A sender that outlives the action keeps nobody waiting.
                tokio::spawn(async move {
                    std::future::pending::<()>().await;
                    drop(progress);
                });
                Diagnostics::new()
            }
            _ => Diagnostics::new(),
        }
    }
}

// === a list

struct Cases;

impl ListResource<Arc<Seen>> for Cases {
    fn type_name(&self) -> &'static str {
        "lab_case"
    }

    fn schema(&self) -> Schema {
        Schema::new(0)
            .attr(Attr::int64("count").optional())
            .attr(Attr::string("act").optional())
            .attr(Attr::string("prefix").optional().validate(validate::length(..=5)))
    }

    async fn list(&self, cx: &Context, seen: &Arc<Seen>, rq: ListRequest, out: ListSink) {
        let act = rq.config.attr("act").as_str().unwrap_or_default().to_owned();
        assert!(act != "panic", "{PANIC}");
        let count = if act == "endless" { u64::MAX } else { rq.config.attr("count").as_i64().unwrap_or(3) as u64 };
        for n in 0..count {
            let name = format!("{}{n}", rq.config.attr("prefix").as_str().unwrap_or("case-"));
            let identity = if act == "anonymous" { Object::new() } else { Object::new().with("name", name.as_str()) };
            let found = match act.as_str() {
                "broken" if n == 1 => Listed::failed(Diagnostic::error("Cannot be read", name)),
                "incomplete" => Listed::new(name, identity),
                _ => Listed::new(format!("Case {n}"), identity)
                    .with_resource(Object::new().with("name", name.as_str()).with("secret_wo", "listed secret")),
            };
            seen.listed.fetch_add(1, Ordering::SeqCst);
            if !out.push(found).await {
                if act == "endless" && rq.limit == u64::MAX {
                    cx.cancelled().await;
                    seen.cancelled.fetch_add(1, Ordering::SeqCst);
                }
                return;
            }
        }
    }
}
