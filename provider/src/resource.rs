//! One resource over all kinds.

use crate::labels;
use crate::mapping::{self, Use, attributes, from_json, properties, reconcile, same_spec};
use crate::report;
use crate::settings::Connection;
use crate::wait::{self, Waited};
use sampan_client::{Delete, DryRun, Error, Object as Remote, Precondition, Written, idempotency_key};
use sampan_schema::change::{self, Class};
use sampan_schema::operation::{Operation, Phase};
use sampan_schema::{Kind, check, name};
use serde_json::Value as Json;
use std::future::Future;
use std::time::Duration;
use tf_plugin::{
    Applied, Attr, Context, CreateRequest, DeleteRequest, Diagnostic, Diagnostics, IdentitySchema, ImportRequest,
    Imported, Interrupted, Object, Observed, Plan, Private, ReadRequest, Resource, Schema, Type, UpdateRequest, Value,
    path,
};

/// Stands for the provider's namespace where only the form is checked.
const SOME_NAMESPACE: &str = "some-namespace";
/// How long an interrupted call still waits for an answer that is under way.
const GRACE: Duration = Duration::from_secs(5);
/// Key of the private data.
const GENERATION: &str = "generation";
/// Pause before a write that another operation is in the way of.
const BUSY: Duration = Duration::from_secs(2);

/// The resource of a kind.
pub(crate) struct KindResource {
    kind: &'static Kind,
    type_name: String,
    spec: Vec<Attr>,
    /// Nothing, where no status of the kind is slow enough for a state.
    status: Option<Attr>,
}

/// What is to be written, and what was before.
struct Change<'a> {
    plan: &'a Object,
    prior: Option<&'a Object>,
    spec: Json,
    class: Option<String>,
}

impl KindResource {
    pub(crate) fn new(kind: &'static Kind) -> Self {
        Self { kind, type_name: format!("sampan_{}", kind.name), spec: Vec::new(), status: None }.filled()
    }

    fn filled(mut self) -> Self {
        self.spec = attributes(self.kind.spec_schema(), Use::Input);
        for attr in &mut self.spec {
            if attr.name == "namespace" {
                // Null means the provider's, so the provider plans it.
                (attr.required, attr.optional, attr.computed, attr.keep_state) = (false, true, true, true);
            }
        }
        let status = attributes(self.kind.status_schema(), Use::Stable);
        self.status = (!status.is_empty())
            .then(|| Attr::nested_single("status", status).computed().describe("What the server observes."));
        self
    }

    fn has_class(&self) -> bool {
        self.kind.name == "application"
    }

    fn timeout(&self, operation: usize) -> Duration {
        Duration::from_secs(self.kind.timeouts[operation])
    }

    fn names<'a>(&self, object: &'a Object) -> (&'a str, &'a str) {
        let text = |name| object.attr(name).as_str().unwrap_or_default();
        (if self.kind.namespaced { text("namespace") } else { "" }, text("name"))
    }

    fn id(&self, object: &Object) -> String {
        let (ns, name) = self.names(object);
        self.kind.id(ns, name)
    }

    fn what(&self, verb: &str, object: &Object) -> String {
        format!("{} {} was not {verb}", self.kind.name.replace('_', " "), self.id(object))
    }

    fn has_labels(&self) -> bool {
        self.spec.iter().any(|attr| attr.name == "labels")
    }

    /// The spec that a plan asks for.
    fn wanted(&self, to: Option<&Connection>, plan: &Object, write_only: Option<&Object>) -> Json {
        let mut spec = mapping::spec(self.kind, plan, write_only);
        if let Some(to) = to.filter(|_| self.has_labels()) {
            labels::add(&to.default_labels, &mut spec);
        }
        spec
    }

    /// The spec that a state stands for.
    fn stored(&self, state: &Object) -> Json {
        let mut spec = mapping::spec(self.kind, state, None);
        if self.has_labels() {
            labels::restore(state, &mut spec);
        }
        spec
    }

    /// Every argument differs in nothing.
    fn is_same(&self, a: &Object, b: &Object) -> bool {
        let names = self.spec.iter().map(|attr| attr.name.as_str()).chain(["timeouts", labels::EFFECTIVE]);
        names.into_iter().all(|name| a.attr(name).same(b.attr(name)))
    }

    /// The state after a write: the arguments as they are planned, the rest as the server says.
    fn written(&self, to: &Connection, change: &Change<'_>, remote: &Remote) -> Object {
        let mut state = change.plan.clone();
        for (name, property) in properties(self.kind.spec_schema()) {
            if mapping::is_write_only(property) {
                state.set(name.clone(), Value::Null);
            }
        }
        if self.has_labels() {
            // What the plan says, or what it could not know yet.
            let effective = labels::planned(Some(to), change.prior, change.plan);
            state.set(labels::EFFECTIVE, effective);
        }
        self.observe(&mut state, remote);
        if self.has_class() {
            let planned = change.plan.attr("last_change_class");
            if planned.is_unknown() {
                state.set("last_change_class", change.class.as_deref().unwrap_or("none"));
            }
        }
        state
    }

    /// That state, and beside it the generation, for which a plan needs no line.
    fn applied(&self, to: &Connection, change: &Change<'_>, remote: &Remote) -> Applied {
        Applied::state(self.written(to, change, remote)).with_private(kept(remote))
    }

    /// The state of an object that was read; keeps the spelling of the stored one.
    pub(crate) fn observed(
        &self,
        to: &Connection,
        stored: &Object,
        (ns, name): (&str, &str),
        remote: &Remote,
    ) -> Object {
        let mut state = stored.clone();
        let own = labels::own(to, stored, remote.get("labels"));
        for attr in &self.spec {
            let schema = self.kind.spec_schema().get("properties").and_then(|p| p.get(&attr.name));
            let before = stored.attr(&attr.name);
            let now = if attr.name == "labels" { &own } else { remote.get(&attr.name) };
            state.set(attr.name.clone(), reconcile(attr, schema.unwrap_or(&Json::Null), before, now));
        }
        if self.has_labels() {
            state.set(labels::EFFECTIVE, labels::seen(to, stored, remote.get("labels")));
        }
        // A server that leaves out what the path says.
        state.set("name", name);
        if self.kind.namespaced {
            state.set("namespace", ns);
        }
        self.observe(&mut state, remote);
        if self.has_class() && state.attr("last_change_class").is_null() {
            state.set("last_change_class", Class::None.word());
        }
        state
    }

    /// What the server sets.
    fn observe(&self, state: &mut Object, remote: &Remote) {
        state.set("id", from_json(&tf_plugin::Kind::String, remote.get("id")));
        if let Some(attr) = &self.status {
            let status = from_json(&attr.kind, remote.status());
            let empty = || from_json(&attr.kind, &Json::Object(serde_json::Map::new()));
            state.set("status", if status.is_null() { empty() } else { status });
        }
    }

    /// Sends the spec. Waits while another operation is in the way.
    async fn put(
        &self,
        cx: &Context,
        to: &Connection,
        change: &Change<'_>,
        precondition: &Precondition,
    ) -> Result<Written, Failure> {
        let names = self.names(change.plan);
        let class = change.class.as_deref().filter(|_| change.prior.is_some());
        patient(cx, || to.client.put(self.kind, names, &change.spec, precondition, class)).await
    }

    /// Rule 1.9: somebody else was there between read and write.
    async fn put_again(&self, cx: &Context, to: &Connection, change: &Change<'_>) -> Result<Written, Diagnostics> {
        let summary = self.what("changed", change.plan);
        let remote =
            match within(cx, to.client.get(self.kind, self.names(change.plan).0, self.names(change.plan).1)).await {
                Ok(remote) => remote,
                Err(failure) => return Err(failure.diagnostics(self.kind, &summary)),
            };
        let theirs = remote.spec(self.kind);
        if same_spec(self.kind, &theirs, &change.spec) {
            // Our own write, whose answer was lost; or somebody else wanted the same.
            return Ok(Written { object: remote, operation: None });
        }
        let prior = change.prior.map(|prior| self.stored(prior)).unwrap_or_default();
        if same_spec(self.kind, &theirs, &prior) {
            let now = Precondition::Generation(remote.generation());
            return self.put(cx, to, change, &now).await.map_err(|failure| failure.diagnostics(self.kind, &summary));
        }
        Err(self.foreign_change(&summary, &prior, &theirs).into())
    }

    fn foreign_change(&self, summary: &str, prior: &Json, theirs: &Json) -> Diagnostic {
        let reasons = change::between(self.kind, prior, theirs).reasons;
        let fields: Vec<&str> = reasons.iter().map(|reason| reason.field.as_str()).collect();
        Diagnostic::error(
            summary,
            format!(
                "Somebody else changed it since it was read; nothing was overwritten. These fields differ from the \
                 state: {}. Run terraform plan to see what is there now.",
                fields.join(", ")
            ),
        )
    }

    /// Waits for what a write started and says how it went.
    async fn follow(&self, cx: &Context, to: &Connection, change: &Change<'_>, written: Written) -> Applied {
        let Written { object, operation } = written;
        let creating = change.prior.is_none();
        let operation = match operation {
            Some(operation) => operation,
            None => match running(&object) {
                // Attaches to what runs already instead of starting anything.
                Some(id) => match within(cx, to.client.operation(id, Duration::ZERO)).await {
                    Ok(operation) => operation,
                    Err(_) => return self.applied(to, change, &object),
                },
                None => return self.applied(to, change, &object),
            },
        };
        let wait_for = change.plan.at("rollout.wait_for").and_then(Value::as_str);
        if wait_for == Some("started") {
            return self.applied(to, change, &object);
        }
        let revision = object.status().get("update_revision").and_then(Json::as_str).unwrap_or_default().to_owned();
        let id = operation.id.clone();
        let waited = wait::operation(cx, &to.client, operation, &revision, wait_for == Some("completed")).await;
        // What was reached; a failure to read it does not make the write undone.
        let fresh =
            tokio::time::timeout(GRACE, to.client.get(self.kind, self.names(change.plan).0, self.names(change.plan).1))
                .await;
        let object = match fresh {
            Ok(Ok(fresh)) => fresh,
            Ok(Err(error)) if error.is_not_found() => {
                let text = format!("It was deleted while the operation {id} ran.");
                return Applied::gone().with_diagnostics([Diagnostic::error(self.what("finished", change.plan), text)]);
            }
            Ok(Err(_)) | Err(_) => object,
        };
        let applied = self.applied(to, change, &object);
        let lenient = creating && change.plan.at("rollout.on_create_failure").and_then(Value::as_str) == Some("warn");
        let told = |summary: String, detail: String| {
            if lenient { Diagnostic::warning(summary, detail) } else { Diagnostic::error(summary, detail) }
        };
        let unfinished = |detail: String| {
            told(format!("{} {} is not finished", self.kind.name.replace('_', " "), self.id(change.plan)), detail)
        };
        match waited {
            Waited::Over(operation) => match operation.phase {
                Phase::Succeeded => applied,
                Phase::Paused if wait::is_planned_pause(&operation.reason) => {
                    // By name: Terraform shows only the first of several warnings with one summary.
                    let summary = format!("The release of {} is paused", self.id(change.plan));
                    applied.with_diagnostics([Diagnostic::warning(summary, paused(&operation))])
                }
                Phase::Paused => applied.with_diagnostics([unfinished(paused(&operation))]),
                _ => applied.with_diagnostics([told(
                    format!("The {} of {} has not succeeded", operation.kind, self.id(change.plan)),
                    failed(&operation, creating, lenient),
                )]),
            },
            Waited::Interrupted(operation) => applied.with_diagnostics([Diagnostic::warning(
                "Waiting was interrupted",
                format!("The operation {} goes on at the server; the state is saved as it is now.", operation.id),
            )]),
            Waited::Late(operation) => applied.with_diagnostics([unfinished(format!(
                "The time in timeouts has passed. The operation {} goes on at the server ({}); the next apply waits \
                 for it instead of starting another one.",
                operation.id,
                wait::progress(&operation, &revision)
            ))]),
            Waited::Lost(error) => applied.with_diagnostics([unfinished(format!(
                "The operation {id} cannot be followed: {error}. It goes on at the server."
            ))]),
        }
    }

    /// Asks the server what the planned write would do.
    async fn ask(
        &self,
        cx: &Context,
        to: &Connection,
        names: (&str, &str),
        spec: &Json,
        d: &mut Diagnostics,
    ) -> Option<DryRun> {
        match cx.run(to.client.dry_run(self.kind, names, spec)).await {
            Ok(Ok(answer)) => {
                for warning in &answer.warnings {
                    d.push(report::warning(self.kind, &self.kind.id(names.0, names.1), warning));
                }
                let told = |class: &str| answer.warnings.iter().any(|warning| warning.contains(class));
                if let Some(isolation) = answer.isolation.as_ref().filter(|i| !i.available && !told(&i.class)) {
                    d.warn(
                        path!("isolation_class"),
                        format!("Isolation class {} is not available", isolation.class),
                        format!("{}. The application would stay Pending; nothing weaker is used.", isolation.reason),
                    );
                }
                Some(answer)
            }
            // The namespace is made by the same apply.
            Ok(Err(error)) if error.is_not_found() => None,
            Ok(Err(error)) if matches!(error.problem().map(|p| p.status), Some(400 | 422)) => {
                d.extend(report::refusal(self.kind, "The server would refuse this", &error));
                None
            }
            Ok(Err(error @ Error::Version { .. })) => {
                d.push(report::plain("Server and provider do not fit", &error));
                None
            }
            Ok(Err(error)) => {
                d.warn(None, "The plan was not checked by the server", format!("{error}."));
                None
            }
            Err(_) => None,
        }
    }

    /// What a write would be refused for. It is said now, unless the policy that it is about is changed by this run: then
    /// nobody knows yet.
    fn unresolved(&self, to: &Connection, planned: &Object, answer: &DryRun, d: &mut Diagnostics) {
        let (namespace, _) = self.names(planned);
        let policy = planned.attr("gray_policy").as_str().unwrap_or_default();
        // With its namespace also the policy is still to be made.
        let no_namespace = answer.unresolved.iter().any(|e| e.field_path == "namespace");
        if no_namespace || to.planned.has(namespace, policy) {
            return;
        }
        for found in answer.unresolved.iter().filter(|e| e.field_path == "gray_policy") {
            let detail = format!(
                "{}: {} ({}). If this configuration makes or changes the policy, refer to it, as in \
                 sampan_gray_policy.NAME.name: then it is planned and written before.",
                found.field_path, found.message, found.rule
            );
            d.push(Diagnostic::error("The server would refuse this", detail).at(path!("gray_policy")));
        }
    }

    /// The namespace that a null one stands for.
    fn plan_namespace(&self, to: Option<&Connection>, plan: &mut Plan, d: &mut Diagnostics) {
        let Some(planned) = plan.planned.as_mut() else { return };
        if !self.kind.namespaced || !plan.config.as_ref().is_none_or(|config| config.attr("namespace").is_null()) {
            return;
        }
        let prior = plan.prior.as_ref().map(|prior| prior.attr("namespace").clone()).filter(|prior| !prior.is_null());
        let namespace = match (to, &prior) {
            (Some(to), _) => match &to.namespace {
                Some(namespace) => Value::from(namespace.as_str()),
                None => {
                    let text = "Set namespace here or in the provider block.";
                    d.error(path!("namespace"), "Which namespace?", text);
                    return;
                }
            },
            (None, Some(prior)) => prior.clone(),
            (None, None) => Value::UNKNOWN,
        };
        let moved = prior.is_some_and(|prior| prior != namespace);
        planned.set("namespace", namespace);
        if moved {
            plan.replace_because_of(path!("namespace"));
        }
    }
}

/// Why a request has no answer.
enum Failure {
    Refused(Error),
    Interrupted(Interrupted),
}

impl Failure {
    fn diagnostics(self, kind: &Kind, summary: &str) -> Diagnostics {
        match self {
            Self::Refused(error) => report::refusal(kind, summary, &error),
            Self::Interrupted(why) => Diagnostic::error(
                summary,
                format!("No answer of the server came before {why}; whether it did something is not known."),
            )
            .into(),
        }
    }

    fn is_mismatch(&self) -> bool {
        matches!(self, Self::Refused(error) if error.is_mismatch())
    }

    fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(error) if error.is_not_found())
    }
}

/// The answer; a short while longer when the call is interrupted, since a write may have been done.
async fn within<T>(cx: &Context, request: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
    let mut request = std::pin::pin!(request);
    match cx.run(request.as_mut()).await {
        Ok(answer) => answer.map_err(Failure::Refused),
        Err(why) => match tokio::time::timeout(GRACE, request).await {
            Ok(answer) => answer.map_err(Failure::Refused),
            Err(_) => Err(Failure::Interrupted(why)),
        },
    }
}

/// The answer, after an operation that is in the way.
async fn patient<T, F>(cx: &Context, request: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Error>>,
{
    loop {
        match within(cx, request()).await {
            Err(Failure::Refused(error)) if error.code() == "OPERATION_RUNNING" => {
                cx.progress(&format!("{error}; waiting"));
                if cx.run(tokio::time::sleep(BUSY)).await.is_err() {
                    return Err(Failure::Refused(error));
                }
            }
            other => return other,
        }
    }
}

/// What is kept beside the state.
fn kept(remote: &Remote) -> Private {
    let mut private = Private::new();
    // A number under a key of ours has a JSON form.
    let _ = private.set(GENERATION, &remote.generation());
    private
}

/// The generation that was read last; 0, which no object has, when none was: then the server says no, and specs decide.
fn generation(private: &Private) -> i64 {
    private.get(GENERATION).ok().flatten().unwrap_or_default()
}

/// The id of the operation that runs on an object.
fn running(object: &Remote) -> Option<&str> {
    let last = object.status().get("last_operation")?;
    let phase = last.get("phase")?.as_str()?;
    let id = last.get("id")?.as_str()?;
    (matches!(phase, "Pending" | "Running") && !id.is_empty()).then_some(id)
}

fn paused(operation: &Operation) -> String {
    let Operation { id, reason, message, namespace, name, .. } = operation;
    let why = if message.is_empty() { reason.clone() } else { format!("{reason}: {message}") };
    let next = if wait::is_planned_pause(reason) {
        format!("It goes on with {}.", wait::way_on(operation))
    } else {
        format!(
            "The release stays as it is, also when the same is applied again. {}",
            wait::ways_out(&format!("{namespace}/{name}"))
        )
    };
    format!("The operation {id} is paused: {why}.\n\n{next}")
}

fn failed(operation: &Operation, creating: bool, lenient: bool) -> String {
    let next = match operation.phase {
        Phase::Superseded => "Another change took over; run terraform plan to see what is there now.",
        _ if creating && !lenient => {
            "It is stored, and Terraform will replace it at the next apply. With rollout.on_create_failure = \"warn\" \
             it would be repaired in place."
        }
        _ => "What is stored is in the state, and the next plan shows an update that tries again.",
    };
    format!("{}\n\n{next}", wait::outcome(operation))
}

impl Resource<Connection> for KindResource {
    fn type_name(&self) -> &str {
        &self.type_name
    }

    fn schema(&self) -> Schema {
        let mut schema = Schema::new(0)
            .describe(self.kind.about)
            .attrs(self.spec.iter().cloned())
            .attr(Attr::string("id").computed().keep_state().describe("Path of the names; what import takes."));
        if self.has_class() {
            schema = schema.attr(Attr::string("last_change_class").computed().describe(
                "What the last change does to running instances: `none`, `metadata`, `scale`, `in_place_restart` or \
                 `recreate`. Known in the plan, unless it depends on what only the server knows.",
            ));
        }
        if self.has_labels() {
            schema = schema.attr(Attr::map(labels::EFFECTIVE, Type::String).computed().keep_state().describe(
                "All labels of the object, also those of `default_labels` in the provider block; null without these.",
            ));
        }
        // Every attribute costs Terraform about 25 µs per instance in every plan: what says nothing is not there.
        schema = schema.attrs(self.status.clone());
        if self.kind.has_operations() { schema.attr(Attr::timeouts(["create", "update", "delete"])) } else { schema }
    }

    async fn validate(&self, _: &Context, config: &Object, d: &mut Diagnostics) {
        let mut spec = mapping::spec(self.kind, config, Some(config));
        if self.kind.namespaced && spec["namespace"].is_null() {
            spec["namespace"] = SOME_NAMESPACE.into();
        }
        d.extend(self.kind.validate(&spec).iter().map(|v| report::violation(self.kind, v)));
    }

    async fn modify_plan(&self, cx: &Context, to: Option<&Connection>, plan: &mut Plan, d: &mut Diagnostics) {
        self.plan_namespace(to, plan, d);
        let prior = plan.prior.clone();
        let Some(planned) = plan.planned.as_mut().filter(|_| !d.has_errors()) else { return };
        let named = ["namespace", "name"].iter().all(|name| planned.attr(name).is_wholly_known());
        if prior.is_none() && named {
            let id = self.id(planned);
            planned.set("id", id);
        }
        if self.has_labels() {
            let effective = labels::planned(to, prior.as_ref(), planned);
            let other = prior.as_ref().is_some_and(|prior| !prior.attr(labels::EFFECTIVE).same(&effective));
            if other && self.status.is_some() {
                // As with any change; the plan was made before this one was known.
                planned.set("status", Value::UNKNOWN);
            }
            planned.set(labels::EFFECTIVE, effective);
        }
        let changed = prior.as_ref().is_none_or(|prior| !self.is_same(prior, planned));
        if let (Some(to), "gray_policy", true, true) = (to, self.kind.name, named, changed) {
            let (namespace, name) = self.names(planned);
            to.planned.note(namespace, name);
        }
        let spec = self.wanted(to, planned, None);
        let certain = !check::has_unknown(&spec);
        let mut local = None;
        if let (Some(prior), true) = (&prior, changed && certain) {
            local = Some(change::between(self.kind, &self.stored(prior), &spec));
        }
        if self.has_class() && changed {
            let class = match (&prior, &local) {
                (None, _) => Value::from(Class::None.word()),
                // Computed here and from the two specs alone, so the plan at apply says the same.
                (Some(_), Some(change)) if change.is_certain() => change.class.word().into(),
                (Some(_), _) => Value::UNKNOWN,
            };
            planned.set("last_change_class", class);
        }
        if let (Some(prior), false) = (&prior, changed) {
            let last = |what: &str| {
                let path = format!("status.last_operation.{what}");
                prior.at(&path).and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let next = match last("phase").as_str() {
                "Failed" | "RolledBack" | "Aborted" => Some("Applying tries again.".to_owned()),
                "Paused" if !wait::is_planned_pause(&last("reason")) => {
                    Some(format!("Applying the same does not try again. {}", wait::ways_out(&self.id(prior))))
                }
                _ => None,
            };
            if let Some(next) = next {
                planned.set("status", Value::UNKNOWN);
                d.warn(
                    None,
                    format!("The last {} of {} has not succeeded", last("kind"), self.id(prior)),
                    format!("{}: {}: {}. {next}", last("phase"), last("reason"), last("message")),
                );
            }
            return;
        }
        let mut class = local.as_ref().map(|change| change.class);
        let mut reasons = local.map(|change| change.reasons).unwrap_or_default();
        // An apply that failed leaves what its plan had put there.
        plan.private.remove("seen");
        plan.private.remove("class");
        if let Some(class) = class {
            let _ = plan.private.set("class", class.word());
        }
        let Some(planned) = &plan.planned else { return };
        if let (Some(to), true, true) = (to, certain && named, self.kind.dry_run) {
            if let Some(answer) = self.ask(cx, to, self.names(planned), &spec, d).await {
                self.unresolved(to, planned, &answer, d);
                if prior.is_some() {
                    class = Some(answer.change_class);
                    let _ = plan.private.set("seen", answer.change_class.word());
                    reasons = answer.reasons;
                }
            }
        }
        if class == Some(Class::Recreate) {
            let fields: Vec<&str> =
                reasons.iter().filter(|r| r.class == Class::Recreate).map(|r| r.field.as_str()).collect();
            d.warn(
                None,
                format!("Sandboxes of {} are replaced", self.id(planned)),
                format!(
                    "These changes cannot be made in place: {}. Instances are replaced one after the other \
                         under update_strategy.",
                    fields.join(", ")
                ),
            );
        }
    }

    async fn create(&self, cx: &Context, to: &Connection, rq: CreateRequest) -> Applied {
        let cx = cx.with_timeout(rq.timeout(self.timeout(0)));
        let spec = self.wanted(Some(to), &rq.plan, Some(&rq.config));
        let change = Change { plan: &rq.plan, prior: None, spec, class: None };
        let absent = Precondition::Absent { key: idempotency_key() };
        match self.put(&cx, to, &change, &absent).await {
            Ok(written) => self.follow(&cx, to, &change, written).await,
            Err(Failure::Refused(error)) if error.code() == "ALREADY_EXISTS" => {
                Applied::failed(report::already_exists(self.kind, &self.id(&rq.plan)))
            }
            Err(failure) => Applied::failed(failure.diagnostics(self.kind, &self.what("created", &rq.plan))),
        }
    }

    async fn read(&self, cx: &Context, to: &Connection, rq: ReadRequest) -> Observed {
        let (ns, name) = self.names(&rq.state);
        let remote = match within(cx, to.client.get(self.kind, ns, name)).await {
            Ok(remote) => remote,
            Err(failure) if failure.is_not_found() => return Observed::gone(),
            Err(failure) => return Observed::failed(failure.diagnostics(self.kind, &self.what("read", &rq.state))),
        };
        let state = self.observed(to, &rq.state, (ns, name), &remote);
        Observed::state(state).with_private(kept(&remote))
    }

    async fn update(&self, cx: &Context, to: &Connection, rq: UpdateRequest) -> Applied {
        let cx = cx.with_timeout(rq.timeout(self.timeout(1)));
        // Without a new version the stored secret stays, and is not even sent.
        let resend = rq.prior.attr("wo_version") != rq.plan.attr("wo_version");
        let spec = self.wanted(Some(to), &rq.plan, resend.then_some(&rq.config));
        let class = |key: &str| rq.private.get::<Option<String>>(key).ok().flatten().flatten();
        let mut change = Change { plan: &rq.plan, prior: Some(&rq.prior), spec, class: class("class") };
        let summary = self.what("changed", &rq.plan);
        let at = Precondition::Generation(generation(&rq.private));
        let written = match self.put(&cx, to, &change, &at).await {
            Ok(written) => written,
            Err(failure) if failure.is_mismatch() => match self.put_again(&cx, to, &change).await {
                Ok(written) => written,
                Err(diagnostics) => return Applied::failed(diagnostics),
            },
            Err(failure) if failure.is_not_found() => {
                let text = "It was deleted since it was read. Run terraform plan again.";
                return Applied::failed(Diagnostic::error(summary, text));
            }
            Err(failure) => return Applied::failed(failure.diagnostics(self.kind, &summary)),
        };
        change.class = class("seen").or(change.class);
        self.follow(&cx, to, &change, written).await
    }

    async fn delete(&self, cx: &Context, to: &Connection, rq: DeleteRequest) -> Applied {
        let cx = cx.with_timeout(rq.timeout(self.timeout(2)));
        let names = self.names(&rq.state);
        let summary = self.what("deleted", &rq.state);
        let remove = |generation| {
            let cx = &cx;
            async move { patient(cx, || to.client.delete(self.kind, names, generation)).await }
        };
        let mut answer = remove(Some(generation(&rq.private))).await;
        if answer.as_ref().is_err_and(Failure::is_mismatch) {
            answer = match within(&cx, to.client.get(self.kind, names.0, names.1)).await {
                Ok(remote) => {
                    let (prior, theirs) = (self.stored(&rq.state), remote.spec(self.kind));
                    if !same_spec(self.kind, &prior, &theirs) {
                        return Applied::failed(self.foreign_change(&summary, &prior, &theirs));
                    }
                    remove(Some(remote.generation())).await
                }
                Err(failure) => Err(failure),
            };
        }
        let operation = match answer {
            Ok(Delete::Gone) => return Applied::gone(),
            Ok(Delete::Started(operation)) => operation,
            Err(failure) if failure.is_not_found() => return Applied::gone(),
            Err(failure) => return Applied::failed(failure.diagnostics(self.kind, &summary)),
        };
        let id = operation.id.clone();
        let detail = match wait::operation(&cx, &to.client, operation, "", false).await {
            Waited::Over(operation) if operation.phase == Phase::Succeeded => return Applied::gone(),
            Waited::Over(operation) => wait::outcome(&operation),
            Waited::Interrupted(_) => format!("Waiting was interrupted. The operation {id} goes on at the server."),
            Waited::Late(_) => {
                format!("The time in timeouts has passed. The operation {id} goes on at the server; apply again.")
            }
            // With the object its operations may go too.
            Waited::Lost(error) => match to.client.get(self.kind, names.0, names.1).await {
                Err(gone) if gone.is_not_found() => return Applied::gone(),
                _ => format!("The operation {id} cannot be followed: {error}."),
            },
        };
        Applied::failed(Diagnostic::error(summary, detail))
    }

    fn identity(&self) -> Option<IdentitySchema> {
        let identity = IdentitySchema::new(0).required("name", Type::String).describe("Name of the object.");
        let provider = "Its namespace; an import takes the provider's when it is left out.";
        Some(if self.kind.namespaced {
            identity.optional("namespace", Type::String).describe(provider)
        } else {
            identity
        })
    }

    async fn import(&self, _: &Context, to: &Connection, rq: ImportRequest) -> Imported {
        let named = match &rq.identity {
            Some(identity) => self.named(to, identity),
            None => self.parsed(&rq.id),
        };
        let (ns, name) = match named {
            Ok(names) => names,
            Err(error) => return Imported::failed(error),
        };
        let mut state = rq.empty.with("name", name.as_str()).with("id", self.kind.id(&ns, &name));
        let mut identity = Object::new().with("name", name);
        if self.kind.namespaced {
            state.set("namespace", ns.as_str());
            identity.set("namespace", ns);
        }
        Imported::state(state).with_identity(identity)
    }
}

impl KindResource {
    /// Namespace and name of an id.
    fn parsed(&self, id: &str) -> Result<(String, String), Diagnostic> {
        let (ns, name) = match id.split_once('/') {
            Some((ns, name)) if self.kind.namespaced => (ns, name),
            None if !self.kind.namespaced => ("", id),
            _ => ("", ""),
        };
        if !name::is_name(name) || (self.kind.namespaced && !name::is_name(ns)) {
            let form = if self.kind.namespaced { "namespace/name" } else { "name" };
            let text = format!("The id of a {} is {form}, this is {id:?}.", self.kind.name);
            return Err(Diagnostic::error("Wrong id", text));
        }
        Ok((ns.to_owned(), name.to_owned()))
    }

    /// Namespace and name of an identity.
    fn named(&self, to: &Connection, identity: &Object) -> Result<(String, String), Diagnostic> {
        let name = identity.attr("name").as_str().unwrap_or_default();
        let given = identity.attr("namespace").as_str().or(to.namespace.as_deref());
        let ns = match given {
            _ if !self.kind.namespaced => "",
            Some(ns) => ns,
            None => {
                let text = "Give namespace in the identity or in the provider block.";
                return Err(Diagnostic::error("Which namespace?", text));
            }
        };
        for part in [name].into_iter().chain(self.kind.namespaced.then_some(ns)) {
            if !name::is_name(part) {
                return Err(Diagnostic::error("Wrong identity", format!("{part:?} is no name.")));
            }
        }
        Ok((ns.to_owned(), name.to_owned()))
    }
}
