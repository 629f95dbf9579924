//! The module of a document as it is now, for the answer to one request.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsp_types::{Location, Range};

use super::document::{Document, range};
use super::{Options, Overlay, uri};
use crate::ast::Span;
use crate::eval::definition::{Definitions, Source};
use crate::finding::Place;
use crate::lint::{self, Settings};
use crate::module::{Known, SourceFile, Tree};

/// A module with the document that a request is about.
#[derive(Debug)]
pub struct View {
    pub settings: Settings,
    pub tree: Tree,
    /// Index of its folder in the tree.
    pub root: usize,
    /// Index of the document in the tree.
    pub file: u32,
}

impl View {
    /// `None` where the document is part of no module, or its settings are wrong, which is said elsewhere.
    pub fn new(options: &Options, overlay: &Overlay, known: Arc<Known>, document: &Document) -> Option<Self> {
        let folder = document.path.parent()?;
        let mut settings = options.settings(folder).ok()?;
        (settings.overlay, settings.known) = (overlay.clone(), known);
        let (tree, root) = lint::load(&settings, folder).ok()?;
        let files = tree.folders[root].files.iter().copied();
        let file = files.into_iter().find(|file| Path::new(&tree.files[*file as usize].name) == document.path)?;
        // Bytes of JSON are other ones than those of the expressions in it.
        (!tree.files[file as usize].is_json()).then_some(Self { settings, tree, root, file })
    }

    /// The document.
    pub fn source(&self) -> &SourceFile {
        &self.tree.files[self.file as usize]
    }

    pub fn definitions(&self) -> (Vec<Source<'_>>, Definitions<'_>) {
        lint::definitions(&self.tree, self.root)
    }

    /// A range of the document.
    pub fn range(&self, span: Span) -> Range {
        range(&self.source().lines, &self.source().text, span)
    }
}

/// A place of a tree for the client.
pub fn location(tree: &Tree, place: Place) -> Option<Location> {
    let file = tree.files.get(place.file as usize)?;
    let path = PathBuf::from(&file.name);
    Some(Location { uri: uri::of(&path)?, range: range(&file.lines, &file.text, place.span) })
}
