//! A language server: the rules of `sampan lint` in an editor.
//!
//! One ordered loop has the documents and answers requests; one thread judges modules, after a moment without a
//! change. What it says of a text that has changed since is dropped. Everything is loaded, judged and fixed by the code of
//! the linter: the texts of the editor only count instead of files ([`Overlay`]).

mod action;
mod completion;
mod cursor;
mod definition;
mod diagnostic;
mod document;
mod hover;
mod modules;
mod outbox;
mod server;
mod transport;
mod uri;
mod view;
mod worker;

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::config;
use crate::eval::graph::with_stack;
use crate::lint::Settings;
use crate::module::{Flavor, Overlay};
use outbox::Outbox;
use server::Server;
use transport::{Incoming, Outgoing};

/// How long the last answers may take to be written.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What the caller knows and this crate does not ask for itself.
#[derive(Debug, Clone)]
pub struct Options {
    pub flavor: Flavor,
    /// `TF_VAR_*` are read from here; `TF_WORKSPACE` too.
    pub environment: BTreeMap<String, String>,
    /// The date as `2027-03-31`; asked for each run, as a server lives for days.
    pub today: fn() -> String,
    /// Of the program.
    pub version: &'static str,
}

impl Options {
    /// What a run of the linter on one folder needs.
    ///
    /// # Errors
    /// A sentence that names the place of what is wrong with the file of settings.
    fn settings(&self, folder: &Path) -> Result<Settings, String> {
        let mut settings = Settings::new(vec![folder.to_owned()], (self.today)());
        settings.flavor = self.flavor;
        settings.environment.clone_from(&self.environment);
        if let Some(path) = config::find(folder) {
            settings.configure(config::read(&path)?)?;
            settings.base = path.parent().map(Path::to_owned);
        }
        Ok(settings)
    }
}

/// Serves one client until it says `exit` or its input ends. The exit code: 0 after `shutdown`, else 1.
///
/// # Errors
/// When no thread can be started.
pub fn serve(
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
    options: Options,
) -> std::io::Result<u8> {
    let incoming = reader(input)?;
    let (out, written) = writer(output)?;
    let (jobs, done) = worker::start(options.clone())?;
    let code = with_stack(|| Server::new(options, Outbox(out), jobs).run(&incoming, &done))?;
    // The client may be gone already, and then nobody reads.
    let _ = written.recv_timeout(LAST_WORDS);
    Ok(code)
}

/// Messages in their order; the channel closes at the end of the input.
fn reader(input: impl Read + Send + 'static) -> std::io::Result<Receiver<Incoming>> {
    let (send, receive) = bounded(64);
    let mut input = BufReader::new(input);
    let read = move || {
        while let Ok(Some(message)) = transport::read(&mut input) {
            if send.send(message).is_err() {
                break;
            }
        }
    };
    thread::Builder::new().name("read".into()).spawn(read)?;
    Ok(receive)
}

/// Where messages are put, and what closes when the last of them is written.
fn writer(mut output: impl Write + Send + 'static) -> std::io::Result<(Sender<Outgoing>, Receiver<()>)> {
    let (send, receive) = unbounded::<Outgoing>();
    let (end, ended) = bounded::<()>(0);
    let write = move || {
        for message in receive {
            if transport::write(&mut output, &message).is_err() {
                break;
            }
        }
        drop(end);
    };
    thread::Builder::new().name("write".into()).spawn(write)?;
    Ok((send, ended))
}
