//! `sampan`: the server and the command line, one file per verb.
//!
//! Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage; `exec` passes on that
//! of its command, `conformance` ends with 3 when the class is absent, and `lint` has 0, 1, 2 and 3 of its own.

mod changed;
mod completions;
mod conformance;
mod connection;
mod describe;
mod dev;
mod doctor;
mod error;
mod events;
mod exec;
mod explain;
mod export;
mod get;
mod lint;
mod logs;
mod lsp;
mod output;
mod progress;
mod restart;
mod rollout;
mod serve;
mod server;
mod signals;
mod simulate;
mod target;
mod token;
mod version;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use connection::Connection;
use error::Failure;
use output::{Format, Output};

/// Serverless application engine: server and command line.
#[derive(Debug, Parser)]
#[command(name = "sampan", version, disable_help_subcommand = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    connection: Connection,
    /// Form of the result.
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORM")]
    output: Format,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a server for development: workloads end with it, registries on loopback are allowed.
    Dev(dev::Args),
    /// Run a server: workloads keep running when it stops.
    Server(server::Args),
    /// Show objects, or the instances or revisions of an application.
    Get(get::Args),
    /// Show one object with its status; of an application also instances and last events.
    Describe(describe::Args),
    /// Write the Terraform configuration of everything in a namespace, to stdout or into a folder.
    Export(export::Args),
    /// Show what an application writes.
    Logs(logs::Args),
    /// Show what happened, oldest first.
    Events(events::Args),
    /// Run a command in an instance; ends with its exit code.
    Exec(exec::Args),
    /// Restart every instance in place, a few at a time.
    Restart(restart::Args),
    /// Releases of an application.
    Rollout(rollout::Args),
    /// Tokens of the API that end by themselves.
    Token(token::Args),
    /// Say what this host offers to a node, and what to install.
    Doctor,
    /// Prove what an isolation class does on this host: boundary, in-place updates, ends.
    Conformance(conformance::Args),
    /// Try a policy on a load that was recorded or made up; needs no server.
    Simulate(simulate::Args),
    /// Check Terraform configuration: the rules of the API and more, without terraform, provider or network.
    Lint(lint::Args),
    /// Say what a rule of `sampan lint` is about.
    Explain(explain::Args),
    /// Serve an editor over stdin and stdout: the findings of `sampan lint` as you type.
    Lsp(lsp::Args),
    /// Show the version.
    Version,
    /// Print completions of a shell.
    Completions(completions::Args),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(wrong_usage()) } else { ExitCode::SUCCESS };
        }
    };
    let connection = cli.connection.clone();
    match start(cli) {
        Ok(code) => code,
        // The reader has left: `sampan get … | head` is no failure.
        Err(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            progress::say(&error::text(&failure, &connection));
            ExitCode::from(failure.exit_code())
        }
    }
}

/// 2, and 3 for `lint`, whose 2 says that its input is at fault.
fn wrong_usage() -> u8 {
    if std::env::args_os().skip(1).any(|word| word == "lint") { 3 } else { 2 }
}

fn start(cli: Cli) -> Result<ExitCode, Failure> {
    log_to_stderr()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("threads cannot be started: {error}")))?;
    let result = runtime.block_on(run(cli));
    // Whatever still runs has no say any more.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let out = &mut Output::new(cli.output);
    let connection = &cli.connection;
    match cli.verb {
        Verb::Dev(args) => dev::run(args, out).await,
        Verb::Server(args) => server::run(args, out).await,
        Verb::Get(args) => get::run(args, connection, out).await,
        Verb::Describe(args) => describe::run(args, connection, out).await,
        Verb::Export(args) => export::run(args, connection, out).await,
        Verb::Logs(args) => logs::run(args, connection, out).await,
        Verb::Events(args) => events::run(args, connection, out).await,
        Verb::Exec(args) => exec::run(args, connection, out).await,
        Verb::Restart(args) => restart::run(args, connection, out).await,
        Verb::Rollout(args) => rollout::run(args, connection, out).await,
        Verb::Token(args) => token::run(args, connection, out).await,
        Verb::Doctor => doctor::run(out),
        Verb::Conformance(args) => conformance::run(args, out).await,
        Verb::Simulate(args) => simulate::run(args, out),
        Verb::Lint(args) => lint::run(args, out),
        Verb::Explain(args) => explain::run(&args, out),
        Verb::Lsp(args) => lsp::run(&args),
        Verb::Version => version::run(out),
        Verb::Completions(args) => completions::run(args, out),
    }
}

/// Our own log: `SAMPAN_LOG` is a level or a filter, `warn` without it.
fn log_to_stderr() -> Result<(), Failure> {
    let wanted = std::env::var("SAMPAN_LOG").ok().filter(|text| !text.trim().is_empty());
    let wanted = wanted.as_deref().unwrap_or("warn");
    let filter = tracing_subscriber::EnvFilter::try_new(wanted).map_err(|error| {
        Failure::Usage(format!("SAMPAN_LOG={wanted:?} is no level: {error}; use error, warn, info, debug or trace"))
    })?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
