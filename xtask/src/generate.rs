//! What is committed but made from the schema: OpenAPI, JSON Schema, the pages of the Terraform Registry.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sampan_schema::KINDS;
use sampan_schema::report::REPORTS;
use serde_json::{Map, Value};

use crate::page;

/// Folders in which every file is generated, so that one of a kind that is gone is noticed.
const WHOLE_FOLDERS: &[&str] = &[
    "docs/schemas",
    "docs/resources",
    "docs/data-sources",
    "docs/functions",
    "docs/ephemeral-resources",
    "docs/actions",
    "docs/list-resources",
    "docs/lint",
];

fn root() -> PathBuf {
    sampan_testacc::repository()
}

fn pretty(value: &Value) -> Result<String, String> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(|error| error.to_string())
}

/// Every generated file, by its path in the repository.
fn files(root: &Path) -> Result<BTreeMap<String, String>, String> {
    let example = |path: &str| -> Result<String, String> {
        let text = std::fs::read_to_string(root.join(path)).map_err(|error| format!("{path}: {error}"))?;
        Ok(text.trim_end().to_owned())
    };
    let mut files = BTreeMap::new();
    files.insert("docs/openapi.json".into(), pretty(&sampan_schema::openapi::document())?);
    files.insert("docs/index.md".into(), page::index(&example("examples/provider/provider.tf")?));
    let guide = "docs/guides/gray-releases.md";
    let text = std::fs::read_to_string(root.join(guide)).map_err(|error| format!("{guide}: {error}"))?;
    files.insert(guide.into(), crate::guide::gray_releases(&text).map_err(|error| format!("{guide}: {error}"))?);
    for kind in KINDS {
        let name = kind.name;
        let mut schema = Map::new();
        schema.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        schema.insert("title".into(), name.into());
        schema.extend(kind.spec_schema().as_object().cloned().unwrap_or_default());
        files.insert(format!("docs/schemas/{name}.json"), pretty(&Value::Object(schema))?);
        let resource = example(&format!("examples/resources/sampan_{name}/resource.tf"))?;
        let import = example(&format!("examples/resources/sampan_{name}/import.sh"))?;
        files.insert(format!("docs/resources/{name}.md"), page::resource(kind, &resource, &import));
        let data = example(&format!("examples/data-sources/sampan_{name}/data-source.tf"))?;
        files.insert(format!("docs/data-sources/{name}.md"), page::data_source(kind, &data));
    }
    for report in REPORTS {
        let data = example(&format!("examples/data-sources/sampan_{}/data-source.tf", report.name))?;
        files.insert(format!("docs/data-sources/{}.md", report.name), page::report(report, &data));
    }
    files.extend(crate::offer::pages(&example)?);
    files.extend(crate::lint::pages());
    Ok(files)
}

/// Files of the whole folders that nothing generates.
fn strays(root: &Path, files: &BTreeMap<String, String>) -> Vec<String> {
    let mut found = Vec::new();
    for folder in WHOLE_FOLDERS {
        for entry in std::fs::read_dir(root.join(folder)).into_iter().flatten().flatten() {
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if !files.contains_key(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Writes what differs, and removes strays.
pub fn write() -> Result<(), String> {
    let root = root();
    let files = files(&root)?;
    for stray in strays(&root, &files) {
        std::fs::remove_file(root.join(&stray)).map_err(|error| format!("{stray}: {error}"))?;
        crate::say(&format!("removed {stray}"));
    }
    for (path, content) in &files {
        let file = root.join(path);
        if std::fs::read_to_string(&file).is_ok_and(|old| old == *content) {
            continue;
        }
        let failed = |error: std::io::Error| format!("{path}: {error}");
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        std::fs::write(&file, content).map_err(failed)?;
        crate::say(&format!("wrote {path}"));
    }
    Ok(())
}

/// Says which files differ; changes nothing.
pub fn check() -> Result<(), String> {
    let root = root();
    let files = files(&root)?;
    let mut wrong: Vec<String> =
        strays(&root, &files).into_iter().map(|path| format!("{path}: not generated")).collect();
    for (path, content) in &files {
        match std::fs::read_to_string(root.join(path)) {
            Ok(old) if old == *content => {}
            Ok(old) => wrong.push(format!("{path}: differs from line {}", first_difference(&old, content))),
            Err(error) => wrong.push(format!("{path}: {error}")),
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!("{}\nrun `cargo xtask generate` and commit what it writes", wrong.join("\n")))
}

fn first_difference(old: &str, new: &str) -> usize {
    old.lines().zip(new.lines()).take_while(|(a, b)| a == b).count() + 1
}
