//! Files to modules. Nothing is fetched, no link out of a folder is walked, and every read is bounded.

mod json;
mod overlay;
mod read;
pub mod tfvars;

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::ast::Ast;
use crate::diagnostic::{Diagnostic, Reason};
use crate::finding::{Finding, Place, Severity};
use crate::parse::parse;
use crate::source::Lines;

pub use json::parse_json;
pub use overlay::Overlay;
pub use read::{MAX_BYTES, is_configuration, read_bounded, read_up_to};

/// Levels of module calls; more is an error in Terraform's practice and a mistake here.
const MAX_DEPTH: usize = 64;

/// Which language the files are written for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Flavor {
    #[default]
    Terraform,
    /// A `.tofu` file replaces the `.tf` file of its name.
    Tofu,
}

/// One file that was read.
#[derive(Debug)]
pub struct SourceFile {
    /// As it was named on the command line, with `/`.
    pub name: String,
    pub text: Vec<u8>,
    pub lines: Lines,
    pub ast: Ast,
    /// What could not be read in it.
    pub diagnostics: Vec<Diagnostic>,
    /// `override.tf` and `*_override.tf` are merged last.
    pub overrides: bool,
}

impl SourceFile {
    /// Parses a text.
    pub fn new(name: String, text: Vec<u8>, overrides: bool) -> Self {
        let is_json = Path::new(&name).extension().is_some_and(|e| e == "json");
        let (ast, diagnostics) = if is_json { parse_json(&text) } else { parse(&text) };
        let lines = Lines::new(&text);
        Self { name, text, lines, ast, diagnostics, overrides }
    }
    /// `.tf.json`, whose expressions stand in strings.
    pub fn is_json(&self) -> bool {
        Path::new(&self.name).extension().is_some_and(|e| e == "json")
    }
}

/// One module as it stands in a folder.
#[derive(Debug)]
pub struct Folder {
    pub path: PathBuf,
    pub name: String,
    /// Indices in [`Tree::files`].
    pub files: Vec<u32>,
    /// Module of each call that is at hand, as an index in [`Tree::folders`].
    pub calls: BTreeMap<Arc<str>, usize>,
    /// Something in it could not be read, so what seems to be missing may be there.
    pub incomplete: bool,
}

/// Files that were parsed before, by name.
pub type Known = HashMap<String, Arc<SourceFile>>;

/// Everything that was read.
#[derive(Debug, Default)]
pub struct Tree {
    pub files: Vec<Arc<SourceFile>>,
    pub folders: Vec<Folder>,
    /// What is wrong with the files themselves.
    pub findings: Vec<Finding>,
    /// Calls whose module is not at hand.
    pub missing: Vec<(Place, String)>,
    /// Threads that parse; 0 and 1 are the caller's alone.
    jobs: usize,
    /// Counts instead of files.
    overlay: Overlay,
    /// Whose text is still the same is not parsed again.
    known: Arc<Known>,
    by_path: HashMap<PathBuf, usize>,
}

/// `a/./b/../c` as `a/c`, by the text alone.
pub fn lexical(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(clean.components().next_back(), Some(Component::Normal(_))) => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    if clean.as_os_str().is_empty() { PathBuf::from(".") } else { clean }
}

fn shown(path: &Path) -> String {
    lexical(path).to_string_lossy().replace('\\', "/")
}

impl Tree {
    /// Nothing is read yet.
    pub fn new(overlay: Overlay, known: Arc<Known>, jobs: usize) -> Self {
        Self { jobs, overlay, known, ..Self::default() }
    }

    /// Reads the module in `folder` and all modules that it calls; its index.
    ///
    /// # Errors
    /// When the folder itself cannot be read.
    pub fn load(&mut self, folder: &Path, flavor: Flavor) -> std::io::Result<usize> {
        let installed = read::installed(folder);
        let root = self.folder(folder, flavor)?;
        let mut open = vec![(root, String::new(), vec![root])];
        while let Some((index, key, above)) = open.pop() {
            for (name, place, source) in self.calls_of(index) {
                let below = if key.is_empty() { name.to_string() } else { format!("{key}.{name}") };
                let path = match &source {
                    Some(local) if local.starts_with("./") || local.starts_with("../") => {
                        self.folders[index].path.join(local)
                    }
                    _ => match installed.get(&below) {
                        Some(dir) => folder.join(dir),
                        None => {
                            self.missing
                                .push((place, format!("module.{name} is not installed, so its outputs are unknown")));
                            continue;
                        }
                    },
                };
                let Ok(child) = self.folder(&lexical(&path), flavor) else {
                    let message = format!("the module folder {} cannot be read", shown(&path));
                    self.findings.push(Finding::new("SMP908", Severity::Error, place, message));
                    continue;
                };
                if above.contains(&child) || above.len() > MAX_DEPTH {
                    let message = format!("module.{name} calls itself: {}", self.folders[child].name);
                    self.findings.push(Finding::new("SMP908", Severity::Error, place, message));
                    continue;
                }
                let first = self.folders[index].calls.insert(name, child).is_none();
                if first {
                    open.push((child, below, above.iter().copied().chain([child]).collect()));
                }
            }
        }
        Ok(root)
    }

    /// Calls of a module: name, place, source where that is plain text.
    fn calls_of(&self, index: usize) -> Vec<(Arc<str>, Place, Option<String>)> {
        let mut found = Vec::new();
        for file in &self.folders[index].files {
            let ast = &self.files[*file as usize].ast;
            for block in ast.body.blocks_of("module") {
                let Some(label) = block.labels.first() else { continue };
                let source = block.body.attribute("source");
                let place = Place { file: *file, span: source.map_or(block.header, |s| s.span) };
                let text = source.and_then(|s| ast.string(s.value)).map(str::to_owned);
                found.push((label.text.clone(), place, text));
            }
        }
        found
    }

    fn folder(&mut self, path: &Path, flavor: Flavor) -> std::io::Result<usize> {
        let real = path.canonicalize()?;
        if let Some(known) = self.by_path.get(&real) {
            return Ok(*known);
        }
        let names = read::configuration_files(path, flavor, &self.overlay)?;
        let mut folder = Folder {
            path: path.to_owned(),
            name: shown(path),
            files: Vec::new(),
            calls: BTreeMap::new(),
            incomplete: false,
        };
        let read = |name: &String| {
            let text = match self.overlay.of(&real, name) {
                Some(text) => text.to_vec(),
                None => read_bounded(&path.join(name))?,
            };
            Ok(self.parsed(shown(&path.join(name)), text, read::is_override(name)))
        };
        let all: Vec<Result<Arc<SourceFile>, String>> = crate::parallel::map(&names, self.jobs, read);
        for (name, read) in names.iter().zip(all) {
            let file = shown(&path.join(name));
            match read {
                Ok(read) => {
                    let (index, complete) = self.keep(read);
                    folder.files.push(index);
                    folder.incomplete |= !complete;
                }
                Err(why) => {
                    folder.incomplete = true;
                    self.findings.push(Finding::without_place("SMP908", Severity::Error, file, why));
                }
            }
        }
        let index = self.folders.len();
        self.folders.push(folder);
        self.by_path.insert(real, index);
        Ok(index)
    }

    /// Parses a file; its index, and whether all of it was understood.
    pub fn add(&mut self, name: String, text: Vec<u8>, overrides: bool) -> (u32, bool) {
        let read = self.parsed(name, text, overrides);
        self.keep(read)
    }

    /// The text of a file: that of the overlay, or what is on the disk.
    ///
    /// # Errors
    /// A sentence for people: what is wrong and what to do.
    pub fn text(&self, path: &Path) -> Result<Vec<u8>, String> {
        self.overlay.get(path).map_or_else(|| read_bounded(path), |text| Ok(text.to_vec()))
    }

    fn parsed(&self, name: String, text: Vec<u8>, overrides: bool) -> Arc<SourceFile> {
        match self.known.get(&name).filter(|known| known.text == text && known.overrides == overrides) {
            Some(known) => known.clone(),
            None => Arc::new(SourceFile::new(name, text, overrides)),
        }
    }

    fn keep(&mut self, read: Arc<SourceFile>) -> (u32, bool) {
        let index = self.files.len() as u32;
        self.findings.extend(read.diagnostics.iter().map(|diagnostic| syntax(index, diagnostic.clone())));
        let complete = read.diagnostics.is_empty();
        self.files.push(read);
        (index, complete)
    }
}

fn syntax(file: u32, diagnostic: Diagnostic) -> Finding {
    let severity = match diagnostic.reason {
        Reason::Syntax => Severity::Error,
        Reason::Limit => Severity::Note,
    };
    let mut finding = Finding::new("SMP900", severity, Place { file, span: diagnostic.span }, diagnostic.message);
    finding.related = diagnostic.related.map(|(span, text)| (Place { file, span }, text));
    finding
}

/// Whether a folder itself is a module.
pub fn has_configuration(folder: &Path, flavor: Flavor, overlay: &Overlay) -> bool {
    read::configuration_files(folder, flavor, overlay).is_ok_and(|names| !names.is_empty())
}

/// Folders below `path`, itself included, that hold configuration; sorted. Hidden ones and links are not entered.
///
/// # Errors
/// When `path` cannot be read, or there are more than 100,000 entries.
pub fn folders_below(path: &Path, flavor: Flavor) -> std::io::Result<Vec<PathBuf>> {
    let (mut found, mut open, mut entries) = (Vec::new(), vec![path.to_owned()], 0_u32);
    while let Some(folder) = open.pop() {
        let listed = match std::fs::read_dir(&folder) {
            Ok(listed) => listed,
            Err(error) if folder == path => return Err(error),
            Err(_) => continue,
        };
        for entry in listed {
            let entry = entry?;
            entries += 1;
            if entries > 100_000 {
                return Err(std::io::Error::other("the folder has more than 100000 entries: name the folders to lint"));
            }
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            if entry.file_type()?.is_dir() && !hidden {
                open.push(entry.path());
            }
        }
        if has_configuration(&folder, flavor, &Overlay::default()) {
            found.push(folder);
        }
    }
    found.sort();
    Ok(found)
}
