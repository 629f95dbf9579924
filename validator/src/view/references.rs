//! Arguments that are written as the name of another resource: `application = sampan_application.api.name`.

use crate::ast::{Ast, Expr, ExprId, Key, Part, Path, Step};
use crate::eval::definition::Definition;

/// Arguments that name another object.
const NAMING: &[&str] = &["application", "gray_policy", "config_map", "secret"];

/// Path of each such argument, and the address in the module that it names. Only what is certain: nothing from the
/// branches of a condition.
pub fn names_of(definition: &Definition<'_>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (name, (source, attribute)) in definition.attributes() {
        collect(source.ast, attribute.value, name, name, &mut found);
    }
    found
}

fn collect(ast: &Ast, id: ExprId, path: &str, name: &str, found: &mut Vec<(String, String)>) {
    match ast.expr(id) {
        Expr::Parentheses(inner) => collect(ast, *inner, path, name, found),
        Expr::Template(template) if template.is_wrapper() => {
            if let [Part::Interpolation(inner)] = template.parts.as_slice() {
                collect(ast, *inner, path, name, found);
            }
        }
        Expr::List(items) => {
            for (i, item) in items.iter().enumerate() {
                collect(ast, *item, &format!("{path}[{i}]"), name, found);
            }
        }
        Expr::Object(entries) => {
            for entry in entries {
                let name = match &entry.key {
                    Key::Name(name) => &*name.text,
                    Key::Expr(key) => ast.string(*key).unwrap_or_default(),
                };
                collect(ast, entry.value, &format!("{path}.{name}"), name, found);
            }
        }
        _ if NAMING.contains(&name) => found.extend(ast.path(id).and_then(target).map(|to| (path.to_owned(), to))),
        _ => {}
    }
}

/// `sampan_application.api` of `sampan_application.api["x"].name`.
fn target(path: Path<'_>) -> Option<String> {
    let (ty, name) = (&*path.root.text, path.attr(0)?);
    let rest = match path.steps.get(1..)? {
        [Step::Index { .. } | Step::LegacyIndex { .. }, rest @ ..] => rest,
        rest => rest,
    };
    let is_name = matches!(rest, [Step::Attr(last)] if &*last.text == "name");
    (is_name && ty.starts_with("sampan_")).then(|| format!("{ty}.{}", name.text))
}
