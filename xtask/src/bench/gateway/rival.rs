//! The proxies, each in one process pinned to one core.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sampan_testacc::process::{self, Process};
use sampan_testacc::wait_for;

use super::serve;

const START: Duration = Duration::from_secs(10);

pub struct Rival {
    pub address: SocketAddr,
    process: Process,
}

impl Rival {
    /// How long its threads have run.
    pub fn cpu_seconds(&self) -> Result<f64, String> {
        let unknown = |error| format!("no CPU time of process {}: {error}", self.process.id());
        let mut nanoseconds = 0.0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.process.id())).map_err(unknown)? {
            let text = std::fs::read_to_string(task.map_err(unknown)?.path().join("schedstat")).map_err(unknown)?;
            nanoseconds += text.split(' ').next().and_then(|word| word.parse::<f64>().ok()).unwrap_or_default();
        }
        Ok(nanoseconds / 1e9)
    }

    /// Waits until it accepts connections.
    fn start(name: &str, command: &mut Command, address: SocketAddr) -> Self {
        let mut process = Process::start(name, command);
        wait_for(name, START, || match (process.ended(), TcpStream::connect(address)) {
            (Some(_), _) => Err(process.output()),
            (None, connected) => connected.map_err(|error| error.to_string()),
        });
        Self { address, process }
    }
}

/// On one core.
fn pinned(program: &Path, core: u32) -> Command {
    let taskset = process::find("taskset").unwrap_or_else(|| "taskset".into());
    let mut command = Command::new(taskset);
    command.args(["-c", &core.to_string()]).arg(program);
    command
}

/// A command of a program that was looked for before.
pub fn command(program: &str, core: u32) -> Command {
    pinned(&process::find(program).unwrap_or_else(|| program.into()), core)
}

/// A port that nobody uses just now.
fn free() -> Result<SocketAddr, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    listener.and_then(|listener| listener.local_addr()).map_err(|error| format!("no free port: {error}"))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Without a master process the worker is the process itself: the end of one is the end of both.
fn nginx_with(folder: &Path, name: &str, core: u32, http: impl Fn(SocketAddr) -> String) -> Result<Rival, String> {
    let (address, settings) = (free()?, folder.join(format!("{name}.conf")));
    let text = format!(
        "daemon off;\nmaster_process off;\nworker_processes 1;\nuser root;\npid {name}.pid;\nerror_log stderr crit;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; keepalive_requests 1000000000; server_tokens off;\n{} }}\n",
        http(address)
    );
    write(&settings, &text)?;
    let mut nginx = command("nginx", core);
    nginx.arg("-p").arg(folder).arg("-c").arg(&settings).args(["-e", "stderr"]);
    Ok(Rival::start(name, &mut nginx, address))
}

/// Answers with 12 bytes.
pub fn upstream(folder: &Path, core: u32) -> Result<Rival, String> {
    nginx_with(folder, "upstream", core, |address| {
        format!("server {{ listen {address}; location / {{ return 200 \"hello bench\\n\"; }} }}")
    })
}

pub fn nginx(folder: &Path, upstream: SocketAddr, core: u32) -> Result<Rival, String> {
    nginx_with(folder, "nginx", core, |address| {
        format!(
            "upstream app {{ server {upstream}; keepalive 64; keepalive_requests 1000000000; }}\n\
             server {{ listen {address}; location / {{\n\
             proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
             proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr;\n\
             proxy_set_header X-Forwarded-Proto http; proxy_set_header X-Forwarded-Host $http_host;\n\
             add_header x-sampan-revision r1; }} }}"
        )
    })
}

pub fn haproxy(folder: &Path, upstream: SocketAddr, core: u32) -> Result<Rival, String> {
    let (address, settings) = (free()?, folder.join("haproxy.cfg"));
    let text = format!(
        "global\n  nbthread 1\n  maxconn 1024\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
         listen app\n  bind {address}\n  http-reuse always\n  option forwardfor\n\
         \x20 http-request set-header x-forwarded-proto http\n\
         \x20 http-request set-header x-forwarded-host %[req.hdr(host)]\n\
         \x20 http-response set-header x-sampan-revision r1\n  server upstream {upstream}\n"
    );
    write(&settings, &text)?;
    Ok(Rival::start("haproxy", command("haproxy", core).args(["-db", "-f"]).arg(&settings), address))
}

/// The gateway, served by this program.
pub fn gateway(upstream: SocketAddr, core: u32) -> Result<Rival, String> {
    let program = std::env::current_exe().map_err(|error| format!("xtask does not know its own path: {error}"))?;
    let mut process = Process::start("gateway", pinned(&program, core).args(["bench-gateway", &upstream.to_string()]));
    let address = process.wait_line(START, |line| line.strip_prefix(serve::READY)?.trim().parse().ok());
    Ok(Rival { address, process })
}
