//! The demo program as an image: one static binary, no shell.

use sampan_node::oci::{File, Image, ImageSpec, OciError, build};

/// The program, as `build.rs` made it from `hello/main.rs`.
pub const BINARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello"));

/// Where `build.rs` put it: for tests that run it without a container.
pub const PATH: &str = concat!(env!("OUT_DIR"), "/hello");

/// The image, with environment of its own.
///
/// # Errors
/// None for any environment; those of [`build`].
pub fn image(env: &[(&str, &str)]) -> Result<Image, OciError> {
    build(&ImageSpec {
        files: vec![File { path: "/bin/hello".into(), mode: 0o755, content: BINARY.to_vec() }],
        entrypoint: vec!["/bin/hello".into()],
        env: env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        ..ImageSpec::default()
    })
}

/// Pushes hello as `demo/hello:TAG`; returns the whole reference with the tag.
///
/// # Panics
/// When the registry does not take it.
pub fn push_hello(registry: &str, tag: &str, env: &[(&str, &str)]) -> String {
    push(registry, "demo/hello", tag, env).unwrap_or_else(|error| panic!("hello:{tag} cannot be pushed: {error}"));
    format!("{registry}/demo/hello:{tag}")
}

/// Pushes hello; returns the reference with the digest.
///
/// # Errors
/// What the registry answered.
pub fn push(registry: &str, repository: &str, tag: &str, env: &[(&str, &str)]) -> Result<String, OciError> {
    let image = image(env)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(image.push(registry, repository, tag))
}
