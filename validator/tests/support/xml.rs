//! Reads XML as far as reports use it, and fails on what is not well-formed.

use std::collections::BTreeMap;

/// An element with its attributes; text is kept where there are no children.
#[derive(Debug)]
pub struct Element {
    pub name: String,
    pub attributes: BTreeMap<String, String>,
    pub children: Vec<Element>,
}

impl Element {
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).unwrap_or_else(|| panic!("{} has no {name}: {self:?}", self.name))
    }
    /// Every attribute is one of these.
    pub fn has_only(&self, names: &[&str]) {
        for name in self.attributes.keys() {
            assert!(names.contains(&name.as_str()), "{} has an attribute {name}", self.name);
        }
    }
}

/// The root element.
///
/// # Panics
/// When the text is not well-formed.
pub fn parse(text: &str) -> Element {
    let body = text.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n").expect("it begins with a declaration");
    assert!(body.chars().all(|c| c == '\n' || c >= ' '), "a character that XML 1.0 does not have");
    let (root, rest) = element(body);
    assert_eq!(rest.trim(), "", "one root only");
    root
}

fn element(text: &str) -> (Element, &str) {
    let text = text.strip_prefix('<').unwrap_or_else(|| panic!("an element begins with <: {text}"));
    let end = text.find(|c: char| c.is_whitespace() || c == '>' || c == '/').unwrap();
    let (name, mut rest) = (text[..end].to_owned(), text[end..].trim_start());
    let mut attributes = BTreeMap::new();
    while !rest.starts_with(['>', '/']) {
        let (key, after) = rest.split_once("=\"").unwrap();
        let (value, after) = after.split_once('"').unwrap();
        assert!(attributes.insert(key.to_owned(), unescaped(value)).is_none(), "{key} is there twice");
        rest = after.trim_start();
    }
    if let Some(rest) = rest.strip_prefix("/>") {
        return (Element { name, attributes, children: Vec::new() }, rest);
    }
    rest = rest.strip_prefix('>').unwrap();
    let mut children = Vec::new();
    loop {
        let at = rest.find('<').unwrap_or_else(|| panic!("{name} does not end"));
        unescaped(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix(&format!("</{name}>")) {
            return (Element { name, attributes, children }, after);
        }
        let (child, after) = element(rest);
        children.push(child);
        rest = after;
    }
}

/// The text, in which only the five names of XML follow an ampersand.
fn unescaped(text: &str) -> String {
    assert!(!text.contains(['<', '>']), "{text}");
    let known = [("lt", '<'), ("gt", '>'), ("quot", '"'), ("apos", '\''), ("amp", '&')];
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('&') {
        let (name, after) = after.split_once(';').unwrap();
        out.push_str(before);
        out.push(known.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("&{name};")).1);
        rest = after;
    }
    out + rest
}
