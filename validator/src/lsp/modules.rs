//! The documents that are open, the modules they are part of, and what the client knows of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use lsp_types::notification::{PublishDiagnostics, ShowMessage};
use lsp_types::{
    Diagnostic, DidChangeTextDocumentParams, DidCloseTextDocumentParams, DidOpenTextDocumentParams, MessageType,
    PublishDiagnosticsParams, ShowMessageParams, Uri,
};

use super::document::Document;
use super::outbox::Outbox;
use super::worker::{Done, Job};
use super::{Overlay, diagnostic, uri};
use crate::lint::Report;
use crate::module::{Flavor, Known, is_configuration};

/// A module is judged after so long without a change.
const QUIET: Duration = Duration::from_millis(30);

/// A module of which the editor has a document open.
#[derive(Debug, Default)]
struct Module {
    /// Of the last change of what it is made of.
    revision: u64,
    /// When it is judged next.
    due: Option<Instant>,
    judged: Option<Judged>,
    /// What was last said of why it cannot be judged.
    complaint: Option<String>,
}

#[derive(Debug)]
struct Judged {
    revision: u64,
    report: Report,
    by_file: BTreeMap<PathBuf, Vec<Diagnostic>>,
}

impl Module {
    fn is_current(&self) -> bool {
        self.judged.as_ref().is_some_and(|judged| judged.revision == self.revision)
    }
    /// The files of the last run, by name.
    fn known(&self) -> Arc<Known> {
        let files = self.judged.iter().flat_map(|judged| &judged.report.tree.files);
        Arc::new(files.map(|file| (file.name.clone(), file.clone())).collect())
    }
    /// Whether a file may be part of it. One that was never judged may be made of anything.
    fn may_have(&self, path: &Path) -> bool {
        self.judged.as_ref().is_none_or(|judged| {
            let folder = path.parent();
            judged.by_file.contains_key(path) || judged.report.tree.folders.iter().any(|f| Some(&*f.path) == folder)
        })
    }
}

/// All that is open.
#[derive(Debug)]
pub struct Modules {
    flavor: Flavor,
    out: Outbox,
    jobs: Sender<Job>,
    /// The thread that judges has a job.
    is_busy: bool,
    /// Counts changes of any module, so that no two are taken for one another.
    revision: u64,
    documents: BTreeMap<PathBuf, Document>,
    overlay: Overlay,
    /// By folder.
    modules: BTreeMap<PathBuf, Module>,
    /// What the client shows.
    published: BTreeMap<PathBuf, Vec<Diagnostic>>,
    /// Files of which something is to be said as soon as all their modules are judged.
    held: BTreeSet<PathBuf>,
}

impl Modules {
    pub fn new(flavor: Flavor, out: Outbox, jobs: Sender<Job>) -> Self {
        Self {
            flavor,
            out,
            jobs,
            is_busy: false,
            revision: 0,
            documents: BTreeMap::new(),
            overlay: Overlay::default(),
            modules: BTreeMap::new(),
            published: BTreeMap::new(),
            held: BTreeSet::new(),
        }
    }

    /// The document of an address, if it is open.
    pub fn document(&self, address: &Uri) -> Option<&Document> {
        self.documents.get(&uri::path(address)?)
    }

    /// The texts that count instead of files.
    pub fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    /// What need not be parsed again of the module in a folder.
    pub fn known(&self, folder: &Path) -> Option<Arc<Known>> {
        self.modules.get(folder).map(Module::known)
    }

    /// Whether the module of a document is about to be judged.
    pub fn waits(&self, document: &Document) -> bool {
        self.module_with(document).is_some_and(|module| !module.is_current())
    }

    /// What was found in the module of a document as it is now.
    pub fn report(&self, document: &Document) -> Option<&Report> {
        let module = self.module_with(document).filter(|module| module.is_current())?;
        module.judged.as_ref().map(|judged| &judged.report)
    }

    fn module_with(&self, document: &Document) -> Option<&Module> {
        self.modules.get(document.path.parent()?)
    }

    /// When the next job can be started.
    pub fn next_due(&self) -> Option<Instant> {
        self.modules.values().filter_map(|module| module.due).min().filter(|_| !self.is_busy)
    }

    pub fn open(&mut self, params: DidOpenTextDocumentParams) {
        let document = params.text_document;
        // What is in no file belongs to no module.
        let Some(path) = uri::path(&document.uri) else { return };
        let document = Document::new(document.uri, path.clone(), document.version, &document.text);
        self.overlay.put(&path, document.text.clone());
        self.documents.insert(path.clone(), document);
        if let Some(folder) = self.module_of(&path) {
            self.modules.entry(folder).or_default();
        }
        self.touch(&path);
    }

    pub fn change(&mut self, params: DidChangeTextDocumentParams) {
        let uri = params.text_document.uri;
        let Some(path) = uri::path(&uri) else { return };
        let Some(document) = self.documents.get_mut(&path) else {
            self.out.log(format!("{} was changed and is not open", uri.as_str()));
            return;
        };
        document.change(params.text_document.version, &params.content_changes);
        self.overlay.put(&path, document.text.clone());
        self.touch(&path);
    }

    pub fn close(&mut self, params: &DidCloseTextDocumentParams) {
        let Some(path) = uri::path(&params.text_document.uri) else { return };
        if self.documents.remove(&path).is_none() {
            return;
        }
        self.overlay = Overlay::default();
        for document in self.documents.values() {
            self.overlay.put(&document.path, document.text.clone());
        }
        self.touch(&path);
        let open: BTreeSet<PathBuf> = self.documents.keys().filter_map(|path| self.module_of(path)).collect();
        let closed: Vec<PathBuf> = self.modules.keys().filter(|folder| !open.contains(*folder)).cloned().collect();
        for folder in closed {
            let judged = self.modules.remove(&folder).and_then(|module| module.judged);
            let mut paths = std::mem::take(&mut self.held);
            paths.extend(judged.into_iter().flat_map(|judged| judged.by_file.into_keys()));
            for path in paths {
                self.publish(&path);
            }
        }
    }

    /// The folder that a file is judged with, if it is part of a module.
    fn module_of(&self, path: &Path) -> Option<PathBuf> {
        let name = path.file_name()?.to_str()?;
        let plain = name.strip_suffix(".json").unwrap_or(name);
        let is_values = plain.ends_with(".tfvars");
        (is_values || is_configuration(name, self.flavor)).then(|| path.parent().map(Path::to_owned))?
    }

    /// A file has another text.
    fn touch(&mut self, path: &Path) {
        let (own, due) = (path.parent(), Instant::now() + QUIET);
        self.revision += 1;
        for (folder, module) in &mut self.modules {
            if own == Some(folder) || module.may_have(path) {
                (module.revision, module.due) = (self.revision, Some(due));
            }
        }
    }

    /// Anything on the disk may have changed.
    pub fn touch_all(&mut self) {
        self.revision += 1;
        for module in self.modules.values_mut() {
            (module.revision, module.due) = (self.revision, Some(Instant::now() + QUIET));
        }
    }

    /// Starts the job that has waited longest, if it is time.
    pub fn start_due(&mut self, now: Instant) {
        if self.is_busy {
            return;
        }
        let due = self.modules.iter_mut().filter(|(_, module)| module.due.is_some_and(|due| due <= now));
        let Some((folder, module)) = due.min_by_key(|(_, module)| module.due) else { return };
        module.due = None;
        let job = Job {
            folder: folder.clone(),
            revision: module.revision,
            overlay: self.overlay.clone(),
            known: module.known(),
        };
        self.is_busy = self.jobs.send(job).is_ok();
    }

    /// Takes what was found, and tells the client.
    pub fn judged(&mut self, done: Done) {
        self.is_busy = false;
        let Done { folder, revision, result } = done;
        // Closed since, or changed since: another job is due.
        let Some(module) = self.modules.get_mut(&folder).filter(|module| module.revision == revision) else { return };
        let mut paths = std::mem::take(&mut self.held);
        let before: BTreeSet<PathBuf> =
            module.judged.iter().flat_map(|judged| judged.by_file.keys().cloned()).collect();
        paths.extend(before);
        let complaint = match result {
            Ok(report) => {
                let by_file = diagnostic::by_file(&report);
                paths.extend(by_file.keys().cloned());
                module.judged = Some(Judged { revision, report, by_file });
                None
            }
            Err(why) => {
                module.judged = Some(Judged { revision, report: Report::default(), by_file: BTreeMap::new() });
                Some(why)
            }
        };
        if complaint != module.complaint {
            module.complaint.clone_from(&complaint);
            if let Some(message) = complaint {
                self.out.tell::<ShowMessage>(ShowMessageParams { typ: MessageType::ERROR, message });
            }
        }
        for path in paths {
            self.publish(&path);
        }
    }

    /// Tells the client what is wrong with a file, as far as that is news.
    fn publish(&mut self, path: &Path) {
        // Several modules may have the file, and one of them may not know of its text yet: it is said then.
        let has = |module: &Module| module.judged.as_ref().is_some_and(|judged| judged.by_file.contains_key(path));
        let waits = |(folder, module): (&PathBuf, &Module)| {
            !module.is_current() && (path.parent() == Some(folder) || has(module))
        };
        if self.modules.iter().any(waits) {
            self.held.insert(path.to_owned());
            return;
        }
        let judged = self.modules.values().filter_map(|module| module.judged.as_ref());
        let mut all: Vec<Diagnostic> =
            judged.filter_map(|judged| judged.by_file.get(path)).flatten().cloned().collect();
        all.sort_by(|a, b| (a.range.start, a.range.end, &a.message).cmp(&(b.range.start, b.range.end, &b.message)));
        all.dedup();
        let document = self.documents.get(path);
        let shown = self.published.get(path).map_or(&[][..], Vec::as_slice);
        if document.is_none() && shown == all {
            return;
        }
        let Some(uri) = document.map(|document| document.uri.clone()).or_else(|| uri::of(path)) else { return };
        let version = document.map(|document| document.version);
        if all.is_empty() && document.is_none() {
            self.published.remove(path);
        } else {
            self.published.insert(path.to_owned(), all.clone());
        }
        self.out.tell::<PublishDiagnostics>(PublishDiagnosticsParams { uri, diagnostics: all, version });
    }
}
