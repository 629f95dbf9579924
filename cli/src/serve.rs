//! What `dev` and `server` share: start, the ready line, stop, teardown.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use sampan_node::{Node, NodeConfig, NodeError};
use sampan_server::{Config, Server};
use serde_json::json;

use crate::error::Failure;
use crate::output::Output;
use crate::progress::{self, say};
use crate::signals::Signals;

/// Flags of both verbs.
#[derive(Debug, clap::Args)]
pub struct Serving {
    /// Address of the API; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:7080", value_name = "ADDR")]
    pub api: SocketAddr,
    /// Address of the gateway; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:7081", value_name = "ADDR")]
    pub gateway: SocketAddr,
    /// Socket of a running CRI runtime; without it a private containerd is started.
    #[arg(long, value_parser = cri_endpoint, value_name = "unix:///SOCKET")]
    pub cri_endpoint: Option<String>,
    /// Isolation class of applications that name none.
    #[arg(long, value_parser = class_name, value_name = "CLASS")]
    pub isolation_class: Option<String>,
    /// Registry that is spoken to over plain HTTP and may have a private address, as written in images; may be repeated.
    #[arg(long, value_parser = registry, value_name = "HOST[:PORT]")]
    pub insecure_registry: Vec<String>,
    /// Host that analyses may ask although it has a private address, as written in their url; may be repeated.
    #[arg(long, value_parser = host, value_name = "HOST[:PORT]")]
    pub allow_egress: Vec<String>,
    /// Subnet of the sandboxes, an IPv4 network with a prefix of 16 to 28 bits; without it a free one is chosen.
    #[arg(long, value_parser = subnet, value_name = "CIDR")]
    pub subnet: Option<String>,
    /// Runtime handler of an isolation class, such as kata=kata-qemu; may be repeated.
    #[arg(long, value_parser = handler, value_name = "CLASS=HANDLER")]
    pub handler: Vec<(String, String)>,
    /// Remove what an earlier run left on this host, also after kill -9, and end. Objects stay.
    #[arg(long)]
    pub teardown: bool,
}

/// A socket as `unix:///path` or `/path`.
pub fn cri_endpoint(text: &str) -> Result<String, String> {
    let path = text.strip_prefix("unix://").unwrap_or(text);
    if path.starts_with('/') { Ok(format!("unix://{path}")) } else { Err("must be unix:///path/of/socket".into()) }
}

/// A host as it is written in an address.
fn host(text: &str) -> Result<String, String> {
    let is_written = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    if !text.is_empty() && text.chars().all(is_written) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("must be host or host:port, such as prometheus.example.com:9090, without scheme and path".into())
    }
}

/// A registry as it is written in an image.
fn registry(text: &str) -> Result<String, String> {
    // The grammar of images is the only one there is: with a path and a tag it must be one.
    match sampan_schema::image_ref::parse(&format!("{text}/x:1")) {
        Ok(image) if image.host == text => Ok(text.to_owned()),
        _ => Err("must be host or host:port as in an image, such as 10.0.0.5:5000, without scheme and path".into()),
    }
}

fn subnet(text: &str) -> Result<String, String> {
    let wrong = || "must be an IPv4 network with a prefix of 16 to 28 bits, such as 10.88.0.0/20".to_owned();
    let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
    let address: std::net::Ipv4Addr = address.parse().map_err(|_| wrong())?;
    let prefix: u32 = prefix.parse().map_err(|_| wrong())?;
    let inside = (16..=28).contains(&prefix) && address.to_bits() << prefix == 0;
    if inside { Ok(text.to_owned()) } else { Err(wrong()) }
}

fn handler(text: &str) -> Result<(String, String), String> {
    let (class, handler) = text.split_once('=').ok_or("must be CLASS=HANDLER, such as kata=kata-qemu")?;
    let class = class_name(class)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if handler.is_empty() || !handler.bytes().all(plain) {
        return Err("the handler must be a name of the container runtime's configuration".into());
    }
    Ok((class, handler.to_owned()))
}

fn class_name(text: &str) -> Result<String, String> {
    if sampan_schema::name::is_name(text) {
        Ok(text.to_owned())
    } else {
        Err("must be the name of a class, such as kata, gvisor or runc".into())
    }
}

/// Serves until a signal comes. `dev` also says that workloads end with the server.
pub async fn run(data_dir: PathBuf, serving: Serving, dev: bool, out: &mut Output) -> Result<ExitCode, Failure> {
    if data_dir.as_os_str().is_empty() {
        return Err(Failure::Usage("--data-dir is empty: name a folder".into()));
    }
    if serving.teardown {
        return teardown(&data_dir, serving.cri_endpoint).await;
    }
    let mut signals = Signals::new()?;
    let verb = if dev { "dev" } else { "server" };
    let hint = format!("`sampan {verb} --data-dir {} --teardown` cleans up", data_dir.display());
    let config = Config {
        api: serving.api,
        gateway: serving.gateway,
        cri_endpoint: serving.cri_endpoint,
        isolation_class: serving.isolation_class,
        dev,
        insecure_registries: serving.insecure_registry,
        egress_allowed: serving.allow_egress,
        subnet: serving.subnet,
        handlers: serving.handler.into_iter().collect(),
        ..Config::new(&data_dir)
    };
    let what = "starting the container runtime and checking isolation classes";
    let mut starting = pin!(progress::during(what, Server::start(config)));
    let mut asked = false;
    let server = loop {
        tokio::select! {
            started = &mut starting => break started?,
            signal = signals.next() => {
                if asked {
                    return Ok(cut_off(signal, &hint));
                }
                // A start that is cut off could leave a containerd behind, so it is finished first.
                asked = true;
                say(&format!("{signal}: stopping as soon as the start is through; once more to end at once"));
            }
        }
    };
    if !asked {
        for notice in &server.notices {
            say(&format!("notice: {notice}"));
        }
        let ready = json!({
            "event": "ready",
            "api": format!("http://{}", server.api),
            "gateway": format!("http://{}", server.gateway),
            "token_file": server.token_file.to_string_lossy(),
        });
        // Nobody may be listening, which is no reason not to serve.
        if let Err(failure) = out.line(&ready.to_string()) {
            tracing::warn!(%failure, "ready line");
        }
        let signal = signals.next().await;
        say(&format!("{signal}: stopping"));
    }
    let what = if dev { "removing instances and the container runtime" } else { "stopping" };
    let mut stopping = pin!(progress::during(what, server.stop()));
    tokio::select! {
        stopped = &mut stopping => match stopped {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(error) => Err(Failure::Failed(format!("the stop is incomplete: {error}; {hint}"))),
        },
        signal = signals.next() => Ok(cut_off(signal, &hint)),
    }
}

fn cut_off(signal: &str, hint: &str) -> ExitCode {
    say(&format!("{signal}: ended at once; {hint}"));
    ExitCode::from(130)
}

async fn teardown(data_dir: &Path, cri_endpoint: Option<String>) -> Result<ExitCode, Failure> {
    if !data_dir.exists() {
        say(&format!("nothing to remove: {} does not exist", data_dir.display()));
        return Ok(ExitCode::SUCCESS);
    }
    progress::during("removing instances, the container runtime and its network", async {
        if let Some(endpoint) = cri_endpoint {
            let mut config = NodeConfig::new(data_dir);
            config.cri_endpoint = Some(endpoint);
            // No class is needed to remove what is there.
            config.handlers.clear();
            Node::start(config).await?.shutdown(true).await?;
        }
        remove(data_dir).await
    })
    .await?;
    let left = sampan_node::remains(data_dir);
    if !left.is_empty() {
        return Err(Failure::Failed(format!("this is still there: {}", left.join("; "))));
    }
    say(&format!("removed what was left of {}; objects and tokens in it stay", data_dir.display()));
    Ok(ExitCode::SUCCESS)
}

/// As [`sampan_node::teardown`], with a few seconds for a node of this process to let go of the folder.
pub async fn remove(data_dir: &Path) -> Result<(), NodeError> {
    for _ in 0..20 {
        match sampan_node::teardown(data_dir).await {
            Err(NodeError::DataDirLocked { .. }) => tokio::time::sleep(Duration::from_millis(100)).await,
            other => return other,
        }
    }
    sampan_node::teardown(data_dir).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_registries_subnets_and_handlers_are_checked_before_anything_starts() {
        for good in ["10.0.0.5:5000", "registry.example.com", "localhost"] {
            assert_eq!(registry(good).as_deref(), Ok(good));
        }
        for bad in ["", "http://r.example", "r.example/team", "r.example:x", "registry", "a b.c"] {
            assert!(registry(bad).is_err(), "{bad}");
        }
        for good in ["10.0.0.5:9090", "prometheus.example.com", "[fd00::1]:9090", "prometheus"] {
            assert_eq!(host(good).as_deref(), Ok(good));
        }
        for bad in ["", "http://h.example", "h.example/path", "u@h.example", "a b"] {
            assert!(host(bad).is_err(), "{bad}");
        }
        for good in ["10.88.0.0/20", "192.168.7.16/28", "172.16.0.0/16"] {
            assert_eq!(subnet(good).as_deref(), Ok(good));
        }
        for bad in ["", "10.0.0.0", "10.0.0.0/8", "10.0.0.0/29", "10.0.0.1/20", "fd00::/64", "10.0.0.0/20x"] {
            assert!(subnet(bad).is_err(), "{bad}");
        }
        assert_eq!(handler("kata=kata-qemu"), Ok(("kata".into(), "kata-qemu".into())));
        for bad in ["", "kata", "=x", "kata=", "Kata=x", "kata=a b", "kata=a\"b"] {
            assert!(handler(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn endpoints_are_sockets() {
        assert_eq!(cri_endpoint("/run/x.sock").as_deref(), Ok("unix:///run/x.sock"));
        assert_eq!(cri_endpoint("unix:///run/x.sock").as_deref(), Ok("unix:///run/x.sock"));
        for bad in ["", "unix://x", "tcp://1.2.3.4:5", "x.sock"] {
            assert!(cri_endpoint(bad).is_err(), "{bad}");
        }
    }
}
