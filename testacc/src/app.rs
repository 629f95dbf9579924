//! One application with its namespace and its route, as Terraform keeps it. Tests change its settings one by one.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::{Dev, Terraform, wait_for};

/// The names of the resources are those that the provider proposes in its import blocks.
const MAIN: &str = r#"
terraform {
  required_providers {
    sampan = { source = "sampan/sampan" }
  }
}
provider "sampan" {}
variable "image" { type = string }
variable "env" { type = map(string) }
variable "replicas" { type = number }
variable "cpu" { type = string }
variable "description" { type = string }
variable "labels" { type = map(string) }
variable "drain" { type = number }
variable "grace" { type = number }
variable "port" { type = number }
variable "deadline" { type = number }
resource "sampan_namespace" "NAME" {
  name = "NAME"
}
resource "sampan_application" "NAME" {
  namespace       = sampan_namespace.NAME.name
  name            = "NAME"
  description     = var.description
  labels          = var.labels
  isolation_class = "runc"
  replicas        = var.replicas
  resources       = { cpu = var.cpu, memory = "64Mi" }
  container = {
    image  = var.image
    env    = var.env
    probes = { readiness = { http_get = { path = "/healthz", port = "http" }, period_seconds = 1 } }
  }
  network = { ports = { http = { container_port = var.port, protocol = "HTTP" } } }
  update_strategy = { progress_deadline_seconds = var.deadline }
  # policy
  lifecycle_hooks = {
    termination_grace_period_seconds = var.grace
    offline                          = { drain_timeout_seconds = var.drain }
  }
}
resource "sampan_route" "NAME" {
  namespace  = sampan_namespace.NAME.name
  name       = "NAME"
  visibility = "public"
  hostnames  = ["NAME.test"]
  rules      = [{ name = "all", backends = [{ application = sampan_application.NAME.name, port = "http" }] }]
}
"#;

/// One application in a Terraform workspace of its own.
#[derive(Debug)]
pub struct App {
    pub name: String,
    pub terraform: Terraform,
    settings: Map<String, Value>,
}

/// What the API says about one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    pub name: String,
    pub sandbox: String,
    pub container: String,
    pub ip: String,
    pub revision: String,
    pub phase: String,
    pub ready: bool,
}

impl Instance {
    /// What stays when a container is replaced in place.
    pub fn place(&self) -> (&str, &str, &str) {
        (&self.name, &self.sandbox, &self.ip)
    }
}

impl App {
    /// Two instances; nothing is applied yet. Namespace and application are called `name`, its host is `name.test`.
    pub fn new(dev: &Dev, name: &str, image: &str) -> Self {
        Self::written(dev, name, image, &MAIN.replace("NAME", name))
    }

    /// As [`App::new`], with a gray policy called `name`. `policy` are its attributes in HCL, without namespace and name.
    pub fn with_policy(dev: &Dev, name: &str, image: &str, policy: &str) -> Self {
        let reference = format!("gray_policy = sampan_gray_policy.{name}.name");
        let app = Self::written(dev, name, image, &MAIN.replace("NAME", name).replace("# policy", &reference));
        app.set_policy(policy);
        app
    }

    /// Other attributes of its gray policy; the next apply has them.
    pub fn set_policy(&self, policy: &str) {
        let name = &self.name;
        let text = format!(
            "resource \"sampan_gray_policy\" \"{name}\" {{\n  namespace = sampan_namespace.{name}.name\n  \
             name      = \"{name}\"\n{policy}\n}}\n"
        );
        self.terraform.write("policy.tf", &text);
    }

    fn written(dev: &Dev, name: &str, image: &str, main: &str) -> Self {
        let terraform = dev.terraform();
        terraform.write("main.tf", main);
        let settings = json!({
            "image": image, "env": {}, "replicas": 2, "cpu": "500m", "description": "as it began",
            "labels": {}, "drain": 15, "grace": 30, "port": 8080, "deadline": 120,
        });
        let settings = settings.as_object().cloned().unwrap_or_default();
        let app = Self { name: name.to_owned(), terraform, settings };
        app.save();
        app
    }

    fn save(&self) {
        self.terraform.write("settings.auto.tfvars.json", &Value::Object(self.settings.clone()).to_string());
    }

    /// Changes one variable; the next apply has it.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.settings.insert(key.to_owned(), value.into());
        self.save();
    }

    pub fn apply(&self) {
        self.terraform.apply(&[]);
    }

    pub fn host(&self) -> String {
        format!("{}.test", self.name)
    }

    fn path(&self) -> String {
        format!("/v1/namespaces/{0}/applications/{0}", self.name)
    }

    /// How far the newest release is, as the API shows it.
    pub fn rollout(&self, dev: &Dev) -> Value {
        dev.api("GET", &format!("{}/rollout", self.path()), &Value::Null).json()
    }

    /// As [`App::release_as`], of another image.
    ///
    /// # Panics
    /// When it is refused, or does not succeed within the deadline.
    pub fn release(&self, dev: &Dev, image: &str, deadline: Duration) {
        self.release_as(dev, image, deadline, |spec| spec["container"]["image"] = image.into());
    }

    /// A release past Terraform, for speed: a change of the spec by `PUT`, and the wait for the end of its operation.
    ///
    /// # Panics
    /// When it is refused, or does not succeed within the deadline.
    pub fn release_as(&self, dev: &Dev, what: &str, deadline: Duration, change: impl FnOnce(&mut Value)) {
        let mut spec = self.object(dev);
        let generation = spec["generation"].to_string();
        for computed in ["id", "uid", "generation", "create_time", "update_time", "status"] {
            spec.as_object_mut().and_then(|spec| spec.remove(computed));
        }
        change(&mut spec);
        let answer = dev.api_with("PUT", &self.path(), &[("if-match", &generation)], &spec);
        let id = answer.json()["operation"]["id"].as_str().unwrap_or_default().to_owned();
        assert!(!id.is_empty(), "PUT of {what} has begun nothing: {} {}", answer.status, answer.text());
        wait_for(&format!("the release of {what}"), deadline, || {
            let operation = dev.api("GET", &format!("/v1/operations/{id}"), &Value::Null).json();
            match operation["phase"].as_str() {
                Some("Succeeded") => Ok(()),
                Some("Pending" | "Running") => Err(operation.to_string()),
                _ => panic!("the release of {what} did not succeed: {operation}"),
            }
        });
    }

    /// The application as the API shows it; null when there is none.
    pub fn object(&self, dev: &Dev) -> Value {
        let answer = dev.api("GET", &self.path(), &Value::Null);
        if answer.status == 200 { answer.json() } else { Value::Null }
    }

    /// Revision of the last release that succeeded.
    pub fn revision(&self, dev: &Dev) -> String {
        self.object(dev)["status"]["current_revision"].as_str().unwrap_or_default().to_owned()
    }

    /// Sorted by name.
    pub fn instances(&self, dev: &Dev) -> Vec<Instance> {
        let text = |of: &Value, key: &str| of[key].as_str().unwrap_or_default().to_owned();
        let all = dev.instances(&self.name, &self.name);
        all.iter()
            .map(|i| Instance {
                name: text(i, "name"),
                sandbox: text(i, "sandbox_id"),
                container: text(i, "container_id"),
                ip: text(i, "ip"),
                revision: text(i, "revision"),
                phase: text(i, "phase"),
                ready: i["ready"] == true,
            })
            .collect()
    }
}
