//! `sampan conformance`: what an isolation class does on this host, found out by doing it.
//!
//! A class that is absent is skipped with the reason and ends with exit code 3; it is never counted as passed.

use std::future::Future;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use sampan_engine::runtime::{
    ContainerSpec, ContainerState, ExecOutput, Isolation, ObservedContainer, ProbeAction, ProbeReport, ProbeSpec,
    Probes, Runtime, RuntimeError, Sandbox, SandboxSpec,
};
use sampan_node::{Node, NodeConfig, leftovers, oci, remains};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::error::Failure;
use crate::output::{Output, Table, pairs};
use crate::progress::{self, Line, say};
use crate::serve;
use crate::signals::Signals;

/// See `guest/main.rs`.
const GUEST: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest"));
const GUEST_PATH: &str = "/conformance";
const PORT: u16 = 8080;
const MEMORY: u64 = 128 << 20;
const GRACE: u64 = 2;
/// For one case; each step inside has a deadline of its own.
const LIMIT: Duration = Duration::from_mins(3);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Class {
    Kata,
    Gvisor,
    Runc,
}

impl Class {
    fn word(self) -> &'static str {
        match self {
            Self::Kata => "kata",
            Self::Gvisor => "gvisor",
            Self::Runc => "runc",
        }
    }

    /// What `host_report` calls the presence of the class.
    fn host_check(self) -> &'static str {
        match self {
            Self::Kata => "isolation class kata",
            Self::Gvisor => "isolation class gvisor",
            Self::Runc => "runc",
        }
    }
}

/// Exit code 0: passed. 1: something failed. 3: the class is absent, nothing was proven.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Class to look at.
    #[arg(long, value_enum)]
    isolation: Class,
    /// Handler of the class in the container runtime, where it has another name.
    #[arg(long, value_name = "NAME")]
    handler: Option<String>,
    /// Folder to work in, not one of a server; a temporary one without it.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Socket of a running CRI runtime; without it a private containerd is started.
    #[arg(long, value_parser = serve::cri_endpoint, value_name = "unix:///SOCKET")]
    cri_endpoint: Option<String>,
    /// How many in-place updates in one sandbox.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000), value_name = "N")]
    updates: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Passed,
    Failed,
    Skipped,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Skipped => "skipped",
        }
    }
}

#[derive(Debug, Serialize)]
struct Case {
    name: &'static str,
    outcome: Outcome,
    milliseconds: u64,
    /// What was seen; why it failed or was skipped.
    detail: String,
}

/// Everything a reader needs to believe the result.
#[derive(Debug, Serialize)]
struct Report {
    sampan: &'static str,
    isolation: &'static str,
    handler: String,
    runtime: String,
    node: String,
    host_kernel: String,
    result: Outcome,
    passed: usize,
    failed: usize,
    skipped: usize,
    cases: Vec<Case>,
}

impl Report {
    fn table(&self) -> String {
        let head = pairs(&[
            ("sampan", self.sampan.into()),
            ("isolation class", format!("{} (handler {})", self.isolation, self.handler)),
            ("runtime", self.runtime.clone()),
            ("node", self.node.clone()),
            ("host kernel", self.host_kernel.clone()),
        ]);
        let mut table = Table::new(&["CASE", "RESULT", "TIME", "DETAIL"]);
        for case in &self.cases {
            let time = format!("{}.{:02} s", case.milliseconds / 1000, case.milliseconds % 1000 / 10);
            table.row([case.name.into(), case.outcome.word().into(), time, case.detail.clone()]);
        }
        format!(
            "{head}\n\n{table}\n\n{}: {} passed, {} failed, {} skipped",
            self.result.word(),
            self.passed,
            self.failed,
            self.skipped
        )
    }
}

/// What a case found: it holds, or there is nothing to prove.
enum Found {
    Holds(String),
    Nothing(String),
}

type Verdict = Result<Found, String>;

fn holds(condition: bool, detail: String) -> Verdict {
    if condition { Ok(Found::Holds(detail)) } else { Err(detail) }
}

/// The cases so far.
struct Sheet {
    cases: Vec<Case>,
    line: Line,
}

impl Sheet {
    async fn timed<T>(
        &mut self,
        name: &'static str,
        work: impl Future<Output = Result<T, String>>,
        tell: impl FnOnce(&T) -> (Outcome, String),
    ) -> Option<T> {
        self.line.update(&format!("case {}: {name}", self.cases.len() + 1));
        let begun = Instant::now();
        let late = || Err(format!("not done after {} s", LIMIT.as_secs()));
        let found = tokio::time::timeout(LIMIT, work).await.unwrap_or_else(|_| late());
        let (outcome, detail) = match &found {
            Ok(value) => tell(value),
            Err(detail) => (Outcome::Failed, detail.clone()),
        };
        let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.cases.push(Case { name, outcome, milliseconds, detail });
        found.ok()
    }

    async fn case(&mut self, name: &'static str, work: impl Future<Output = Verdict>) {
        self.timed(name, work, |found| match found {
            Found::Holds(detail) => (Outcome::Passed, detail.clone()),
            Found::Nothing(why) => (Outcome::Skipped, why.clone()),
        })
        .await;
    }

    /// A case whose success gives something to the next ones.
    async fn step<T>(
        &mut self,
        name: &'static str,
        work: impl Future<Output = Result<T, String>>,
        detail: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        self.timed(name, work, |value| (Outcome::Passed, detail(value))).await
    }

    fn skip(&mut self, name: &'static str, why: &str) {
        self.cases.push(Case { name, outcome: Outcome::Skipped, milliseconds: 0, detail: why.into() });
    }

    fn count(&self, outcome: Outcome) -> usize {
        self.cases.iter().filter(|case| case.outcome == outcome).count()
    }
}

pub async fn run(args: Args, out: &mut Output) -> Result<ExitCode, Failure> {
    let (data_dir, temporary) = folder(args.data_dir.as_deref())?;
    let result = in_folder(&args, &data_dir, out).await;
    if temporary && let Err(error) = std::fs::remove_dir_all(&data_dir) {
        tracing::warn!(%error, path = %data_dir.display(), "the temporary folder stays");
    }
    result
}

/// The folder to work in, and whether it is ours to remove.
fn folder(given: Option<&Path>) -> Result<(PathBuf, bool), Failure> {
    if let Some(path) = given {
        // Everything in the folder is torn down at the end.
        if path.join("sampan.db").exists() {
            return Err(Failure::Usage(format!(
                "{} belongs to a server, whose instances this would remove: choose another --data-dir",
                path.display()
            )));
        }
        return Ok((path.to_path_buf(), false));
    }
    let path = std::env::temp_dir().join(format!("sampan-conf-{}", std::process::id()));
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&path)
        .map_err(|error| Failure::Failed(format!("{}: {error}; name a folder with --data-dir", path.display())))?;
    Ok((path, true))
}

async fn in_folder(args: &Args, data_dir: &Path, out: &mut Output) -> Result<ExitCode, Failure> {
    let mut signals = Signals::new()?;
    let class = args.isolation.word();
    let mut config = NodeConfig::new(data_dir);
    config.cri_endpoint.clone_from(&args.cri_endpoint);
    config.handlers.retain(|name, _| name == class);
    if let Some(handler) = &args.handler {
        config.handlers.insert(class.into(), handler.clone());
    }
    let handler = config.handlers.get(class).cloned().unwrap_or_default();
    let node = progress::during("starting the container runtime", Node::start(config)).await?;
    let mut sheet = Sheet { cases: Vec::new(), line: Line::new() };
    let status = node.classes().into_iter().find(|status| status.class == class);
    let mut absent = false;
    let mut interrupted = false;
    let reference = format!("sampan.internal/conformance:{}", std::process::id());
    match status.filter(|status| !status.available) {
        Some(status) => {
            // Installed and yet not usable is a failure, not an absence.
            let installed = sampan_node::host_report().iter().any(|c| c.ok && c.name == args.isolation.host_check());
            absent = !installed;
            let outcome = if installed { Outcome::Failed } else { Outcome::Skipped };
            sheet.cases.push(Case { name: "class_is_available", outcome, milliseconds: 0, detail: status.reason });
        }
        None => {
            let suite = Suite {
                node: node.clone(),
                class: args.isolation,
                private: args.cri_endpoint.is_none(),
                reference: reference.clone(),
                updates: args.updates,
                attempt: AtomicU32::new(0),
                data_dir: data_dir.to_path_buf(),
            };
            let mut cases = pin!(suite.run(&mut sheet));
            tokio::select! {
                () = &mut cases => {}
                signal = signals.next() => {
                    say(&format!("{signal}: cleaning up"));
                    interrupted = true;
                }
            }
        }
    }
    let node_name = node.node();
    let cleaning = async {
        let _ = node.image_remove(&reference).await;
        let stopped = node.shutdown(true).await.map_err(|error| error.to_string());
        drop(node);
        serve::remove(data_dir).await.map_err(|error| error.to_string())?;
        stopped?;
        let left = remains(data_dir);
        holds(left.is_empty(), if left.is_empty() { "no trace on the host".into() } else { left.join("; ") })
    };
    sheet.case("teardown_leaves_nothing", cleaning).await;
    sheet.line.end();
    let [passed, failed, skipped] =
        [Outcome::Passed, Outcome::Failed, Outcome::Skipped].map(|outcome| sheet.count(outcome));
    let result = match (failed, absent || interrupted) {
        (0, false) => Outcome::Passed,
        (0, true) => Outcome::Skipped,
        _ => Outcome::Failed,
    };
    let report = Report {
        sampan: env!("CARGO_PKG_VERSION"),
        isolation: class,
        handler,
        runtime: args.cri_endpoint.clone().unwrap_or_else(|| "private containerd".into()),
        node: node_name,
        host_kernel: host_kernel(),
        result,
        passed,
        failed,
        skipped,
        cases: sheet.cases,
    };
    out.show(&report, || report.table())?;
    Ok(match result {
        _ if interrupted => ExitCode::from(130),
        Outcome::Passed => ExitCode::SUCCESS,
        Outcome::Failed => ExitCode::FAILURE,
        Outcome::Skipped => ExitCode::from(3),
    })
}

fn host_kernel() -> String {
    std::fs::read_to_string("/proc/version").unwrap_or_default().trim().to_owned()
}

struct Suite {
    node: Node,
    class: Class,
    /// The container runtime is ours, and with it the network.
    private: bool,
    reference: String,
    updates: u32,
    attempt: AtomicU32,
    data_dir: PathBuf,
}

fn said(error: RuntimeError) -> String {
    error.to_string()
}

impl Suite {
    async fn run(&self, sheet: &mut Sheet) {
        let image = sheet.step("image_import", self.import(), |()| format!("{} bytes", GUEST.len())).await;
        if image.is_none() {
            return;
        }
        let spec = self.sandbox_spec("conformance-1", 0);
        let made = sheet.step("sandbox_run", self.sandbox(&spec), |s| format!("{}, address {}", short(&s.id), s.ip));
        let Some(sandbox) = made.await else { return };
        let before = sheet.timed("boundary", self.boundary(&sandbox, &spec), |(_, told)| told.clone()).await;
        let before = before.map(|(isolation, _)| isolation.evidence);
        let served = sheet.step("container_serves", self.serve(&sandbox, &spec), |_| format!("HTTP on port {PORT}"));
        let mut current = served.await;
        if let Some(id) = &current {
            sheet.case("kernel_version", self.kernel_version(id)).await;
            sheet.case("limits_inside", self.limits(id)).await;
            sheet.case("exec", self.exec_cases(id)).await;
            sheet.case("probe_http", self.probe(id, sandbox.ip, http_probe("/"))).await;
            sheet.case("probe_exec", self.probe(id, sandbox.ip, exec_probe())).await;
            let updates = self.in_place_updates(id.clone(), &sandbox, &spec);
            let tell = |(_, detail): &(String, String)| detail.clone();
            current = sheet.step("in_place_updates", updates, tell).await.map(|(id, _)| id);
            sheet.case("boot_id_survives_update", self.survives(&sandbox, &spec, before.as_deref())).await;
        }
        sheet.case("sandboxes_are_apart", self.apart(&sandbox, before.as_deref())).await;
        match current {
            Some(id) => sheet.case("sigterm_ignored_then_killed", self.killed_after_grace(id, &sandbox)).await,
            None => sheet.skip("sigterm_ignored_then_killed", "no container is left to be stopped"),
        }
        sheet.case("crash_seen", self.crash(&sandbox, &spec)).await;
        sheet.case("oom_seen", self.oom(&sandbox, &spec)).await;
        sheet.case("recreate_is_a_new_sandbox", self.recreate(&sandbox, &spec, before.as_deref())).await;
        sheet.case("nothing_left", self.nothing_left()).await;
    }

    fn sandbox_spec(&self, instance: &str, generation: u32) -> SandboxSpec {
        SandboxSpec {
            instance: instance.into(),
            namespace: "conformance".into(),
            application: "conformance".into(),
            class: self.class.word().into(),
            generation,
            cpu_millis: 500,
            memory_bytes: MEMORY,
        }
    }

    async fn import(&self) -> Result<(), String> {
        let image = oci::build(&oci::ImageSpec {
            files: vec![oci::File { path: GUEST_PATH.into(), mode: 0o755, content: GUEST.to_vec() }],
            entrypoint: vec![GUEST_PATH.into()],
            ..oci::ImageSpec::default()
        })
        .map_err(|error| error.to_string())?;
        let archive = image.archive(&self.reference).map_err(|error| error.to_string())?;
        self.node.image_import(&self.reference, archive).await.map_err(|error| error.to_string())
    }

    async fn sandbox(&self, spec: &SandboxSpec) -> Result<Sandbox, String> {
        self.node.sandbox_run(spec.clone()).await.map_err(said)
    }

    /// Creates the next container of a sandbox; its number is its version.
    async fn create(&self, sandbox: &Sandbox, spec: &SandboxSpec, args: &[&str]) -> Result<(String, u32), String> {
        let attempt = self.attempt.fetch_add(1, Ordering::Relaxed);
        let container = ContainerSpec {
            name: "main".into(),
            attempt,
            image: self.reference.clone(),
            command: Vec::new(),
            args: args.iter().map(ToString::to_string).collect(),
            working_dir: None,
            env: vec![("VERSION".into(), attempt.to_string())],
            cpu_millis: spec.cpu_millis,
            memory_bytes: spec.memory_bytes,
            spec_hash: format!("conformance-{attempt}"),
            revision: "conformance".into(),
        };
        let id = self.node.container_create(sandbox.id.clone(), spec.clone(), container).await.map_err(said)?;
        Ok((id, attempt))
    }

    async fn exec(&self, id: &str, args: &[&str]) -> Result<ExecOutput, String> {
        let command = std::iter::once(GUEST_PATH).chain(args.iter().copied()).map(ToOwned::to_owned).collect();
        self.node.exec(id.to_owned(), command, 10).await.map_err(said)
    }

    async fn serve(&self, sandbox: &Sandbox, spec: &SandboxSpec) -> Result<String, String> {
        let (id, attempt) = self.create(sandbox, spec, &["serve"]).await?;
        self.node.container_start(id.clone()).await.map_err(said)?;
        answers(sandbox.ip, attempt).await?;
        Ok(id)
    }

    /// The kernel inside is not the host's.
    async fn boundary(&self, sandbox: &Sandbox, spec: &SandboxSpec) -> Result<(Isolation, (Outcome, String)), String> {
        let seen = self.node.isolation_probe(&sandbox.id, spec).await.map_err(said)?;
        let told = match (self.class, seen.verified) {
            (Class::Runc, _) => {
                (Outcome::Skipped, format!("runc shares the host's kernel, nothing to prove ({})", seen.evidence))
            }
            (_, Some(true)) if sandbox.isolation.verified == Some(true) => (Outcome::Passed, seen.evidence.clone()),
            (_, Some(true)) => return Err("the node itself did not verify the sandbox".into()),
            (_, Some(false)) => return Err(format!("the sandbox runs on the host's kernel ({})", seen.evidence)),
            (_, None) => return Err("the sandbox's kernel could not be read".into()),
        };
        Ok((seen, told))
    }

    async fn kernel_version(&self, id: &str) -> Verdict {
        let output = self.exec(id, &["kernel"]).await?;
        let inside = value_of(&output, "kernel_version").ok_or("the kernel's version could not be read inside")?;
        let host = host_kernel();
        match self.class {
            Class::Runc => holds(inside == host, format!("the host's: {inside}")),
            Class::Kata | Class::Gvisor => holds(inside != host, format!("inside: {inside}")),
        }
    }

    async fn limits(&self, id: &str) -> Verdict {
        let output = self.exec(id, &["memory"]).await?;
        match value_of(&output, "limit") {
            None => Ok(Found::Nothing("the sandbox shows no control groups".into())),
            Some(limit) => holds(limit == MEMORY.to_string(), format!("memory limit {limit}, wanted {MEMORY}")),
        }
    }

    async fn exec_cases(&self, id: &str) -> Verdict {
        let output = self.exec(id, &["exit", "3"]).await?;
        let text = String::from_utf8_lossy(&output.stdout);
        if output.exit_code != 3 || text.trim() != "exits with 3" {
            return Err(format!("exit code {}, output {:?}, wanted 3", output.exit_code, text.trim()));
        }
        match self.node.exec(id.to_owned(), vec!["/no/such/program".into()], 10).await {
            Ok(output) if output.exit_code == 0 => Err("a program that is absent ran".into()),
            Ok(output) => Ok(Found::Holds(format!("exit code 3; absent program: exit code {}", output.exit_code))),
            Err(error) => Ok(Found::Holds(format!("exit code 3; absent program: {}", error.reason))),
        }
    }

    async fn probe(&self, id: &str, ip: IpAddr, action: ProbeAction) -> Verdict {
        let spec = ProbeSpec {
            action,
            initial_delay_ms: 0,
            period_ms: 500,
            timeout_ms: 2000,
            success_threshold: 1,
            failure_threshold: 3,
        };
        let (send, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let report = Box::new(move |report| {
            let _ = send.send(report);
        });
        let probes = Probes { readiness: Some(spec), ..Probes::default() };
        self.node.probes_watch(id.to_owned(), ip, probes, ProbeReport::default(), report);
        let ready = tokio::time::timeout(Duration::from_secs(20), async {
            let mut last = String::new();
            while let Some(report) = heard.recv().await {
                if report.ready {
                    return Ok(());
                }
                last = report.message;
            }
            Err(last)
        })
        .await;
        self.node.probes_forget(id);
        match ready {
            Ok(Ok(())) => Ok(Found::Holds("ready".into())),
            Ok(Err(message)) => Err(format!("the probe ended: {message}")),
            Err(_) => Err("not ready after 20 s".into()),
        }
    }

    /// Replaces the container again and again: same sandbox, same address, the new version answers.
    async fn in_place_updates(
        &self,
        mut id: String,
        sandbox: &Sandbox,
        spec: &SandboxSpec,
    ) -> Result<(String, String), String> {
        let mut longest = Duration::ZERO;
        for number in 1..=self.updates {
            let at = |what: String| format!("update {number}: {what}");
            let (next, attempt) = self.create(sandbox, spec, &["serve"]).await.map_err(at)?;
            let begun = Instant::now();
            self.node.container_stop(id.clone(), 0).await.map_err(said).map_err(at)?;
            self.node.container_start(next.clone()).await.map_err(said).map_err(at)?;
            answers(sandbox.ip, attempt).await.map_err(at)?;
            longest = longest.max(begun.elapsed());
            self.node.container_remove(id).await.map_err(said).map_err(at)?;
            let seen = self.node.observe(sandbox.id.clone()).await.map_err(said).map_err(at)?;
            let seen = seen.ok_or_else(|| at("the sandbox is gone".into()))?;
            if seen.ip != Some(sandbox.ip) || !seen.ready || seen.containers.len() != 1 {
                return Err(at(format!(
                    "address {:?}, ready {}, {} containers",
                    seen.ip,
                    seen.ready,
                    seen.containers.len()
                )));
            }
            id = next;
        }
        let detail = format!(
            "{} updates, sandbox {} and address {} kept, longest pause {} ms",
            self.updates,
            short(&sandbox.id),
            sandbox.ip,
            longest.as_millis()
        );
        Ok((id, detail))
    }

    async fn survives(&self, sandbox: &Sandbox, spec: &SandboxSpec, before: Option<&str>) -> Verdict {
        let Some(before) = before else { return Err("there is no boot id of before the updates".into()) };
        let after = self.node.isolation_probe(&sandbox.id, spec).await.map_err(said)?.evidence;
        match self.class {
            Class::Kata => holds(before == after, format!("before: {before}; after: {after}")),
            Class::Gvisor => {
                Ok(Found::Nothing(format!("gVisor makes up an id per mount, no proof either way ({after})")))
            }
            Class::Runc => Ok(Found::Nothing(format!("runc has no kernel of its own ({after})"))),
        }
    }

    /// A second sandbox has another address and, with a VM, another kernel; the two do not reach each other.
    async fn apart(&self, first: &Sandbox, before: Option<&str>) -> Verdict {
        let spec = self.sandbox_spec("conformance-2", 0);
        let second = self.sandbox(&spec).await?;
        let checked = self.apart_from(first, &second, &spec, before).await;
        let removed = self.node.sandbox_remove(second.id.clone(), spec).await.map_err(said);
        let found = checked?;
        removed?;
        Ok(found)
    }

    async fn apart_from(&self, first: &Sandbox, second: &Sandbox, spec: &SandboxSpec, before: Option<&str>) -> Verdict {
        if first.ip == second.ip || first.id == second.id {
            return Err(format!("both have address {} and id {}", first.ip, first.id));
        }
        let mut told = vec![format!("addresses {} and {}", first.ip, second.ip)];
        if self.class == Class::Kata {
            let other = self.node.isolation_probe(&second.id, spec).await.map_err(said)?.evidence;
            if Some(other.as_str()) == before || before.is_none() {
                return Err(format!("both sandboxes share one kernel ({other})"));
            }
            told.push("two kernels".into());
        }
        if self.private {
            let id = self.serve(second, spec).await?;
            let output = self.exec(&id, &["connect", &format!("{}:{PORT}", first.ip)]).await?;
            if output.exit_code != 7 {
                return Err(format!("one reaches the other's port (exit code {})", output.exit_code));
            }
            told.push("no connection between them".into());
        }
        Ok(Found::Holds(told.join(", ")))
    }

    async fn killed_after_grace(&self, id: String, sandbox: &Sandbox) -> Verdict {
        let begun = Instant::now();
        self.node.container_stop(id.clone(), GRACE).await.map_err(said)?;
        let took = begun.elapsed();
        let ended = self.exited(sandbox, &id).await?;
        self.node.container_remove(id).await.map_err(said)?;
        let detail = format!("grace {GRACE} s, ended after {} ms with {}", took.as_millis(), code(&ended));
        // Some runtimes deliver SIGTERM to a first process without a handler.
        if ended.exit_code == Some(143) {
            return Ok(Found::Nothing(format!("this runtime lets SIGTERM end the program ({detail})")));
        }
        let in_time = took >= Duration::from_secs(GRACE) && took < Duration::from_secs(GRACE + 10);
        holds(in_time && ended.exit_code == Some(137), detail)
    }

    /// Waits until a container has ended.
    async fn exited(&self, sandbox: &Sandbox, id: &str) -> Result<ObservedContainer, String> {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let seen = self.node.observe(sandbox.id.clone()).await.map_err(said)?.ok_or("the sandbox is gone")?;
            let container = seen.containers.into_iter().find(|container| container.id == id);
            match container {
                Some(container) if container.state == ContainerState::Exited => return Ok(container),
                other if Instant::now() >= end => {
                    return Err(format!("not seen as ended after 30 s: {:?}", other.map(|container| container.state)));
                }
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn ends(&self, sandbox: &Sandbox, spec: &SandboxSpec, args: &[&str]) -> Result<ObservedContainer, String> {
        let (id, _) = self.create(sandbox, spec, args).await?;
        self.node.container_start(id.clone()).await.map_err(said)?;
        let ended = self.exited(sandbox, &id).await?;
        self.node.container_remove(id).await.map_err(said)?;
        Ok(ended)
    }

    async fn crash(&self, sandbox: &Sandbox, spec: &SandboxSpec) -> Verdict {
        let ended = self.ends(sandbox, spec, &["exit", "7"]).await?;
        holds(ended.exit_code == Some(7), format!("{}, {}, wanted 7", ended.reason, code(&ended)))
    }

    async fn oom(&self, sandbox: &Sandbox, spec: &SandboxSpec) -> Verdict {
        let ended = self.ends(sandbox, spec, &["eat"]).await?;
        let detail = format!("{}, {}", ended.reason, code(&ended));
        holds(ended.reason == "OOMKilled", detail)
    }

    /// The control for `boot_id_survives_update`: a recreate does change the kernel.
    async fn recreate(&self, old: &Sandbox, spec: &SandboxSpec, before: Option<&str>) -> Verdict {
        self.node.sandbox_remove(old.id.clone(), spec.clone()).await.map_err(said)?;
        let spec = self.sandbox_spec(&spec.instance, spec.generation + 1);
        let new = self.sandbox(&spec).await?;
        let mut detail = format!("{} instead of {}", short(&new.id), short(&old.id));
        let mut good = new.id != old.id;
        if self.class == Class::Kata {
            let seen = self.node.isolation_probe(&new.id, &spec).await.map_err(said)?.evidence;
            good = good && before.is_some_and(|before| before != seen);
            detail.push_str(&format!("; {seen}"));
        }
        self.node.sandbox_remove(new.id, spec).await.map_err(said)?;
        holds(good, detail)
    }

    async fn nothing_left(&self) -> Verdict {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let listed = self.node.list().await.map_err(said)?;
            let mut left = leftovers(&self.data_dir);
            left.extend(listed.iter().map(|sandbox| format!("sandbox: {}", sandbox.id)));
            if left.is_empty() {
                return Ok(Found::Holds("no process, mount, cgroup, address, interface or log".into()));
            }
            if Instant::now() >= end {
                return Err(left.join("; "));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn exec_probe() -> ProbeAction {
    ProbeAction::Exec { command: vec![GUEST_PATH.into(), "exit".into(), "0".into()] }
}

/// Waits until the version answers on its address.
async fn answers(ip: IpAddr, version: u32) -> Result<(), String> {
    let end = Instant::now() + Duration::from_secs(15);
    let wanted = version.to_string();
    let mut last;
    loop {
        match tokio::time::timeout(Duration::from_secs(2), get(ip)).await {
            Ok(Ok(body)) if body == wanted => return Ok(()),
            Ok(Ok(body)) => last = format!("version {body:?} answers"),
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => last = "no answer within 2 s".into(),
        }
        if Instant::now() >= end {
            return Err(format!("version {wanted} does not answer on {ip}:{PORT}: {last}"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn get(ip: IpAddr) -> std::io::Result<String> {
    let mut stream = tokio::net::TcpStream::connect((ip, PORT)).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: conformance\r\n\r\n").await?;
    let mut text = Vec::new();
    stream.take(4096).read_to_end(&mut text).await?;
    let text = String::from_utf8_lossy(&text);
    Ok(text.rsplit("\r\n").next().unwrap_or_default().to_owned())
}

fn value_of(output: &ExecOutput, key: &str) -> Option<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=').map(|value| value.trim().to_owned()))
}

fn short(id: &str) -> String {
    id.chars().take(12).collect()
}
fn code(ended: &ObservedContainer) -> String {
    ended.exit_code.map_or_else(|| "no exit code".into(), |code| format!("exit code {code}"))
}

fn http_probe(path: &str) -> ProbeAction {
    ProbeAction::Http {
        port: PORT,
        path: path.into(),
        host: None,
        headers: std::collections::BTreeMap::new(),
        expect_status: vec![200],
    }
}
