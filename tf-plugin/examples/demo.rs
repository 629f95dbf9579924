//! A small provider: notes in a directory, one JSON file each. Its tests run it under the real Terraform.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tf_plugin::resource::parse_duration;
use tf_plugin::{
    Action, Applied, Attr, Block, Body, Configured, Context, CreateRequest, DataAnswer, DataRequest, DataSource,
    DeleteRequest, Diagnostic, Diagnostics, EphemeralResource, Function, FunctionDef, FunctionError, IdentitySchema,
    ImportRequest, Imported, Interrupted, ListRequest, ListResource, ListSink, Listed, Moved, Object, Observed,
    OpenRequest, Opened, Parameter, Private, Progress, Provider, ReadRequest, Registry, Resource, Schema, StateMove,
    StateUpgrade, Type, UpdateRequest, Value, json,
};

struct Demo;

/// What every handler gets.
struct Notes {
    dir: PathBuf,
}

impl Notes {
    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.json"))
    }

    fn read(&self, name: &str) -> Result<Option<Object>, Diagnostic> {
        match std::fs::read(self.file(name)) {
            Ok(bytes) => json::decode_object(&bytes, &note_schema().object_type(), json::Attributes::Lenient),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Diagnostic::error("Note cannot be read", error.to_string())),
        }
    }

    fn write(&self, name: &str, note: &Object) -> Result<(), Diagnostic> {
        let bytes = json::encode(&note.clone().into(), &note_schema().object_type())?;
        std::fs::write(self.file(name), bytes).map_err(|e| Diagnostic::error("Note cannot be written", e.to_string()))
    }
}

impl Provider for Demo {
    type Client = Notes;

    fn schema(&self) -> Schema {
        Schema::new(0).attr(Attr::string("dir").required()).attr(Attr::string("token").optional().sensitive())
    }

    fn register(&self, registry: &mut Registry<Notes>) {
        registry.resource(Note).data_source(NoteData).ephemeral(Password).action(Touch).list(Notebook);
        registry.function(Slug);
    }

    async fn configure(&self, _: &Context, config: Object, d: &mut Diagnostics) -> Configured<Notes> {
        if let Some(offline) = Configured::offline_if_unknown(&config) {
            return offline;
        }
        let Some(dir) = config.attr("dir").as_str().map(PathBuf::from).filter(|dir| dir.is_dir()) else {
            let token = config.attr("token").as_str().unwrap_or_default();
            d.error(tf_plugin::path!("dir"), "No such directory", format!("It must exist. Token: {token}"));
            return Configured::Failed;
        };
        tracing::info!(token = config.attr("token").as_str(), "configured");
        Configured::Ready(Notes { dir })
    }
}

struct Note;

fn note_schema() -> Schema {
    Schema::new(2)
        .describe("A note.")
        .attr(Attr::string("name").required().replace_on_change())
        .attr(Attr::string("text").optional())
        .attr(Attr::int64("size").default(1))
        .attr(Attr::set("tags", Type::String).optional())
        .attr(
            Attr::nested_map("ports", [Attr::int64("number").required(), Attr::string("protocol").default("TCP")])
                .optional(),
        )
        .attr(Attr::string("secret_wo").optional().write_only())
        .attr(Attr::string("wait").optional().describe("How long a create or update takes."))
        .attr(Attr::bool("panic").optional())
        .attr(Attr::string("id").computed().keep_state())
        .attr(Attr::int64("revision").computed())
        .attr(Attr::dynamic("any").optional())
        .attr(Attr::timeouts(["create"]))
        .block(Block::list("line", Body::new().attr(Attr::string("text").required())).items(..=2))
}

impl Note {
    /// Writes the planned note, slowly if it wants that.
    async fn save(&self, cx: &Context, notes: &Notes, plan: &Object, revision: i64) -> Applied {
        assert!(plan.attr("panic").as_bool() != Some(true), "the note wants a panic");
        let name = plan.attr("name").as_str().unwrap_or_default().to_owned();
        let known = Value::from(plan.clone()).unknown_as_null();
        let mut note = known.as_object().cloned().unwrap_or_default();
        note.set("id", name.clone());
        note.set("revision", revision);
        if let Err(error) = notes.write(&name, &note) {
            return Applied::failed(error);
        }
        let wait = plan.attr("wait").as_str().and_then(parse_duration).unwrap_or(Duration::ZERO);
        cx.progress(&format!("{name} is written, waiting {wait:?}"));
        match cx.run(tokio::time::sleep(wait)).await {
            Err(Interrupted::Cancelled) => {
                let d = Diagnostic::warning("Interrupted", format!("{name} was written; nobody waited for the rest."));
                Applied::state(note).with_diagnostics([d])
            }
            Err(Interrupted::DeadlinePassed) => {
                Applied::state(note).with_diagnostics([Diagnostic::error("Timeout", "It took too long.")])
            }
            Ok(()) => Applied::state(note),
        }
    }
}

impl Resource<Notes> for Note {
    fn type_name(&self) -> &'static str {
        "demo_note"
    }

    fn schema(&self) -> Schema {
        note_schema()
    }

    async fn create(&self, cx: &Context, notes: &Notes, rq: CreateRequest) -> Applied {
        let cx = cx.with_timeout(rq.timeout(Duration::from_mins(1)));
        self.save(&cx, notes, &rq.plan, 1).await
    }

    async fn read(&self, _: &Context, notes: &Notes, rq: ReadRequest) -> Observed {
        match notes.read(rq.state.attr("name").as_str().unwrap_or_default()) {
            Ok(Some(note)) => Observed::state(note),
            Ok(None) => Observed::gone(),
            Err(error) => Observed::failed(error),
        }
    }

    async fn update(&self, cx: &Context, notes: &Notes, rq: UpdateRequest) -> Applied {
        let revision = rq.prior.attr("revision").as_i64().unwrap_or(0);
        self.save(cx, notes, &rq.plan, revision + 1).await
    }

    async fn delete(&self, _: &Context, notes: &Notes, rq: DeleteRequest) -> Applied {
        let file = notes.file(rq.state.attr("name").as_str().unwrap_or_default());
        match std::fs::remove_file(file) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Applied::failed(Diagnostic::error("Note cannot be deleted", e.to_string()))
            }
            _ => Applied::gone(),
        }
    }

    async fn import(&self, _: &Context, _: &Notes, rq: ImportRequest) -> Imported {
        rq.passthrough("name")
    }

    fn identity(&self) -> Option<IdentitySchema> {
        Some(IdentitySchema::new(0).required("name", Type::String).describe("Name of the note."))
    }

    fn moves(&self) -> Vec<StateMove> {
        // `moved { from = terraform_data.a, to = demo_note.a }`: the input is the name of the note.
        vec![StateMove::from_type("terraform_data", |source| {
            let name = source.json()?["input"]["value"].as_str().unwrap_or_default().to_owned();
            Ok(Moved::state(Object::new().with("name", name.as_str()).with("id", name)))
        })]
    }

    fn upgrades(&self) -> Vec<StateUpgrade> {
        let title = Schema::new(0).attr(Attr::string("title").required()).attr(Attr::string("id").computed());
        vec![
            StateUpgrade::from(0, title, |old| {
                Ok(Object::new().with("name", old.attr("title").clone()).with("id", old.attr("id").clone()))
            }),
            StateUpgrade::from_json(1, |mut old| {
                let body = old.get_mut("body").map(serde_json::Value::take);
                if let (Some(body), Some(all)) = (body, old.as_object_mut()) {
                    all.insert("text".to_owned(), body);
                }
                Ok(old)
            }),
        ]
    }
}

struct NoteData;

impl DataSource<Notes> for NoteData {
    fn type_name(&self) -> &'static str {
        "demo_note"
    }

    fn schema(&self) -> Schema {
        Schema::new(0).attr(Attr::string("name").required()).attr(Attr::string("text").computed())
    }

    async fn read(&self, _: &Context, notes: &Notes, rq: DataRequest) -> DataAnswer {
        match notes.read(rq.config.attr("name").as_str().unwrap_or_default()) {
            Ok(Some(note)) => DataAnswer::state(rq.config.with("text", note.attr("text").clone())),
            Ok(None) => DataAnswer::failed(Diagnostic::error("No such note", "").at(tf_plugin::path!("name"))),
            Err(error) => DataAnswer::failed(error),
        }
    }
}

/// A function: `provider::demo::slug("My note", "2")` is `my-note-2`.
struct Slug;

impl Function for Slug {
    fn name(&self) -> &'static str {
        "slug"
    }

    fn definition(&self) -> FunctionDef {
        FunctionDef::new(Type::String)
            .summary("A name made of texts.")
            .parameter(Parameter::new("text", Type::String))
            .variadic(Parameter::new("more", Type::String).allow_null())
    }

    fn call(&self, arguments: Vec<Value>) -> Result<Value, FunctionError> {
        let mut words = Vec::new();
        for (index, text) in arguments.iter().enumerate() {
            let text = text.as_str().unwrap_or_default().to_lowercase();
            if let Some(bad) = text.chars().find(|c| !c.is_ascii_alphanumeric() && *c != ' ') {
                return Err(FunctionError::at(index, format!("{bad:?} has no place in a name")));
            }
            words.extend(text.split_whitespace().map(str::to_owned));
        }
        Ok(words.join("-").into())
    }
}

/// An ephemeral resource: it is in no state and no plan.
struct Password;

impl EphemeralResource<Notes> for Password {
    fn type_name(&self) -> &'static str {
        "demo_password"
    }

    fn schema(&self) -> Schema {
        Schema::new(0).attr(Attr::string("of").required()).attr(Attr::string("value").computed().sensitive())
    }

    async fn open(&self, _: &Context, notes: &Notes, rq: OpenRequest) -> Opened {
        let of = rq.config.attr("of").as_str().unwrap_or_default().to_owned();
        if let Err(error) = std::fs::write(notes.dir.join(format!("{of}.open")), "") {
            return Opened::failed(Diagnostic::error("Password cannot be opened", error.to_string()));
        }
        let mut private = Private::new();
        let kept = private.set("of", &of);
        let opened = Opened::result(rq.config.with("value", format!("pass-{of}-word"))).with_private(private);
        opened.with_diagnostics(kept.err().map(|error| Diagnostic::error("Not kept", error.to_string())))
    }

    async fn close(&self, _: &Context, notes: &Notes, private: Private, d: &mut Diagnostics) {
        let of: Option<String> = private.get("of").unwrap_or_default();
        let file = notes.dir.join(format!("{}.open", of.unwrap_or_default()));
        if let Err(error) = std::fs::remove_file(file) {
            d.warn(None, "Password was not closed", error.to_string());
        }
    }
}

/// An action: gives every note a new time.
struct Touch;

impl Action<Notes> for Touch {
    fn type_name(&self) -> &'static str {
        "demo_touch"
    }

    fn schema(&self) -> Schema {
        Schema::new(0).attr(Attr::set("names", Type::String).required())
    }

    async fn invoke(&self, _: &Context, notes: &Notes, config: Object, progress: Progress) -> Diagnostics {
        let mut d = Diagnostics::new();
        for name in config.attr("names").as_elements().unwrap_or_default().iter().filter_map(Value::as_str) {
            let Some(Some(note)) = d.ok(notes.read(name)) else {
                d.error(tf_plugin::path!("names"), "No such note", name);
                continue;
            };
            d.ok(notes.write(name, &note));
            progress.say(format!("{name} is touched")).await;
        }
        d
    }
}

/// The list of all notes.
struct Notebook;

impl ListResource<Notes> for Notebook {
    fn type_name(&self) -> &'static str {
        "demo_note"
    }

    fn schema(&self) -> Schema {
        Schema::new(0)
    }

    async fn list(&self, _: &Context, notes: &Notes, _: ListRequest, out: ListSink) {
        let files = std::fs::read_dir(&notes.dir).into_iter().flatten().flatten();
        let names = files.filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".json")?.to_owned()));
        for name in names {
            let found = match notes.read(&name) {
                Ok(Some(note)) => Listed::new(&name, Object::new().with("name", name.as_str())).with_resource(note),
                Ok(None) => continue,
                Err(error) => Listed::failed(error),
            };
            if !out.push(found).await {
                return;
            }
        }
    }
}

fn main() -> ExitCode {
    tf_plugin::serve(Demo, "registry.terraform.io/sampan/demo")
}
