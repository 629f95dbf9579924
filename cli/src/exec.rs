//! `sampan exec`.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::connection::Connection;
use crate::error::Failure;
use crate::output::{Format, Output};
use crate::progress;
use crate::target::InNamespace;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// APP or NS/APP.
    app: String,
    #[command(flatten)]
    place: InNamespace,
    /// In this instance; without it, in one that is ready.
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// Seconds after which the command is ended.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600), value_name = "SECONDS")]
    timeout: u64,
    /// The command, as it is: no shell reads it.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Answer {
    instance: String,
    exit_code: i32,
    stdout: String,
    stderr: String,
}

pub async fn run(args: Args, connection: &Connection, out: &mut Output) -> Result<ExitCode, Failure> {
    let (ns, name) = args.place.resolve(&args.app)?;
    // The server may need a little longer than the command.
    let client = connection.patient_client(Duration::from_secs(args.timeout + 30))?;
    let mut body = json!({ "command": args.command, "timeout_seconds": args.timeout });
    if let Some(instance) = &args.instance {
        body["instance"] = instance.as_str().into();
    }
    let running = client.call::<Answer>("application_exec", (&ns, &name), &[], Some(body));
    let answer = progress::during("the command runs", running).await?;
    if out.format == Format::Table {
        out.raw(answer.stdout.as_bytes())?;
        let _ = std::io::stderr().lock().write_all(answer.stderr.as_bytes());
    } else {
        out.show(&answer, String::new)?;
    }
    Ok(ExitCode::from(u8::try_from(answer.exit_code).unwrap_or(1)))
}
