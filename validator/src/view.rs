//! Resources of Sampan as the schema sees them: values with the places that they were written at.
//!
//! The check is the one of the provider and the API server, `Kind::validate`. What is unknown stays unknown there.

mod references;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use sampan_schema::{KINDS, Kind as Noun, check};
use serde_json::{Map, Value as Json};

use crate::ast::{Literal, Span};
use crate::eval::definition::{Definition, Kind};
use crate::eval::expand::{BodyView, Exists, Key, ResourceView};
use crate::eval::graph::{AttributeSchema, Schemas};
use crate::eval::types::Type;
use crate::eval::value::{Cause, CauseKind, Data, Marks, Site, Value};
use crate::finding::{Finding, Place, Severity};
use crate::plan::Planned;

/// Stands for the provider's namespace where only the form is checked.
const SOME_NAMESPACE: &str = "some-namespace";
/// What Terraform itself takes in every resource.
pub(crate) const META: &[&str] = &["count", "for_each", "provider", "depends_on"];
/// Of these, what data sources read and resources do not have.
const DATA_ONLY: [&str; 2] = ["uid", "create_time"];
/// Set by the server alone.
pub(crate) const COMPUTED: &[&str] = &["id", "uid", "create_time", "status", "last_change_class", "effective_labels"];

/// One instance of a resource of Sampan.
#[derive(Debug)]
pub struct Resource {
    pub noun: &'static Noun,
    /// `module.a["x"].sampan_application.b[0]`.
    pub address: String,
    /// Depends on this, if it is not certain to exist.
    pub condition: Option<Cause>,
    /// The head of its block; a plan has none.
    pub header: Option<Place>,
    /// `lifecycle.prevent_destroy` is written as `true`.
    pub prevent_destroy: bool,
    /// `module.a["x"].`, or empty.
    pub module: String,
    /// Arguments that are the name of another resource of the same module: path, and its address.
    pub names_of: Vec<(String, String)>,
    /// What a plan says of it besides, when it comes from one.
    pub planned: Option<Planned>,
    view: ResourceView,
}

/// What stands at a path.
#[derive(Debug, Clone)]
pub enum Leaf<'a> {
    Known(&'a Value),
    Unknown(Cause),
    /// Not written, or null.
    Absent,
}

impl<'a> Leaf<'a> {
    pub fn text(&self) -> Option<&'a str> {
        match self {
            Self::Known(value) => value.as_str(),
            _ => None,
        }
    }
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Unknown(cause) => Some(cause),
            _ => None,
        }
    }
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

/// A step of a path: `a` or `[0]` or `["x"]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    Name(String),
    Index(usize),
}

/// `container.env["A"]`, `rules[0].name`.
pub fn segments(path: &str) -> Vec<Segment> {
    let (mut found, mut rest) = (Vec::new(), path);
    while !rest.is_empty() {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if let Some(inner) = rest.strip_prefix('[') {
            let quoted = inner.starts_with('"');
            let end = if quoted { inner.find("\"]").map(|at| at + 1) } else { inner.find(']') };
            let Some(end) = end else { return found };
            let text = &inner[..end];
            match text.parse() {
                Ok(index) if !quoted => found.push(Segment::Index(index)),
                _ => found
                    .push(Segment::Name(serde_json::from_str(text).unwrap_or_else(|_| text.trim_matches('"').into()))),
            }
            rest = &inner[end + 1..];
            continue;
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        found.push(Segment::Name(rest[..end].to_owned()));
        rest = &rest[end..];
    }
    found
}

fn place(site: Site) -> Place {
    Place { file: site.file, span: Span::new(site.start, site.end) }
}

fn step<'v>(value: &'v Value, segment: &Segment) -> Option<&'v Value> {
    match segment {
        Segment::Name(name) => value.as_dict()?.get(name.as_str()),
        Segment::Index(index) => value.as_seq()?.get(*index),
    }
}

impl Resource {
    /// `None` for a type that is not Sampan's.
    pub fn new(prefix: &str, view: ResourceView, definition: &Definition<'_>) -> Option<Self> {
        let (kind, ty, name) = &view.id;
        let noun = sampan_schema::kind(ty.strip_prefix("sampan_")?).filter(|_| *kind == Kind::Managed)?;
        let condition = match &view.exists {
            Exists::Yes => None,
            Exists::Maybe(cause) => Some(cause.clone()),
        };
        let address = format!("{prefix}{ty}.{name}{}", view.key);
        let (header, prevent_destroy) = (Some(place(view.site)), is_protected(definition));
        let (module, names_of) = (prefix.to_owned(), references::names_of(definition));
        Some(Self { noun, address, condition, header, prevent_destroy, module, names_of, planned: None, view })
    }

    /// One of a plan.
    pub fn planned(
        noun: &'static Noun,
        address: String,
        ty: &str,
        name: &str,
        body: BodyView,
        planned: Planned,
    ) -> Self {
        let (id, site) = ((Kind::Managed, ty.into(), name.into()), Site { file: u32::MAX, start: 0, end: 0 });
        let view = ResourceView { id, key: Key::Single, exists: Exists::Yes, site, body };
        let planned = Some(planned);
        let (module, names_of) = (String::new(), Vec::new());
        Self { noun, address, condition: None, header: None, prevent_destroy: false, module, names_of, planned, view }
    }

    /// The address that all instances of the block have in common, within one call of its module.
    pub fn address_without_key(&self) -> String {
        format!("{}{}.{}", self.module, self.view.id.1, self.view.id.2)
    }

    /// What stands at `path` as the schema sees it, without nulls; `None` where it is not known as a whole.
    pub fn json(&self, path: &str) -> Option<Json> {
        let Leaf::Known(value) = self.leaf(path) else { return None };
        let schema = segments(path).iter().try_fold(self.noun.spec_schema(), below);
        let json = value.is_wholly_known().then(|| to_json(value, schema.unwrap_or(&Json::Null)))?;
        Some(sampan_schema::normalise::strip_nulls(&json))
    }

    /// The whole resource with the defaults of its type; what is not written and has none is null.
    pub fn object(&self) -> Value {
        let all = properties(self.noun.spec_schema()).map(|(name, schema)| {
            let failed = || Value::unknown(Type::Dynamic, Cause::new(CauseKind::Failed, name.as_str()));
            let value = match self.view.body.attributes.iter().find(|a| *a.name == **name) {
                Some(attribute) => attribute.value.as_ref().map_or_else(|_| failed(), |value| complete(value, schema)),
                None if self.view.body.blocks.iter().any(|b| *b.kind == **name) => failed(),
                None => default(schema),
            };
            (Arc::from(name.as_str()), value)
        });
        Value::object(all.collect())
    }

    /// Marks of what stands at an argument, known or not.
    pub fn marks(&self, name: &str) -> Marks {
        self.view.body.value(name).map_or(Marks::NONE, Value::deep_marks)
    }

    /// What stands at `path`.
    pub fn leaf(&self, path: &str) -> Leaf<'_> {
        // Most paths are a name alone, and this is asked very often.
        let (first, rest) = path.split_at(path.find(['.', '[']).unwrap_or(path.len()));
        if self.view.body.blocks.iter().any(|b| *b.kind == *first) {
            return Leaf::Unknown(Cause::new(CauseKind::Failed, first));
        }
        let Some(attribute) = self.view.body.attributes.iter().find(|a| *a.name == *first) else {
            return Leaf::Absent;
        };
        let Ok(mut value) = attribute.value.as_ref() else {
            return Leaf::Unknown(Cause::new(CauseKind::Failed, first));
        };
        for segment in &segments(rest) {
            if let Some(cause) = value.cause() {
                return Leaf::Unknown(cause.clone());
            }
            match step(value, segment) {
                Some(next) => value = next,
                None => return Leaf::Absent,
            }
        }
        match value.cause() {
            Some(cause) => Leaf::Unknown(cause.clone()),
            None if value.is_null() => Leaf::Absent,
            None => Leaf::Known(value),
        }
    }

    /// The nearest place to `path` that is written in the resource itself, and where the value comes from if that is
    /// elsewhere. A plan has no places.
    pub fn place(&self, path: &str) -> (Option<Place>, Option<Place>) {
        if self.planned.is_some() {
            return (None, None);
        }
        let segments = segments(path);
        let Some((Segment::Name(first), rest)) = segments.split_first() else { return (self.header, None) };
        if let Some(block) = self.view.body.blocks.iter().find(|b| *b.kind == **first) {
            return (Some(place(block.site)), None);
        }
        let Some(attribute) = self.view.body.attributes.iter().find(|a| *a.name == **first) else {
            return (self.header, None);
        };
        let whole = place(attribute.site);
        let (mut best, mut from) = (whole, None);
        let mut value = attribute.value.as_ref().ok();
        let mut rest = rest.iter();
        while let Some(at) = value {
            if let Some(site) = at.origin().site {
                let origin = place(site);
                if origin.file == whole.file && whole.span.contains(origin.span) {
                    (best, from) = (origin, None);
                } else {
                    from = Some(origin);
                }
            }
            value = rest.next().and_then(|segment| step(at, segment));
        }
        (Some(best), from)
    }

    /// A finding at `path`; weaker when the resource may not exist. A value that is sensitive is not repeated.
    pub fn finding(&self, rule: &'static str, severity: Severity, path: &str, message: impl Into<String>) -> Finding {
        let hidden = || format!("{path} has a sensitive value that breaks this rule");
        let message = if self.is_hidden(path) { hidden() } else { message.into() };
        self.finding_without_value(rule, severity, path, message)
    }

    /// The same with a message that repeats no value.
    pub fn finding_without_value(
        &self,
        rule: &'static str,
        severity: Severity,
        path: &str,
        message: String,
    ) -> Finding {
        let (at, from) = self.place(path);
        let (severity, message) = match &self.condition {
            None => (severity, message),
            Some(cause) => (severity.weaker(), format!("{message} (if {} makes an instance)", cause.needs)),
        };
        let mut finding = match (at, &self.planned) {
            (Some(at), _) => Finding::new(rule, severity, at, message),
            (None, planned) => {
                let file = planned.as_ref().map_or("", |planned| &planned.file);
                Finding::without_place(rule, severity, file.to_owned(), message)
            }
        };
        finding.address.clone_from(&self.address);
        path.clone_into(&mut finding.path);
        // A line that holds a secret is not shown.
        finding.related =
            from.filter(|_| !self.is_sensitive(path)).map(|place| (place, "the value comes from here".to_owned()));
        finding
    }

    /// The spec as the provider would hand it to the schema.
    fn spec(&self) -> Json {
        let mut spec = Map::new();
        for (name, property) in properties(self.noun.spec_schema()) {
            let json = match self.leaf(name) {
                Leaf::Known(value) => to_json(value, property),
                Leaf::Unknown(_) => check::unknown(),
                Leaf::Absent => Json::Null,
            };
            spec.insert(name.clone(), json);
        }
        if self.noun.namespaced && spec.get("namespace").is_some_and(Json::is_null) {
            spec.insert("namespace".into(), SOME_NAMESPACE.into());
        }
        spec.into()
    }

    /// What the schema refuses, and the cause that keeps its rules over several fields from deciding.
    pub fn check(&self) -> (Vec<Finding>, Option<Cause>) {
        let mut found = self.names();
        let spec = self.spec();
        for violation in self.noun.validate(&spec) {
            let Some(rule) = crate::rules::schema_id(&violation.rule) else { continue };
            let mut message = violation.message;
            if self.is_sensitive(&violation.field_path) {
                message = "has a sensitive value that breaks this rule".into();
            } else if rule == "SMP008" {
                message.push_str(&self.suggestion(&violation.field_path));
            }
            let message =
                if violation.field_path.is_empty() { message } else { format!("{} {message}", violation.field_path) };
            found.push(self.finding(rule, Severity::Error, &violation.field_path, message));
        }
        (found, if check::has_unknown(&spec) { self.first_unknown() } else { None })
    }

    fn first_unknown(&self) -> Option<Cause> {
        let spec = properties(self.noun.spec_schema()).map(|(name, _)| name);
        spec.into_iter().find_map(|name| match self.leaf(name) {
            Leaf::Known(value) => value.deep_cause(),
            Leaf::Unknown(cause) => Some(cause),
            Leaf::Absent => None,
        })
    }

    /// Attributes and blocks that are not the schema's.
    fn names(&self) -> Vec<Finding> {
        let known: Vec<&str> = properties(self.noun.spec_schema()).map(|(name, _)| name.as_str()).collect();
        let mut found = Vec::new();
        for attribute in &self.view.body.attributes {
            let name = &*attribute.name;
            if known.contains(&name) || META.contains(&name) || name == "timeouts" && self.noun.has_operations() {
                continue;
            }
            let mut finding = if COMPUTED.contains(&name) {
                self.finding("SMP910", Severity::Error, name, format!("{name} is set by the server: leave it out"))
            } else {
                let hint = did_you_mean(name, &known);
                let message = format!("{name} is no attribute here: there are {}{hint}", known.join(", "));
                self.finding("SMP008", Severity::Error, name, message)
            };
            if self.planned.is_none() {
                finding.place = Some(place(attribute.name_site));
            }
            finding.related = None;
            found.push(finding);
        }
        for block in &self.view.body.blocks {
            let name = &*block.kind;
            let message = if known.contains(&name) || name == "timeouts" {
                format!("{name} is an argument and no block: write {name} = {{ … }}, or [for …] instead of dynamic")
            } else {
                format!(
                    "{name} is no block here: there are none; arguments are {}{}",
                    known.join(", "),
                    did_you_mean(name, &known)
                )
            };
            found.push(self.finding("SMP008", Severity::Error, name, message));
        }
        found
    }

    /// The nearest name of those that may stand beside the last step of `path`.
    fn suggestion(&self, path: &str) -> String {
        let segments = segments(path);
        let Some((Segment::Name(wrong), above)) = segments.split_last() else { return String::new() };
        let schema = above.iter().try_fold(self.noun.spec_schema(), below);
        let names: Vec<&str> = schema.into_iter().flat_map(properties).map(|(name, _)| name.as_str()).collect();
        did_you_mean(wrong, &names)
    }

    /// Whether the very value at `path` must not be shown.
    fn is_hidden(&self, path: &str) -> bool {
        matches!(self.leaf(path), Leaf::Known(value) if value.deep_marks().has(Marks::SENSITIVE))
    }

    fn is_sensitive(&self, path: &str) -> bool {
        let mut path = path.to_owned();
        loop {
            if let Leaf::Known(value) = self.leaf(&path) {
                return value.deep_marks().has(Marks::SENSITIVE);
            }
            match path.rfind(['.', '[']) {
                Some(at) => path.truncate(at),
                None => return false,
            }
        }
    }
}

/// The schema of one step below.
/// What stands where nothing is written: a list or map without entries, the default, or null.
fn default(schema: &Json) -> Value {
    match schema.get("default") {
        Some(json) if !json.is_null() => complete(&crate::plan::known(json), schema),
        _ if schema.get("items").is_some() => Value::tuple(Vec::new()),
        _ if schema.get("additionalProperties").is_some_and(Json::is_object) => Value::object(BTreeMap::new()),
        _ => Value::open_null(),
    }
}

/// A value with the defaults of what is left out in it.
fn complete(value: &Value, schema: &Json) -> Value {
    if !value.is_known() {
        return value.clone();
    }
    if value.is_null() {
        return default(schema).like(value);
    }
    let made = match (value.as_dict(), value.as_seq()) {
        (Some(items), _) if schema.get("properties").is_some() => {
            let mut all = items.clone();
            for (name, schema) in properties(schema) {
                let value = all.get(name.as_str()).map_or_else(|| default(schema), |value| complete(value, schema));
                all.insert(Arc::from(name.as_str()), value);
            }
            Value::object(all)
        }
        (Some(items), _) => match schema.get("additionalProperties") {
            Some(schema) if schema.is_object() => {
                Value::object(items.iter().map(|(name, value)| (name.clone(), complete(value, schema))).collect())
            }
            _ => return value.clone(),
        },
        (_, Some(items)) => match schema.get("items") {
            Some(schema) => Value::tuple(items.iter().map(|value| complete(value, schema)).collect()),
            None => return value.clone(),
        },
        _ => return value.clone(),
    };
    made.like(value)
}

pub(crate) fn below<'s>(schema: &'s Json, segment: &Segment) -> Option<&'s Json> {
    match segment {
        Segment::Name(name) => {
            schema.pointer("/properties").and_then(|p| p.get(name)).or_else(|| schema.get("additionalProperties"))
        }
        Segment::Index(_) => schema.get("items"),
    }
}

fn is_protected(definition: &Definition<'_>) -> bool {
    definition.blocks().iter().filter(|(_, block)| &*block.kind.text == "lifecycle").any(|(source, block)| {
        block
            .body
            .attribute("prevent_destroy")
            .is_some_and(|a| matches!(source.ast.expr(a.value), crate::ast::Expr::Literal(Literal::Bool(true))))
    })
}

pub(crate) fn properties(schema: &Json) -> impl Iterator<Item = (&String, &Json)> {
    schema.get("properties").and_then(Json::as_object).into_iter().flatten()
}

/// `; did you mean "x"?`, when a name is near enough.
pub fn did_you_mean(wrong: &str, names: &[&str]) -> String {
    let near = names.iter().map(|name| (distance(wrong, name), name)).min();
    match near {
        Some((distance, name)) if distance <= 1 + wrong.chars().count() / 4 => format!("; did you mean {name:?}?"),
        _ => String::new(),
    }
}

/// Letters to change, add or take away.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let cost = (corner + usize::from(x != *y)).min(row[j] + 1).min(row[j + 1] + 1);
            corner = std::mem::replace(&mut row[j + 1], cost);
        }
    }
    row.last().copied().unwrap_or(0)
}

/// A value as JSON, converted as Terraform converts it to the attribute's type. What does not convert stays as it is, for
/// the schema to refuse.
fn to_json(value: &Value, schema: &Json) -> Json {
    let null = Json::Null;
    let of = |key: &str| schema.get(key).unwrap_or(&null);
    let wanted = schema.get("type").and_then(Json::as_str).unwrap_or("string");
    match value.data() {
        Data::Unknown(_) => check::unknown(),
        Data::Null(_) => Json::Null,
        Data::Bool(b) if wanted == "string" => b.to_string().into(),
        Data::Bool(b) => (*b).into(),
        Data::Number(n) => {
            let number = n.to_i64().map(Json::from).or_else(|| n.to_f64().map(Json::from));
            match number {
                Some(number) if wanted == "string" => number.to_string().into(),
                Some(number) => number,
                None => check::unknown(),
            }
        }
        Data::String(text) => match wanted {
            "boolean" => text.parse::<bool>().map_or_else(|_| Json::from(&**text), Json::from),
            "integer" | "number" => {
                let whole = text.parse::<i64>().map(Json::from);
                whole.or_else(|_| text.parse::<f64>().map(Json::from)).unwrap_or_else(|_| Json::from(&**text))
            }
            _ => Json::from(&**text),
        },
        Data::List(_) | Data::Set(_) | Data::Tuple(_) => {
            value.as_seq().into_iter().flatten().map(|item| to_json(item, of("items"))).collect()
        }
        Data::Map(_) | Data::Object(_) => {
            let below = |name: &str| of("properties").get(name).unwrap_or_else(|| of("additionalProperties"));
            let items = value.as_dict().into_iter().flatten();
            items.map(|(name, item)| (name.to_string(), to_json(item, below(name)))).collect::<Map<_, _>>().into()
        }
    }
}

/// The types of Sampan's resources for the evaluator.
#[derive(Debug, Clone, Copy)]
pub struct SampanSchemas;

type Attributes = BTreeMap<Arc<str>, AttributeSchema>;

static TYPES: LazyLock<BTreeMap<String, Attributes>> =
    LazyLock::new(|| KINDS.iter().map(|noun| (format!("sampan_{}", noun.name), attributes(noun))).collect());

impl Schemas for SampanSchemas {
    fn attributes(&self, kind: Kind, ty: &str) -> Option<&BTreeMap<Arc<str>, AttributeSchema>> {
        TYPES.get(ty).filter(|_| kind == Kind::Managed)
    }
}

fn attributes(noun: &Noun) -> Attributes {
    let mut all = Attributes::new();
    for (name, property) in properties(noun.spec_schema()) {
        // Whoever leaves it out gets what provider or server decide.
        let computed = property.get("default").is_some() || name == "namespace";
        all.insert(name.as_str().into(), AttributeSchema { ty: type_of(property), computed });
    }
    let of_resource = |n: &&&str| !DATA_ONLY.contains(n) && (**n != "last_change_class" || noun.name == "application");
    for name in COMPUTED.iter().filter(of_resource) {
        let ty = match *name {
            "status" => type_of(noun.status_schema()),
            // Null unless the provider block has labels.
            "effective_labels" => Type::map(Type::String),
            _ => Type::String,
        };
        all.insert((*name).into(), AttributeSchema { ty, computed: true });
    }
    all.insert("timeouts".into(), AttributeSchema { ty: Type::Dynamic, computed: false });
    all
}

fn type_of(schema: &Json) -> Type {
    let below = |key: &str| schema.get(key).map_or(Type::String, type_of);
    match schema.get("type").and_then(Json::as_str) {
        Some("boolean") => Type::Bool,
        Some("integer" | "number") => Type::Number,
        Some("array") if schema.get("uniqueItems") == Some(&Json::Bool(true)) => Type::set(below("items")),
        Some("array") => Type::list(below("items")),
        Some("object") if properties(schema).next().is_some() => {
            Type::object(properties(schema).map(|(name, p)| (name.as_str().into(), type_of(p))).collect())
        }
        Some("object") => match schema.get("additionalProperties").filter(|a| a.is_object()) {
            Some(values) => Type::map(type_of(values)),
            None => Type::map(Type::String),
        },
        _ => Type::String,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_the_schema_writes_them() {
        let name = |s: &str| Segment::Name(s.into());
        assert_eq!(segments("container.env[\"a.b\"]"), [name("container"), name("env"), name("a.b")]);
        assert_eq!(segments("rules[10].name"), [name("rules"), Segment::Index(10), name("name")]);
        assert_eq!(segments(""), []);
    }

    #[test]
    fn the_nearest_name_is_offered_and_a_far_one_is_not() {
        assert_eq!(did_you_mean("replica", &["name", "replicas"]), "; did you mean \"replicas\"?");
        assert_eq!(did_you_mean("zone", &["name", "replicas"]), "");
    }
}
