//! Repository tasks: `cargo xtask TASK`.

mod bench;
mod dist;
mod generate;
mod guide;
mod lint;
mod offer;
mod page;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask TASK
  generate [--check]          writes docs/ from the schema; with --check only says what differs
  bench [--write] [-o json] [FIGURE]...
                              measures speed and memory in release builds and fails when a goal is missed; with --write
                              also writes docs/benchmarks.md
  dist --out DIR [--provider FILE]
                              builds the provider in release and writes the files of its release for this platform:
                              zip, manifest, SHA256SUMS, and DIR/filesystem-mirror for `terraform init`
  edges                       prints the diagram of which crate may use which
  hello-image --registry HOST:PORT --tag TAG [--repository NAME] [--env KEY=VALUE]...
                              builds the demo image and pushes it over plain HTTP; prints its digest";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["generate"] => generate::write(),
        ["generate", "--check"] => generate::check(),
        ["bench", options @ ..] => bench::run(options),
        // Not for people: the gateway that the bench measures, in a process of its own.
        ["bench-gateway", upstream] => bench::gateway::serve::run(upstream),
        ["dist", options @ ..] => dist::run(options),
        ["edges"] => {
            say(sampan_testacc::edges::diagram().trim_end());
            Ok(())
        }
        ["hello-image", options @ ..] => hello_image(options),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the output of a task is for the terminal")]
fn say(text: &str) {
    println!("{text}");
}

fn complain(text: &str) {
    eprintln!("{text}");
}

fn hello_image(options: &[&str]) -> Result<(), String> {
    let (mut registry, mut repository, mut tag, mut env) = (None, "demo/hello", None, Vec::new());
    let mut rest = options.iter().copied();
    while let Some(option) = rest.next() {
        let value = rest.next().ok_or_else(|| format!("{option} needs a value\n{USAGE}"))?;
        match option {
            "--registry" => registry = Some(value),
            "--repository" => repository = value,
            "--tag" => tag = Some(value),
            "--env" => env.push(value.split_once('=').ok_or_else(|| format!("--env {value}: want KEY=VALUE"))?),
            other => return Err(format!("unknown option {other}\n{USAGE}")),
        }
    }
    let (Some(registry), Some(tag)) = (registry, tag) else {
        return Err(format!("--registry and --tag are required\n{USAGE}"));
    };
    let pushed = sampan_testacc::hello::push(registry, repository, tag, &env);
    say(&pushed.map_err(|error| error.to_string())?);
    Ok(())
}
