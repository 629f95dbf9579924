//! `sampan lint`: 0 fine, 1 findings, 2 input that could not be analysed, 3 wrong usage.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sampan_validator::config::{self, Config, FailOn};
use sampan_validator::fix;
use sampan_validator::lint::{Progress, Report, Settings, Stage, lint};
use sampan_validator::module::Flavor;
use sampan_validator::module::tfvars::Given;
use sampan_validator::policy::{self, Policy};
use sampan_validator::report::{Detail, Format, render};
use sampan_validator::rules;
use serde_json::{Value, json};

use crate::changed;
use crate::error::Failure;
use crate::output::Output;
use crate::progress;

/// A folder named `rules` is written `./rules`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Folders or files; a file means its module. A folder without configuration stands for all below it.
    #[arg(value_name = "PATH", default_value = ".")]
    paths: Vec<PathBuf>,
    /// A plan instead of configuration: a file that `terraform show -json` wrote, or - for stdin.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["paths", "recursive", "vars", "var_files", "flavor", "strict_modules"])]
    plan: Option<PathBuf>,
    /// All modules below each folder.
    #[arg(long)]
    recursive: bool,
    /// Value of a variable.
    #[arg(long = "var", value_name = "NAME=VALUE")]
    vars: Vec<String>,
    /// File of values.
    #[arg(long = "var-file", value_name = "FILE")]
    var_files: Vec<PathBuf>,
    /// Language of the files.
    #[arg(long, value_name = "NAME", default_value = "terraform", value_parser = ["terraform", "tofu"])]
    flavor: String,
    /// Writes the safe fixes into the files, and reports what is left.
    #[arg(long, conflicts_with_all = ["plan", "write_baseline"])]
    fix: bool,
    /// Shows as a diff what --fix would change, and changes nothing. Ends with 1 if there is something.
    #[arg(long, conflicts_with_all = ["plan", "write_baseline"])]
    diff: bool,
    /// Form of the report, to stdout or into a file; may be repeated. One of human, compact, json, sarif, junit, github,
    /// gitlab, checkstyle.
    #[arg(long = "format", value_name = "FORM[=FILE]", default_value = "human")]
    formats: Vec<String>,
    /// Only these rules.
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    select: Vec<String>,
    /// Not these rules.
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    ignore: Vec<String>,
    /// Least severity that fails the run: error, warning, note or never. Default: warning.
    #[arg(long, value_name = "SEVERITY")]
    fail_on: Option<String>,
    /// A file of policies, or a folder of files that end with .policy.hcl; may be repeated. A policy of the settings
    /// with the same name does not count.
    #[arg(long = "policy", value_name = "PATH")]
    policies: Vec<PathBuf>,
    /// Leaves out the findings of this file.
    #[arg(long, value_name = "FILE", conflicts_with = "write_baseline")]
    baseline: Option<PathBuf>,
    /// Writes what is found now as a baseline, and ends with 0.
    #[arg(long, value_name = "FILE")]
    write_baseline: Option<PathBuf>,
    /// Reports only what is about files that differ from this commit, as git says. All files are still read.
    #[arg(long, value_name = "REF", conflicts_with = "plan")]
    changed_since: Option<String>,
    /// Threads; as many as the machine has processors without it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// A module that is not installed is an input that could not be analysed.
    #[arg(long)]
    strict_modules: bool,
    /// Date that the ends of comments are compared with; today without it.
    #[arg(long, value_name = "YYYY-MM-DD")]
    today: Option<String>,
    /// Also each rule that could not decide, and what it waits for.
    #[arg(short, long)]
    verbose: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the rules.
    Rules,
}

/// Wrong usage ends with 3, because 2 says that the input is at fault.
const USAGE: u8 = 3;

pub fn run(args: Args, out: &mut Output) -> Result<ExitCode, Failure> {
    if let Some(Verb::Rules) = args.verb {
        return list(out);
    }
    match checked(&args) {
        Ok((report, _)) if args.diff => diff(&args, &report, out),
        Ok((report, formats)) => write(&args, &report, &formats, out),
        Err(message) => {
            progress::say(&format!("error: {message}"));
            Ok(ExitCode::from(USAGE))
        }
    }
}

fn checked(args: &Args) -> Result<(Report, Vec<(Format, Option<PathBuf>)>), String> {
    let formats = formats(&args.formats)?;
    let settings = settings(args)?;
    let mut report = lint(&settings)?;
    if args.fix && !args.diff && fixed(args, &report)? {
        report = lint(&settings)?;
    }
    Ok((report, formats))
}

/// Shows what fixes would change: 1 if that is something.
fn diff(args: &Args, report: &Report, out: &mut Output) -> Result<ExitCode, Failure> {
    let changes = fix::changes(report, &args.paths);
    for change in &changes {
        out.raw(change.diff().as_bytes())?;
    }
    Ok(ExitCode::from(if report.broken { 2 } else { u8::from(!changes.is_empty()) }))
}

/// Writes the fixes; whether there are some.
fn fixed(args: &Args, report: &Report) -> Result<bool, String> {
    let changes = fix::changes(report, &args.paths);
    for change in &changes {
        replace(change).map_err(|error| format!("{} cannot be fixed: {error}", change.name))?;
    }
    let fixes: usize = changes.iter().map(|change| change.fixes).sum();
    if fixes > 0 {
        progress::say(&format!("fixed {fixes} in {} files", changes.len()));
    }
    Ok(fixes > 0)
}

/// Writes beside the file and renames, so that a file is never half written; links stay links.
fn replace(change: &fix::Change) -> std::io::Result<()> {
    let path = Path::new(&change.name).canonicalize()?;
    if std::fs::read(&path)? != change.before {
        return Err(std::io::Error::other("it has changed since it was read: try again"));
    }
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".sampan-fix");
    let beside = path.with_file_name(name);
    let written = std::fs::write(&beside, &change.after)
        .and_then(|()| std::fs::set_permissions(&beside, std::fs::metadata(&path)?.permissions()))
        .and_then(|()| std::fs::rename(&beside, &path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

fn formats(words: &[String]) -> Result<Vec<(Format, Option<PathBuf>)>, String> {
    let one = |word: &String| {
        let (name, file) = word.split_once('=').map_or((word.as_str(), None), |(n, f)| (n, Some(PathBuf::from(f))));
        let known: Vec<&str> = Format::ALL.iter().map(|(name, _)| *name).collect();
        let format = Format::parse(name);
        format.map(|f| (f, file)).ok_or_else(|| format!("--format {name}: there are {}", known.join(", ")))
    };
    let all = words.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    if all.iter().filter(|(_, file)| file.is_none()).count() > 1 {
        return Err(
            "only one --format goes to stdout: give the others a file, as in --format sarif=report.sarif".into()
        );
    }
    Ok(all)
}

fn rule_ids(option: &str, ids: &[String], policies: &[Policy]) -> Result<std::collections::BTreeSet<String>, String> {
    match ids.iter().find(|id| !policy::exists(policies, id)) {
        Some(id) => Err(format!("{option} {id}: there is no such rule; `sampan lint rules` lists them")),
        None => Ok(ids.iter().cloned().collect()),
    }
}

fn settings(args: &Args) -> Result<Settings, String> {
    let first = args.paths.first().cloned().unwrap_or_else(|| PathBuf::from("."));
    let mut config = match config::find(folder_of(&first)) {
        Some(path) => config::read(&path)?,
        None => Config::default(),
    };
    let today = match &args.today {
        Some(day) if sampan_validator::suppress::is_date(day) => day.clone(),
        Some(day) => return Err(format!("--today {day}: write it as 2027-03-31")),
        None => today(),
    };
    let mut settings = Settings::new(args.paths.clone(), today);
    settings.plan.clone_from(&args.plan);
    settings.recursive = args.recursive;
    settings.changed = match &args.changed_since {
        Some(reference) => Some(changed::since(reference, folder_of(&first))?),
        None => None,
    };
    settings.jobs = args.jobs.map_or_else(processors, usize::from);
    settings.progress = progress_line();
    settings.flavor = if args.flavor == "tofu" { Flavor::Tofu } else { Flavor::Terraform };
    config.baseline = match &args.write_baseline {
        Some(_) => None,
        None => args.baseline.clone().or(config.baseline),
    };
    settings.configure(config)?;
    let ours = policy::read(&args.policies)?;
    let others = settings.policies.iter().filter(|other| ours.iter().all(|own| own.id != other.id));
    settings.policies = ours.iter().chain(others).cloned().collect();
    // Later ones win: those of the command line.
    settings.given.extend(given(args)?);
    settings.environment = environment();
    settings.select = rule_ids("--select", &args.select, &settings.policies)?;
    settings.ignore = rule_ids("--ignore", &args.ignore, &settings.policies)?;
    if let Some(word) = &args.fail_on {
        settings.fail_on = FailOn::parse(word).ok_or(format!("--fail-on {word}: error, warning, note or never"))?;
    }
    settings.strict_modules = args.strict_modules;
    Ok(settings)
}

/// As `2027-03-31`, in UTC.
pub(crate) fn today() -> String {
    jiff::Timestamp::now().to_string().chars().take(10).collect()
}

fn folder_of(path: &Path) -> &Path {
    let above = || path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_file() { above() } else { path }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A line on a terminal once a run takes a second; nothing elsewhere.
fn progress_line() -> Progress {
    if !std::io::stderr().is_terminal() {
        return Progress::default();
    }
    let (begun, line) = (Instant::now(), Mutex::new(progress::Line::new()));
    Progress(Some(Arc::new(move |stage| {
        let text = progress_text(stage, begun.elapsed());
        if let (Some(text), Ok(mut line)) = (text, line.lock()) {
            line.update(&text);
        }
    })))
}

/// What the line says after so long, if anything.
fn progress_text(stage: Stage, elapsed: Duration) -> Option<String> {
    (elapsed >= Duration::from_secs(1)).then(|| match stage {
        Stage::Read(files) => format!("{files} files read"),
        Stage::Judged { done, of } => format!("{done} of {of} modules judged"),
    })
}

/// Values of the command line in the order in which they count: files, then single values.
fn given(args: &Args) -> Result<Vec<Given>, String> {
    let mut all: Vec<Given> = args.var_files.iter().cloned().map(Given::File).collect();
    for var in &args.vars {
        let (name, value) = var.split_once('=').ok_or_else(|| format!("--var {var}: write NAME=VALUE"))?;
        all.push(Given::Var(name.trim().to_owned(), value.to_owned()));
    }
    Ok(all)
}

pub(crate) fn environment() -> BTreeMap<String, String> {
    let wanted = |name: &str| name.starts_with("TF_VAR_") || name == "TF_WORKSPACE";
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| wanted(name))
        .collect()
}

fn write(
    args: &Args,
    report: &Report,
    formats: &[(Format, Option<PathBuf>)],
    out: &mut Output,
) -> Result<ExitCode, Failure> {
    let detail = Detail { verbose: args.verbose };
    for (format, file) in formats {
        let text = render(report, *format, detail);
        match file {
            None => out.raw(text.as_bytes())?,
            Some(path) => save(path, &text)?,
        }
    }
    if let Some(path) = &args.write_baseline {
        save(path, &report.as_baseline.write())?;
        return Ok(ExitCode::from(if report.broken { 2 } else { 0 }));
    }
    Ok(ExitCode::from(report.exit_code()))
}

fn save(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|e| Failure::Failed(format!("{} cannot be written: {e}", path.display())))
}

fn list(out: &mut Output) -> Result<ExitCode, Failure> {
    let mut all: Vec<Value> = Vec::new();
    for (id, says) in rules::SCHEMA_RULES {
        all.push(json!({ "id": id, "name": "schema", "severity": "error", "origin": "schema", "says": says }));
    }
    for rule in rules::RULES {
        let meta = rule.meta();
        all.push(json!({
            "id": meta.id, "name": meta.name, "severity": meta.severity.word(), "origin": "lint", "says": meta.summary(),
        }));
    }
    let text = |v: &Value, key: &str| v[key].as_str().unwrap_or_default().to_owned();
    out.show(&Value::from(all.clone()), || {
        let line = |v: &Value| {
            format!("{}  {:<8}  {:<24}  {}", text(v, "id"), text(v, "severity"), text(v, "name"), text(v, "says"))
        };
        all.iter().map(line).collect::<Vec<_>>().join("\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_run_has_no_progress_line_and_a_long_one_says_how_far_it_is() {
        let judged = Stage::Judged { done: 3, of: 40 };
        assert_eq!(progress_text(judged, Duration::from_millis(999)), None);
        assert_eq!(progress_text(judged, Duration::from_secs(1)).as_deref(), Some("3 of 40 modules judged"));
        assert_eq!(progress_text(Stage::Read(7), Duration::from_secs(2)).as_deref(), Some("7 files read"));
    }
}
