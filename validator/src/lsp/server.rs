//! The loop: what the client says, in its order, and what the judging thread has found.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, at, never, select_biased};
use lsp_server::{ErrorCode, Message, Notification, Request, RequestId};
use lsp_types::notification::{
    Cancel, DidChangeTextDocument, DidChangeWatchedFiles, DidCloseTextDocument, DidOpenTextDocument,
    DidSaveTextDocument, Exit, Initialized, Notification as Told,
};
use lsp_types::request::{
    CodeActionRequest, Completion, GotoDefinition, HoverRequest, Initialize, RegisterCapability, Request as Asked,
    Shutdown,
};
use lsp_types::{
    CancelParams, CodeAction, CodeActionKind, CodeActionOptions, CodeActionParams, CodeActionProviderCapability,
    CompletionOptions, CompletionParams, GotoDefinitionParams, HoverParams, HoverProviderCapability, InitializeParams,
    InitializeResult, MarkupKind, NumberOrString, OneOf, SaveOptions, ServerCapabilities, ServerInfo,
    TextDocumentPositionParams, TextDocumentSyncCapability, TextDocumentSyncKind, TextDocumentSyncOptions,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::modules::Modules;
use super::outbox::{Outbox, Refused};
use super::transport::{Incoming, Outgoing};
use super::view::View;
use super::worker::{Done, Job};
use super::{Options, action, completion, definition, hover};

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

/// A request for actions that is not answered yet.
#[derive(Debug)]
struct Pending {
    id: RequestId,
    params: CodeActionParams,
    /// Then it is answered with nothing.
    until: Instant,
}

#[derive(Debug)]
pub struct Server {
    options: Options,
    out: Outbox,
    stage: Stage,
    /// The client tells of changed files if it is asked to.
    can_watch: bool,
    /// The client takes edits of a version of a document.
    can_version: bool,
    /// What the client shows in a hover.
    hover_form: MarkupKind,
    modules: Modules,
    /// Requests that wait for their module to be judged.
    pending: Vec<Pending>,
}

impl Server {
    pub fn new(options: Options, out: Outbox, jobs: Sender<Job>) -> Self {
        Self {
            modules: Modules::new(options.flavor, out.clone(), jobs),
            options,
            out,
            stage: Stage::Fresh,
            can_watch: false,
            can_version: false,
            hover_form: MarkupKind::Markdown,
            pending: Vec::new(),
        }
    }

    /// Until `exit` or the end of the input; the exit code.
    pub fn run(mut self, incoming: &Receiver<Incoming>, done: &Receiver<Done>) -> u8 {
        loop {
            let due = self.modules.next_due().filter(|_| self.stage == Stage::Running);
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
                    // Nobody waits for it after the end.
                    Ok(done) if self.stage == Stage::Running => self.modules.judged(done),
                    Ok(_) => {}
                    Err(_) => return 1,
                },
                recv(timer) -> _ => {}
            }
            if self.stage == Stage::Running {
                self.modules.start_due(Instant::now());
            }
            self.answer_pending(Instant::now());
        }
    }

    /// Handles one message; the exit code, if it is the last one.
    fn hear(&mut self, incoming: Incoming) -> Option<u8> {
        match incoming {
            Incoming::Malformed(refusal) => self.out.send(Outgoing::Refusal(refusal)),
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
        self.out.answer(id, result);
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
        let document = self.modules.document(&at.text_document.uri)?;
        let known = self.modules.known(document.path.parent()?)?;
        let view = View::new(&self.options, self.modules.overlay(), known, document)?;
        Some((view, document.byte(at.position)))
    }

    fn told(&mut self, told: Notification) {
        let Notification { method, params } = told;
        let done = match method.as_str() {
            Initialized::METHOD => {
                self.watch();
                Ok(Value::Null)
            }
            DidOpenTextDocument::METHOD => with(params, |params| self.modules.open(params)),
            DidChangeTextDocument::METHOD => with(params, |params| self.modules.change(params)),
            DidCloseTextDocument::METHOD => with(params, |params| self.modules.close(&params)),
            // What else lies on the disk may have changed as well.
            DidSaveTextDocument::METHOD | DidChangeWatchedFiles::METHOD => {
                self.modules.touch_all();
                Ok(Value::Null)
            }
            Cancel::METHOD => with(params, |params: CancelParams| self.cancel(params)),
            // The protocol has more than a server needs.
            _ => Ok(Value::Null),
        };
        if let Err((_, why)) = done {
            self.out.log(format!("{method}: {why}"));
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
        self.out.answer(pending.id, Err((ErrorCode::RequestCanceled, "the client has cancelled it".into())));
    }

    /// Answers the requests whose module is judged as it is now, and those that have waited too long.
    fn answer_pending(&mut self, now: Instant) {
        for pending in std::mem::take(&mut self.pending) {
            let document = self.modules.document(&pending.params.text_document.uri);
            let waits = document.is_some_and(|document| self.modules.waits(document));
            if waits && now < pending.until && self.stage == Stage::Running {
                self.pending.push(pending);
                continue;
            }
            let Pending { id, params, .. } = pending;
            let actions = std::panic::AssertUnwindSafe(|| self.actions(&params));
            let failed = |_| (ErrorCode::InternalError, "the server failed inside: please report it".to_owned());
            let actions = std::panic::catch_unwind(actions).map_err(failed);
            self.out.answer(id, actions.map(|actions| serde_json::to_value(actions).unwrap_or_default()));
        }
    }

    fn actions(&self, params: &CodeActionParams) -> Option<Vec<CodeAction>> {
        let document = self.modules.document(&params.text_document.uri)?;
        let report = self.modules.report(document)?;
        Some(action::actions(report, document, params, self.can_version))
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
        self.out.send(Outgoing::Message(Message::Request(request)));
    }
}

/// Reads the parameters and answers; what does not fit is the client's fault, what panics is ours.
fn with<P: DeserializeOwned, R: Serialize>(params: Value, f: impl FnOnce(P) -> R) -> Result<Value, Refused> {
    let params = serde_json::from_value(params).map_err(|error| (ErrorCode::InvalidParams, error.to_string()))?;
    let answered = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| f(params)));
    let failed = |_| (ErrorCode::InternalError, "the server failed inside: please report it with its output".into());
    serde_json::to_value(answered.map_err(failed)?).map_err(|error| (ErrorCode::InternalError, error.to_string()))
}
