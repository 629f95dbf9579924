//! Compiles the `.proto` text with protox, so that no `protoc` is needed.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["tfplugin6.proto", "goplugin.proto", "health.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .generate_default_stubs(true)
        .build_transport(true)
        .bytes(".")
        .btree_map(".")
        // The schema answer is encoded once; the type of our own carries the bytes (see `proto`).
        .extern_path(".tfplugin6.GetProviderSchema.Response", "crate::proto::SchemaAnswer")
        .compile_fds(files)?;
    Ok(())
}
