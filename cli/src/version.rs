//! `sampan version`.

use std::process::ExitCode;

use sampan_schema::API_VERSION;
use serde_json::json;

use crate::error::Failure;
use crate::output::Output;

pub fn run(out: &mut Output) -> Result<ExitCode, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let value = json!({ "version": version, "api_version": API_VERSION });
    out.show(&value, || format!("sampan {version} (API {API_VERSION})"))?;
    Ok(ExitCode::SUCCESS)
}
