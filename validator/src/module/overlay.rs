//! Texts that count instead of the files of their names: what an editor has not saved yet.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Texts by folder and name. A folder is known by its real path, so that a link to it leads to the same texts.
#[derive(Debug, Clone, Default)]
pub struct Overlay {
    folders: BTreeMap<PathBuf, BTreeMap<String, Arc<[u8]>>>,
}

impl Overlay {
    /// From now on `text` is what stands in `path`, whether there is such a file or not. A path whose folder does not exist, or
    /// whose name is no text, is left out.
    pub fn put(&mut self, path: &Path, text: Arc<[u8]>) {
        if let Some((folder, name)) = split(path) {
            self.folders.entry(folder).or_default().insert(name, text);
        }
    }

    /// The text that counts instead of a file.
    pub fn get(&self, path: &Path) -> Option<&Arc<[u8]>> {
        if self.folders.is_empty() {
            return None;
        }
        let (folder, name) = split(path)?;
        self.folders.get(&folder)?.get(&name)
    }

    /// The same of a file in a folder whose real path is known.
    pub fn of(&self, real: &Path, name: &str) -> Option<&Arc<[u8]>> {
        self.folders.get(real)?.get(name)
    }

    /// The names in a folder that have a text here.
    pub fn names(&self, folder: &Path) -> Vec<String> {
        if self.folders.is_empty() {
            return Vec::new();
        }
        let texts = folder.canonicalize().ok().and_then(|real| self.folders.get(&real));
        texts.into_iter().flat_map(BTreeMap::keys).cloned().collect()
    }
}

fn split(path: &Path) -> Option<(PathBuf, String)> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Some((folder.canonicalize().ok()?, path.file_name()?.to_str()?.to_owned()))
}
