//! `.sampanlint.hcl`: the nearest one upwards. What it does not know is an error.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::ast::{Ast, Attribute, Block, Expr, Literal};
use crate::finding::Severity;
use crate::module::read_bounded;
use crate::parse::parse;
use crate::rules;
use crate::source::Lines;

pub const FILE: &str = ".sampanlint.hcl";

/// What a file says; absent parts leave the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    pub fail_on: Option<FailOn>,
    pub baseline: Option<PathBuf>,
    pub var_files: Vec<PathBuf>,
    /// Files with policies, and folders of them.
    pub policies: Vec<PathBuf>,
    /// Names of production namespaces, with `*`.
    pub production: Option<Vec<String>>,
    pub required_labels: Vec<String>,
    /// Registries, or repositories, that images may come from, with `*`; empty means all.
    pub registries: Vec<String>,
    pub budget: Budget,
    pub severities: BTreeMap<String, Option<Severity>>,
    /// A pattern of paths, and the rules that are silent there.
    pub per_path: Vec<(String, Vec<String>)>,
}

/// What all instances of one application may have together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget {
    /// Thousandths of a cpu.
    pub cpu_millis: Option<u128>,
    /// Thousandths of a byte.
    pub memory_millis: Option<u128>,
}

/// From which severity on findings fail the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FailOn {
    Never,
    Error,
    #[default]
    Warning,
    Note,
}

impl FailOn {
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "never" => Self::Never,
            "error" => Self::Error,
            "warning" => Self::Warning,
            "note" => Self::Note,
            _ => return None,
        })
    }
    pub fn fails(self, severity: Severity) -> bool {
        match self {
            Self::Never => false,
            Self::Error => severity == Severity::Error,
            Self::Warning => severity >= Severity::Warning,
            Self::Note => true,
        }
    }
}

/// The file that counts for `folder`: the nearest upwards, at most 64 folders away.
pub fn find(folder: &Path) -> Option<PathBuf> {
    let start = folder.canonicalize().ok()?;
    start.ancestors().take(64).map(|dir| dir.join(FILE)).find(|path| path.is_file())
}

/// Reads a file; paths in it are relative to it.
///
/// # Errors
/// A sentence that names the place.
pub fn read(path: &Path) -> Result<Config, String> {
    let text = read_bounded(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let lines = Lines::new(&text);
    let (ast, diagnostics) = parse(&text);
    let at = |start: u32, message: String| format!("{}:{}: {message}", path.display(), lines.line(start));
    if let Some(d) = diagnostics.first() {
        return Err(at(d.span.start, d.message.clone()));
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut config = Config::default();
    for attribute in &ast.body.attributes {
        top(&ast, attribute, folder, &mut config).map_err(|e| at(attribute.span.start, e))?;
    }
    for block in &ast.body.blocks {
        section(&ast, block, &mut config).map_err(|e| at(block.span.start, e))?;
    }
    Ok(config)
}

fn text(ast: &Ast, a: &Attribute) -> Result<String, String> {
    ast.string(a.value).map(str::to_owned).ok_or_else(|| format!("{} wants a plain string", a.name.text))
}

fn texts(ast: &Ast, a: &Attribute) -> Result<Vec<String>, String> {
    let wrong = || format!("{} wants a list of plain strings", a.name.text);
    let Expr::List(items) = ast.expr(a.value) else { return Err(wrong()) };
    items.iter().map(|id| ast.string(*id).map(str::to_owned).ok_or_else(wrong)).collect()
}

fn truth(ast: &Ast, a: &Attribute) -> Result<bool, String> {
    match ast.expr(a.value) {
        Expr::Literal(Literal::Bool(b)) => Ok(*b),
        _ => Err(format!("{} wants true or false", a.name.text)),
    }
}

fn quantity(ast: &Ast, a: &Attribute) -> Result<u128, String> {
    let text = text(ast, a)?;
    sampan_schema::quantity::millis(&text)
        .ok_or_else(|| format!("{} wants a quantity, such as \"64\" or \"256Gi\"", a.name.text))
}

fn severity(text: &str) -> Result<Severity, String> {
    match text {
        "error" => Ok(Severity::Error),
        "warning" => Ok(Severity::Warning),
        "note" => Ok(Severity::Note),
        other => Err(format!("{other:?} is no severity: error, warning or note")),
    }
}

fn top(ast: &Ast, a: &Attribute, folder: &Path, config: &mut Config) -> Result<(), String> {
    match &*a.name.text {
        // The search ends at the nearest file anyway; the word is there for readers.
        "root" => truth(ast, a).map(drop),
        "fail_on" => {
            let word = text(ast, a)?;
            let parsed = FailOn::parse(&word).ok_or("fail_on is error, warning, note or never")?;
            config.fail_on = Some(parsed);
            Ok(())
        }
        "baseline" => {
            config.baseline = Some(folder.join(text(ast, a)?));
            Ok(())
        }
        "var_file" => {
            config.var_files = texts(ast, a)?.iter().map(|p| folder.join(p)).collect();
            Ok(())
        }
        "policies" => {
            config.policies = texts(ast, a)?.iter().map(|p| folder.join(p)).collect();
            Ok(())
        }
        "production" => {
            config.production = Some(texts(ast, a)?);
            Ok(())
        }
        "required_labels" => {
            config.required_labels = texts(ast, a)?;
            Ok(())
        }
        "registries" => {
            config.registries = texts(ast, a)?;
            Ok(())
        }
        "budget_cpu" => {
            config.budget.cpu_millis = Some(quantity(ast, a)?);
            Ok(())
        }
        "budget_memory" => {
            config.budget.memory_millis = Some(quantity(ast, a)?);
            Ok(())
        }
        other => Err(format!(
            "there is no setting {other:?}: root, fail_on, baseline, var_file, production, required_labels, registries, \
             budget_cpu, budget_memory, and the blocks rule and per_path"
        )),
    }
}

fn section(ast: &Ast, block: &Block, config: &mut Config) -> Result<(), String> {
    let (kind, label) = (&*block.kind.text, block.label(0).unwrap_or_default());
    match kind {
        "rule" if rules::exists(label) => {
            for a in &block.body.attributes {
                let value = match &*a.name.text {
                    "severity" => Some(severity(&text(ast, a)?)?),
                    "enabled" if !truth(ast, a)? => None,
                    "enabled" => continue,
                    other => return Err(format!("a rule has no setting {other:?}: severity, enabled")),
                };
                config.severities.insert(label.to_owned(), value);
            }
            Ok(())
        }
        "rule" => Err(format!("there is no rule {label:?}")),
        "per_path" => {
            for a in &block.body.attributes {
                if &*a.name.text != "ignore" {
                    return Err(format!("per_path has no setting {:?}: ignore", a.name.text));
                }
                let ids = texts(ast, a)?;
                if let Some(id) = ids.iter().find(|id| !rules::exists(id)) {
                    return Err(format!("there is no rule {id:?}"));
                }
                config.per_path.push((label.to_owned(), ids));
            }
            Ok(())
        }
        other => Err(format!("there is no block {other:?}: rule, per_path")),
    }
}

/// Whether `text` matches `pattern`, where `*` is anything without `/` and `**` is anything.
pub fn matches(pattern: &str, text: &str) -> bool {
    // Positions in `text` that the pattern so far can end at.
    let bytes = text.as_bytes();
    let mut at = vec![false; bytes.len() + 1];
    at[0] = true;
    let mut rest = pattern;
    while !rest.is_empty() {
        let (deep, star) = (rest.starts_with("**"), rest.starts_with('*'));
        let mut next = vec![false; at.len()];
        if star {
            rest = rest.trim_start_matches('*');
            for i in 0..at.len() {
                let before = i > 0 && next[i - 1] && (deep || bytes[i - 1] != b'/');
                next[i] = at[i] || before;
            }
        } else {
            let byte = rest.as_bytes()[0];
            let width = rest.chars().next().map_or(1, char::len_utf8);
            for i in 0..bytes.len() {
                if at[i] && bytes[i..].starts_with(&rest.as_bytes()[..width]) {
                    next[i + width] = true;
                }
            }
            debug_assert!(byte != b'*');
            rest = &rest[width..];
        }
        at = next;
    }
    at.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names_and_paths() {
        for (pattern, text, want) in [
            ("prod", "prod", true),
            ("prod", "prod-eu", false),
            ("prod-*", "prod-eu", true),
            ("*-prod", "eu-prod", true),
            ("examples/**", "examples/a/b.tf", true),
            ("examples/*", "examples/a/b.tf", false),
            ("*.tf", "é.tf", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, text), want, "{pattern} {text}");
        }
    }

    #[test]
    fn a_file_is_read_and_what_it_does_not_know_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let write = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&path)
        };
        let config = write(
            "root = true\nfail_on = \"error\"\nproduction = [\"live\"]\nrequired_labels = [\"owner\"]\n\
             registries = [\"registry.example.com\"]\nbudget_cpu = \"64\"\nbudget_memory = \"256Gi\"\n\
             rule \"SMP301\" {\n  severity = \"error\"\n}\nrule \"SMP302\" {\n  enabled = false\n}\n\
             per_path \"examples/**\" {\n  ignore = [\"SMP303\"]\n}\n",
        )
        .unwrap();
        assert_eq!(config.fail_on, Some(FailOn::Error));
        assert_eq!(config.budget.cpu_millis, Some(64_000));
        assert_eq!(config.registries, ["registry.example.com"]);
        assert_eq!(config.severities["SMP302"], None);
        assert_eq!(config.per_path[0].1, ["SMP303"]);
        for (text, part) in [
            ("fail_on = \"x\"\n", ":1: fail_on is"),
            ("budget_cpu = \"many\"\n", ":1: budget_cpu wants a quantity"),
            ("\ncolour = 1\n", ":2: there is no setting \"colour\""),
            ("rule \"SMP999\" {\n}\n", "no rule \"SMP999\""),
            ("x = = 1\n", ":1: found"),
        ] {
            assert!(write(text).unwrap_err().contains(part), "{text}");
        }
        assert_eq!(find(folder.path()).unwrap().file_name().unwrap(), FILE);
    }
}
