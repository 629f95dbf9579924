//! `sampan logs`.

use std::process::ExitCode;

use serde::Deserialize;

use crate::connection::Connection;
use crate::error::Failure;
use crate::output::{Format, Output};
use crate::progress;
use crate::target::InNamespace;

/// More than any record of the server.
const LONGEST: usize = 16 << 20;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// APP or NS/APP.
    app: String,
    #[command(flatten)]
    place: InNamespace,
    /// Keep waiting for new lines.
    #[arg(short, long)]
    follow: bool,
    /// Only this instance; without it each line begins with its instance.
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// How many of the last lines of each container.
    #[arg(long, default_value_t = 100, value_name = "N")]
    tail: u32,
}

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    instance: String,
    #[serde(default)]
    text: String,
}

pub async fn run(args: Args, connection: &Connection, out: &mut Output) -> Result<ExitCode, Failure> {
    if out.format == Format::Yaml {
        return Err(Failure::Usage("logs has no YAML form: use -o json for one object per line".into()));
    }
    let (ns, name) = args.place.resolve(&args.app)?;
    let client = connection.client()?;
    let mut query = vec![("tail", args.tail.to_string())];
    if args.follow {
        query.push(("follow", "true".into()));
    }
    if let Some(instance) = &args.instance {
        query.push(("instance", instance.clone()));
    }
    let asking = client.stream("application_logs", (&ns, &name), &query);
    let mut answer = progress::during("asking the server", asking).await?;
    let mut rest: Vec<u8> = Vec::new();
    loop {
        let chunk = answer.chunk().await.map_err(|error| sampan_client::Error::Connection {
            endpoint: client.endpoint().to_owned(),
            cause: format!("the log broke off: {error}"),
        })?;
        let Some(chunk) = chunk else { break };
        rest.extend_from_slice(&chunk);
        let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines: Vec<u8> = rest.drain(..whole).collect();
        print(&lines, &args, out)?;
        if rest.len() > LONGEST {
            return Err(Failure::Failed("the server sends a log line without an end".into()));
        }
    }
    print(&rest, &args, out)?;
    Ok(ExitCode::SUCCESS)
}

fn print(lines: &[u8], args: &Args, out: &mut Output) -> Result<(), Failure> {
    if out.format == Format::Json {
        return out.raw(lines);
    }
    let mut text = String::new();
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice::<Line>(line) {
            Ok(line) if args.instance.is_some() => text.push_str(&line.text),
            Ok(line) => text.push_str(&format!("{} | {}", line.instance, line.text)),
            Err(_) => text.push_str(&String::from_utf8_lossy(line)),
        }
        text.push('\n');
    }
    out.raw(text.as_bytes())
}
