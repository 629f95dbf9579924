//! Functions: pure, and the same grammar as everywhere, since all of it is in `schema`.

mod canary;
mod cron;
mod dotenv;
mod id;
mod image;
mod quantity;

use tf_plugin::{Function, FunctionDef, FunctionError, Registry, Value};

/// A function of the table.
#[derive(Clone, Copy)]
struct Entry {
    name: &'static str,
    definition: fn() -> FunctionDef,
    call: fn(&[Value]) -> Result<Value, FunctionError>,
}

const TABLE: &[Entry] = &[
    Entry { name: "parse_image", definition: image::parse_definition, call: image::parse },
    Entry { name: "image_with_digest", definition: image::with_digest_definition, call: image::with_digest },
    Entry { name: "parse_quantity", definition: quantity::parse_definition, call: quantity::parse },
    Entry { name: "format_quantity", definition: quantity::format_definition, call: quantity::format },
    Entry { name: "canary_steps", definition: canary::definition, call: canary::steps },
    Entry { name: "cron_next", definition: cron::definition, call: cron::next },
    Entry { name: "env_from_dotenv", definition: dotenv::definition, call: dotenv::env },
    Entry { name: "parse_id", definition: id::parse_definition, call: id::parse },
    Entry { name: "build_id", definition: id::build_definition, call: id::build },
];

impl Function for Entry {
    fn name(&self) -> &str {
        self.name
    }

    fn definition(&self) -> FunctionDef {
        (self.definition)()
    }

    fn call(&self, arguments: Vec<Value>) -> Result<Value, FunctionError> {
        (self.call)(&arguments)
    }
}

/// Registers all of them.
pub(crate) fn register<C: Send + Sync + 'static>(registry: &mut Registry<C>) {
    for entry in TABLE {
        registry.function(*entry);
    }
}

/// The text of an argument; the framework has seen to it that there is one.
fn text(arguments: &[Value], index: usize) -> &str {
    arguments.get(index).and_then(Value::as_str).unwrap_or_default()
}
