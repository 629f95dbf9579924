//! `sampan token`: tokens that end by themselves.

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use sampan_schema::permission::Role;
use sampan_schema::token::{NewToken, TokenInfo, ttl};
use serde_json::json;

use crate::connection::Connection;
use crate::error::Failure;
use crate::output::{Output, Table, age, plain};
use crate::progress;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a token and print it, this once.
    Create {
        /// What lists call it.
        name: String,
        /// What it may.
        #[arg(long, default_value = Role::ReadOnly.word(), value_parser = Role::ALL.map(Role::word))]
        role: String,
        /// Its life, 1m to 24h; never longer than that of the token that makes it.
        #[arg(long, value_name = "TIME", default_value = "15m", value_parser = life)]
        ttl: Duration,
    },
    /// Show the living tokens, without what is secret in them.
    List,
    /// Revoke a token, and all that were made with it.
    Revoke {
        /// Id of the token, as `sampan token list` shows it.
        id: String,
    },
}

fn life(text: &str) -> Result<Duration, String> {
    let parsed: Result<jiff::SignedDuration, _> = text.parse();
    let time = parsed.ok().and_then(|time| Duration::try_from(time).ok());
    time.filter(|time| ttl(time.as_secs()).is_ok()).ok_or_else(|| "write 90s, 15m, 2h; 1m to 24h".into())
}

pub async fn run(args: Args, connection: &Connection, out: &mut Output) -> Result<ExitCode, Failure> {
    let client = connection.client()?;
    match args.verb {
        Verb::Create { name, role, ttl } => {
            let new = NewToken { name, role, ttl_seconds: ttl.as_secs() };
            let made = progress::during("asking the server", client.make_token(&new)).await?;
            // Alone on stdout, so that it can go into a file.
            out.show(&made, || plain(&made.token))?;
            progress::say(&format!("token {} ends at {}", plain(&made.info.id), plain(&made.info.expire_time)));
        }
        Verb::List => {
            let items = progress::during("asking the server", client.tokens()).await?;
            out.show(&json!({ "items": items }), || table(&items, jiff::Timestamp::now()))?;
        }
        Verb::Revoke { id } => {
            let gone = progress::during("asking the server", client.revoke_token(&id)).await?;
            out.show(&gone, || format!("token {} of role {} is revoked", plain(&gone.id), plain(&gone.role)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(items: &[TokenInfo], now: jiff::Timestamp) -> String {
    let mut table = Table::new(&["ID", "NAME", "ROLE", "AGE", "ENDS"]);
    for t in items {
        table.row([t.id.clone(), t.name.clone(), t.role.clone(), age(&t.create_time, now), t.expire_time.clone()]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_between_a_minute_and_a_day() {
        assert_eq!(life("15m"), Ok(Duration::from_mins(15)));
        for wrong in ["59s", "25h", "-5m", "soon", ""] {
            assert!(life(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn tokens_are_shown_without_their_secret() {
        let info = TokenInfo { id: "t1".into(), name: "ci".into(), role: "admin".into(), ..TokenInfo::default() };
        let shown = table(&[info], jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(shown, "ID  NAME  ROLE   AGE  ENDS\nt1  ci    admin  -    -");
    }
}
