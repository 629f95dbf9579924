//! `sampan events`.

use std::process::ExitCode;

use sampan_client::{Client, Error};
use sampan_schema::event::Event;
use serde_json::json;

use crate::connection::Connection;
use crate::error::Failure;
use crate::output::{Output, Table, time};
use crate::progress;
use crate::target::{self, InNamespace};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only of this application: APP or NS/APP.
    app: Option<String>,
    #[command(flatten)]
    place: InNamespace,
}

pub async fn run(args: Args, connection: &Connection, out: &mut Output) -> Result<ExitCode, Failure> {
    let mut query = Vec::new();
    if let Some(app) = &args.app {
        let (ns, name) = args.place.resolve(app)?;
        query.extend([("kind", "application".to_owned()), ("namespace", ns), ("name", name)]);
    } else if let Some(ns) = args.place.given() {
        query.push(("namespace", target::valid(ns)?.to_owned()));
    }
    let client = connection.client()?;
    let found = progress::during("asking the server", all(&client, &query)).await?;
    out.show(&json!({ "items": found }), || table(&found))?;
    Ok(ExitCode::SUCCESS)
}

/// Every event that the server still has, page by page.
pub async fn all(client: &Client, query: &[(&str, String)]) -> Result<Vec<Event>, Error> {
    const PAGE: usize = 1000;
    let mut found: Vec<Event> = Vec::new();
    loop {
        let since = found.last().map_or(0, |event| event.seq);
        let mut query = query.to_vec();
        query.extend([("since", since.to_string()), ("limit", PAGE.to_string())]);
        let page = client.events(&query).await?;
        let full = page.len() >= PAGE;
        // A server that ignores `since` would have us ask for ever.
        let newer: Vec<Event> = page.into_iter().filter(|event| event.seq > since).collect();
        let moved = !newer.is_empty();
        found.extend(newer);
        if !full || !moved {
            return Ok(found);
        }
    }
}

/// One row per event.
pub fn table(events: &[Event]) -> String {
    if events.is_empty() {
        return "no events".into();
    }
    let mut table = Table::new(&["TIME", "TYPE", "OBJECT", "REASON", "COUNT", "MESSAGE"]);
    for e in events {
        let id = if e.namespace.is_empty() { e.name.clone() } else { format!("{}/{}", e.namespace, e.name) };
        table.row([
            time(e.at),
            e.event_type.clone(),
            format!("{} {id}", e.kind),
            e.reason.clone(),
            e.count.to_string(),
            e.message.clone(),
        ]);
    }
    table.to_string()
}
