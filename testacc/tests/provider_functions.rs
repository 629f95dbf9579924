//! The functions of the provider under the real terraform. They need no server and no provider block.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use sampan_testacc::{Terraform, require_terraform};
use serde_json::{Value, json};

const HEAD: &str = "terraform {\n  required_providers {\n    sampan = { source = \"sampan/sampan\" }\n  }\n}\n";

fn output(name: &str, call: &str) -> String {
    format!("output \"{name}\" {{\n  value = provider::sampan::{call}\n}}\n")
}

#[test]
fn every_function_of_the_provider_is_called_by_terraform() {
    if !require_terraform() {
        return;
    }
    let digest = format!("sha256:{}", "0a".repeat(32));
    let pinned = format!("registry.example/shop/cart@{digest}");
    let calls = [
        ("image", "parse_image(\"registry.example/shop/cart:1.4\").tag".to_owned(), json!("1.4")),
        ("pinned", format!("image_with_digest(\"registry.example/shop/cart:1.4\", \"{digest}\")"), json!(pinned)),
        ("amount", "parse_quantity(\"1.5Gi\")".to_owned(), json!(1_610_612_736_u64)),
        ("quantity", "format_quantity(0.25, \"m\")".to_owned(), json!("250m")),
        (
            "steps",
            "canary_steps(300, 5, 25)".to_owned(),
            json!([
                { "weight_percent": 5, "pause": { "duration_seconds": 300, "manual": null } },
                { "weight_percent": 25, "pause": { "duration_seconds": 300, "manual": null } },
            ]),
        ),
        (
            "next",
            "cron_next(\"0 8 * * 1-5\", \"Europe/Berlin\", \"2026-03-27T12:00:00Z\")".to_owned(),
            json!("2026-03-30T08:00:00+02:00"),
        ),
        ("env", "env_from_dotenv(\"A=1\\nB='two words'\\n\")".to_owned(), json!({ "A": "1", "B": "two words" })),
        ("parsed", "parse_id(\"shop/cart\")".to_owned(), json!({ "namespace": "shop", "name": "cart" })),
        ("id", "build_id(null, \"shop\")".to_owned(), json!("shop")),
    ];
    let terraform = Terraform::new();
    let text: String = calls.iter().map(|(name, call, _)| output(name, call)).collect();
    terraform.write("main.tf", &(HEAD.to_owned() + &text));
    terraform.apply(&[]);
    let outputs: Value = serde_json::from_str(&terraform.expect(&["output", "-json"], 0).stdout).unwrap();
    for (name, call, wanted) in &calls {
        assert_eq!(&outputs[name]["value"], wanted, "{call}");
    }
}

#[test]
fn a_wrong_argument_of_a_function_is_shown_at_its_place() {
    if !require_terraform() {
        return;
    }
    let terraform = Terraform::new();
    for (call, parameter, text) in [
        ("parse_image(\"cart\")", "image", "does not name a registry"),
        ("canary_steps(300, 50, 20)", "weight_percent", "Weights rise"),
        ("build_id(\"shop\", \"a/b\")", "name", "is no name"),
        ("cron_next(\"0 8 * * *\", \"Mars\", \"2026-03-27T12:00:00Z\")", "zone", "IANA"),
    ] {
        terraform.write("main.tf", &(HEAD.to_owned() + &output("x", call)));
        let run = terraform.expect(&["plan"], 1);
        // Lines are wrapped.
        let said = run.text().replace('\n', " ");
        assert!(said.contains(&format!("Invalid value for \"{parameter}\" parameter")), "{said}");
        assert!(said.contains(text.split(' ').next().unwrap()), "{said}");
    }
}
