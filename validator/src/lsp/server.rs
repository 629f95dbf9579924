//! The loop: what the client says, in its order, and what the judging thread has found.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, at, never, select_biased};
use lsp_server::{ErrorCode, Message, Notification, Request, RequestId, Response, ResponseError};
use lsp_types::notification::{
    Cancel, DidChangeTextDocument, DidChangeWatchedFiles, DidCloseTextDocument, DidOpenTextDocument,
    DidSaveTextDocument, Exit, Initialized, LogMessage, Notification as Told, PublishDiagnostics, ShowMessage,
};
use lsp_types::request::{
    CodeActionRequest, Completion, GotoDefinition, HoverRequest, Initialize, RegisterCapability, Request as Asked,
    Shutdown,
};
use lsp_types::{
    CancelParams, CodeAction, CodeActionKind, CodeActionOptions, CodeActionParams, CodeActionProviderCapability,
    CompletionOptions, CompletionParams, Diagnostic, DidChangeTextDocumentParams, DidCloseTextDocumentParams,
    DidOpenTextDocumentParams, GotoDefinitionParams, HoverParams, HoverProviderCapability, InitializeParams,
    InitializeResult, LogMessageParams, MarkupKind, MessageType, NumberOrString, OneOf, PublishDiagnosticsParams,
    SaveOptions, ServerCapabilities, ServerInfo, ShowMessageParams, TextDocumentPositionParams,
    TextDocumentSyncCapability, TextDocumentSyncKind, TextDocumentSyncOptions,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::document::Document;
use super::transport::{Incoming, Outgoing};
use super::view::View;
use super::worker::{Done, Job};
use super::{Options, Overlay, action, completion, definition, diagnostic, hover, uri};
use crate::lint::Report;
use crate::module::{Known, is_configuration};

/// A module is judged after so long without a change.
const QUIET: Duration = Duration::from_millis(30);
/// Actions are not waited for longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How far the talk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Waits for `initialize`.
    Fresh,
    Running,
    /// After `shutdown`.
    Down,
}

/// A module of which the editor has a document open.
#[derive(Debug, Default)]
struct Module {
    /// Counts changes of what it is made of.
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
    /// Whether a file may be part of it. One that was never judged may be made of anything.
    fn may_have(&self, path: &Path) -> bool {
        self.judged.as_ref().is_none_or(|judged| {
            let folder = path.parent();
            judged.by_file.contains_key(path) || judged.report.tree.folders.iter().any(|f| Some(&*f.path) == folder)
        })
    }
}

/// A request for actions that is not answered yet.
#[derive(Debug)]
struct Pending {
    id: RequestId,
    params: CodeActionParams,
    /// Then it is answered with nothing.
    until: Instant,
}

/// Why a request is not answered.
type Refused = (ErrorCode, String);

#[derive(Debug)]
pub struct Server {
    options: Options,
    out: Sender<Outgoing>,
    jobs: Sender<Job>,
    /// The thread that judges has a job.
    is_busy: bool,
    stage: Stage,
    /// The client tells of changed files if it is asked to.
    can_watch: bool,
    /// The client takes edits of a version of a document.
    can_version: bool,
    /// What the client shows in a hover.
    hover_form: MarkupKind,
    documents: BTreeMap<PathBuf, Document>,
    overlay: Overlay,
    modules: BTreeMap<PathBuf, Module>,
    /// What the client shows.
    published: BTreeMap<PathBuf, Vec<Diagnostic>>,
    /// Files of which something is to be said as soon as all their modules are judged.
    held: BTreeSet<PathBuf>,
    /// Requests that wait for their module to be judged.
    pending: Vec<Pending>,
}

impl Server {
    pub fn new(options: Options, out: Sender<Outgoing>, jobs: Sender<Job>) -> Self {
        Self {
            options,
            out,
            jobs,
            is_busy: false,
            stage: Stage::Fresh,
            can_watch: false,
            can_version: false,
            hover_form: MarkupKind::Markdown,
            documents: BTreeMap::new(),
            overlay: Overlay::default(),
            modules: BTreeMap::new(),
            published: BTreeMap::new(),
            held: BTreeSet::new(),
            pending: Vec::new(),
        }
    }

    /// Until `exit` or the end of the input; the exit code.
    pub fn run(mut self, incoming: &Receiver<Incoming>, done: &Receiver<Done>) -> u8 {
        loop {
            let due = self.modules.values().filter_map(|module| module.due).min().filter(|_| !self.is_busy);
            let next = self.pending.iter().map(|pending| pending.until).chain(due).min();
            let timer = next.map_or_else(never, at);
            // What the client says comes first, so that no result is shown that is about to be out of date.
            select_biased! {
                recv(incoming) -> message => match message {
                    Ok(message) => {
                        if let Some(code) = self.hear(message) {
                            return code;
                        }
                    }
                    Err(_) => return self.exit_code(),
                },
                recv(done) -> done => match done {
                    Ok(done) => self.judged(done),
                    Err(_) => return 1,
                },
                recv(timer) -> _ => {}
            }
            self.start_due(Instant::now());
            self.answer_pending(Instant::now());
        }
    }

    /// Handles one message; the exit code, if it is the last one.
    fn hear(&mut self, incoming: Incoming) -> Option<u8> {
        match incoming {
            Incoming::Malformed(refusal) => self.send(Outgoing::Refusal(refusal)),
            Incoming::Message(Message::Request(request)) => self.asked(request),
            Incoming::Message(Message::Notification(told)) if told.method == Exit::METHOD => {
                return Some(self.exit_code());
            }
            Incoming::Message(Message::Notification(told)) if self.stage == Stage::Running => self.told(told),
            // Notifications of another time, and answers to what needs none.
            Incoming::Message(_) => {}
        }
        None
    }

    fn exit_code(&self) -> u8 {
        u8::from(self.stage != Stage::Down)
    }

    fn asked(&mut self, request: Request) {
        let Request { id, method, params } = request;
        let result = match (self.stage, method.as_str()) {
            (Stage::Fresh, Initialize::METHOD) => with(params, |params| self.initialize(&params)),
            (Stage::Fresh, _) => Err((ErrorCode::ServerNotInitialized, "the first request is initialize".into())),
            (Stage::Running, Initialize::METHOD) => {
                Err((ErrorCode::InvalidRequest, "initialize was asked before".into()))
            }
            (Stage::Running, Shutdown::METHOD) => {
                self.stage = Stage::Down;
                self.answer_pending(Instant::now());
                Ok(Value::Null)
            }
            (Stage::Running, HoverRequest::METHOD) => with(params, |params: HoverParams| {
                let (mut view, byte) = self.view(&params.text_document_position_params)?;
                hover::hover(&mut view, byte, self.hover_form.clone())
            }),
            (Stage::Running, Completion::METHOD) => with(params, |params: CompletionParams| {
                let (view, byte) = self.view(&params.text_document_position)?;
                Some(completion::complete(&view, byte))
            }),
            (Stage::Running, GotoDefinition::METHOD) => with(params, |params: GotoDefinitionParams| {
                let (view, byte) = self.view(&params.text_document_position_params)?;
                definition::definition(&view, byte)
            }),
            (Stage::Running, CodeActionRequest::METHOD) => {
                match serde_json::from_value::<CodeActionParams>(params) {
                    Ok(params) => {
                        // Only what is judged can be fixed; the answer may have to wait for that.
                        let until = Instant::now() + PATIENCE;
                        self.pending.push(Pending { id, params, until });
                        self.answer_pending(Instant::now());
                        return;
                    }
                    Err(error) => Err((ErrorCode::InvalidParams, error.to_string())),
                }
            }
            (Stage::Running, other) => Err((ErrorCode::MethodNotFound, format!("there is no request {other}"))),
            (Stage::Down, _) => Err((ErrorCode::InvalidRequest, "the server was shut down".into())),
        };
        self.answer(id, result);
    }

    fn answer(&self, id: RequestId, result: Result<Value, Refused>) {
        let response_result =
            result.map_err(|(code, message)| ResponseError { code: code as i32, message, data: None });
        self.send(Outgoing::Message(Message::Response(Response { id, response_result })));
    }

    fn initialize(&mut self, params: &InitializeParams) -> InitializeResult {
        self.stage = Stage::Running;
        let workspace = params.capabilities.workspace.as_ref();
        let watched = workspace.and_then(|workspace| workspace.did_change_watched_files);
        let hover = params.capabilities.text_document.as_ref().and_then(|text| text.hover.as_ref());
        // Who says nothing of forms can show Markdown, as practice has it.
        if hover.and_then(|hover| hover.content_format.as_ref()).is_some_and(|all| !all.contains(&MarkupKind::Markdown))
        {
            self.hover_form = MarkupKind::PlainText;
        }
        let edits = workspace.and_then(|workspace| workspace.workspace_edit.as_ref());
        self.can_version = edits.and_then(|edits| edits.document_changes) == Some(true);
        self.can_watch = watched.and_then(|watched| watched.dynamic_registration) == Some(true);
        let sync = TextDocumentSyncOptions {
            open_close: Some(true),
            change: Some(TextDocumentSyncKind::INCREMENTAL),
            save: Some(SaveOptions { include_text: Some(false) }.into()),
            ..TextDocumentSyncOptions::default()
        };
        let capabilities = ServerCapabilities {
            position_encoding: Some(lsp_types::PositionEncodingKind::UTF16),
            text_document_sync: Some(TextDocumentSyncCapability::Options(sync)),
            hover_provider: Some(HoverProviderCapability::Simple(true)),
            definition_provider: Some(OneOf::Left(true)),
            code_action_provider: Some(CodeActionProviderCapability::Options(CodeActionOptions {
                code_action_kinds: Some(vec![CodeActionKind::QUICKFIX]),
                ..CodeActionOptions::default()
            })),
            completion_provider: Some(CompletionOptions {
                trigger_characters: Some([".", "\""].map(str::to_owned).into()),
                ..CompletionOptions::default()
            }),
            ..ServerCapabilities::default()
        };
        let info = ServerInfo { name: "sampan".into(), version: Some(self.options.version.to_owned()) };
        InitializeResult { capabilities, server_info: Some(info) }
    }

    /// The module of a document, and the byte of a place in it.
    fn view(&self, at: &TextDocumentPositionParams) -> Option<(View, u32)> {
        let document = self.documents.get(&uri::path(&at.text_document.uri)?)?;
        let module = document.path.parent().and_then(|folder| self.modules.get(folder))?;
        let view = View::new(&self.options, &self.overlay, known(module), document)?;
        Some((view, document.byte(at.position)))
    }

    fn told(&mut self, told: Notification) {
        let Notification { method, params } = told;
        let done = match method.as_str() {
            Initialized::METHOD => {
                self.watch();
                Ok(Value::Null)
            }
            DidOpenTextDocument::METHOD => with(params, |params| self.open(params)),
            DidChangeTextDocument::METHOD => with(params, |params| self.change(params)),
            DidCloseTextDocument::METHOD => with(params, |params| self.close(&params)),
            // What else lies on the disk may have changed as well.
            DidSaveTextDocument::METHOD | DidChangeWatchedFiles::METHOD => {
                self.touch_all();
                Ok(Value::Null)
            }
            Cancel::METHOD => with(params, |params: CancelParams| self.cancel(params)),
            // The protocol has more than a server needs.
            _ => Ok(Value::Null),
        };
        if let Err((_, why)) = done {
            self.log(format!("{method}: {why}"));
        }
    }

    /// Everything else is answered before the next message is read.
    fn cancel(&mut self, params: CancelParams) {
        let id = match params.id {
            NumberOrString::Number(id) => RequestId::from(id),
            NumberOrString::String(id) => RequestId::from(id),
        };
        let Some(at) = self.pending.iter().position(|pending| pending.id == id) else { return };
        let pending = self.pending.remove(at);
        self.answer(pending.id, Err((ErrorCode::RequestCanceled, "the client has cancelled it".into())));
    }

    /// Answers the requests whose module is judged as it is now, and those that have waited too long.
    fn answer_pending(&mut self, now: Instant) {
        for pending in std::mem::take(&mut self.pending) {
            let folder = folder_of(&pending.params);
            let module = folder.and_then(|folder| self.modules.get(&folder));
            let waits = module.is_some_and(|module| !module.is_current());
            if waits && now < pending.until && self.stage == Stage::Running {
                self.pending.push(pending);
                continue;
            }
            let Pending { id, params, .. } = pending;
            let actions = std::panic::AssertUnwindSafe(|| self.actions(&params));
            let failed = |_| (ErrorCode::InternalError, "the server failed inside: please report it".to_owned());
            let actions = std::panic::catch_unwind(actions).map_err(failed);
            self.answer(id, actions.map(|actions| serde_json::to_value(actions).unwrap_or_default()));
        }
    }

    fn actions(&self, params: &CodeActionParams) -> Option<Vec<CodeAction>> {
        let module = self.modules.get(&folder_of(params)?).filter(|module| module.is_current())?;
        let document = self.documents.get(&uri::path(&params.text_document.uri)?)?;
        Some(action::actions(&module.judged.as_ref()?.report, document, params, self.can_version))
    }

    fn log(&self, message: String) {
        self.tell::<LogMessage>(LogMessageParams { typ: MessageType::WARNING, message });
    }

    /// Asks to be told when files change that no editor has open.
    fn watch(&self) {
        if !self.can_watch {
            return;
        }
        let globs = ["**/*.{tf,tofu,tfvars}", "**/*.{tf,tofu,tfvars}.json", "**/.sampanlint.hcl"];
        let watchers: Vec<Value> = globs.iter().map(|glob| json!({ "globPattern": glob })).collect();
        let registration = json!({
            "id": "files", "method": DidChangeWatchedFiles::METHOD, "registerOptions": { "watchers": watchers },
        });
        let params = json!({ "registrations": [registration] });
        let request = Request { id: "files".to_owned().into(), method: RegisterCapability::METHOD.into(), params };
        self.send(Outgoing::Message(Message::Request(request)));
    }

    fn open(&mut self, params: DidOpenTextDocumentParams) {
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

    fn change(&mut self, params: DidChangeTextDocumentParams) {
        let uri = params.text_document.uri;
        let Some(path) = uri::path(&uri) else { return };
        let Some(document) = self.documents.get_mut(&path) else {
            self.log(format!("{} was changed and is not open", uri.as_str()));
            return;
        };
        document.change(params.text_document.version, &params.content_changes);
        self.overlay.put(&path, document.text.clone());
        self.touch(&path);
    }

    fn close(&mut self, params: &DidCloseTextDocumentParams) {
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
        (is_values || is_configuration(name, self.options.flavor)).then(|| path.parent().map(Path::to_owned))?
    }

    /// A file has another text.
    fn touch(&mut self, path: &Path) {
        let (own, due) = (path.parent(), Instant::now() + QUIET);
        for (folder, module) in &mut self.modules {
            if own == Some(folder) || module.may_have(path) {
                module.revision += 1;
                module.due = Some(due);
            }
        }
    }

    fn touch_all(&mut self) {
        for module in self.modules.values_mut() {
            module.revision += 1;
            module.due = Some(Instant::now() + QUIET);
        }
    }

    /// Starts the job that has waited longest, if it is time.
    fn start_due(&mut self, now: Instant) {
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
            known: known(module),
        };
        self.is_busy = self.jobs.send(job).is_ok();
    }

    fn judged(&mut self, done: Done) {
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
                self.tell::<ShowMessage>(ShowMessageParams { typ: MessageType::ERROR, message });
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
        let mut all: Vec<Diagnostic> = Vec::new();
        for judged in self.modules.values().filter_map(|module| module.judged.as_ref()) {
            for one in judged.by_file.get(path).into_iter().flatten() {
                if !all.contains(one) {
                    all.push(one.clone());
                }
            }
        }
        all.sort_by_key(|one| (one.range.start, one.range.end));
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
        self.tell::<PublishDiagnostics>(PublishDiagnosticsParams { uri, diagnostics: all, version });
    }

    fn tell<N: Told>(&self, params: N::Params) {
        let params = serde_json::to_value(params).unwrap_or_default();
        self.send(Outgoing::Message(Message::Notification(Notification { method: N::METHOD.into(), params })));
    }

    fn send(&self, message: Outgoing) {
        // A client that does not listen any more will soon end the input.
        let _ = self.out.send(message);
    }
}

fn folder_of(params: &CodeActionParams) -> Option<PathBuf> {
    uri::path(&params.text_document.uri)?.parent().map(Path::to_owned)
}

/// The files of the last run, by name.
fn known(module: &Module) -> Arc<Known> {
    let files = module.judged.iter().flat_map(|judged| &judged.report.tree.files);
    Arc::new(files.map(|file| (file.name.clone(), file.clone())).collect())
}

/// Reads the parameters and answers; what does not fit is the client's fault, what panics is ours.
fn with<P: DeserializeOwned, R: Serialize>(params: Value, f: impl FnOnce(P) -> R) -> Result<Value, Refused> {
    let params = serde_json::from_value(params).map_err(|error| (ErrorCode::InvalidParams, error.to_string()))?;
    let answered = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| f(params)));
    let failed = |_| (ErrorCode::InternalError, "the server failed inside: please report it with its output".into());
    serde_json::to_value(answered.map_err(failed)?).map_err(|error| (ErrorCode::InternalError, error.to_string()))
}
