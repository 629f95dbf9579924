//! Files that changed since a commit, as git says: those that differ from where this branch left it, and new ones.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// For one call of git.
const DEADLINE: Duration = Duration::from_mins(1);

/// Absolute paths of the files in the repository around `folder` that differ from `reference`. Deleted ones are none.
///
/// # Errors
/// A sentence for people, with what git says.
pub fn since(reference: &str, folder: &Path) -> Result<BTreeSet<PathBuf>, String> {
    // It would be an option of git.
    if reference.is_empty() || reference.starts_with('-') {
        return Err(format!("--changed-since {reference}: name a commit, such as origin/main"));
    }
    let top = PathBuf::from(text(git(folder, &["rev-parse", "--show-toplevel"])?).trim_end_matches('\n'));
    // What others did since the branch began is not a change of this one.
    let base = git(&top, &["merge-base", reference, "HEAD"]).map(|id| text(id).trim().to_owned());
    let base = base.unwrap_or_else(|_| reference.to_owned());
    let changed = git(&top, &["diff", "--name-only", "-z", "--no-renames", "--no-ext-diff", &base, "--"])?;
    let new = git(&top, &["ls-files", "--others", "--exclude-standard", "-z"])?;
    let names = changed.split(|byte| *byte == 0).chain(new.split(|byte| *byte == 0)).filter(|name| !name.is_empty());
    Ok(names.filter_map(|name| top.join(path(name)).canonicalize().ok()).collect())
}

fn path(name: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    std::ffi::OsStr::from_bytes(name).into()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What git prints.
fn git(folder: &Path, arguments: &[&str]) -> Result<Vec<u8>, String> {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("--changed-since needs git: {error}"))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut stdout, mut stderr) = (Vec::new(), String::new());
        let _ = out.map(|mut pipe| pipe.read_to_end(&mut stdout));
        let _ = err.map(|mut pipe| pipe.read_to_string(&mut stderr));
        let _ = send.send((stdout, stderr));
    });
    let said = receive.recv_timeout(DEADLINE);
    if said.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| format!("git {}: {error}", arguments.join(" ")))?;
    match said {
        Ok((stdout, _)) if status.success() => Ok(stdout),
        Ok((_, stderr)) => Err(format!("git {}: {}", arguments.join(" "), stderr.trim())),
        Err(_) => Err(format!("git {} did not end within {} seconds", arguments.join(" "), DEADLINE.as_secs())),
    }
}
