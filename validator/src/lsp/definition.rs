//! Where a name is declared: variables, locals, resources, module calls, their outputs, and the folder of a module.

use std::path::PathBuf;

use lsp_types::{Location, Range};

use super::cursor::Cursor;
use super::uri;
use super::view::{View, location};
use crate::ast::{Block, Path, Span, Step};
use crate::eval::definition::{Definition, Definitions, Kind};
use crate::eval::value::Site;
use crate::finding::Place;
use crate::lint;

pub fn definition(view: &View, byte: u32) -> Option<Location> {
    let ast = &view.source().ast;
    let cursor = Cursor::new(ast, byte);
    if let Some(call) = cursor.blocks.first().filter(|block| &*block.kind.text == "module")
        && let Some(found) = of_call(view, call, &cursor)
    {
        return Some(found);
    }
    let (_, definitions) = view.definitions();
    let path = ast.path(cursor.expr?)?;
    // The step that the byte is in; 0 is the root.
    let step = path.steps.iter().filter(|step| step.span().start <= byte).count();
    let site = match (&*path.root.text, path.attr(0)) {
        ("var", Some(name)) => definitions.variables.get(&name.text)?.site,
        ("local", Some(name)) => {
            let (source, attribute) = definitions.locals.get(&name.text)?;
            crate::eval::definition::site(*source, attribute.name.span)
        }
        ("module", Some(name)) => {
            let output = path.steps.iter().skip(1).find_map(|step| match step {
                Step::Attr(name) => Some(name),
                _ => None,
            });
            let output = output.filter(|output| step > 1 && output.span.start <= byte);
            match output.and_then(|output| in_module(view, &name.text, |all| all.outputs.get(&output.text).cloned())) {
                Some(site) => site,
                None => definitions.calls.get(&name.text)?.site,
            }
        }
        (root, _) => resource(&definitions, root, path)?.site,
    };
    at(view, site)
}

fn at(view: &View, site: Site) -> Option<Location> {
    location(&view.tree, Place { file: site.file, span: Span::new(site.start, site.end) })
}

fn resource<'d, 'a>(definitions: &'d Definitions<'a>, root: &str, path: Path<'_>) -> Option<&'d Definition<'a>> {
    let (kind, ty, name) = match root {
        "data" => (Kind::Data, path.attr(0)?.text.clone(), path.attr(1)?),
        "ephemeral" => (Kind::Ephemeral, path.attr(0)?.text.clone(), path.attr(1)?),
        "resource" => (Kind::Managed, path.attr(0)?.text.clone(), path.attr(1)?),
        _ => (Kind::Managed, path.root.text.clone(), path.attr(0)?),
    };
    definitions.resources.get(&(kind, ty, name.text.clone()))
}

/// The first line of a called module from its `source`, and one of its variables from the name of an argument.
fn of_call(view: &View, call: &Block, cursor: &Cursor<'_>) -> Option<Location> {
    let [crate::view::Segment::Name(argument)] = cursor.path.as_slice() else { return None };
    let name = call.label(0)?;
    if argument == "source" {
        let folder = &view.tree.folders[*view.tree.folders[view.root].calls.get(name)?];
        let named = |index: &u32| PathBuf::from(&view.tree.files[*index as usize].name);
        let mut files = folder.files.iter().map(named);
        let main = files.clone().find(|path| path.file_name().is_some_and(|name| name == "main.tf"));
        return Some(Location { uri: uri::of(&main.or_else(|| files.next())?)?, range: Range::default() });
    }
    cursor.named?;
    let site = in_module(view, name, |all| all.variables.get(argument.as_str()).cloned())?;
    at(view, site)
}

/// A definition of a called module, if that is at hand.
fn in_module<'v>(
    view: &'v View,
    call: &str,
    find: impl FnOnce(&Definitions<'v>) -> Option<Definition<'v>>,
) -> Option<Site> {
    let child = *view.tree.folders[view.root].calls.get(call)?;
    find(&lint::definitions(&view.tree, child).1).map(|definition| definition.site)
}
