//! The Registry pages say what the provider itself says, and the examples on them are valid.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::collections::BTreeMap;

use sampan_testacc::{Terraform, repository, require_terraform};
use serde_json::Value;

/// Path of an attribute -> where the page lists it, and its type.
type Attributes = BTreeMap<String, (String, String)>;

fn terraform() -> Option<Terraform> {
    require_terraform().then(Terraform::new)
}

fn of_type(ty: &Value) -> String {
    match ty {
        Value::Array(of) => {
            let collection = of[0].as_str().unwrap();
            format!("{}{} of {}", collection[..1].to_uppercase(), &collection[1..], of_type(&of[1]))
        }
        other => match other.as_str().unwrap() {
            "bool" => "Boolean".into(),
            word => format!("{}{}", word[..1].to_uppercase(), &word[1..]),
        },
    }
}

fn from_provider(attributes: &Value, below: &str, found: &mut Attributes) {
    for (name, attribute) in attributes.as_object().into_iter().flatten() {
        let path = if below.is_empty() { name.clone() } else { format!("{below}.{name}") };
        let is = |key: &str| attribute[key] == true;
        let group = if is("required") {
            "Required"
        } else if is("optional") {
            "Optional"
        } else {
            "Read-Only"
        };
        let nested = &attribute["nested_type"];
        let kind = match nested["nesting_mode"].as_str() {
            None => of_type(&attribute["type"]),
            Some("single") => "Attributes".into(),
            Some(mode) => format!("Attributes {}{}", mode[..1].to_uppercase(), &mode[1..]),
        };
        from_provider(&nested["attributes"], &path, found);
        found.insert(path, (group.into(), kind));
    }
}

fn from_page(page: &str) -> Attributes {
    let (mut found, mut group, mut below) = (Attributes::new(), String::new(), String::new());
    for line in page.lines() {
        if let Some(path) = line.strip_prefix("### Nested Schema for ") {
            below = path.trim_matches('`').to_owned() + ".";
        } else if let Some(title) = line.strip_prefix("### ").or(line.strip_suffix(':')) {
            group = title.to_owned();
        } else if let Some((name, rest)) = line.strip_prefix("- `").and_then(|rest| rest.split_once("` (")) {
            let end = rest.find([',', ')']).unwrap();
            found.insert(format!("{below}{name}"), (group.clone(), rest[..end].to_owned()));
        }
    }
    found
}

#[test]
fn the_pages_list_exactly_the_attributes_of_the_provider() {
    let Some(terraform) = terraform() else { return };
    terraform.write("main.tf", "terraform {\n required_providers {\n sampan = { source = \"sampan/sampan\" }\n }\n}\n");
    let shown = terraform.expect(&["providers", "schema", "-json"], 0).stdout;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let provider = shown["provider_schemas"].as_object().unwrap().values().next().unwrap();
    let mut pages = vec![("index.md".to_owned(), &provider["provider"])];
    let folders = [
        ("resource_schemas", "resources"),
        ("data_source_schemas", "data-sources"),
        ("ephemeral_resource_schemas", "ephemeral-resources"),
    ];
    for (schemas, folder) in folders {
        for (name, schema) in provider[schemas].as_object().unwrap() {
            pages.push((format!("{folder}/{}.md", name.trim_start_matches("sampan_")), schema));
        }
    }
    assert!(pages.len() > 10);
    let mut wrong = Vec::new();
    for (page, schema) in pages {
        let text = std::fs::read_to_string(repository().join("docs").join(&page)).unwrap_or_default();
        let (mut real, written) = (Attributes::new(), from_page(&text));
        from_provider(&schema["block"]["attributes"], "", &mut real);
        for (path, attribute) in &real {
            if written.get(path) != Some(attribute) {
                wrong.push(format!("docs/{page}: {path} is {attribute:?}, the page says {:?}", written.get(path)));
            }
        }
        for path in written.keys().filter(|path| !real.contains_key(*path)) {
            wrong.push(format!("docs/{page}: the provider has no {path}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_examples_on_the_pages_are_valid_together() {
    let Some(terraform) = terraform() else { return };
    let examples = repository().join("examples");
    let mut outputs = 0;
    for folder in ["provider", "resources", "data-sources", "functions", "ephemeral-resources"] {
        let mut files = vec![examples.join(folder).join("provider.tf")];
        for entry in std::fs::read_dir(examples.join(folder)).unwrap().flatten() {
            let names = ["resource.tf", "data-source.tf", "function.tf", "ephemeral-resource.tf"];
            files.extend(names.map(|file| entry.path().join(file)));
        }
        for file in files.iter().filter(|file| file.is_file()) {
            outputs += 1;
            terraform.write(&format!("{folder}-{outputs}.tf"), &std::fs::read_to_string(file).unwrap());
        }
    }
    assert!(outputs > 10);
    terraform.expect(&["validate"], 0);
}

#[test]
fn the_quickstart_is_valid() {
    let Some(terraform) = terraform() else { return };
    terraform.copy("examples/quickstart");
    terraform.expect(&["validate"], 0);
}
