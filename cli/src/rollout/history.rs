//! `sampan rollout history`.

use std::process::ExitCode;

use sampan_client::{Client, Error};
use sampan_schema::APPLICATION;
use sampan_schema::revision::Revision;
use sampan_schema::rollout::Rollout;
use serde_json::json;

use super::App;
use crate::connection::Connection;
use crate::error::Failure;
use crate::output::{Output, Table, age, member, time};
use crate::progress;

pub async fn run(app: &App, connection: &Connection, out: &mut Output) -> Result<ExitCode, Failure> {
    let (ns, name) = app.resolve()?;
    let client = connection.client()?;
    let found = progress::during("asking the server", find(&client, &ns, &name)).await?;
    out.show(&json!({ "items": found.revisions }), || found.table(jiff::Timestamp::now()))?;
    Ok(ExitCode::SUCCESS)
}

struct Found {
    revisions: Vec<Revision>,
    rollout: Rollout,
    /// Hash of the last revision that was released well.
    stable: String,
}

async fn find(client: &Client, ns: &str, name: &str) -> Result<Found, Error> {
    let mut revisions = client.revisions(ns, name).await?;
    revisions.sort_by_key(|r| std::cmp::Reverse(r.number));
    let rollout = client.rollout(ns, name).await?;
    let object = client.get(&APPLICATION, ns, name).await?;
    Ok(Found { revisions, rollout, stable: member(object.status(), "/current_revision") })
}

impl Found {
    fn table(&self, now: jiff::Timestamp) -> String {
        if self.revisions.is_empty() {
            return "no revisions".into();
        }
        let mut table = Table::new(&["NUMBER", "HASH", "IMAGE", "DIGEST", "AGE", "STATE"]);
        for r in &self.revisions {
            // `sha256:` and as much as tells one from another.
            let digest = r.image_digest.chars().take(19).collect();
            let age = age(&time(r.created_at), now);
            table.row([r.number.to_string(), r.hash.clone(), r.image.clone(), digest, age, self.state(&r.hash)]);
        }
        table.to_string()
    }

    /// `stable` is in force; the one that was released last has the phase of its release.
    fn state(&self, hash: &str) -> String {
        match hash == self.rollout.revision {
            _ if hash == self.stable => "stable".into(),
            true => format!("release {}", self.rollout.phase),
            false => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_say_which_is_stable_and_which_is_released() {
        let revision = |number: u64, hash: &str| Revision {
            hash: hash.into(),
            number,
            image: format!("registry.test/cart:{number}"),
            image_digest: format!("sha256:{}", "0123456789abcdef".repeat(4)),
            created_at: 1_767_398_340_000,
            ..Revision::default()
        };
        let mut found = Found {
            revisions: vec![revision(3, "cccc"), revision(2, "bbbb"), revision(1, "aaaa")],
            rollout: Rollout { phase: "Paused".into(), revision: "cccc".into(), ..Rollout::default() },
            stable: "bbbb".into(),
        };
        let now = "2026-01-03T00:05:00Z".parse().unwrap();
        let first = found.table(now);
        found.stable = "cccc".into();
        found.rollout.phase = "Succeeded".into();
        insta::assert_snapshot!(format!("{first}\n\n{}", found.table(now)));
        found.revisions.clear();
        assert_eq!(found.table(now), "no revisions");
    }
}
