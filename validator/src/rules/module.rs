//! A module as the rules see it.

use crate::eval::definition::{Definitions, Source};

/// One module of a configuration.
#[derive(Debug)]
pub struct ModuleView<'a> {
    pub sources: Vec<Source<'a>>,
    pub definitions: &'a Definitions<'a>,
    /// Something of it could not be read, so what seems to be missing may be there.
    pub incomplete: bool,
    /// All modules of the configuration.
    pub all: &'a [ModuleParts<'a>],
    pub index: usize,
}

/// What calls need to know of a module.
#[derive(Debug)]
pub struct ModuleParts<'a> {
    pub definitions: Definitions<'a>,
    pub incomplete: bool,
    pub calls: std::collections::BTreeMap<std::sync::Arc<str>, usize>,
}

impl<'a> ModuleView<'a> {
    /// The module of a call, if it is at hand.
    pub fn called(&self, call: &str) -> Option<&'a ModuleParts<'a>> {
        self.all.get(*self.all.get(self.index)?.calls.get(call)?)
    }
}
