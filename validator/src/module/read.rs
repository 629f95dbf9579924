//! Bounded reads.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Flavor, Overlay};

/// A longer file is not read: no configuration is that long.
pub const MAX_BYTES: u64 = 16 << 20;

/// The content of a regular file of at most [`MAX_BYTES`].
///
/// # Errors
/// A sentence for people: what is wrong and what to do.
pub fn read_bounded(path: &Path) -> Result<Vec<u8>, String> {
    read_up_to(path, MAX_BYTES)
}

/// The content of a regular file of at most `most` bytes.
///
/// # Errors
/// A sentence for people: what is wrong and what to do.
pub fn read_up_to(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("the file cannot be read: {error}");
    // A pipe would block when it is opened, so this is asked first.
    let meta = std::fs::metadata(path).map_err(failed)?;
    if !meta.is_file() {
        return Err("this is no regular file: rename it, or leave it out".into());
    }
    let too_long = |len: u64| format!("the file has {len} bytes, and at most {most} are read: split it");
    if meta.len() > most {
        return Err(too_long(meta.len()));
    }
    let mut text = Vec::with_capacity(meta.len() as usize);
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(most + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > most {
        return Err(too_long(text.len() as u64));
    }
    Ok(text)
}

/// Names of the configuration files in a folder, in the order in which Terraform reads them. Empty when there are none.
pub(super) fn configuration_files(folder: &Path, flavor: Flavor, overlay: &Overlay) -> std::io::Result<Vec<String>> {
    let mut names: BTreeSet<String> =
        overlay.names(folder).into_iter().filter(|name| is_configuration(name, flavor)).collect();
    for entry in std::fs::read_dir(folder)? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if is_configuration(&name, flavor) {
            names.insert(name);
        }
    }
    // `a.tofu` stands for `a.tf`, and `a.tofu.json` for `a.tf.json`.
    let replaced = |name: &String| {
        let other = name.replacen(".tf", ".tofu", 1);
        stem(name).is_some_and(|(_, kind)| kind == "tf") && names.contains(&other)
    };
    Ok(names.iter().filter(|name| !replaced(name)).cloned().collect())
}

/// Whether a file of that name is part of a module.
pub fn is_configuration(name: &str, flavor: Flavor) -> bool {
    let hidden = name.starts_with('.') || name.ends_with('~') || name.starts_with('#');
    !hidden && stem(name).is_some_and(|(_, kind)| kind == "tf" || flavor == Flavor::Tofu)
}

/// The name without its ending, and `tf` or `tofu`.
fn stem(name: &str) -> Option<(&str, &str)> {
    let plain = name.strip_suffix(".json").unwrap_or(name);
    ["tf", "tofu"].into_iter().find_map(|kind| Some((plain.strip_suffix(kind)?.strip_suffix('.')?, kind)))
}

pub(super) fn is_override(name: &str) -> bool {
    stem(name).is_some_and(|(stem, _)| stem == "override" || stem.ends_with("_override"))
}

/// Folder of each installed module, relative to the root, by its path of calls: `net.subnet`.
pub(super) fn installed(root: &Path) -> BTreeMap<String, PathBuf> {
    let text = read_bounded(&root.join(".terraform/modules/modules.json")).unwrap_or_default();
    let list: Value = serde_json::from_slice(&text).unwrap_or_default();
    let entries = list.get("Modules").and_then(Value::as_array).into_iter().flatten();
    let entry = |m: &Value| Some((m.get("Key")?.as_str()?.to_owned(), PathBuf::from(m.get("Dir")?.as_str()?)));
    entries.filter_map(entry).filter(|(key, dir)| !key.is_empty() && dir.is_relative()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_say_what_a_file_is() {
        assert_eq!(stem("a.tf"), Some(("a", "tf")));
        assert_eq!(stem("a.tofu.json"), Some(("a", "tofu")));
        assert_eq!(stem("a.tftest.hcl"), None);
        assert!(is_override("override.tf") && is_override("a_override.tf.json") && !is_override("my.tf"));
    }
}
