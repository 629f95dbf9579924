//! Removes whatever a node left on the machine, also after a kill -9; and lists what is still there.
//!
//! By CRI first, since only the runtime knows all of it; then by our own names, for what a damaged runtime left.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{NodeConfig, NodeError};
use crate::containerd::{self, Containerd};
use crate::cri::Cri;
use crate::identity::Identity;
use crate::image::OwnImage;
use crate::sandbox::LABEL_NODE;
use crate::{cgroup, network, proto};

const RUNC_STATE: &str = "/run/containerd/runc/k8s.io";
const SHIM_SOCKETS: &str = "/run/containerd/s";
const CNI_RESULTS: &str = "/var/lib/cni/results";

/// Removes whatever is left of the node of this data folder, containerd and bridge included. Idempotent.
/// Other files in the folder stay.
pub async fn teardown(data_dir: &Path) -> Result<(), NodeError> {
    if !rustix::process::geteuid().is_root() {
        return Err(NodeError::NotRoot);
    }
    if !data_dir.exists() {
        return Ok(());
    }
    let crate::Claim { identity, lock } = crate::Claim::of(data_dir)?;
    if identity.containerd_root().is_dir() {
        if let Err(error) = remove_by_cri(&identity).await {
            tracing::warn!(%error, "workloads could not be removed through containerd, they are removed one by one");
        }
    }
    if let Some(pid) = containerd::living_pid(&identity) {
        kill(&[pid]).await;
    }
    let ids = container_ids(&identity);
    kill(&shims(&identity, None)).await;
    kill(&cgroup::processes(&identity.cgroup_root())).await;
    for mount in mounts(&identity) {
        let _ = rustix::mount::unmount(&mount, rustix::mount::UnmountFlags::DETACH);
    }
    cgroup::remove(&identity.cgroup_root()).await;
    for path in
        runc_states(&identity).into_iter().chain(shim_sockets(&identity, &ids)).chain(cni_results(&identity, &ids))
    {
        remove(&path);
    }
    iptables_remove(&identity).await;
    for port in network::ports(&identity.bridge()) {
        let _ = network::delete_interface(&port).await;
    }
    network::delete_interface(&identity.bridge())
        .await
        .map_err(|detail| NodeError::Teardown { what: format!("bridge {}", identity.bridge()), detail })?;
    for folder in [identity.run(), identity.containerd_root(), identity.logs()] {
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(|error| NodeError::Teardown {
                what: folder.display().to_string(),
                detail: error.to_string(),
            })?;
        }
    }
    let _ = std::fs::remove_file(identity.lock_file());
    drop(lock);
    Ok(())
}

async fn remove_by_cri(identity: &Identity) -> Result<(), NodeError> {
    let own = OwnImage::build()?;
    let started = Containerd::start(identity, &NodeConfig::new(&identity.data_dir), &own).await?;
    let cri = Cri::new(&identity.socket());
    let result = remove_sandboxes(&cri, &identity.node()).await;
    started.stop().await;
    result
}

async fn remove_sandboxes(cri: &Cri, node: &str) -> Result<(), NodeError> {
    let failed = |error: sampan_engine::runtime::RuntimeError| NodeError::Teardown {
        what: "sandboxes".into(),
        detail: error.to_string(),
    };
    let listed = cri.list_pod_sandbox(proto::ListPodSandboxRequest::default()).await.map_err(failed)?.items;
    let mut result = Ok(());
    for item in listed.iter().filter(|item| item.labels.get(LABEL_NODE).is_some_and(|value| value == node)) {
        if let Err(error) = cri.stop_pod_sandbox(&item.id).await {
            tracing::warn!(sandbox = %item.id, %error, "the sandbox did not stop, it is removed by force");
        }
        if let Err(error) = cri.remove_pod_sandbox(&item.id).await {
            result = Err(failed(error));
        }
    }
    result
}

/// Traces of workloads of this data folder on the machine, each with its place. The bridge and containerd itself do
/// not count: they stay until [`teardown`].
pub fn leftovers(data_dir: &Path) -> Vec<String> {
    let identity = Identity::new(&data_dir.canonicalize().unwrap_or_else(|_| data_dir.to_path_buf()));
    let ids = container_ids(&identity);
    let mut found = Vec::new();
    let mut add =
        |what: &str, items: Vec<String>| found.extend(items.into_iter().map(|item| format!("{what}: {item}")));
    let text = |paths: Vec<PathBuf>| paths.into_iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
    add("shim process", shims(&identity, None).iter().map(ToString::to_string).collect());
    add("process", cgroup::processes(&identity.cgroup_root()).iter().map(ToString::to_string).collect());
    let instance_cgroups = cgroup::folders(&identity.cgroup_root())
        .into_iter()
        .flat_map(|root| std::fs::read_dir(root).into_iter().flatten().flatten())
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect();
    add("cgroup", text(instance_cgroups));
    add("mount", text(mounts(&identity)));
    add("address lease", text(leases(&identity)));
    add("CNI result", text(cni_results(&identity, &ids)));
    add("iptables rule", iptables_rules(&identity).into_iter().map(|rule| rule.join(" ")).collect());
    add("interface", network::ports(&identity.bridge()));
    add("runc state", text(runc_states(&identity)));
    add("shim socket", text(shim_sockets(&identity, &ids)));
    add("log", text(files_below(&identity.logs())));
    found
}

/// What of a node is on the machine besides workloads: containerd and the bridge. Empty after [`teardown`].
pub fn remains(data_dir: &Path) -> Vec<String> {
    let identity = Identity::new(&data_dir.canonicalize().unwrap_or_else(|_| data_dir.to_path_buf()));
    let mut found = leftovers(data_dir);
    found.extend(containerd::living_pid(&identity).map(|pid| format!("containerd: {pid}")));
    if Path::new("/sys/class/net").join(identity.bridge()).exists() {
        found.push(format!("bridge: {}", identity.bridge()));
    }
    found.extend(cgroup::folders(&identity.cgroup_root()).iter().map(|path| format!("cgroup: {}", path.display())));
    for path in [identity.run(), identity.containerd_root(), identity.logs()] {
        if path.exists() {
            found.push(format!("folder: {}", path.display()));
        }
    }
    found
}

fn names_in(folder: &Path) -> Vec<String> {
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(files_below(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

fn remove(path: &Path) {
    let _ = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
}

/// Ends the shim that a sandbox leaves although the runtime says that it is removed: a containerd that is killed while
/// it makes a sandbox knows nothing of the task afterwards, and lets go of the shim.
pub(crate) async fn sweep_shim(identity: &Identity, id: &str) {
    let mut left = shims(identity, Some(id));
    for _ in 0..25 {
        if left.is_empty() {
            break;
        }
        // The usual case: it is about to end.
        tokio::time::sleep(Duration::from_millis(20)).await;
        left = shims(identity, Some(id));
    }
    let bundle = identity.state().join("io.containerd.runtime.v2.task/k8s.io").join(id);
    if left.is_empty() && !bundle.exists() {
        return;
    }
    tracing::warn!(sandbox = id, shims = ?left, "the runtime forgot the shim of a removed sandbox, it is ended");
    kill(&left).await;
    for mount in mounts(identity).into_iter().filter(|mount| mount.starts_with(&bundle)) {
        let _ = rustix::mount::unmount(&mount, rustix::mount::UnmountFlags::DETACH);
    }
    for path in shim_sockets(identity, &BTreeSet::from([id.to_owned()])).into_iter().chain([bundle]) {
        remove(&path);
    }
}

/// Shim processes that report to our socket, of one sandbox or of all.
fn shims(identity: &Identity, id: Option<&str>) -> Vec<i32> {
    let socket = identity.socket();
    let socket = socket.as_os_str().as_encoded_bytes();
    let is_shim = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let program = words.first().copied().unwrap_or_default();
        let named =
            program.rsplit(|byte| *byte == b'/').next().is_some_and(|name| name.starts_with(b"containerd-shim"));
        let has = |flag: &[u8], value: &[u8]| words.windows(2).any(|pair| pair[0] == flag && pair[1] == value);
        named && has(b"-address", socket) && id.is_none_or(|id| has(b"-id", id.as_bytes()))
    };
    names_in(Path::new("/proc")).iter().filter_map(|name| name.parse().ok()).filter(is_shim).collect()
}

/// Ids of sandboxes and containers that left a trace.
fn container_ids(identity: &Identity) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for kind in ["io.containerd.runtime.v2.task/k8s.io", "io.containerd.grpc.v1.cri/sandboxes"] {
        found.extend(names_in(&identity.state().join(kind)));
    }
    for path in runc_states(identity) {
        found.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
    }
    let prefix = format!("{}-", identity.network());
    let sandboxes = names_in(Path::new(CNI_RESULTS));
    found.extend(
        sandboxes.iter().filter_map(|name| name.strip_prefix(&prefix)?.strip_suffix("-eth0")).map(String::from),
    );
    found
}

/// State folders of runc whose cgroup is ours.
fn runc_states(identity: &Identity) -> Vec<PathBuf> {
    let ours = format!("/{}/", identity.cgroup_root());
    let folder = Path::new(RUNC_STATE);
    names_in(folder)
        .into_iter()
        .map(|name| folder.join(name))
        .filter(|path| std::fs::read_to_string(path.join("state.json")).is_ok_and(|text| text.contains(&ours)))
        .collect()
}

/// Sockets of shims: named by the hash of containerd's address, the namespace and the id.
fn shim_sockets(identity: &Identity, ids: &BTreeSet<String>) -> Vec<PathBuf> {
    ids.iter()
        .map(|id| {
            let name = format!("{}/k8s.io/{id}", identity.socket().display());
            let hash = crate::identity::full_hash(name.as_bytes());
            Path::new(SHIM_SOCKETS).join(hash)
        })
        .filter(|path| path.exists())
        .collect()
}

/// Mounts under our run folder, the deepest first.
fn mounts(identity: &Identity) -> Vec<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let roots = [identity.run(), identity.containerd_root()];
    let mut found: Vec<PathBuf> = text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|path| PathBuf::from(path.replace("\\040", " ")))
        .filter(|path| roots.iter().any(|root| path.starts_with(root) && path != root))
        .collect();
    found.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    found
}

fn leases(identity: &Identity) -> Vec<PathBuf> {
    let folder = identity.ipam().join(identity.network());
    names_in(&folder)
        .into_iter()
        .filter(|name| name.parse::<std::net::IpAddr>().is_ok())
        .map(|name| folder.join(name))
        .collect()
}

/// What CNI keeps of each sandbox: one file for our network, and one for the loopback of ours.
fn cni_results(identity: &Identity, ids: &BTreeSet<String>) -> Vec<PathBuf> {
    let prefix = format!("{}-", identity.network());
    let folder = Path::new(CNI_RESULTS);
    let loopback_of_ours = |name: &str| {
        let id = name.strip_prefix("cni-loopback-").and_then(|rest| rest.strip_suffix("-lo"));
        id.is_some_and(|id| ids.contains(id))
    };
    names_in(folder)
        .into_iter()
        .filter(|name| name.starts_with(&prefix) || loopback_of_ours(name))
        .map(|name| folder.join(name))
        .collect()
}

/// Splits one line of `iptables -S`; values with spaces are in double quotes.
fn words(line: &str) -> Vec<String> {
    let (mut found, mut word, mut quoted, mut escaped, mut any) = (Vec::new(), String::new(), false, false, false);
    for character in line.chars() {
        match character {
            _ if escaped => {
                word.push(character);
                escaped = false;
            }
            '\\' if quoted => escaped = true,
            '"' => {
                quoted = !quoted;
                any = true;
            }
            ' ' if !quoted => {
                if any || !word.is_empty() {
                    found.push(std::mem::take(&mut word));
                }
                any = false;
            }
            _ => word.push(character),
        }
    }
    if any || !word.is_empty() {
        found.push(word);
    }
    found
}

/// Rules of the nat table whose comment names our network.
fn rules_of(listing: &str, network: &str) -> Vec<Vec<String>> {
    let name = format!("name: \"{network}\"");
    listing
        .lines()
        .filter(|line| line.starts_with("-A "))
        .map(words)
        .filter(|rule| rule.iter().any(|word| word.contains(&name)))
        .collect()
}

fn iptables_rules(identity: &Identity) -> Vec<Vec<String>> {
    let Some(program) = containerd::find_program("iptables") else { return Vec::new() };
    let output = std::process::Command::new(program).args(["-w", "5", "-t", "nat", "-S"]).output();
    let text = output.map(|done| String::from_utf8_lossy(&done.stdout).into_owned()).unwrap_or_default();
    rules_of(&text, &identity.network())
}

async fn iptables_remove(identity: &Identity) {
    let Some(program) = containerd::find_program("iptables") else { return };
    let mut chains = BTreeSet::new();
    let run = async |arguments: Vec<String>| {
        let mut command = tokio::process::Command::new(&program);
        command.args(["-w", "5", "-t", "nat"]).args(arguments);
        let _ = command.output().await;
    };
    for mut rule in iptables_rules(identity) {
        // The jump into a chain of one container, or a rule inside it.
        let target = rule.iter().position(|word| word == "-j").and_then(|at| rule.get(at + 1)).cloned();
        let own = [target, rule.get(1).cloned()];
        chains.extend(own.into_iter().flatten().filter(|name| is_container_chain(name)));
        "-D".clone_into(&mut rule[0]);
        run(rule).await;
    }
    for chain in &chains {
        run(vec!["-F".into(), chain.clone()]).await;
    }
    for chain in &chains {
        run(vec!["-X".into(), chain.clone()]).await;
    }
}

/// `CNI-<hash>` and `CNI-DN-<hash>` belong to one container; the others of CNI are shared.
fn is_container_chain(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("CNI-") else { return false };
    let rest = rest.strip_prefix("DN-").unwrap_or(rest);
    rest.len() >= 16 && rest.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Kills processes and waits a little until they are gone.
async fn kill(pids: &[i32]) {
    for pid in pids.iter().filter_map(|pid| rustix::process::Pid::from_raw(*pid)) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    for _ in 0..100 {
        let living = |pid: &i32| {
            std::fs::read_to_string(format!("/proc/{pid}/stat"))
                .is_ok_and(|text| !text.rsplit(") ").next().unwrap_or_default().starts_with('Z'))
        };
        if !pids.iter().any(living) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = r#"-P POSTROUTING ACCEPT
-N CNI-0123456789abcdef01234567
-A POSTROUTING -s 10.88.0.2/32 -m comment --comment "name: \"sampan-aa\" id: \"c1\"" -j CNI-0123456789abcdef01234567
-A POSTROUTING -s 10.89.0.2/32 -m comment --comment "name: \"other\" id: \"c2\"" -j CNI-ffff456789abcdef01234567
-A CNI-0123456789abcdef01234567 -d 10.88.0.0/20 -m comment --comment "name: \"sampan-aa\" id: \"c1\"" -j ACCEPT"#;

    #[test]
    fn only_rules_of_our_network_are_ours() {
        let rules = rules_of(LISTING, "sampan-aa");
        assert_eq!(rules.len(), 2);
        assert_eq!(rules[0][6], "--comment");
        assert_eq!(rules[0][7], r#"name: "sampan-aa" id: "c1""#);
        assert_eq!(rules[0].last().map(String::as_str), Some("CNI-0123456789abcdef01234567"));
    }

    #[test]
    fn shared_chains_are_not_of_one_container() {
        assert!(is_container_chain("CNI-0123456789abcdef01234567"));
        assert!(is_container_chain("CNI-DN-0123456789abcdef0"));
        assert!(!is_container_chain("CNI-HOSTPORT-DNAT"));
        assert!(!is_container_chain("ACCEPT"));
    }

    #[test]
    fn words_keep_quoted_text_together() {
        assert_eq!(words(r#"a "b c" "" d\e "#), ["a", "b c", "", r"d\e"]);
    }
}
