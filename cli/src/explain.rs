//! `sampan explain SMP301`.

use std::process::ExitCode;

use sampan_validator::rules;
use serde_json::json;

use crate::error::Failure;
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Id of the rule, such as SMP301; `sampan lint rules` lists them.
    rule: String,
}

pub fn run(args: &Args, out: &mut Output) -> Result<ExitCode, Failure> {
    let id = args.rule.to_uppercase();
    if let Some(meta) = rules::find(&id) {
        let value = json!({
            "id": meta.id, "name": meta.name, "severity": meta.severity.word(), "page": meta.page,
        });
        out.show(&value, || meta.page.to_owned())?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some((id, says)) = rules::SCHEMA_RULES.iter().find(|(known, _)| *known == id) else {
        return Err(Failure::Usage(format!("there is no rule {:?}; `sampan lint rules` lists them", args.rule)));
    };
    let value = json!({ "id": id, "name": "schema", "severity": "error", "page": says });
    out.show(&value, || rules::page(id).unwrap_or_default())?;
    Ok(ExitCode::SUCCESS)
}
