//! `cargo xtask bench`: figures of speed and memory, each held against its goal. Nothing of it is a test: times depend
//! on the machine, so most figures are ratios within one run.

mod decide;
mod figure;
pub mod gateway;
mod get;
mod idle;
mod in_place;
mod lint;
mod machine;
mod plan;
mod plot;
mod provider;
mod pull;
mod raw;
mod scaling;
mod start;
mod statistic;
mod step;
mod workload;

use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use sampan_testacc::{Dev, Registry, hello, wait_for};
use serde_json::json;

use figure::Figure;
use machine::Machine;
use workload::{Api, NAMESPACE};

type Measured = Result<Vec<Figure>, String>;

#[derive(Clone, Copy)]
enum Measure {
    /// Before a server runs.
    Alone(fn(Progress) -> Measured),
    On(fn(&mut Ground) -> Measured),
}

/// In the order of the run, those that need no server first; the names choose some of them.
const PARTS: &[(&str, Measure)] = &[
    ("decide", Measure::Alone(decide::measure)),
    ("scaling", Measure::Alone(scaling::measure)),
    ("lint", Measure::Alone(lint::measure)),
    ("gateway", Measure::Alone(gateway::measure)),
    ("provider", Measure::On(provider::measure)),
    ("in-place", Measure::On(in_place::measure)),
    ("start", Measure::On(start::measure)),
    ("pull", Measure::On(pull::measure)),
    ("step", Measure::On(step::measure)),
    ("idle", Measure::On(idle::measure)),
    ("terraform", Measure::On(plan::measure)),
    ("get", Measure::On(get::measure)),
];
const PAGE: &str = "docs/benchmarks.md";

/// What runs while measuring.
pub struct Ground {
    api: Api,
    image: String,
    progress: Progress,
    dev: Dev,
    registry: Registry,
}

impl Ground {
    fn prepare(progress: Progress) -> Result<Self, String> {
        progress.step("registry and sampan dev");
        let registry = Registry::start();
        let pushed = hello::push(&registry.address, "bench/hello", "1", &[]);
        let image = pushed.map_err(|error| format!("the image cannot be pushed: {error}"))?;
        let dev = Dev::start();
        let api = Api::new(&dev)?;
        api.create(&format!("/v1/namespaces/{NAMESPACE}"), &json!({}))?;
        // Once, so that the image is on the node whatever is measured first.
        let ground = Self { api, image, progress, dev, registry };
        let first = workload::path("first");
        ground.api.finish(&ground.api.create(&first, &workload::application(&ground.image, 1, "64Mi", 0))?)?;
        ground.remove(&first, None)?;
        Ok(ground)
    }

    fn registry(&self) -> Result<std::net::SocketAddr, String> {
        let address = &self.registry.address;
        address.parse().map_err(|_| format!("the registry's address is {address}"))
    }

    /// What an update leaves to be cleaned up shall not disturb the next one.
    fn settle() {
        std::thread::sleep(Duration::from_millis(400));
    }

    /// Deletes an application, and before it its route, and waits until it is gone.
    fn remove(&self, application: &str, route: Option<&str>) -> Result<(), String> {
        if let Some(route) = route {
            self.api.delete(route)?;
        }
        self.api.delete(application)?;
        let gone = || match self.api.get(application) {
            Err(error) if error.contains(" 404 ") => Ok(()),
            other => Err(format!("{other:?}")),
        };
        wait_for("the application to be gone", Duration::from_mins(1), gone);
        Ok(())
    }
}

/// Says on stderr what is going on.
#[derive(Clone, Copy)]
pub struct Progress(Instant);

impl Progress {
    fn step(self, text: &str) {
        let _ = writeln!(std::io::stderr(), "[{:4} s] {text}", self.0.elapsed().as_secs());
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    write: bool,
    json: bool,
    parts: Vec<String>,
}

fn options(args: &[&str]) -> Result<Options, String> {
    let mut options = Options::default();
    let mut rest = args.iter().copied();
    while let Some(arg) = rest.next() {
        match arg {
            "--write" => options.write = true,
            "-o" => match rest.next() {
                Some("json") => options.json = true,
                Some("table") => options.json = false,
                other => return Err(format!("-o {}: want table or json", other.unwrap_or_default())),
            },
            part if PARTS.iter().any(|(name, _)| *name == part) => options.parts.push(part.to_owned()),
            other => {
                let names: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
                return Err(format!("{other:?} is no option and no figure; figures: {}", names.join(", ")));
            }
        }
    }
    if options.write && !options.parts.is_empty() {
        return Err("--write needs all figures: leave out their names".into());
    }
    Ok(options)
}

/// Measures. An error is also a goal that was missed.
pub fn run(args: &[&str]) -> Result<(), String> {
    let options = options(args)?;
    if cfg!(debug_assertions) || std::env::var_os("SAMPAN_BIN_DIR").is_none() {
        return again_in_release(args);
    }
    let machine = Machine::look();
    let progress = Progress(Instant::now());
    progress.step(&machine.words());
    let wanted = |name: &str| options.parts.is_empty() || options.parts.iter().any(|part| part == name);
    let parts: Vec<Measure> = PARTS.iter().filter(|(name, _)| wanted(name)).map(|(_, measure)| *measure).collect();
    let figures = measure(&parts, progress)?;
    if options.json {
        let lines: Vec<_> = figures.iter().map(Figure::json).collect();
        crate::say(&format!("{:#}", json!({ "machine": machine.json(), "figures": lines })));
    } else {
        crate::say(&figure::table(&figures));
    }
    if options.write {
        let path = sampan_testacc::repository().join(PAGE);
        std::fs::write(&path, page(&machine, &figures)).map_err(|error| format!("{PAGE}: {error}"))?;
        progress.step(&format!("wrote {PAGE}"));
    }
    let missed: Vec<&str> = figures.iter().filter(|f| !f.met()).map(|f| f.name.as_str()).collect();
    if missed.is_empty() { Ok(()) } else { Err(format!("missed: {}", missed.join("; "))) }
}

/// The server starts with the first part that needs it.
fn measure(parts: &[Measure], progress: Progress) -> Measured {
    let missing = sampan_testacc::missing();
    if !missing.is_empty() && parts.iter().any(|part| matches!(part, Measure::On(_))) {
        return Err(format!("this machine cannot run the bench: {}", missing.join("; ")));
    }
    let (mut ground, mut figures) = (None, Vec::new());
    for part in parts {
        let found = match part {
            Measure::Alone(measure) => measure(progress)?,
            Measure::On(measure) => match &mut ground {
                Some(ground) => measure(ground)?,
                none => measure(none.insert(Ground::prepare(progress)?))?,
            },
        };
        for figure in &found {
            progress.step(&figure.line());
        }
        figures.extend(found);
    }
    progress.step("stopping");
    Ok(figures)
}

/// Debug builds say nothing about speed.
fn again_in_release(args: &[&str]) -> Result<(), String> {
    let root = sampan_testacc::repository();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    let packages = ["-p", "sampan", "-p", "terraform-provider-sampan", "-p", "xtask"];
    let built = Command::new(cargo).args(["build", "--release"]).args(packages).current_dir(&root).status();
    if !built.is_ok_and(|status| status.success()) {
        return Err("the release build failed".into());
    }
    let folder = std::path::absolute(target.join("release")).map_err(|error| error.to_string())?;
    let mut command = Command::new(folder.join("xtask"));
    let status = command.arg("bench").args(args).env("SAMPAN_BIN_DIR", &folder).current_dir(&root).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err("the bench did not succeed".into()),
        Err(error) => Err(format!("the release build of xtask does not start: {error}")),
    }
}

fn page(machine: &Machine, figures: &[Figure]) -> String {
    format!(
        "# Benchmarks\n\n`make bench` measures this and writes this page; it fails when a goal is missed. Both sides of \
         a ratio are measured in turn within one run, so that the machine cancels out.\n\nThe last run: {}.\n\n{}",
        machine.words(),
        figure::markdown(figures)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_never_written_from_a_part_of_the_figures() {
        assert_eq!(options(&["--write"]), Ok(Options { write: true, ..Options::default() }));
        assert_eq!(options(&["-o", "json", "get"]).map(|o| (o.json, o.parts)), Ok((true, vec!["get".to_owned()])));
        assert!(options(&["--write", "get"]).is_err());
        assert!(options(&["-o", "xml"]).is_err());
        assert!(options(&["fast"]).is_err());
    }
}
