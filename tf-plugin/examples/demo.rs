//! A small provider: notes in a directory, one JSON file each. Its tests run it under the real Terraform.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tf_plugin::resource::parse_duration;
use tf_plugin::{
    Applied, Attr, Configured, Context, CreateRequest, DataAnswer, DataRequest, DataSource, DeleteRequest, Diagnostic,
    Diagnostics, ImportRequest, Imported, Interrupted, Object, Observed, Provider, ReadRequest, Registry, Resource,
    Schema, StateUpgrade, Type, UpdateRequest, Value, json,
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
        registry.resource(Note).data_source(NoteData);
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
        .attr(Attr::timeouts(["create"]))
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

fn main() -> ExitCode {
    tf_plugin::serve(Demo, "registry.terraform.io/sampan/demo")
}
