//! The provider of the README: files with a text in a directory.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tf_plugin::{
    Applied, Attr, Configured, Context, CreateRequest, DeleteRequest, Diagnostic, Diagnostics, Function, FunctionDef,
    FunctionError, ImportRequest, Imported, Object, Observed, Parameter, Provider, ReadRequest, Registry, Resource,
    Schema, Type, UpdateRequest, Value, validate,
};

/// The provider. Its client is what every resource receives: here the directory.
struct Hello;

impl Provider for Hello {
    type Client = PathBuf;

    fn schema(&self) -> Schema {
        Schema::new(0).attr(Attr::string("dir").required().describe("Where the files are."))
    }

    fn register(&self, registry: &mut Registry<PathBuf>) {
        registry.resource(Greeting).function(Shout);
    }

    async fn configure(&self, _: &Context, config: Object, _: &mut Diagnostics) -> Configured<PathBuf> {
        // While Terraform plans, `dir` may come from a resource that does not exist yet.
        if let Some(offline) = Configured::offline_if_unknown(&config) {
            return offline;
        }
        Configured::Ready(config.attr("dir").as_str().unwrap_or_default().into())
    }
}

/// A resource: `hello_greeting`.
struct Greeting;

impl Greeting {
    fn file(dir: &Path, object: &Object) -> PathBuf {
        dir.join(object.attr("name").as_str().unwrap_or_default())
    }

    fn write(dir: &Path, plan: Object) -> Applied {
        let file = Self::file(dir, &plan);
        match std::fs::write(&file, plan.attr("text").as_str().unwrap_or_default()) {
            // Every value that the plan left unknown is known now.
            Ok(()) => Applied::state(plan.with("path", file.display().to_string())),
            Err(error) => Applied::failed(Diagnostic::error("The greeting cannot be written", error.to_string())),
        }
    }
}

impl Resource<PathBuf> for Greeting {
    fn type_name(&self) -> &'static str {
        "hello_greeting"
    }

    fn schema(&self) -> Schema {
        Schema::new(0)
            .describe("A greeting in a file.")
            .attr(Attr::string("name").required().replace_on_change().validate(validate::length(1..=40)))
            .attr(Attr::string("text").default("Hello!"))
            .attr(Attr::string("path").computed().keep_state())
    }

    async fn create(&self, _: &Context, dir: &PathBuf, rq: CreateRequest) -> Applied {
        Self::write(dir, rq.plan)
    }

    async fn read(&self, _: &Context, dir: &PathBuf, rq: ReadRequest) -> Observed {
        let file = Self::file(dir, &rq.state);
        match std::fs::read_to_string(&file) {
            Ok(text) => Observed::state(rq.state.with("text", text).with("path", file.display().to_string())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Observed::gone(),
            Err(error) => Observed::failed(Diagnostic::error("The greeting cannot be read", error.to_string())),
        }
    }

    async fn update(&self, _: &Context, dir: &PathBuf, rq: UpdateRequest) -> Applied {
        Self::write(dir, rq.plan)
    }

    async fn delete(&self, _: &Context, dir: &PathBuf, rq: DeleteRequest) -> Applied {
        match std::fs::remove_file(Self::file(dir, &rq.state)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Applied::failed(Diagnostic::error("The greeting cannot be deleted", error.to_string()))
            }
            _ => Applied::gone(),
        }
    }

    async fn import(&self, _: &Context, _: &PathBuf, rq: ImportRequest) -> Imported {
        rq.passthrough("name")
    }
}

/// A function: `provider::hello::shout("hi")`.
struct Shout;

impl Function for Shout {
    fn name(&self) -> &'static str {
        "shout"
    }

    fn definition(&self) -> FunctionDef {
        FunctionDef::new(Type::String).summary("The text, louder.").parameter(Parameter::new("text", Type::String))
    }

    fn call(&self, arguments: Vec<Value>) -> Result<Value, FunctionError> {
        match arguments[0].as_str() {
            Some("") | None => Err(FunctionError::at(0, "there is nothing to shout")),
            Some(text) => Ok(format!("{}!", text.to_uppercase()).into()),
        }
    }
}

fn main() -> ExitCode {
    tf_plugin::serve(Hello, "registry.terraform.io/acme/hello")
}
