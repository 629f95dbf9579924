//! `sampan get`.

use std::process::ExitCode;

use sampan_client::{Client, Object};
use sampan_schema::Kind;
use sampan_schema::instance::Instance;
use sampan_schema::revision::Revision;
use serde_json::{Value, json};

use crate::connection::Connection;
use crate::error::Failure;
use crate::output::{Output, Table, age, member, time};
use crate::progress;
use crate::target::{self, InNamespace};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// namespaces, applications, scaling-rules, gray-policies, config-maps, secrets, routes; or instances, revisions of an application.
    kind: String,
    /// NAME or NS/NAME; all of them without it.
    name: Option<String>,
    #[command(flatten)]
    place: InNamespace,
}

pub async fn run(args: Args, connection: &Connection, out: &mut Output) -> Result<ExitCode, Failure> {
    let client = connection.client()?;
    match progress::during("asking the server", find(&client, &args)).await? {
        Found::Objects(kind, items) => {
            out.show(&json!({ "items": items }), || objects_table(kind, &items, jiff::Timestamp::now()))?;
        }
        Found::Object(kind, object) => {
            out.show(&object, || objects_table(kind, std::slice::from_ref(&object), jiff::Timestamp::now()))?;
        }
        Found::Instances(items) => out.show(&json!({ "items": items }), || instances_table(&items))?,
        Found::Revisions(items) => out.show(&json!({ "items": items }), || revisions_table(&items))?,
    }
    Ok(ExitCode::SUCCESS)
}

enum Found {
    Objects(&'static Kind, Vec<Object>),
    Object(&'static Kind, Object),
    Instances(Vec<Instance>),
    Revisions(Vec<Revision>),
}

async fn find(client: &Client, args: &Args) -> Result<Found, Failure> {
    let of_application = |what: &str| {
        let name = args.name.as_deref();
        name.ok_or_else(|| Failure::Usage(format!("{what} are of an application: sampan get {what} NS/APP")))
    };
    match args.kind.as_str() {
        "instances" | "instance" => {
            let (ns, name) = args.place.resolve(of_application("instances")?)?;
            return Ok(Found::Instances(client.instances(&ns, &name).await?));
        }
        "revisions" | "revision" => {
            let (ns, name) = args.place.resolve(of_application("revisions")?)?;
            return Ok(Found::Revisions(client.revisions(&ns, &name).await?));
        }
        _ => {}
    }
    let kind = target::kind_of(&args.kind, "; or instances, revisions")?;
    match &args.name {
        Some(name) if kind.namespaced => {
            let (ns, name) = args.place.resolve(name)?;
            Ok(Found::Object(kind, client.get(kind, &ns, &name).await?))
        }
        Some(name) => Ok(Found::Object(kind, client.get(kind, "", target::valid(name)?).await?)),
        None if !kind.namespaced => Ok(Found::Objects(kind, client.list(kind, "").await?)),
        None => match args.place.given() {
            Some(ns) => Ok(Found::Objects(kind, client.list(kind, target::valid(ns)?).await?)),
            None => {
                // Of all namespaces; one that went meanwhile has nothing to show.
                let mut all = Vec::new();
                for ns in client.list(&sampan_schema::NAMESPACE, "").await? {
                    match client.list(kind, ns.id()).await {
                        Ok(found) => all.extend(found),
                        Err(error) if error.is_not_found() => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Ok(Found::Objects(kind, all))
            }
        },
    }
}

/// One row per object, with what matters of its kind.
pub fn objects_table(kind: &Kind, objects: &[Object], now: jiff::Timestamp) -> String {
    if objects.is_empty() {
        return format!("no {}", kind.collection);
    }
    let columns: &[&'static str] = match kind.name {
        "namespace" => &["NAME", "PHASE", "ISOLATION", "AGE"],
        "config_map" => &["NAMESPACE", "NAME", "KEYS", "AGE"],
        "secret" => &["NAMESPACE", "NAME", "KEYS", "VERSION", "AGE"],
        "application" => &["NAMESPACE", "NAME", "PHASE", "READY", "UPDATED", "ISOLATION", "IMAGE", "REASON", "AGE"],
        "gray_policy" => &["NAMESPACE", "NAME", "STRATEGY", "STEPS", "ON FAILURE", "USED BY", "AGE"],
        "scaling_rule" => {
            &["NAMESPACE", "NAME", "APPLICATION", "TYPE", "MIN", "MAX", "CURRENT", "DESIRED", "LIMITED BY", "AGE"]
        }
        "route" => &["NAMESPACE", "NAME", "VISIBILITY", "HOSTNAMES", "APPLICATIONS", "AGE"],
        _ => &["NAMESPACE", "NAME", "AGE"],
    };
    let mut table = Table::new(columns);
    for object in objects {
        let value = Value::Object(object.0.clone());
        table.row(columns.iter().map(|column| cell(kind, column, &value, now)));
    }
    table.to_string()
}

fn cell(kind: &Kind, column: &str, object: &Value, now: jiff::Timestamp) -> String {
    let text = |path: &str| member(object, path);
    let or = |path: &str, usual: &str| Some(text(path)).filter(|v| !v.is_empty()).unwrap_or_else(|| usual.into());
    let or_zero = |path: &str| object.pointer(path).and_then(Value::as_i64).unwrap_or(0);
    match column {
        "NAMESPACE" => text("/namespace"),
        "NAME" => text("/name"),
        "PHASE" => text("/status/phase"),
        "REASON" => text("/status/reason"),
        "ISOLATION" if kind.name == "application" => text("/status/isolation_class"),
        "ISOLATION" => text("/isolation_class"),
        "AGE" => age(&text("/create_time"), now),
        "VERSION" => text("/wo_version"),
        "APPLICATION" => text("/application"),
        "TYPE" => text("/status/type"),
        "MIN" => text("/min_replicas"),
        "MAX" => text("/max_replicas"),
        "CURRENT" => text("/status/current"),
        "DESIRED" if object.pointer("/enabled") == Some(&Value::Bool(false)) => "off".into(),
        "DESIRED" => text("/status/desired"),
        "LIMITED BY" => text("/status/limited_by"),
        "READY" => {
            let wanted = wanted_replicas(object);
            format!("{}/{wanted}", or_zero("/status/ready_replicas"))
        }
        "UPDATED" => or_zero("/status/updated_replicas").to_string(),
        "IMAGE" => text("/container/image"),
        "VISIBILITY" => or("/visibility", "internal"),
        "STRATEGY" => or("/strategy", "canary"),
        "STEPS" => object.pointer("/steps").and_then(Value::as_array).map_or(0, Vec::len).to_string(),
        "ON FAILURE" => or("/on_failure", "pause"),
        "USED BY" => words(object.pointer("/status/used_by")),
        "HOSTNAMES" => words(object.pointer("/hostnames")),
        "KEYS" if kind.name == "secret" => words(object.pointer("/status/keys")),
        "KEYS" => {
            let data = object.pointer("/data").and_then(Value::as_object);
            data.map(|data| data.keys().cloned().collect::<Vec<_>>().join(",")).unwrap_or_default()
        }
        "APPLICATIONS" => {
            let rules = object.pointer("/rules").and_then(Value::as_array).into_iter().flatten();
            let backends = rules.filter_map(|rule| rule.get("backends").and_then(Value::as_array)).flatten();
            let mut names: Vec<String> = backends.map(|backend| member(backend, "/application")).collect();
            names.sort();
            names.dedup();
            names.join(",")
        }
        _ => String::new(),
    }
}

/// Instances that an application shall have.
pub fn wanted_replicas(application: &Value) -> i64 {
    let number = |path: &str| application.pointer(path).and_then(Value::as_i64);
    number("/status/desired_replicas").or_else(|| number("/replicas")).unwrap_or(1)
}

fn words(list: Option<&Value>) -> String {
    let items = list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    items.collect::<Vec<_>>().join(",")
}

/// One row per instance.
pub fn instances_table(instances: &[Instance]) -> String {
    if instances.is_empty() {
        return "no instances".into();
    }
    let mut table = Table::new(&[
        "NAME",
        "PHASE",
        "READY",
        "IP",
        "REVISION",
        "ATTEMPT",
        "RESTARTS",
        "ISOLATION",
        "VERIFIED",
        "REASON",
    ]);
    for i in instances {
        let verified = match i.isolation_verified {
            Some(true) => "yes",
            Some(false) => "no",
            None => "",
        };
        table.row([
            i.name.clone(),
            i.phase.clone(),
            if i.ready { "yes".into() } else { "no".into() },
            i.ip.clone(),
            i.revision.clone(),
            i.attempt.to_string(),
            i.restarts.to_string(),
            i.isolation_class.clone(),
            verified.into(),
            i.reason.clone(),
        ]);
    }
    table.to_string()
}

fn revisions_table(revisions: &[Revision]) -> String {
    if revisions.is_empty() {
        return "no revisions".into();
    }
    let mut table = Table::new(&["NUMBER", "HASH", "IMAGE", "DIGEST", "CREATED"]);
    for r in revisions {
        let digest: String = r.image_digest.chars().take(19).collect();
        table.row([r.number.to_string(), r.hash.clone(), r.image.clone(), digest, time(r.created_at)]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(kind: &str, value: Value) -> String {
        let Value::Object(map) = value else { panic!("an object") };
        let now = "2026-01-03T00:00:00Z".parse().unwrap();
        objects_table(target::kind(kind).unwrap(), &[Object(map)], now)
    }

    #[test]
    fn each_kind_has_its_columns() {
        let application = json!({
            "namespace": "shop", "name": "web", "replicas": 3, "container": { "image": "registry.test/web:1" },
            "create_time": "2026-01-02T23:59:00.000Z",
            "status": { "phase": "Running", "ready_replicas": 2, "updated_replicas": 3, "isolation_class": "kata" },
        });
        let route = json!({
            "namespace": "shop", "name": "web", "hostnames": ["a.test", "b.test"], "visibility": "public",
            "rules": [{ "name": "r", "backends": [{ "application": "web", "port": "http" }] }],
        });
        let policy = json!({
            "namespace": "shop", "name": "careful", "strategy": "blue_green", "on_failure": "rollback",
            "steps": [{ "weight_percent": 5 }, { "weight_percent": 50 }], "status": { "used_by": ["cart", "web"] },
        });
        let secret = json!({ "namespace": "shop", "name": "s", "wo_version": 2, "status": { "keys": ["A", "B"] } });
        let config = json!({ "namespace": "shop", "name": "c", "data": { "A": "1" } });
        let rule = json!({
            "namespace": "shop", "name": "by-load", "application": "web", "min_replicas": 1, "max_replicas": 9,
            "create_time": "2026-01-02T23:00:00.000Z",
            "status": { "type": "metric", "current": 2, "desired": 3, "limited_by": "none" },
        });
        let off = json!({
            "namespace": "shop", "name": "off", "application": "web", "enabled": false, "min_replicas": 1,
            "max_replicas": 9, "status": { "type": "timing", "current": 2, "desired": 3, "limited_by": "none" },
        });
        let all = [
            shown("scaling-rules", rule),
            shown("scalingrule", off),
            shown("app", application),
            shown("route", route),
            shown("gray-policies", policy),
            shown("graypolicy", json!({ "namespace": "shop", "name": "usual", "steps": [{}] })),
            shown("secret", secret),
            shown("cm", config),
            shown("ns", json!({ "name": "shop", "status": { "phase": "Active" } })),
        ];
        insta::assert_snapshot!(all.join("\n\n"));
        assert_eq!(objects_table(&sampan_schema::ROUTE, &[], jiff::Timestamp::now()), "no routes");
    }
}
