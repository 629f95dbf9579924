//! The network of a private containerd: CNI plugins, one bridge, ports that cannot reach each other.

use std::path::{Path, PathBuf};

use sampan_engine::runtime::RuntimeError;
use serde_json::{Value, json};

use crate::config::NodeError;
use crate::identity::{Identity, Subnet};

const PLUGINS: [&str; 4] = ["bridge", "host-local", "portmap", "loopback"];
const PLUGIN_FOLDERS: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];

/// The folder that holds all CNI plugins we need.
pub fn plugin_folder() -> Result<PathBuf, NodeError> {
    let missing = |folder: &str| PLUGINS.iter().find(|plugin| !Path::new(folder).join(plugin).is_file());
    if let Some(folder) = PLUGIN_FOLDERS.iter().find(|folder| missing(folder).is_none()) {
        return Ok(PathBuf::from(folder));
    }
    let best = PLUGIN_FOLDERS.iter().find(|folder| Path::new(folder).is_dir()).unwrap_or(&PLUGIN_FOLDERS[0]);
    let plugin = missing(best).copied().unwrap_or(PLUGINS[0]);
    Err(NodeError::CniPluginMissing { plugin: plugin.into(), searched: PLUGIN_FOLDERS.join(" and ") })
}

/// The network as a CNI configuration list.
pub fn conflist(identity: &Identity, subnet: Subnet) -> String {
    let list = json!({
        "cniVersion": "0.4.0",
        "name": identity.network(),
        "plugins": [
            {
                "type": "bridge", "bridge": identity.bridge(), "isGateway": true, "ipMasq": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": identity.ipam(),
                    "ranges": [[{"subnet": subnet.to_string()}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    });
    format!("{list:#}\n")
}

/// Networks the host routes already, by interface, from `/proc/net/route`. Default routes do not count.
pub fn routes(text: &str) -> Vec<(String, Subnet)> {
    let number = |field: Option<&str>| field.and_then(|hex| u32::from_str_radix(hex, 16).ok()).map(u32::swap_bytes);
    let parse = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let interface = fields.next()?.to_string();
        let base = number(fields.next())?;
        let mask = number(fields.nth(5))?;
        (mask != 0).then_some((interface, Subnet { base, bits: mask.leading_ones() as u8 }))
    };
    text.lines().skip(1).filter_map(parse).collect()
}

/// The subnet to use: the configured one, the one used before, or the first of our own choices that is free.
pub fn choose_subnet(identity: &Identity, configured: Option<&str>) -> Result<Subnet, NodeError> {
    let taken = routes(&std::fs::read_to_string("/proc/net/route").unwrap_or_default());
    let bridge = identity.bridge();
    let conflict = |subnet: Subnet| taken.iter().find(|(name, other)| *name != bridge && other.overlaps(subnet));
    let before = std::fs::read_to_string(identity.subnet_file()).ok().and_then(|text| Subnet::parse(&text));
    let fixed = match configured {
        Some(text) => Some(Subnet::parse(text).ok_or_else(|| NodeError::SubnetInvalid { subnet: text.into() })?),
        None => before,
    };
    if let Some(subnet) = fixed {
        return match conflict(subnet) {
            Some((name, other)) => Err(NodeError::SubnetTaken {
                subnet: subnet.to_string(),
                taken: format!("{other} of interface {name}"),
            }),
            None => Ok(subnet),
        };
    }
    (0..1024)
        .map(|attempt| identity.subnet(attempt))
        .find(|subnet| conflict(*subnet).is_none())
        .ok_or_else(|| NodeError::SubnetTaken { subnet: "10.64.0.0/10".into(), taken: "routes of this host".into() })
}

/// Host ends of a sandbox's interfaces, from the verbose status of the sandbox.
pub fn host_interfaces(info: &str) -> Vec<String> {
    let Ok(info) = serde_json::from_str::<Value>(info) else { return Vec::new() };
    let Some(interfaces) = info["cniResult"]["Interfaces"].as_object() else { return Vec::new() };
    interfaces
        .iter()
        .filter(|(name, value)| name.starts_with("veth") && value["Sandbox"].as_str().unwrap_or_default().is_empty())
        .map(|(name, _)| name.clone())
        .collect()
}

/// Forbids a bridge port to talk to other such ports; the bridge's own address stays reachable.
pub async fn isolate(interface: &str) -> Result<(), RuntimeError> {
    let plain = interface.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let file = Path::new("/sys/class/net").join(interface).join("brport/isolated");
    let failed = |detail: String| {
        RuntimeError::transient("NetworkNotIsolated", format!("port {interface} could not be isolated: {detail}"))
    };
    if !plain || interface.is_empty() {
        return Err(failed("not an interface name".into()));
    }
    if std::fs::write(&file, "1").is_err() {
        // Where /sys is read-only the same flag is set over netlink.
        let done = tokio::process::Command::new("bridge")
            .args(["link", "set", "dev", interface, "isolated", "on"])
            .output()
            .await
            .map_err(|error| failed(format!("neither {} nor `bridge` can be used: {error}", file.display())))?;
        if !done.status.success() {
            return Err(failed(String::from_utf8_lossy(&done.stderr).trim().to_string()));
        }
    }
    match std::fs::read_to_string(&file) {
        Ok(text) if text.trim() == "1" => Ok(()),
        Ok(_) => Err(failed("the kernel did not keep the flag".into())),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Interfaces attached to a bridge.
pub fn ports(bridge: &str) -> Vec<String> {
    std::fs::read_dir(Path::new("/sys/class/net").join(bridge).join("brif"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Deletes an interface. Gone already is success.
pub async fn delete_interface(name: &str) -> Result<(), String> {
    if !Path::new("/sys/class/net").join(name).exists() {
        return Ok(());
    }
    let done = tokio::process::Command::new("ip").args(["link", "delete", name]).output().await;
    match done {
        Ok(done) if done.status.success() || !Path::new("/sys/class/net").join(name).exists() => Ok(()),
        Ok(done) => Err(String::from_utf8_lossy(&done.stderr).trim().to_string()),
        Err(error) => Err(format!("`ip` cannot be run: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read_without_the_default_one() {
        let text = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                    eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                    eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                    junk\n";
        let found = routes(text);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0.as_str(), found[0].1.to_string().as_str()), ("eth0", "192.0.2.0/24"));
    }

    #[test]
    fn only_the_host_end_is_taken() {
        let info = r#"{"cniResult":{"Interfaces":{"eth0":{"Sandbox":"/x"},"lo":{"Sandbox":"/x"},
            "sampan0":{"Sandbox":""},"veth1a2b":{"Sandbox":""}}}}"#;
        assert_eq!(host_interfaces(info), ["veth1a2b"]);
        assert!(host_interfaces("{").is_empty());
        assert!(host_interfaces("{}").is_empty());
    }

    #[test]
    fn conflist_snapshot() {
        let identity = Identity::new(Path::new("/var/lib/sampan"));
        insta::assert_snapshot!(conflist(&identity, Subnet::parse("10.88.0.0/20").unwrap()));
    }
}
