//! Runs the real program, and a server that says what a test wants.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod editor;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The program, without settings of the surroundings.
pub fn sampan(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sampan"));
    command.args(args).stdin(Stdio::null());
    for name in ["ENDPOINT", "TOKEN", "TOKEN_FILE", "NAMESPACE", "LOG"] {
        command.env_remove(format!("SAMPAN_{name}"));
    }
    command
}

/// A running program that is ended with the test.
pub struct Running {
    pub child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        Self { child: command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap() }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end, at most so long.
    pub fn wait(mut self, limit: Duration) -> Output {
        // Read beside, so that a full pipe holds up nobody.
        let stdout = self.child.stdout.take().map(|pipe| std::thread::spawn(move || read(pipe)));
        let stderr = self.child.stderr.take().map(|pipe| std::thread::spawn(move || read(pipe)));
        let end = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "did not end within {limit:?}");
            std::thread::sleep(Duration::from_millis(20));
        };
        let got = |reader: Option<std::thread::JoinHandle<Vec<u8>>>| reader.map(|r| r.join().unwrap());
        Output { status, stdout: got(stdout).unwrap_or_default(), stderr: got(stderr).unwrap_or_default() }
    }
}

fn read(mut pipe: impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    let _ = pipe.read_to_end(&mut all);
    all
}

/// Runs to the end, at most a minute.
pub fn run(command: &mut Command) -> Output {
    Running::start(command).wait(Duration::from_mins(1))
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads one line, at most so long.
pub fn line_of(pipe: impl Read + Send + 'static, limit: Duration) -> Option<String> {
    let (send, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = BufReader::new(pipe).read_line(&mut line);
        let _ = send.send(line);
    });
    heard.recv_timeout(limit).ok().filter(|line| !line.is_empty())
}

type Answer = dyn Fn(&str, &str, &str) -> (u16, String) + Send + Sync;

/// A server on a free port that answers by a function of method and target, and body.
pub struct Server {
    pub address: SocketAddr,
    /// Request lines with their bodies.
    pub requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub fn start(answer: impl Fn(&str, &str, &str) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = requests.clone();
        let answer: Arc<Answer> = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer) = (seen.clone(), answer.clone());
                std::thread::spawn(move || handle(&stream, &seen, &*answer));
            }
        });
        Self { address, requests }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn handle(stream: &std::net::TcpStream, seen: &Mutex<Vec<String>>, answer: &Answer) {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    let (mut length, mut token) = (0, String::new());
    reader.read_line(&mut first).unwrap();
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).unwrap_or(0) == 0 || header == "\r\n" {
            break;
        }
        let (name, value) = header.split_once(':').unwrap();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap(),
            "authorization" => token = value.trim().to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let target = first.rsplit_once(' ').unwrap().0;
    let body = text(&body);
    seen.lock().unwrap().push(format!("{target} {body}"));
    let (status, body) = if target == "GET /v1/server" && token != "Bearer wrong" {
        (200, r#"{"version":"0.1.0","api_version":"v1"}"#.to_owned())
    } else {
        answer(target, &token, &body)
    };
    let mut stream = stream;
    let _ = write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
}
