//! The thread that judges modules, one after the other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::Options;
use crate::lint::{Report, lint};
use crate::module::{Known, Overlay, has_configuration};

/// A module to judge.
#[derive(Debug)]
pub struct Job {
    pub folder: PathBuf,
    /// Comes back with the result, to tell whether it is still about the texts of now.
    pub revision: u64,
    pub overlay: Overlay,
    pub known: Arc<Known>,
}

/// What came out.
#[derive(Debug)]
pub struct Done {
    pub folder: PathBuf,
    pub revision: u64,
    /// Or why nothing can be said, for people.
    pub result: Result<Report, String>,
}

/// The thread ends with its jobs.
pub fn start(options: Options) -> std::io::Result<(Sender<Job>, Receiver<Done>)> {
    let (jobs, receive) = unbounded::<Job>();
    let (send, done) = unbounded();
    let work = move || {
        for job in receive {
            let (folder, revision) = (job.folder.clone(), job.revision);
            let result = catch_unwind(AssertUnwindSafe(|| judged(&options, job))).unwrap_or_else(|_| {
                Err(format!("{}: the linter failed inside: please report it with its output", folder.display()))
            });
            if send.send(Done { folder, revision, result }).is_err() {
                break;
            }
        }
    };
    thread::Builder::new().name("judge".into()).spawn(work)?;
    Ok((jobs, done))
}

fn judged(options: &Options, job: Job) -> Result<Report, String> {
    // A folder without configuration stands for all below it on the command line; here it is none of a module.
    if !has_configuration(&job.folder, options.flavor, &job.overlay) {
        return Ok(Report::default());
    }
    let mut settings = options.settings(&job.folder)?;
    settings.overlay = job.overlay;
    settings.known = job.known;
    settings.jobs = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    lint(&settings)
}
