//! The real `terraform` (or what `TF_CLI_PATH` names) in a workspace of its own, with the provider that was just built.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::dev::bin_dir;
use crate::process;

/// The oldest version with write-only arguments; OpenTofu has them from the same number on.
const OLDEST: (u32, u32) = (1, 11);

/// Its name or path: `TF_CLI_PATH` (such as `tofu`), or `terraform`.
pub fn program() -> String {
    std::env::var("TF_CLI_PATH").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "terraform".into())
}

/// Why there is no Terraform to test with, and the remedy; `None` when there is one.
pub fn missing() -> Option<String> {
    const FIX: &str = "install Terraform 1.11 or newer from its vendor, Debian has no package of it; \
                       or name another one: TF_CLI_PATH=tofu";
    let program = program();
    if process::find(&program).is_none() {
        return Some(format!("{program}: not on the PATH ({FIX})"));
    }
    let output = Command::new(&program).arg("version").env("CHECKPOINT_DISABLE", "1").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    // Warnings about its settings may come before the line with the version.
    match text.lines().find_map(version) {
        Some(found) if found >= OLDEST => None,
        found => Some(format!("{program}: the version found is {found:?} ({FIX})")),
    }
}

/// Major and minor of a line such as `Terraform v1.11.4`.
fn version(line: &str) -> Option<(u32, u32)> {
    let (_, numbers) = line.split_once(" v")?;
    let mut parts = numbers.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Run {
    pub exit: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// stdout and stderr.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// A workspace. `dev_overrides` leads to the provider in the target folder, so no `init` is needed.
#[derive(Debug)]
pub struct Terraform {
    folder: tempfile::TempDir,
    env: Vec<(String, String)>,
}

impl Default for Terraform {
    fn default() -> Self {
        Self::new()
    }
}

impl Terraform {
    /// An empty workspace.
    ///
    /// # Panics
    /// When there is no room for temporary files.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("sampan-tf").tempdir().expect("a temporary folder");
        let rc = format!(
            "provider_installation {{\n  dev_overrides {{\n    \"sampan/sampan\" = {:?}\n  }}\n  direct {{}}\n}}\n\
             disable_checkpoint = true\n",
            bin_dir().display().to_string()
        );
        std::fs::write(folder.path().join("rc.tfrc"), rc).expect("the workspace is writable");
        Self { folder, env: Vec::new() }
    }

    /// Adds to the environment of every run.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Without the provider that was built: providers come from this filesystem mirror and from nowhere else, so the
    /// workspace needs an `init`.
    ///
    /// # Panics
    /// When the workspace cannot be written.
    #[must_use]
    pub fn from_mirror(self, folder: &Path) -> Self {
        let path = folder.display().to_string();
        let rc = format!(
            "provider_installation {{\n  filesystem_mirror {{\n    path = {path:?}\n  }}\n}}\ndisable_checkpoint = true\n"
        );
        self.write("rc.tfrc", &rc);
        self
    }

    /// Likewise from where this block of the settings says, such as `direct {}`.
    ///
    /// # Panics
    /// When the workspace cannot be written.
    #[must_use]
    pub fn from_source(self, block: &str) -> Self {
        self.write("rc.tfrc", &format!("provider_installation {{\n{block}\n}}\ndisable_checkpoint = true\n"));
        self
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes one file of the configuration.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path().join(name), content).expect("the workspace is writable");
    }

    /// Copies the `.tf` files of a folder of the repository.
    ///
    /// # Panics
    /// When there are none.
    pub fn copy(&self, folder: &str) {
        let from = crate::repository().join(folder);
        let entries = std::fs::read_dir(&from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        let files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        let files: Vec<_> = files.iter().filter(|file| file.extension().is_some_and(|ext| ext == "tf")).collect();
        assert!(!files.is_empty(), "no .tf file in {}", from.display());
        for file in files {
            let name = file.file_name().expect("an entry of a folder has a name");
            std::fs::copy(file, self.path().join(name)).expect("the workspace is writable");
        }
    }

    /// The command, for tests that need the process itself.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(args)
            .current_dir(self.path())
            .env("TF_CLI_CONFIG_FILE", self.path().join("rc.tfrc"))
            .env("TF_IN_AUTOMATION", "1")
            .env("TF_INPUT", "0")
            .env("TF_CLI_ARGS", "-no-color")
            .env("CHECKPOINT_DISABLE", "1")
            .env_remove("TF_LOG")
            .env_remove("TF_WORKSPACE")
            .envs(self.env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null());
        command
    }

    /// Runs terraform to its end.
    ///
    /// # Panics
    /// When there is no terraform.
    pub fn run(&self, args: &[&str]) -> Run {
        let output = self.command(args).output().unwrap_or_else(|error| panic!("terraform: {error}"));
        Run {
            exit: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs, and wants this exit code.
    ///
    /// # Panics
    /// With the output, when it is another one.
    pub fn expect(&self, args: &[&str], exit: i32) -> Run {
        let run = self.run(args);
        assert_eq!(run.exit, exit, "terraform {}\n{}", args.join(" "), run.text());
        run
    }

    /// `apply -auto-approve` with `-var` arguments `KEY=VALUE`.
    pub fn apply(&self, vars: &[&str]) -> Run {
        self.expect(&with_vars(&["apply", "-auto-approve"], vars), 0)
    }

    pub fn destroy(&self, vars: &[&str]) -> Run {
        self.expect(&with_vars(&["destroy", "-auto-approve"], vars), 0)
    }

    /// Whether a plan says that there is nothing to do; the plan's text otherwise.
    ///
    /// # Errors
    /// The plan that is not empty.
    ///
    /// # Panics
    /// When planning fails.
    pub fn plan_is_empty(&self, vars: &[&str]) -> Result<(), String> {
        let run = self.run(&with_vars(&["plan", "-detailed-exitcode"], vars));
        match run.exit {
            0 => Ok(()),
            2 => Err(run.text()),
            exit => panic!("terraform plan ended with {exit}\n{}", run.text()),
        }
    }

    /// Whether a refresh finds the state as it is.
    ///
    /// Not by the exit code of `plan -refresh-only -detailed-exitcode`: Terraform ends it with 2 for many providers
    /// although it says "No changes" (its issues 36403 and 37406). The plan's drift and the state file are what counts.
    ///
    /// # Errors
    /// What differs.
    ///
    /// # Panics
    /// When refreshing fails.
    pub fn refresh_is_empty(&self, vars: &[&str]) -> Result<(), String> {
        let run = self.expect(&with_vars(&["plan", "-refresh-only", "-out=refresh.bin"], vars), 0);
        let shown = self.expect(&["show", "-json", "refresh.bin"], 0);
        let shown: Value = serde_json::from_str(&shown.stdout).expect("terraform show -json prints JSON");
        if shown["resource_drift"].as_array().is_some_and(|drift| !drift.is_empty()) {
            return Err(format!("{}\n{:#}", run.text(), shown["resource_drift"]));
        }
        let before = self.state();
        self.expect(&with_vars(&["apply", "-refresh-only", "-auto-approve"], vars), 0);
        let after = self.state();
        if before == after { Ok(()) } else { Err(format!("the state changed from\n{before}\nto\n{after}")) }
    }

    /// A plan as JSON (`terraform show -json`).
    ///
    /// # Panics
    /// When planning fails.
    pub fn plan(&self, vars: &[&str]) -> Value {
        self.expect(&with_vars(&["plan", "-out=plan.bin"], vars), 0);
        let shown = self.expect(&["show", "-json", "plan.bin"], 0);
        serde_json::from_str(&shown.stdout).expect("terraform show -json prints JSON")
    }

    /// The outputs, by name.
    ///
    /// # Panics
    /// When there is no state.
    pub fn output(&self, name: &str) -> Value {
        let run = self.expect(&["output", "-json", name], 0);
        serde_json::from_str(&run.stdout).expect("terraform output -json prints JSON")
    }

    /// The state file as text.
    pub fn state(&self) -> String {
        std::fs::read_to_string(self.path().join("terraform.tfstate")).unwrap_or_default()
    }
}

fn with_vars<'a>(args: &[&'a str], vars: &[&'a str]) -> Vec<&'a str> {
    let mut all = args.to_vec();
    for var in vars {
        all.extend(["-var", var]);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_and_compared() {
        assert_eq!(version("Terraform v1.11.4"), Some((1, 11)));
        assert_eq!(version("OpenTofu v1.11.0-rc2"), Some((1, 11)));
        assert_eq!(version("Terraform v1.9.8"), Some((1, 9)));
        assert!((1, 9) < OLDEST && (2, 0) > OLDEST);
        assert_eq!(version("command not found"), None);
    }
}
