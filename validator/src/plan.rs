//! A plan of Terraform: what `terraform show -json` says, as the resources that the rules look at.
//!
//! What is known only after the apply is unknown, what is sensitive is marked, and what is write-only is not in a plan at
//! all. A plan has no lines of the configuration, so a finding names the address.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value as Json};

use crate::eval::expand::{AttributeView, BodyView};
use crate::eval::number::Number;
use crate::eval::types::Type;
use crate::eval::value::{Cause, CauseKind, Marks, Site, Value};
use crate::view::{COMPUTED, Resource};

/// A longer plan is not read.
pub const MAX_BYTES: u64 = 64 << 20;
/// The first number of `format_version` that is understood. A higher second one only adds.
const MAJOR: &str = "1";
/// A plan has no bytes of the configuration.
const NOWHERE: Site = Site { file: u32::MAX, start: 0, end: 0 };

/// What the apply would do with an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Keep,
    Create,
    Update,
    /// Deleted and created, in either order.
    Replace,
    Delete,
    /// It stays as it is, and Terraform does not look after it any more.
    Forget,
}

/// What a plan knows of an instance besides its values.
#[derive(Debug, Clone)]
pub struct Planned {
    pub change: Change,
    /// Its values before; null of one that is created.
    pub before: Value,
    /// Name of the plan.
    pub file: Arc<str>,
}

/// What a plan says.
#[derive(Debug, Default)]
pub struct Plan {
    /// Instances of Sampan that there are after the apply.
    pub resources: Vec<Resource>,
    /// Those that go.
    pub leaving: Vec<Resource>,
    /// Address and type of those that this linter does not know.
    pub unknown_types: Vec<(String, String)>,
    /// Why it is not whole.
    pub incomplete: Option<String>,
}

#[derive(Deserialize)]
struct Document {
    format_version: Option<String>,
    #[serde(default)]
    resource_changes: Vec<ResourceChange>,
    #[serde(default)]
    configuration: Json,
    planned_values: Option<IgnoredAny>,
    /// Only a state has this at the top.
    values: Option<IgnoredAny>,
    #[serde(default)]
    errored: bool,
}

#[derive(Deserialize)]
struct ResourceChange {
    address: String,
    #[serde(default)]
    module_address: String,
    mode: String,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    /// An old object that only waits for its end.
    deposed: Option<IgnoredAny>,
    change: Values,
}

#[derive(Deserialize)]
struct Values {
    actions: Vec<String>,
    #[serde(default)]
    before: Json,
    #[serde(default)]
    after: Json,
    #[serde(default)]
    after_unknown: Json,
    #[serde(default)]
    before_sensitive: Json,
    #[serde(default)]
    after_sensitive: Json,
}

/// Reads a plan; `name` is what findings call it.
///
/// # Errors
/// A sentence for people: what it is instead of a plan, and what to do.
pub fn read(text: &[u8], name: &str) -> Result<Plan, String> {
    const HOW: &str = "write the plan with `terraform plan -out=p.bin` and `terraform show -json p.bin`";
    if text.starts_with(b"PK\x03\x04") {
        return Err("this is a plan in Terraform's own form: `terraform show -json` makes JSON of it".into());
    }
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let document: Document =
        serde_json::from_slice(text).map_err(|error| format!("this is no plan in JSON: {error}; {HOW}"))?;
    let version = document.format_version.as_deref().unwrap_or_default();
    if version.is_empty() {
        return Err(format!("this is no plan: it has no format_version; {HOW}"));
    }
    if version.split('.').next() != Some(MAJOR) {
        return Err(format!(
            "the plan has format_version {version:?}, and {MAJOR}.x is understood: use a newer sampan, or an older terraform"
        ));
    }
    if document.values.is_some() && document.planned_values.is_none() {
        return Err(format!("this is a state and no plan; {HOW}"));
    }
    let mut plan = Plan::default();
    if document.errored {
        plan.incomplete = Some("terraform could not finish this plan, so parts of it are missing".into());
    }
    let file: Arc<str> = name.into();
    for change in document.resource_changes {
        add(&mut plan, change, &document.configuration, &file)?;
    }
    Ok(plan)
}

/// The content of a plan's file, or of stdin for `-`.
///
/// # Errors
/// A sentence for people.
pub fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    if path != Path::new("-") {
        return crate::module::read_up_to(path, MAX_BYTES);
    }
    let mut text = Vec::new();
    let stdin = std::io::Read::take(std::io::stdin().lock(), MAX_BYTES + 1);
    std::io::Read::read_to_end(&mut { stdin }, &mut text).map_err(|error| format!("stdin cannot be read: {error}"))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(format!("the plan on stdin is longer than {MAX_BYTES} bytes"));
    }
    Ok(text)
}

fn change_of(actions: &[String]) -> Option<Change> {
    let words: Vec<&str> = actions.iter().map(String::as_str).collect();
    Some(match words.as_slice() {
        ["no-op" | "read"] => Change::Keep,
        ["create"] => Change::Create,
        ["update"] => Change::Update,
        ["delete", "create"] | ["create", "delete"] => Change::Replace,
        ["delete"] => Change::Delete,
        ["forget"] => Change::Forget,
        // It is made anew, and the old one stays without Terraform.
        ["create", "forget"] => Change::Create,
        _ => return None,
    })
}

fn add(plan: &mut Plan, one: ResourceChange, configuration: &Json, file: &Arc<str>) -> Result<(), String> {
    if one.mode != "managed" || !one.kind.starts_with("sampan_") || one.deposed.is_some() {
        return Ok(());
    }
    let Some(noun) = one.kind.strip_prefix("sampan_").and_then(sampan_schema::kind) else {
        plan.unknown_types.push((one.address, one.kind));
        return Ok(());
    };
    let Some(change) = change_of(&one.change.actions) else {
        let actions = one.change.actions.join(", ");
        return Err(format!(
            "the plan has the actions {actions:?} for {}, which this version does not know",
            one.address
        ));
    };
    let is_leaving = matches!(change, Change::Delete | Change::Forget);
    let nothing = Json::Null;
    let before = value(&one.change.before, &nothing, &one.change.before_sensitive, &later("the apply".into()));
    let body = if is_leaving {
        body(noun, &one.change.before, &nothing, &one.change.before_sensitive, &|_| later("the apply".into()))
    } else {
        let expressions = expressions(configuration, &one.module_address, &one.kind, &one.name);
        let cause = |attribute: &str| later(needs(expressions, attribute));
        body(noun, &one.change.after, &one.change.after_unknown, &one.change.after_sensitive, &cause)
    };
    let planned = Planned { change, before, file: file.clone() };
    let resource = Resource::planned(noun, one.address, &one.kind, &one.name, body, planned);
    let list = if is_leaving { &mut plan.leaving } else { &mut plan.resources };
    list.push(resource);
    Ok(())
}

fn later(needs: String) -> Cause {
    Cause::new(CauseKind::Computed, needs)
}

/// Attributes that the configuration gave, or the provider's defaults stand for. What only the server sets is left out.
fn body(
    noun: &sampan_schema::Kind,
    values: &Json,
    unknown: &Json,
    sensitive: &Json,
    cause: &dyn Fn(&str) -> Cause,
) -> BodyView {
    let empty = Map::new();
    let of = |json: &'_ Json| json.as_object().cloned().unwrap_or_else(|| empty.clone());
    let (after, later) = (of(values), of(unknown));
    let properties = &noun.spec_schema()["properties"];
    let names: BTreeSet<&String> = after.keys().chain(later.keys()).collect();
    let mut attributes = Vec::new();
    for name in names {
        let is_written = properties.get(name).is_some() || !COMPUTED.contains(&name.as_str()) && name != "timeouts";
        if !is_written {
            continue;
        }
        let hidden = properties[name]["x-sampan"]["write_only"] == Json::Bool(true);
        let value = if hidden {
            let cause = Cause::new(CauseKind::NotAnalysed, format!("the configuration: {name} is not in a plan"));
            Value::unknown(Type::Dynamic, cause).marked(Marks::SENSITIVE)
        } else {
            let part = |json: &Json| match json {
                Json::Bool(all) => Json::Bool(*all),
                other => other.get(name).cloned().unwrap_or_default(),
            };
            value(after.get(name).unwrap_or(&Json::Null), &part(unknown), &part(sensitive), &cause(name))
        };
        let name = Arc::from(name.as_str());
        attributes.push(AttributeView { name, name_site: NOWHERE, site: NOWHERE, value: Ok(value) });
    }
    BodyView { attributes, blocks: Vec::new() }
}

/// A value that is wholly known.
pub(crate) fn known(json: &Json) -> Value {
    value(json, &Json::Null, &Json::Null, &Cause::new(CauseKind::NotAnalysed, "nothing"))
}

/// A value with its unknown and sensitive parts: `true` stands for all below it.
fn value(json: &Json, unknown: &Json, sensitive: &Json, cause: &Cause) -> Value {
    let marks = if *sensitive == Json::Bool(true) { Marks::SENSITIVE } else { Marks::NONE };
    if *unknown == Json::Bool(true) {
        return Value::unknown(Type::Dynamic, cause.clone()).marked(marks);
    }
    let known = match json {
        Json::Null if unknown.as_object().is_some_and(|o| !o.is_empty()) => {
            object(&Map::new(), unknown, sensitive, cause)
        }
        Json::Null if unknown.as_array().is_some_and(|a| !a.is_empty()) => list(&[], unknown, sensitive, cause),
        Json::Null => Value::null(Type::Dynamic),
        Json::Bool(b) => Value::bool(*b),
        Json::Number(n) => number(n),
        Json::String(text) => Value::string(text),
        Json::Array(items) => list(items, unknown, sensitive, cause),
        Json::Object(items) => object(items, unknown, sensitive, cause),
    };
    known.marked(marks)
}

fn number(n: &serde_json::Number) -> Value {
    let number = n.as_i64().map(Number::literal).or_else(|| n.as_f64().and_then(Number::float));
    let cause = || Cause::new(CauseKind::NotAnalysed, "a number that is too large");
    number.map_or_else(|| Value::unknown(Type::Number, cause()), Value::number)
}

fn list(items: &[Json], unknown: &Json, sensitive: &Json, cause: &Cause) -> Value {
    let nothing = Json::Null;
    let count = items.len().max(unknown.as_array().map_or(0, Vec::len));
    let at = |json: &'_ Json, i: usize| json.get(i).cloned().unwrap_or_default();
    let one = |i: usize| value(items.get(i).unwrap_or(&nothing), &at(unknown, i), &at(sensitive, i), cause);
    Value::tuple((0..count).map(one).collect())
}

fn object(items: &Map<String, Json>, unknown: &Json, sensitive: &Json, cause: &Cause) -> Value {
    let nothing = Json::Null;
    let names: BTreeSet<&String> = items.keys().chain(unknown.as_object().into_iter().flat_map(Map::keys)).collect();
    let of = |json: &'_ Json, name: &str| json.get(name).cloned().unwrap_or_default();
    let one = |name: &String| {
        let value = value(items.get(name).unwrap_or(&nothing), &of(unknown, name), &of(sensitive, name), cause);
        (Arc::from(name.as_str()), value)
    };
    Value::object(names.into_iter().map(one).collect::<BTreeMap<_, _>>())
}

/// The expressions of a resource in the plan's copy of the configuration.
fn expressions<'a>(configuration: &'a Json, module: &str, kind: &str, name: &str) -> &'a Json {
    let mut at = &configuration["root_module"];
    for call in calls(module) {
        at = &at["module_calls"][call]["module"];
    }
    let is_it = |r: &&Json| r["mode"] == "managed" && r["type"] == kind && r["name"] == name;
    let resources = at["resources"].as_array().map(Vec::as_slice).unwrap_or_default();
    resources.iter().find(is_it).map_or(&Json::Null, |r| &r["expressions"])
}

/// Names of the calls in `module.a["x.y"].module.b`.
fn calls(address: &str) -> Vec<String> {
    let (mut plain, mut inside, mut quoted, mut escaped) = (String::new(), false, false, false);
    for c in address.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '[' if !quoted => inside = true,
            ']' if !quoted => inside = false,
            c if !inside => plain.push(c),
            _ => {}
        }
    }
    plain.split('.').skip(1).step_by(2).map(str::to_owned).collect()
}

/// What an unknown attribute waits for: the one thing that its expression names, or the apply.
fn needs(expressions: &Json, attribute: &str) -> String {
    let mut names = Vec::new();
    references(&expressions[attribute], &mut names, 0);
    let own = |name: &&String| !["each.", "count.", "path.", "terraform."].iter().any(|root| name.starts_with(root));
    let names: Vec<&String> = names.iter().filter(own).collect();
    let longest = names.iter().max_by_key(|name| name.len());
    match longest {
        Some(longest) if names.iter().all(|name| longest.starts_with(name.as_str())) => (*longest).clone(),
        _ => "the apply".into(),
    }
}

fn references(json: &Json, found: &mut Vec<String>, depth: u32) {
    if depth > 32 {
        return;
    }
    match json {
        Json::Object(items) => {
            for (name, item) in items {
                match item {
                    Json::Array(all) if name == "references" => {
                        found.extend(all.iter().filter_map(Json::as_str).map(str::to_owned));
                    }
                    other => references(other, found, depth + 1),
                }
            }
        }
        Json::Array(items) => items.iter().for_each(|item| references(item, found, depth + 1)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::Leaf;
    use serde_json::json;

    fn plan(change: &Json) -> Plan {
        let one = json!({
            "address": "module.a[\"x.y\"].sampan_config_map.c[\"k\"]", "module_address": "module.a[\"x.y\"]",
            "mode": "managed", "type": "sampan_config_map", "name": "c", "change": change,
        });
        let expressions = json!({ "data": { "references": ["sampan_namespace.n.uid", "sampan_namespace.n"] } });
        let resource =
            json!({ "mode": "managed", "type": "sampan_config_map", "name": "c", "expressions": expressions });
        let configuration =
            json!({ "root_module": { "module_calls": { "a": { "module": { "resources": [resource] } } } } });
        let all = json!({
            "format_version": "1.2", "planned_values": {}, "resource_changes": [one], "configuration": configuration,
        });
        read(all.to_string().as_bytes(), "plan.json").unwrap()
    }

    #[test]
    fn what_is_known_after_the_apply_is_unknown_and_says_what_it_waits_for() {
        let plan = plan(&json!({
            "actions": ["create"], "before": null, "after": { "name": "c", "data": { "A": "a", "S": "s" } },
            "after_unknown": { "data": { "B": true }, "uid": true }, "after_sensitive": { "data": { "S": true } },
        }));
        let one = &plan.resources[0];
        assert_eq!(one.address, "module.a[\"x.y\"].sampan_config_map.c[\"k\"]");
        assert_eq!(one.leaf("data[\"A\"]").text(), Some("a"));
        assert_eq!(&*one.leaf("data[\"B\"]").cause().unwrap().needs, "sampan_namespace.n.uid");
        let Leaf::Known(secret) = one.leaf("data[\"S\"]") else { panic!("known") };
        assert!(secret.marks().has(Marks::SENSITIVE));
        assert!(one.leaf("uid").is_absent());
    }

    #[test]
    fn what_goes_is_told_apart_from_what_is_there_afterwards() {
        let of = |actions: &[&str]| {
            plan(&json!({ "actions": actions, "before": { "name": "c" }, "after": { "name": "c" } }))
        };
        let replaced = of(&["delete", "create"]);
        assert_eq!(replaced.resources[0].planned.as_ref().unwrap().change, Change::Replace);
        let gone = of(&["delete"]);
        assert!(gone.resources.is_empty());
        assert_eq!(gone.leaving[0].leaf("name").text(), Some("c"));
    }

    #[test]
    fn what_is_no_plan_is_refused_with_the_way_to_one() {
        for (text, part) in [
            ("", "this is no plan in JSON"),
            ("[]", "this is no plan in JSON"),
            ("{}", "no format_version"),
            ("PK\u{3}\u{4}", "Terraform's own form"),
            ("{\"format_version\":\"2.0\"}", "format_version \"2.0\""),
            ("{\"format_version\":\"1.0\",\"values\":{}}", "a state and no plan"),
        ] {
            assert!(read(text.as_bytes(), "p").unwrap_err().contains(part), "{text}");
        }
        let deep = format!("{{\"format_version\":\"1.0\",\"configuration\":{}", "[".repeat(100_000));
        assert!(read(deep.as_bytes(), "p").is_err());
    }

    #[test]
    fn addresses_of_modules_are_read_with_any_key() {
        assert_eq!(calls("module.a[\"x.module.y]\"].module.b[0]"), ["a", "b"]);
        assert_eq!(calls(""), [] as [&str; 0]);
    }
}
