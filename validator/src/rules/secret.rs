//! Secrets in plain text. No message repeats one.

use super::{Check, Meta, Output, Sink, rule};
use crate::eval::value::{Marks, Value};
use crate::finding::Finding;
use crate::view::{Leaf, Resource};

/// Parts of a name that promise a secret.
const NAMES: &[&str] = &["password", "passwd", "secret", "token", "api_key", "apikey", "private_key", "credential"];
/// Ends of a name that promise only where a secret is.
const PLACES: &[&str] = &["_file", "_path", "_name", "_url", "_id", "_ttl", "_seconds"];

rule!(LiteralSecret, "SMP401", "literal-secret", Error);
impl Check for LiteralSecret {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn resource(&self, r: &Resource, out: &mut Sink<'_>) {
        let maps: &[(&str, bool)] = match r.noun.name {
            "application" => &[("container.env", false)],
            "config_map" => &[("data", false)],
            "secret" => &[("data_wo", true)],
            _ => return,
        };
        for (path, all) in maps {
            let Some(Leaf::Known(value)) = out.known(&Self::META, r, path) else { continue };
            for (key, value) in value.as_dict().into_iter().flatten() {
                let path = format!("{path}[{key:?}]");
                if let Some(cause) = value.cause().filter(|_| promises_secret(key)) {
                    out.waits(&Self::META, r, &path, cause);
                }
                if let Some(why) = why_secret(key, value, *all) {
                    out.push(r.finding(Self::META.id, Self::META.severity, &path, why));
                }
            }
        }
    }
}

/// What everybody sees who may read an object.
const PLAIN: &[&str] = &["namespace", "name", "description", "labels", "hostnames"];

rule!(SensitiveLeak, "SMP402", "sensitive-leak", Error);
impl Check for SensitiveLeak {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn resource(&self, r: &Resource, out: &mut Sink<'_>) {
        for path in PLAIN {
            // A sensitive value is one whether it is known or not.
            if r.marks(path).has(Marks::SENSITIVE) {
                let message = format!("a sensitive value reaches {path}, which the server shows to every reader");
                out.push(r.finding_without_value(Self::META.id, Self::META.severity, path, message));
            }
        }
    }
    fn output(&self, output: &Output, out: &mut Sink<'_>) {
        if output.value.deep_marks().has(Marks::SENSITIVE) && !output.sensitive {
            let message = format!("the output {} shows a sensitive value: write sensitive = true", output.name);
            out.push(Finding::new(Self::META.id, Self::META.severity, output.place, message));
        }
    }
}

fn promises_secret(name: &str) -> bool {
    let name = name.to_lowercase().replace('-', "_");
    NAMES.iter().any(|n| name.contains(n)) && !PLACES.iter().any(|p| name.ends_with(p))
}

fn why_secret(name: &str, value: &Value, is_secret: bool) -> Option<String> {
    // What comes from a sensitive variable is not written here.
    if value.deep_marks().has(Marks::SENSITIVE) || value.deep_marks().has(Marks::EPHEMERAL) {
        return None;
    }
    let text = value.as_str()?;
    if let Some(what) = known_form(text) {
        return Some(format!("{what} in plain text: keep it out of the configuration, in a sensitive variable"));
    }
    if is_secret && !text.is_empty() {
        return Some("the secret is written in the configuration: take it from a sensitive, ephemeral variable".into());
    }
    let plain = text.len() < 6 || text.starts_with('/') || text.parse::<f64>().is_ok();
    (promises_secret(name) && !plain)
        .then(|| format!("{name} looks like a secret in plain text: use sampan_secret and env_refs"))
}

/// What a text is by its form alone.
fn known_form(text: &str) -> Option<&'static str> {
    let rest_is = |prefix: &str, least: usize| {
        text.strip_prefix(prefix)
            .is_some_and(|r| r.len() >= least && r.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)))
    };
    if text.contains("-----BEGIN ") && text.contains("PRIVATE KEY-----") {
        return Some("a private key");
    }
    if rest_is("AKIA", 16) || rest_is("ASIA", 16) {
        return Some("an access key");
    }
    let token = ["ghp_", "gho_", "ghs_", "github_pat_", "glpat-", "xoxb-", "xoxp-", "sk_live_"];
    token.iter().any(|p| rest_is(p, 16)).then_some("a token")
}
