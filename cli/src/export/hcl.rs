//! Writes HCL in the layout of `terraform fmt`, so that formatting it again changes nothing.

use unicode_segmentation::UnicodeSegmentation as _;

/// Columns that a list or object on one line may reach.
const WIDTH: usize = 100;

/// A value as it is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// As it stands: a number, a word, a reference.
    Raw(String),
    /// A text, taken literally.
    Text(String),
    List(Vec<Expr>),
    /// Names that are no identifiers are quoted.
    Object(Vec<(String, Expr)>),
}

/// A block, such as `resource "sampan_route" "web" { … }`.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Lines above it, without `#`.
    pub comment: Vec<String>,
    /// What stands before the brace.
    pub head: String,
    /// In this order.
    pub attributes: Vec<(String, Expr)>,
}

impl std::fmt::Display for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in &self.comment {
            writeln!(f, "# {line}")?;
        }
        if self.attributes.is_empty() {
            return writeln!(f, "{} {{}}", self.head);
        }
        write!(f, "{} {{\n{}}}\n", self.head, items(&self.attributes, 2))
    }
}

/// One `name = value` per line, `=` aligned over neighbours that do not open brackets for the lines below.
fn items(of: &[(String, Expr)], indent: usize) -> String {
    let lines: Vec<(String, String)> = of
        .iter()
        .map(|(name, value)| {
            let name = key(name);
            let text = value_at(value, indent, columns(&name) + " = ".len());
            (name, text)
        })
        .collect();
    let mut out = String::new();
    for run in lines.chunk_by(|(_, a), (_, b)| !opens(a) && !opens(b)) {
        let width = run.iter().map(|(name, _)| columns(name)).max().unwrap_or(0);
        for (name, text) in run {
            let gap = width - columns(name);
            out.push_str(&format!("{:indent$}{name}{:gap$} = {text}\n", "", ""));
        }
    }
    out
}

/// Whether a value's first line leaves a bracket open. A heredoc leaves none.
fn opens(text: &str) -> bool {
    text.starts_with(['[', '{']) && text.contains('\n')
}

/// How `terraform fmt` counts: by what a reader sees as one character.
fn columns(text: &str) -> usize {
    text.graphemes(true).count()
}

/// A value whose line begins with `indent` spaces and `before` columns of other text.
fn value_at(value: &Expr, indent: usize, before: usize) -> String {
    let fits = |line: &String| indent + before + columns(line) <= WIDTH;
    let close = format!("{:indent$}", "");
    match value {
        Expr::Raw(text) => text.clone(),
        Expr::Text(text) => heredoc(text).unwrap_or_else(|| quoted(text)),
        Expr::List(elements) => one_line(value).filter(fits).unwrap_or_else(|| {
            let below = indent + 2;
            let line = |element: &Expr| match element {
                Expr::Text(text) => quoted(text),
                other => value_at(other, below, ",".len()),
            };
            let lines = elements.iter().map(|element| format!("{:below$}{},\n", "", line(element)));
            format!("[\n{}{close}]", lines.collect::<String>())
        }),
        Expr::Object(members) => {
            one_line(value).filter(fits).unwrap_or_else(|| format!("{{\n{}{close}}}", items(members, indent + 2)))
        }
    }
}

/// A value on one line, if it is simple enough to be read there.
fn one_line(value: &Expr) -> Option<String> {
    let inner: Vec<&Expr> = match value {
        Expr::Raw(text) => return Some(text.clone()),
        Expr::Text(text) => return heredoc(text).is_none().then(|| quoted(text)),
        Expr::List(elements) => elements.iter().collect(),
        Expr::Object(members) => members.iter().map(|(_, value)| value).collect(),
    };
    // One list or object inside, and nothing inside of that.
    let nested = |value: &&&Expr| !matches!(value, Expr::Raw(_) | Expr::Text(_));
    let has_nested = inner.iter().any(|value| nested(&value));
    if has_nested && (inner.len() > 1 || inner.iter().any(|value| depth(value) > 1)) {
        return None;
    }
    let parts: Vec<String> = inner.into_iter().map(one_line).collect::<Option<_>>()?;
    Some(match value {
        Expr::Object(members) if members.is_empty() => "{}".to_owned(),
        Expr::Object(members) => {
            let pairs = members.iter().zip(parts).map(|((name, _), part)| format!("{} = {part}", key(name)));
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        }
        _ => format!("[{}]", parts.join(", ")),
    })
}

/// Lists and objects inside each other.
fn depth(value: &Expr) -> usize {
    match value {
        Expr::Raw(_) | Expr::Text(_) => 0,
        Expr::List(elements) => 1 + elements.iter().map(depth).max().unwrap_or(0),
        Expr::Object(members) => 1 + members.iter().map(|(_, value)| depth(value)).max().unwrap_or(0),
    }
}

/// The name of a member. `for` would begin another expression.
fn key(name: &str) -> String {
    let is_word = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        && name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && !["for", "true", "false", "null"].contains(&name);
    if is_word { name.to_owned() } else { quoted(name) }
}

/// A text in quotes.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '$' | '%' => push_marker(&mut out, c, rest.peek()),
            c if is_unseen(c) && c > '\u{ffff}' => out.push_str(&format!("\\U{:08x}", u32::from(c))),
            c if is_unseen(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `${` and `%{` begin a template; doubled they are text.
fn push_marker(out: &mut String, marker: char, next: Option<&char>) {
    out.push(marker);
    if next == Some(&'{') {
        out.push(marker);
    }
}

/// What a reader would not see, or see somewhere else than it is.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Several whole lines, if every one of them can be written as it is.
fn heredoc(text: &str) -> Option<String> {
    let lines: Vec<&str> = text.strip_suffix('\n')?.split('\n').collect();
    if lines.len() < 2 || text.chars().any(|c| is_unseen(c) && c != '\n' && c != '\t') {
        return None;
    }
    // One of them is free: a text that has them all is written in quotes.
    let end = ["EOT", "EOF", "END"].into_iter().find(|end| !lines.iter().any(|line| line.trim() == *end))?;
    let mut out = format!("<<{end}\n");
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '$' | '%' => push_marker(&mut out, c, rest.peek()),
            c => out.push(c),
        }
    }
    out.push_str(end);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Expr {
        Expr::Text(text.into())
    }

    fn object(members: &[(&str, Expr)]) -> Expr {
        Expr::Object(members.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    }

    fn block(attributes: &[(&str, Expr)]) -> String {
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        Block { comment: vec![], head: "it".into(), attributes }.to_string()
    }

    #[test]
    fn texts_are_taken_literally() {
        for (text, wanted) in [
            ("", r#""""#),
            ("a \"b\" \\ c", r#""a \"b\" \\ c""#),
            ("${a} %{b} $${c} $ % {", r#""$${a} %%{b} $$${c} $ % {""#),
            ("one line\n", r#""one line\n""#),
            ("\r\t\u{0}\u{202e}\u{feff}", r#""\r\t\u0000\u202e\ufeff""#),
            ("grüße 世界", "\"grüße 世界\""),
        ] {
            assert_eq!(quoted(text), wanted);
        }
    }

    #[test]
    fn whole_lines_are_written_as_lines() {
        let written = block(&[("a", text("${x}\n\n\t\\n \"q\"\n")), ("long", text("no end\nhere"))]);
        insta::assert_snapshot!(written, @r#"
        it {
          a    = <<EOT
        $${x}

        	\n "q"
        EOT
          long = "no end\nhere"
        }
        "#);
        assert!(heredoc("a\nEOT\n").is_some_and(|text| text.starts_with("<<EOF\n") && text.ends_with("\nEOF")));
        assert_eq!(heredoc("a\n EOT\nEOF\nEND \n"), None);
        assert_eq!(heredoc("a\r\nb\r\n"), None);
    }

    #[test]
    fn signs_of_equality_stand_below_each_other_until_a_bracket_stays_open() {
        let port = object(&[("container_port", Expr::Raw("8080".into())), ("protocol", text("HTTP"))]);
        let written = block(&[
            ("name", text("web")),
            ("labels", object(&[("a.b/c", text("1")), ("日本", text("2")), ("for", text("3"))])),
            ("network", object(&[("ports", object(&[("http", port.clone())]))])),
            ("hosts", Expr::List(vec![text("a"), text("b")])),
            ("x", object(&[])),
            ("rules", Expr::List(vec![object(&[("name", text("all"))]), object(&[("ports", port)])])),
            ("much", object(&[("aa", text(&"a".repeat(45))), ("b", text(&"b".repeat(45)))])),
        ]);
        insta::assert_snapshot!(written, @r#"
        it {
          name   = "web"
          labels = { "a.b/c" = "1", "日本" = "2", "for" = "3" }
          network = {
            ports = { http = { container_port = 8080, protocol = "HTTP" } }
          }
          hosts = ["a", "b"]
          x     = {}
          rules = [
            { name = "all" },
            { ports = { container_port = 8080, protocol = "HTTP" } },
          ]
          much = {
            aa = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
            b  = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
          }
        }
        "#);
    }
}
