//! `sampan describe`.

mod scaling;

use std::process::ExitCode;

use sampan_client::{Client, Object};
use sampan_schema::Kind;
use sampan_schema::event::Event;
use sampan_schema::instance::Instance;
use serde_json::{Value, json};

use crate::connection::Connection;
use crate::error::Failure;
use crate::get::{instances_table, phase, wanted_replicas};
use crate::output::{Output, indented, member, pairs};
use crate::target::{self, InNamespace};
use crate::{events, progress};

/// How many of the last events are shown.
const LAST: usize = 10;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Kind of the object: application, gray-policy, namespace, route, …; or `scaling` of an application.
    kind: String,
    /// NAME or NS/NAME.
    name: String,
    #[command(flatten)]
    place: InNamespace,
}

pub async fn run(args: Args, connection: &Connection, out: &mut Output) -> Result<ExitCode, Failure> {
    if args.kind == "scaling" {
        return scaling(&args, connection, out).await;
    }
    let kind = target::kind_of(&args.kind, "; or scaling")?;
    let (ns, name) = if kind.namespaced {
        args.place.resolve(&args.name)?
    } else {
        (String::new(), target::valid(&args.name)?.to_owned())
    };
    let client = connection.client()?;
    let (object, instances, events) = progress::during("asking the server", find(&client, kind, &ns, &name)).await?;
    let mut value = json!({ kind.name: object, "events": events });
    if kind.name == "application" {
        value["instances"] = json!(instances);
    }
    out.show(&value, || text(kind, &object, &instances, &events))?;
    Ok(ExitCode::SUCCESS)
}

/// How many instances there shall be, and why.
async fn scaling(args: &Args, connection: &Connection, out: &mut Output) -> Result<ExitCode, Failure> {
    let (ns, name) = args.place.resolve(&args.name)?;
    let client = connection.client()?;
    let found = progress::during("asking the server", client.scaling(&ns, &name, scaling::LAST)).await?;
    out.show(&found, || scaling::text(&format!("{ns}/{name}"), &found))?;
    Ok(ExitCode::SUCCESS)
}

async fn find(
    client: &Client,
    kind: &Kind,
    ns: &str,
    name: &str,
) -> Result<(Object, Vec<Instance>, Vec<Event>), Failure> {
    let object = client.get(kind, ns, name).await?;
    let instances = if kind.name == "application" { client.instances(ns, name).await? } else { Vec::new() };
    let mut query = vec![("kind", kind.name.to_owned()), ("name", name.to_owned())];
    if kind.namespaced {
        query.push(("namespace", ns.to_owned()));
    }
    let mut found = events::all(client, &query).await?;
    let last = found.split_off(found.len().saturating_sub(LAST));
    Ok((object, instances, last))
}

fn text(kind: &Kind, object: &Object, instances: &[Instance], events: &[Event]) -> String {
    let value = Value::Object(object.0.clone());
    let get = |path: &str| member(&value, path);
    let observed = get("/status/observed_generation");
    let generation = if observed.is_empty() || observed == get("/generation") {
        get("/generation")
    } else {
        format!("{} (instances have reached {observed})", get("/generation"))
    };
    let mut parts = vec![pairs(&[
        (kind.name, object.id().to_owned()),
        ("about", get("/description")),
        ("generation", generation),
        ("created", get("/create_time")),
        ("changed", get("/update_time")),
    ])];
    if kind.name == "application" {
        parts.push(application(&value));
        parts.push(format!("instances\n{}", shifted(&instances_table(instances))));
    } else {
        parts.push(format!("spec\n{}", indented(&object.spec(kind))));
        if !object.status().is_null() {
            parts.push(format!("status\n{}", indented(object.status())));
        }
    }
    parts.push(format!("last events\n{}", shifted(&events::table(events))));
    parts.join("\n\n")
}

fn application(value: &Value) -> String {
    let get = |path: &str| member(value, path);
    let count = |path: &str| value.pointer(path).and_then(Value::as_i64).unwrap_or(0);
    let ports = value.pointer("/network/ports").and_then(Value::as_object);
    let ports = ports.map(|ports| {
        let one = |(name, port): (&String, &Value)| {
            let protocol = Some(member(port, "/protocol")).filter(|p| !p.is_empty()).unwrap_or_else(|| "TCP".into());
            format!("{name} {} {protocol}", member(port, "/container_port"))
        };
        ports.iter().map(one).collect::<Vec<_>>().join(", ")
    });
    let probes = value.pointer("/container/probes").and_then(Value::as_object);
    let probes = probes.map(|probes| {
        let set = probes.iter().filter(|(_, probe)| !probe.is_null()).map(|(name, _)| name.as_str());
        set.collect::<Vec<_>>().join(", ")
    });
    let verified = match value.pointer("/status/isolation_verified").and_then(Value::as_bool) {
        Some(true) => ", verified",
        Some(false) => ", NOT verified",
        None => "",
    };
    let both = |first: String, second: String, between: &str| {
        let parts = [first, second].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
        parts.join(between)
    };
    let current = get("/status/current_revision");
    let update = get("/status/update_revision");
    let revision = if current == update { current } else { both(current, update, " -> ") };
    let operation = both(
        both(get("/status/last_operation/kind"), get("/status/last_operation/phase"), " "),
        both(get("/status/last_operation/reason"), get("/status/last_operation/message"), ": "),
        ", ",
    );
    let spec = pairs(&[
        ("  image", get("/container/image")),
        ("  digest", get("/status/image_digest")),
        ("  size", both(get("/resources/cpu"), get("/resources/memory"), " CPU, ")),
        ("  ports", ports.unwrap_or_default()),
        ("  probes", probes.unwrap_or_default()),
    ]);
    let wanted = wanted_replicas(value);
    let status = pairs(&[
        ("  phase", phase(value)),
        ("  stopped", get("/status/stopped")),
        ("  reason", both(get("/status/reason"), get("/status/message"), ": ")),
        (
            "  replicas",
            format!(
                "{wanted} wanted, {} there, {} updated, {} ready",
                count("/status/replicas"),
                count("/status/updated_replicas"),
                count("/status/ready_replicas")
            ),
        ),
        ("  isolation", format!("{}{verified}", get("/status/isolation_class"))),
        ("  revision", revision),
        ("  operation", operation),
    ]);
    format!("spec\n{spec}\n\nstatus\n{status}")
}

fn shifted(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_is_told_on_one_page() {
        let Value::Object(map) = json!({
            "id": "shop/web", "namespace": "shop", "name": "web", "replicas": 2, "generation": 4,
            "create_time": "2026-01-02T23:59:00.000Z", "update_time": "2026-01-03T00:00:00.000Z",
            "resources": { "cpu": "500m", "memory": "256Mi" },
            "container": { "image": "registry.test/web:2", "probes": { "readiness": {}, "liveness": null } },
            "network": { "ports": { "http": { "container_port": 8080, "protocol": "HTTP" } } },
            "status": {
                "phase": "Progressing", "reason": "Updating", "message": "1 of 2", "observed_generation": 3,
                "current_revision": "aa", "update_revision": "bb", "isolation_class": "kata",
                "isolation_verified": true, "replicas": 2, "ready_replicas": 1, "updated_replicas": 1,
                "last_operation": { "id": "o", "kind": "deploy", "phase": "Running", "reason": "", "message": "" },
            },
        }) else {
            panic!("an object")
        };
        let instance = Instance { name: "web-1".into(), phase: "Ready".into(), ready: true, ..Instance::default() };
        let event = Event {
            at: 1_767_398_400_000,
            kind: "application".into(),
            namespace: "shop".into(),
            name: "web".into(),
            event_type: "Normal".into(),
            reason: "Started".into(),
            message: "release begins".into(),
            count: 1,
            ..Event::default()
        };
        insta::assert_snapshot!(text(&sampan_schema::APPLICATION, &Object(map), &[instance], &[event]));
    }

    #[test]
    fn a_gray_policy_shows_its_steps_and_who_follows_it() {
        let Value::Object(map) = json!({
            "id": "shop/careful", "namespace": "shop", "name": "careful", "generation": 1, "strategy": "canary",
            "steps": [{ "weight_percent": 5.0, "pause": { "manual": true } }, { "replicas": "50%" }],
            "on_failure": "rollback", "create_time": "2026-01-02T23:59:00.000Z", "status": { "used_by": ["cart"] },
        }) else {
            panic!("an object")
        };
        insta::assert_snapshot!(text(&sampan_schema::GRAY_POLICY, &Object(map), &[], &[]));
    }
}
