//! The rules of the linter. One is a struct and a page in `rules/` beside the sources: the page is what
//! `sampan explain` prints, the page of the website, and the test.
//!
//! Ids below SMP200 are of the schema, as far as they are no rules here: provider and API server refuse the same with the
//! same id. From SMP900 on they are about the configuration as a text.

mod application;
mod change;
mod gray_policy;
pub mod module;
mod relation;
mod scaling_rule;
mod secret;
mod source;
mod traffic;

use std::collections::BTreeSet;

use crate::eval::value::{Cause, Value};
use crate::finding::{Finding, Place, Severity, Undetermined};
use crate::lint::Settings;
use crate::plan::Planned;
use crate::view::{Leaf, Resource};

pub use module::ModuleView;

/// What is known of a rule besides its check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    pub id: &'static str,
    pub name: &'static str,
    pub severity: Severity,
    /// Markdown; the first paragraph after the title says what is wrong.
    pub page: &'static str,
}

impl Meta {
    /// The first paragraph of the page.
    pub fn summary(&self) -> String {
        let paragraph = self.page.split("\n\n").nth(1).unwrap_or_default();
        paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// A rule.
pub trait Check: Sync {
    fn meta(&self) -> &'static Meta;
    /// One instance of a resource.
    fn resource(&self, _resource: &Resource, _out: &mut Sink<'_>) {}
    /// One instance that a plan keeps, changes or deletes.
    fn change(&self, _resource: &Resource, _planned: &Planned, _out: &mut Sink<'_>) {}
    /// One module as it is written.
    fn module(&self, _module: &ModuleView<'_>, _out: &mut Sink<'_>) {}
    /// One output of a root module.
    fn output(&self, _output: &Output, _out: &mut Sink<'_>) {}
    /// All instances of a configuration together.
    fn all(&self, _resources: &[Resource], _out: &mut Sink<'_>) {}
}

/// An output of a root module.
#[derive(Debug)]
pub struct Output {
    pub name: String,
    /// Where its value is written.
    pub place: Place,
    pub value: Value,
    /// It is, or may be, declared as sensitive.
    pub sensitive: bool,
}

/// Where a rule puts what it found.
#[derive(Debug)]
pub struct Sink<'a> {
    pub settings: &'a Settings,
    pub findings: Vec<Finding>,
    pub undetermined: BTreeSet<Undetermined>,
}

impl<'a> Sink<'a> {
    pub fn new(settings: &'a Settings) -> Self {
        Self { settings, findings: Vec::new(), undetermined: BTreeSet::new() }
    }
    pub fn push(&mut self, finding: Finding) {
        self.findings.push(finding);
    }
    /// The rule waits for this.
    pub fn waits(&mut self, rule: &'static Meta, resource: &Resource, path: &str, cause: &Cause) {
        self.undetermined.insert(Undetermined {
            rule: rule.id,
            address: resource.address.clone(),
            path: path.to_owned(),
            needs: cause.needs.clone(),
        });
    }
    /// The leaf, unless it is unknown, which is noted.
    pub fn known<'r>(&mut self, rule: &'static Meta, resource: &'r Resource, path: &str) -> Option<Leaf<'r>> {
        let leaf = resource.leaf(path);
        if let Some(cause) = leaf.cause() {
            self.waits(rule, resource, path, cause);
            return None;
        }
        Some(leaf)
    }
}

/// Declares the struct of a rule with its page.
macro_rules! rule {
    ($name:ident, $id:literal, $word:literal, $severity:ident) => {
        #[derive(Debug)]
        #[doc = include_str!(concat!("../../rules/", $id, ".md"))]
        pub struct $name;
        impl $name {
            pub const META: $crate::rules::Meta = $crate::rules::Meta {
                id: $id,
                name: $word,
                severity: $crate::finding::Severity::$severity,
                page: include_str!(concat!("../../rules/", $id, ".md")),
            };
        }
    };
}
pub(crate) use rule;

/// Every rule of the linter, by id.
pub static RULES: &[&dyn Check] = &[
    &scaling_rule::ColdZero,
    &scaling_rule::IdleRule,
    &scaling_rule::ExtremeTarget,
    &scaling_rule::Flapping,
    &scaling_rule::OverQuota,
    &scaling_rule::ReplicasAndRule,
    &scaling_rule::CompetingRules,
    &gray_policy::OpenEnd,
    &gray_policy::BigFirstStep,
    &gray_policy::NoStop,
    &gray_policy::NoAnalysis,
    &gray_policy::NoRollback,
    &traffic::EmptyStep,
    &gray_policy::GrayWithoutReadiness,
    &traffic::ShadowedMatch,
    &change::ReleaseWithoutPolicy,
    &application::FloatingImage,
    &application::NoReadiness,
    &application::SingleInstance,
    &application::NoGrace,
    &application::UnprotectedProduction,
    &secret::LiteralSecret,
    &secret::SensitiveLeak,
    &application::RegistryNotAllowed,
    &scaling_rule::OverBudget,
    &scaling_rule::OversizedMinimum,
    &application::MissingLabels,
    &source::Unpinned,
    &source::BadSuppression,
    &source::Syntax,
    &source::Expression,
    &source::DuplicateKey,
    &source::DeprecatedForm,
    &source::UnusedDeclaration,
    &relation::NamespaceMismatch,
    &application::SameIdentity,
    &source::ModuleArgument,
    &source::Unreadable,
    &source::ComputedSet,
    &source::UnknownType,
];

/// Rules of the schema: id, and what it says.
pub static SCHEMA_RULES: &[(&str, &str)] = &[
    ("SMP000", "The object does not fit its type."),
    ("SMP001", "A required attribute is absent or null."),
    ("SMP002", "A value has the wrong type."),
    ("SMP003", "A value is none of the words that are allowed."),
    ("SMP004", "A text does not match the pattern of its attribute, such as that of names."),
    ("SMP005", "A text is too short or too long."),
    ("SMP006", "A number is outside of its range."),
    ("SMP007", "A list or map has too few or too many entries."),
    ("SMP008", "There is no such attribute; the nearest name is given."),
    ("SMP011", "The name of a namespace is reserved."),
    ("SMP012", "A label's key or value is too long or empty."),
    ("SMP013", "A label has the reserved prefix `sampan.`."),
    ("SMP014", "A key of a config map or secret is no valid key."),
    ("SMP015", "A config map or secret is larger than 1 MiB."),
    ("SMP016", "A text is no quantity."),
    ("SMP017", "A quantity is outside of its range."),
    ("SMP018", "`max_unavailable` and `max_surge` are both 0."),
    ("SMP019", "The name of a port is no DNS label."),
    ("SMP020", "A text is no reference of an image."),
    ("SMP021", "A probe has not exactly one kind of check."),
    ("SMP022", "One try of a probe may take longer than the time between two."),
    ("SMP023", "`success_threshold` is above 1 where it has to be 1."),
    ("SMP024", "A probe or hook refers to a port that the application does not have."),
    ("SMP025", "The name of an environment variable is malformed."),
    ("SMP026", "The environment is larger than 256 KiB."),
    ("SMP027", "A key of `env_refs` is no variable name, or is set in `env` too."),
    ("SMP028", "An entry of `env_refs` has not exactly one source."),
    ("SMP029", "An entry of `env_from` has not exactly one source."),
    ("SMP031", "A text is no host name."),
    ("SMP032", "A name is used twice in a route."),
    ("SMP033", "No backend of a rule has a weight above 0."),
    ("SMP034", "A port of a backend is none."),
    ("SMP035", "A number is no HTTP status."),
    ("SMP036", "A header of a probe or hook is malformed."),
    ("SMP037", "`min_ready_seconds` leaves no time for a release."),
    ("SMP038", "A namespace's quota does not allow so many applications or instances."),
    ("SMP046", "The weights of steps do not rise."),
    ("SMP047", "A step has both a weight and matches."),
    ("SMP048", "An attribute does not belong to the strategy `batch`."),
    ("SMP049", "A step has no instance, or does not say how far it goes."),
    ("SMP050", "A step has fewer instances than an earlier one."),
    ("SMP051", "The first step is larger than half of the instances."),
    ("SMP052", "An attribute belongs to another strategy."),
    ("SMP053", "A pause has not exactly one of `duration_seconds` and `manual`."),
    ("SMP054", "A weight has more than two decimals."),
    ("SMP055", "A step names an analysis that there is not."),
    ("SMP056", "An attribute of an analysis does not belong to its type, or its name is malformed."),
    ("SMP057", "A match has no condition, or one that could never hold."),
    ("SMP058", "A comparison has not the values that its type takes."),
    ("SMP059", "A text is no regular expression."),
    ("SMP060", "A text is no network."),
    ("SMP061", "A text is no name of a header or cookie, or one of the gateway's own headers."),
    ("SMP062", "`sticky` does not say which header, or says too much."),
    ("SMP063", "A match is written twice."),
    ("SMP064", "`max_surge` is not 0 with `InPlaceOnly`."),
    ("SMP066", "`.dockerconfigjson` of a secret holds no logins of registries."),
    ("SMP067", "`pre_stop` has not exactly one of `exec` and `sleep_seconds`."),
    ("SMP068", "`pre_stop` sleeps as long as the instance has to end."),
    ("SMP069", "`registration_delay_seconds` leaves no time for a release."),
    ("SMP070", "An external analysis has no usable `url`."),
    ("SMP071", "The `query` of an analysis is absent, or has a placeholder that stands for nothing."),
    ("SMP072", "An analysis of a number says no value that is good."),
    ("SMP073", "A token would be sent over plain HTTP."),
    ("SMP101", "A minimum is above its maximum."),
    ("SMP109", "A window of a schedule cannot be read, has no length or overlaps with another."),
    ("SMP110", "A scaling rule has no metric where it needs one, and no schedule."),
    ("SMP111", "An application without instances would not be woken up, or `scale_to_zero` says nothing."),
    ("SMP112", "The number that a metric aims at makes no sense."),
    ("SMP113", "`target_type` does not fit the type of the metric."),
    ("SMP114", "An attribute of a metric does not belong to its type, or is missing for it."),
    ("SMP115", "A window says both a number and bounds, or only one bound."),
    ("SMP116", "A window goes beyond the rule's `max_replicas`."),
    ("SMP117", "A text is no date, or a period ends before it begins."),
    ("SMP118", "Two windows of a rule have one name."),
    ("SMP119", "`prediction` has no metric that it can look ahead for."),
    ("SMP120", "`fallback` or `behavior` does not fit the rule."),
    ("SMP121", "An application has too many scaling rules."),
    ("SMP130", "The time of an environment schedule cannot be read, or never comes."),
    ("SMP131", "A date of an environment schedule is none, or its days end before they begin."),
    ("SMP132", "An environment schedule would never start anything: each start comes with a stop."),
    ("SMP133", "The selector of an environment schedule does not say exactly one way to choose."),
    ("SMP134", "A wave of `start_order` is empty, or names an application twice or one that is not chosen."),
    ("SMP135", "`idle` would stop an application that no request could wake up."),
];

/// The id of a violation as a constant; every id of the schema that is of three digits has one.
pub fn schema_id(id: &str) -> Option<&'static str> {
    SCHEMA_RULES.iter().map(|(known, _)| *known).find(|known| *known == id).or_else(|| unlisted(id))
}

/// Ids that the schema has and the table above does not: still said, under the one for the whole.
fn unlisted(id: &str) -> Option<&'static str> {
    id.starts_with("SMP").then_some("SMP000")
}

/// The rule of that id.
pub fn find(id: &str) -> Option<&'static Meta> {
    RULES.iter().map(|rule| rule.meta()).find(|meta| meta.id == id)
}

/// The page of a rule in Markdown; that of a rule of the schema is short.
pub fn page(id: &str) -> Option<String> {
    if let Some(meta) = find(id) {
        return Some(meta.page.to_owned());
    }
    let (id, says) = SCHEMA_RULES.iter().find(|(known, _)| *known == id)?;
    let both = "This is a rule of the schema: provider and API server refuse the same with the same id.";
    Some(format!("# {id}\n\n{says}\n\n{both}"))
}

/// Whether there is a rule of that id, here or in the schema.
pub fn exists(id: &str) -> bool {
    find(id).is_some() || SCHEMA_RULES.iter().any(|(known, _)| *known == id)
}
