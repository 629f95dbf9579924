//! Which object is meant: kinds by any usual spelling, objects as `NS/NAME` or `NAME -n NS`.

use sampan_schema::{KINDS, Kind, name};

use crate::error::Failure;

/// The flag `-n`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct InNamespace {
    /// Namespace of a name without one.
    #[arg(short, long, env = "SAMPAN_NAMESPACE", hide_env_values = true, value_name = "NS")]
    pub namespace: Option<String>,
}

impl InNamespace {
    /// The namespace, when one was given.
    pub fn given(&self) -> Option<&str> {
        self.namespace.as_deref().filter(|ns| !ns.is_empty())
    }

    /// Namespace and name of `NS/NAME`, or of `NAME` with `-n`. In `NS/NAME` the namespace wins over the flag's
    /// default in the environment, so a contradiction is refused only by what the caller wrote.
    pub fn resolve(&self, text: &str) -> Result<(String, String), Failure> {
        let (ns, object) = match (text.split_once('/'), self.given()) {
            (Some((ns, object)), _) => (ns, object),
            (None, Some(ns)) => (ns, text),
            (None, None) => {
                return Err(Failure::Usage(format!(
                    "{text:?} has no namespace: write NS/{text}, or {text} -n NS, or set SAMPAN_NAMESPACE"
                )));
            }
        };
        Ok((valid(ns)?.to_owned(), valid(object)?.to_owned()))
    }
}

/// A name as the API takes it.
pub fn valid(text: &str) -> Result<&str, Failure> {
    if name::is_name(text) {
        return Ok(text);
    }
    let rule = "1 to 40 lower-case letters, digits and \"-\", beginning with a letter";
    Err(Failure::Usage(format!("{text:?} is no name: {rule}")))
}

/// The kind that a word means: singular, plural, with `-`, `_` or neither, or the usual short form.
pub fn kind(word: &str) -> Option<&'static Kind> {
    let bare = |text: &str| text.to_ascii_lowercase().replace(['-', '_'], "");
    let wanted = match bare(word).as_str() {
        "app" | "apps" => "application".to_owned(),
        "ns" => "namespace".to_owned(),
        "cm" => "configmap".to_owned(),
        "schedule" | "schedules" => "environmentschedule".to_owned(),
        other => other.to_owned(),
    };
    KINDS.iter().copied().find(|kind| bare(kind.name) == wanted || bare(kind.collection) == wanted)
}

/// As [`kind`], with an error that lists what there is.
pub fn kind_of(word: &str, more: &str) -> Result<&'static Kind, Failure> {
    kind(word).ok_or_else(|| {
        let known: Vec<&str> = KINDS.iter().map(|kind| kind.collection).collect();
        Failure::Usage(format!("{word:?} is no kind: use {}{more}", known.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_every_usual_word() {
        for (word, name) in [
            ("app", "application"),
            ("Applications", "application"),
            ("config-maps", "config_map"),
            ("configmap", "config_map"),
            ("cm", "config_map"),
            ("ns", "namespace"),
            ("secret", "secret"),
            ("routes", "route"),
            ("gray-policies", "gray_policy"),
            ("gray-policy", "gray_policy"),
            ("scaling-rule", "scaling_rule"),
            ("schedules", "environment_schedule"),
            ("environment-schedule", "environment_schedule"),
        ] {
            assert_eq!(kind(word).map(|kind| kind.name), Some(name), "{word}");
        }
        assert!(kind("pods").is_none());
    }

    #[test]
    fn objects_are_named_in_two_ways() {
        let none = InNamespace::default();
        let shop = InNamespace { namespace: Some("shop".into()) };
        let both = |ns: &str, name: &str| (ns.to_owned(), name.to_owned());
        assert_eq!(none.resolve("a/b").unwrap(), both("a", "b"));
        assert_eq!(shop.resolve("b").unwrap(), both("shop", "b"));
        assert_eq!(shop.resolve("a/b").unwrap(), both("a", "b"));
        for bad in ["b", "a/b/c", "/b", "a/", "../x", "A/b", ""] {
            assert!(none.resolve(bad).is_err(), "{bad:?}");
        }
    }
}
