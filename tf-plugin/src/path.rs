//! Places in a value.

use crate::value::{Value, clip};
use std::fmt;

/// One step into a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Into an attribute or block of an object.
    Attr(String),
    /// Into an element of a map.
    Key(String),
    /// Into an element of a list or tuple.
    Index(usize),
    /// Into an element of a set. The protocol has no form for it.
    Element(Box<Value>),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<String> for Step {
    fn from(key: String) -> Self {
        Self::Key(key)
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// A place in a value, from its root. Written as in the Terraform language: `network.ports["http"].number`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(Vec<Step>);

/// A path: attribute names as they are, keys and indices in brackets.
///
/// ```
/// let p = tf_plugin::path!("network", "ports", ["http"], "container_port");
/// assert_eq!(p.to_string(), r#"network.ports["http"].container_port"#);
/// ```
#[macro_export]
macro_rules! path {
    ($($step:tt),* $(,)?) => {
        $crate::path::Path::from_steps([$($crate::path!(@ $step)),*])
    };
    (@ [$key:expr]) => { $crate::path::Step::from($key) };
    (@ $name:expr) => { $crate::path::Step::Attr(::std::string::String::from($name)) };
}

impl Path {
    /// The value itself.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// An attribute of the root.
    pub fn attr(name: impl Into<String>) -> Self {
        Self(vec![Step::Attr(name.into())])
    }

    /// A path of these steps.
    pub fn from_steps(steps: impl IntoIterator<Item = Step>) -> Self {
        Self(steps.into_iter().collect())
    }

    /// The steps, outermost first.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The innermost step.
    pub fn last(&self) -> Option<&Step> {
        self.0.last()
    }

    /// The path one step up; nothing above the root.
    pub fn parent(&self) -> Option<Self> {
        self.0.split_last().map(|(_, rest)| Self(rest.to_vec()))
    }

    /// One step down.
    pub fn push(&mut self, step: Step) {
        self.0.push(step);
    }

    /// One step up.
    pub fn pop(&mut self) -> Option<Step> {
        self.0.pop()
    }

    /// Does something one step down, if there is a step, and comes back.
    pub(crate) fn down<R>(&mut self, step: Option<Step>, f: impl FnOnce(&mut Self) -> R) -> R {
        let length = self.0.len();
        self.0.extend(step);
        let result = f(self);
        self.0.truncate(length);
        result
    }

    /// This path with one more step.
    pub fn child(&self, step: impl Into<Step>) -> Self {
        let mut steps = Vec::with_capacity(self.0.len() + 1);
        steps.extend_from_slice(&self.0);
        steps.push(step.into());
        Self(steps)
    }

    /// This path with one more attribute.
    pub fn child_attr(&self, name: impl Into<String>) -> Self {
        self.child(Step::Attr(name.into()))
    }

    /// This path with one step before it.
    pub fn prepended(mut self, step: Step) -> Self {
        self.0.insert(0, step);
        self
    }

    /// Whether the other path is this one or below it.
    pub fn contains(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }

    /// The longest part that the protocol can express: everything before the first element of a set.
    pub fn wire_steps(&self) -> &[Step] {
        let end = self.0.iter().position(|s| matches!(s, Step::Element(_))).unwrap_or(self.0.len());
        &self.0[..end]
    }

    /// The path without keys and elements, to find it in a schema: `ports.number`.
    pub fn attribute_names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|s| if let Step::Attr(n) = s { Some(n.as_str()) } else { None })
    }
}

impl From<Step> for Path {
    fn from(step: Step) -> Self {
        Self(vec![step])
    }
}

/// The element of a set is not shown, since it may hold a secret.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Attr(name) if i == 0 => f.write_str(name)?,
                Step::Attr(name) => write!(f, ".{name}")?,
                Step::Key(key) => write!(f, "[{key:?}]")?,
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Element(_) => f.write_str("[element]")?,
            }
        }
        Ok(())
    }
}

/// Text that is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a path such as a.b[0][\"key\"]")]
pub struct PathError(String);

impl std::str::FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        parse(text).ok_or_else(|| PathError(clip(text).into_owned()))
    }
}

fn parse(text: &str) -> Option<Path> {
    let mut steps = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            if inner.starts_with('"') {
                let mut quoted = serde_json::Deserializer::from_str(inner).into_iter::<String>();
                let key = quoted.next()?.ok()?;
                rest = inner[quoted.byte_offset()..].strip_prefix(']')?;
                steps.push(Step::Key(key));
            } else {
                let (index, after) = inner.split_once(']')?;
                steps.push(Step::Index(index.parse().ok()?));
                rest = after;
            }
            continue;
        }
        if !steps.is_empty() {
            rest = rest.strip_prefix('.')?;
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        if end == 0 {
            return None;
        }
        steps.push(Step::Attr(rest[..end].to_owned()));
        rest = &rest[end..];
    }
    Some(Path(steps))
}
