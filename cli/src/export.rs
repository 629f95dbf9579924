//! `sampan export`.

mod configuration;
mod hcl;
#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use sampan_client::{Client, Object};
use sampan_schema::{KINDS, Kind, NAMESPACE, name};

use crate::connection::Connection;
use crate::error::Failure;
use crate::output::{Format, Output};
use crate::progress;
use crate::target;
use configuration::File;

/// The first line of every file begins with this; only such files are ever removed.
const MARK: &str = "# Written by `sampan export";

/// What `--help` says below the options.
const NOTES: &str = "\
Only what differs from defaults is written, and a name is a reference where its object is written too. Import blocks take
over what runs: terraform apply changes nothing, and the plan after it is empty.

The server has one set of labels for an object. All of them are written with their resource, also those that came from
default_labels of a provider block: write the same default_labels, and they can go.

Values of secrets cannot be read. A variable stands for each, which is null: the server keeps what it has.";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub struct Args {
    /// Namespace.
    #[arg(value_name = "NS")]
    namespace: String,
    /// Write into this folder instead of stdout, and make it if need be: main.tf with the provider, variables.tf, one
    /// file per kind such as applications.tf, and imports.tf, which can go when it is applied. Existing files are not
    /// overwritten.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace files of these names, and remove those of an earlier export that are not needed any more.
    #[arg(long, requires = "out")]
    force: bool,
}

pub async fn run(args: Args, connection: &Connection, out: &mut Output) -> Result<ExitCode, Failure> {
    if out.format != Format::Table {
        return Err(Failure::Usage("export writes HCL and has no other form: leave out -o".into()));
    }
    let namespace = target::valid(&args.namespace)?;
    let client = connection.client()?;
    let objects = progress::during("asking the server", find(&client, namespace)).await?;
    let mark = format!("{MARK} {namespace}`.\n\n");
    let files = configuration::files(&objects);
    let Some(folder) = &args.out else {
        let texts: Vec<&str> = files.iter().map(|file| file.text.as_str()).collect();
        out.raw(format!("{mark}{}", texts.join("\n")).as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    };
    let marked = files.into_iter().map(|file| File { text: format!("{mark}{}", file.text), ..file });
    let files: Vec<File> = marked.collect();
    write(folder, &files, args.force)?;
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    let count = if objects.len() == 1 { "1 object".to_owned() } else { format!("{} objects", objects.len()) };
    out.line(&format!("{count} of namespace {namespace} in {}: {}", folder.display(), names.join(", ")))?;
    out.line("next: terraform init and terraform apply, which imports them and changes nothing")?;
    Ok(ExitCode::SUCCESS)
}

/// The namespace and all objects in it. What is on its way out is left out.
async fn find(client: &Client, namespace: &str) -> Result<Vec<(&'static Kind, Object)>, Failure> {
    let mut own = client.get(&NAMESPACE, "", namespace).await?;
    own.0.insert("name".into(), namespace.into());
    if is_leaving(&own) {
        return Err(Failure::Failed(format!("namespace {namespace} is being deleted: there is nothing to keep")));
    }
    let mut all = vec![(&NAMESPACE, own)];
    for kind in KINDS.iter().filter(|kind| kind.namespaced) {
        for object in client.list(kind, namespace).await? {
            let (what, name) = (kind.name.replace('_', " "), object.get("name").as_str().unwrap_or_default());
            if !name::is_name(name) {
                // It would become part of the language.
                return Err(Failure::Failed(format!("the server has a {what} {name:?}, which is no name")));
            }
            if is_leaving(&object) {
                progress::say(&format!("left out: {what} {} is being deleted", kind.id(namespace, name)));
            } else {
                all.push((kind, object));
            }
        }
    }
    Ok(all)
}

fn is_leaving(object: &Object) -> bool {
    object.status().get("phase").is_some_and(|phase| phase == "Deleting")
}

/// Writes all files, or none when one is in the way.
fn write(folder: &Path, files: &[File], force: bool) -> Result<(), Failure> {
    let broken = |path: &Path, error: &std::io::Error| Failure::Failed(format!("{}: {error}", path.display()));
    std::fs::create_dir_all(folder).map_err(|error| broken(folder, &error))?;
    let taken = files.iter().map(|file| folder.join(&file.name)).filter(|path| path.symlink_metadata().is_ok());
    let taken: Vec<String> = taken.map(|path| path.display().to_string()).collect();
    if !force && !taken.is_empty() {
        let taken = taken.join(", ");
        return Err(Failure::Failed(format!(
            "{taken}: already there; choose another --out, or replace them with --force"
        )));
    }
    let needless = configuration::file_names().filter(|name| files.iter().all(|file| file.name != *name));
    for path in needless.map(|name| folder.join(name)).filter(|path| force && is_ours(path)) {
        std::fs::remove_file(&path).map_err(|error| broken(&path, &error))?;
    }
    for file in files {
        let path = folder.join(&file.name);
        let mut options = std::fs::OpenOptions::new();
        // Between the look and the write another one may have made it.
        options.write(true).create(force).create_new(!force).truncate(force);
        let written = options.open(&path).and_then(|mut target| target.write_all(file.text.as_bytes()));
        written.map_err(|error| broken(&path, &error))?;
    }
    Ok(())
}

/// Whether an earlier export wrote this file.
fn is_ours(path: &Path) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.starts_with(MARK))
}
