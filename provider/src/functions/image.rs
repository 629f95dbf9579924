//! Image references.

use super::text;
use sampan_schema::image_ref;
use tf_plugin::{FunctionDef, FunctionError, Parameter, Type, Value};

fn image() -> Parameter {
    Parameter::new("image", Type::String)
        .describe("A reference with its registry, such as `registry.example.com/shop/cart:1.4`.")
}

fn read(arguments: &[Value]) -> Result<image_ref::ImageRef, FunctionError> {
    let image = text(arguments, 0);
    image_ref::parse(image).map_err(|why| FunctionError::at(0, format!("{image:?} {why}.")))
}

pub(super) fn parse_definition() -> FunctionDef {
    let parts = ["registry", "path", "repository", "tag", "digest"].map(|name| (name, Type::String));
    FunctionDef::new(Type::object(parts))
        .summary("The parts of an image reference.")
        .describe(
            "Gives `registry`, `path`, `repository` (both together), `tag` and `digest`; what the reference lacks is \
             null. A reference that the server would refuse is an error.",
        )
        .parameter(image())
}

pub(super) fn parse(arguments: &[Value]) -> Result<Value, FunctionError> {
    let image = read(arguments)?;
    let repository = image.repository();
    Ok(Value::object([
        ("registry", image.host.into()),
        ("path", image.path.into()),
        ("repository", repository.into()),
        ("tag", image.tag.into()),
        ("digest", image.digest.into()),
    ]))
}

pub(super) fn with_digest_definition() -> FunctionDef {
    FunctionDef::new(Type::String)
        .summary("The image pinned to a digest.")
        .describe("Replaces tag and digest of the reference, so that every instance runs the same bytes.")
        .parameter(image())
        .parameter(Parameter::new("digest", Type::String).describe("`sha256:` and 64 lower-case hex digits."))
}

pub(super) fn with_digest(arguments: &[Value]) -> Result<Value, FunctionError> {
    let pinned = read(arguments)?.with_digest(text(arguments, 1));
    match image_ref::parse(&pinned) {
        Ok(_) => Ok(pinned.into()),
        Err(why) => Err(FunctionError::at(1, format!("{pinned:?} {why}."))),
    }
}
