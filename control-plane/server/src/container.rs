//! A container as the runtime is asked for it: environment resolved, ports of probes found.

use std::collections::{BTreeMap, BTreeSet};

use sampan_engine::instance::Instance;
use sampan_engine::revision::Revision;
use sampan_engine::runtime::{ContainerSpec, ProbeAction, ProbeSpec, Probes, RuntimeError};
use sampan_schema::application::Spec;
use sampan_schema::container::FieldRef;
use sampan_store::{Reader, StoreError};
use serde_json::Value;

/// Hash of the content of every config map and secret that the container refers to.
pub fn config_hash(r: &Reader<'_>, spec: &Spec) -> Result<String, StoreError> {
    let mut names: BTreeSet<(&str, &str)> = BTreeSet::new();
    for e in spec.container.env_refs.values() {
        names.extend(e.config_map.iter().map(|k| ("config_map", k.name.as_str())));
        names.extend(e.secret.iter().map(|k| ("secret", k.name.as_str())));
    }
    for e in &spec.container.env_from {
        names.extend(e.config_map.iter().map(|n| ("config_map", n.as_str())));
        names.extend(e.secret.iter().map(|n| ("secret", n.as_str())));
    }
    let mut content = Vec::new();
    for (kind, name) in names {
        content.push((kind, name, data(r, kind, &spec.namespace, name)?));
    }
    Ok(sampan_schema::content_hash(&content))
}

/// Content of a config map or secret.
fn data(r: &Reader<'_>, kind: &str, ns: &str, name: &str) -> Result<Option<BTreeMap<String, String>>, StoreError> {
    let value = if kind == "secret" {
        r.object_private(kind, ns, name)?
    } else {
        r.object(kind, ns, name)?.map(|o| o.spec.get("data").cloned().unwrap_or_default())
    };
    Ok(value.map(|v: Value| serde_json::from_value(v).unwrap_or_default()))
}

/// What the runtime is asked to create, environment resolved.
pub fn create_spec(
    r: &Reader<'_>,
    row: &Instance,
    revision: &Revision,
    ip: Option<std::net::IpAddr>,
) -> Result<ContainerSpec, RuntimeError> {
    let spec: Spec = serde_json::from_value(revision.template.clone())
        .map_err(|e| RuntimeError::permanent("InvalidRevision", e.to_string()))?;
    let c = &spec.container;
    let ns = &spec.namespace;
    let load = |kind: &str, name: &str| {
        data(r, kind, ns, name).map_err(|e| RuntimeError::transient("StoreUnavailable", e.to_string()))
    };
    let missing = |at: String, what: String| {
        RuntimeError::transient(
            "ConfigMissing",
            format!("container.{at}: {what} does not exist; create it or set optional"),
        )
    };
    let mut env: BTreeMap<String, String> = BTreeMap::new();
    for (i, from) in c.env_from.iter().enumerate() {
        let pair = from.config_map.as_ref().map(|n| ("config_map", n));
        let Some((kind, name)) = pair.or(from.secret.as_ref().map(|n| ("secret", n))) else { continue };
        match load(kind, name)? {
            Some(all) => env.extend(all.into_iter().map(|(k, v)| (format!("{}{k}", from.prefix), v))),
            None if from.optional => {}
            None => return Err(missing(format!("env_from[{i}]"), format!("{kind} {name:?}"))),
        }
    }
    for (key, e) in &c.env_refs {
        let value = if let Some(field) = e.field {
            Some(match field {
                FieldRef::InstanceName => row.name.clone(),
                FieldRef::InstanceIp => ip.map(|ip| ip.to_string()).unwrap_or_default(),
                FieldRef::Revision => revision.hash.clone(),
                FieldRef::Namespace => ns.clone(),
            })
        } else {
            let pair = e.config_map.as_ref().map(|k| ("config_map", k));
            let Some((kind, k)) = pair.or(e.secret.as_ref().map(|k| ("secret", k))) else { continue };
            let value = load(kind, &k.name)?.and_then(|mut all| all.remove(&k.key));
            if value.is_none() && !k.optional {
                return Err(missing(format!("env_refs[{key:?}]"), format!("key {:?} of {kind} {:?}", k.key, k.name)));
            }
            value
        };
        env.extend(value.map(|v| (key.clone(), v)));
    }
    env.extend(c.env.clone());
    Ok(ContainerSpec {
        name: "main".into(),
        attempt: row.attempt,
        image: revision.pull_reference.clone(),
        command: c.command.clone().unwrap_or_default(),
        args: c.args.clone().unwrap_or_default(),
        working_dir: c.working_dir.clone(),
        env: env.into_iter().collect(),
        cpu_millis: row.sandbox.cpu_millis,
        memory_bytes: row.sandbox.memory_bytes,
        spec_hash: revision.spec_hash.clone(),
        revision: revision.hash.clone(),
    })
}

/// Declared probes in the runtime's words. Validation has seen to it that ports resolve.
pub fn probes(spec: &Spec) -> Probes {
    let one = |p: &sampan_schema::probe::Probe| {
        let port = |reference: &str| spec.port(reference).unwrap_or(0);
        let action = if let Some(h) = &p.http_get {
            ProbeAction::Http {
                port: port(&h.port),
                path: h.path.clone(),
                host: h.host.clone(),
                headers: h.headers.clone(),
                expect_status: h.expect_status.iter().filter_map(|s| (*s).try_into().ok()).collect(),
            }
        } else if let Some(t) = &p.tcp_socket {
            ProbeAction::Tcp { port: port(&t.port) }
        } else if let Some(g) = &p.grpc {
            ProbeAction::Grpc { port: port(&g.port), service: g.service.clone() }
        } else {
            ProbeAction::Exec { command: p.exec.as_ref().map(|e| e.command.clone()).unwrap_or_default() }
        };
        let ms = |s: i64| s.max(0) as u64 * 1000;
        ProbeSpec {
            action,
            initial_delay_ms: ms(p.initial_delay_seconds),
            period_ms: ms(p.period_seconds),
            timeout_ms: ms(p.timeout_seconds),
            success_threshold: p.success_threshold.max(1) as u32,
            failure_threshold: p.failure_threshold.max(1) as u32,
        }
    };
    let p = &spec.container.probes;
    Probes {
        startup: p.startup.as_ref().map(one),
        readiness: p.readiness.as_ref().map(one),
        liveness: p.liveness.as_ref().map(one),
    }
}
