//! The quickstart as a user runs it: apply, look, change, destroy.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::time::Duration;

use sampan_testacc::{Dev, Registry, push_hello, require, wait_for};
use serde_json::Value;

const NAMESPACE: &str = "quickstart";
const APPLICATION: &str = "hello";
const SECRET: &str = "7c1f-the-secret-value";

/// Name, sandbox id, container id, address of every instance.
fn identities(dev: &Dev) -> Vec<[String; 4]> {
    let text = |instance: &Value, key: &str| instance[key].as_str().unwrap_or_default().to_owned();
    let instances = dev.instances(NAMESPACE, APPLICATION);
    instances.iter().map(|i| ["name", "sandbox_id", "container_id", "ip"].map(|key| text(i, key))).collect()
}

fn answers(dev: &Dev, host: &str, path: &str) -> String {
    wait_for("an answer of the gateway", Duration::from_secs(20), || {
        let answer = dev.get(host, path)?;
        if answer.status == 200 { Ok(answer.text()) } else { Err(format!("{} {}", answer.status, answer.text())) }
    })
}

#[test]
fn the_quickstart_is_applied_changed_in_place_and_destroyed_without_a_trace() {
    if !require() {
        return;
    }
    let registry = Registry::start();
    let image = push_hello(&registry.address, "1", &[("VERSION", "1")]);
    let mut dev = Dev::start();
    let terraform = dev.terraform();
    terraform.copy("examples/quickstart");
    let image = format!("image={image}");
    let secret = format!("api_key={SECRET}");
    let first = [image.as_str(), secret.as_str()];
    let second = [image.as_str(), secret.as_str(), r#"env={VERSION="2"}"#];

    terraform.apply(&first);
    let host = terraform.output("hostnames")[0].as_str().unwrap().to_owned();
    let body: Value = serde_json::from_str(&answers(&dev, &host, "/")).unwrap();
    assert_eq!(body["version"], "1", "{body}");
    assert_eq!(answers(&dev, &host, "/env?name=API_KEY").trim(), SECRET);
    assert_eq!(terraform.plan_is_empty(&first), Ok(()));
    assert_eq!(terraform.refresh_is_empty(&first), Ok(()));
    assert!(!terraform.state().contains(SECRET), "the secret is in the state");
    let before = identities(&dev);
    assert_eq!(before.len(), 2, "{before:?}");
    assert!(before.iter().flatten().all(|id| !id.is_empty()), "{before:?}");

    let plan = terraform.plan(&second);
    let changes: Vec<&Value> = plan["resource_changes"].as_array().unwrap().iter().collect();
    let changed: Vec<&&Value> = changes.iter().filter(|c| c["change"]["actions"][0] != "no-op").collect();
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert_eq!(changed[0]["type"], "sampan_application");
    assert_eq!(changed[0]["change"]["actions"], serde_json::json!(["update"]));
    assert_eq!(changed[0]["change"]["after"]["last_change_class"], "in_place_restart", "{}", changed[0]);

    terraform.apply(&second);
    let body: Value = serde_json::from_str(&answers(&dev, &host, "/")).unwrap();
    assert_eq!(body["version"], "2", "{body}");
    let after = identities(&dev);
    assert_eq!(after.len(), before.len());
    for (old, new) in before.iter().zip(&after) {
        assert_eq!((&old[0], &old[1], &old[3]), (&new[0], &new[1], &new[3]), "name, sandbox and address stay");
        assert_ne!(old[2], new[2], "the container is a new one");
    }
    assert_eq!(terraform.plan_is_empty(&second), Ok(()));

    terraform.destroy(&second);
    assert_eq!(dev.get(&host, "/").map(|answer| answer.status), Ok(404));
    wait_for("a clean machine", Duration::from_secs(20), || {
        let left = sampan_node::leftovers(&dev.data_dir);
        if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
    });
    dev.stop();
    assert_eq!(sampan_node::leftovers(&dev.data_dir), Vec::<String>::new());
}
