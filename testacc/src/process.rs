//! A child process that does not outlive its test, and whose output can be waited for.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Where a program of this name is: on the PATH, or where Debian keeps what root runs.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// A running program with its output, line by line.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
    ended: Option<ExitStatus>,
}

fn collect(from: impl Read + Send + 'static, into: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            into.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    })
}

impl Process {
    /// Starts the program. Its stdin is empty, stdout and stderr are kept together.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(name: &str, command: &mut Command) -> Self {
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let out = child.stdout.take().map(|out| collect(out, Arc::clone(&lines)));
        let err = child.stderr.take().map(|err| collect(err, Arc::clone(&lines)));
        let readers = out.into_iter().chain(err).collect();
        Self { name: name.to_owned(), child, lines, readers, ended: None }
    }

    /// Everything it wrote so far.
    pub fn output(&self) -> String {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// Everything it ever wrote; `None` until it and whoever shares its output have ended.
    pub fn whole_output(&self) -> Option<String> {
        self.readers.iter().all(JoinHandle::is_finished).then(|| self.output())
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended; `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Waits for a line that `found` turns into a value.
    ///
    /// # Panics
    /// After the deadline, or when the process ends before; with its output.
    pub fn wait_line<T>(&mut self, deadline: Duration, found: impl Fn(&str) -> Option<T>) -> T {
        let end = Instant::now() + deadline;
        loop {
            // First the end, then the lines: what it wrote last must still be seen.
            let ended = self.ended();
            if let Some(value) = self.output().lines().find_map(&found) {
                return value;
            }
            let name = &self.name;
            assert!(ended.is_none(), "{name} ended with {ended:?}:\n{}", self.output());
            assert!(Instant::now() < end, "{name} said nothing useful within {deadline:?}:\n{}", self.output());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn signal(&self, signal: Signal) {
        if self.ended.is_none()
            && let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits for the end. `None` after the deadline.
    pub fn wait(&mut self, deadline: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + deadline;
        while self.ended().is_none() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.ended
    }

    /// SIGTERM, and SIGKILL after the deadline. `None`: it had to be killed.
    pub fn stop(&mut self, deadline: Duration) -> Option<ExitStatus> {
        self.signal(Signal::TERM);
        if let Some(status) = self.wait(deadline) {
            return Some(status);
        }
        self.kill();
        None
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            let _ = self.child.kill();
            self.ended = self.child.wait().ok();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
