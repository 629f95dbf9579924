//! `hello`: the program of the demo and of the acceptance tests. Only `std`, so that `rustc` alone builds it into a
//! static binary that is a whole image.
//!
//! | Path | Answer |
//! | --- | --- |
//! | `/` | JSON: version, instance, pid, and the environment named by `SHOW_ENV` |
//! | `/healthz` | 200, or 503 until `START_DELAY_MS` have passed and while `READY=false` |
//! | `/slow?ms=N` | as `/`, after N ms |
//! | `/env?name=X` | value of a variable as text, 404 when it is not set |
//! | `/big?bytes=N` | N bytes |
//! | `/headers` | JSON: the request's headers, name in lower case to the list of values in the order sent |
//! | `/chain` | JSON: version, instance, `lane` (of the request) and `next`: the answer of `NEXT/chain`; see `chain.rs` |
//! | `/crash` | none: exits with 3 |
//!
//! Environment: `VERSION`, `PORT` (8080), `BIND` (0.0.0.0), `START_DELAY_MS`, `READY`, `SHOW_ENV` (names, by comma),
//! `IGNORE_TERM=1`, `CRASH_ON_START=1`. Of `/` and `/chain` alone: `FAIL_PERCENT` (that share of answers is 500, evenly)
//! and `DELAY_MS` (before each answer). On SIGTERM it takes no more connections, finishes what runs, and exits with 0.
//!
//! Why this program is no member of the workspace: `std` cannot handle signals and members forbid `unsafe`. The one unsafe
//! call installs a handler that does nothing but set an atomic flag, which is allowed in a signal handler.

mod chain;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::exit;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

const SIGTERM: i32 = 15;
const SIG_IGN: usize = 1;
/// How long a connection that never sent a request may hold up the end.
const FIRST_REQUEST: Duration = Duration::from_secs(1);
const HEAD_LIMIT: u64 = 64 << 10;

static TERM: AtomicBool = AtomicBool::new(false);

unsafe extern "C" {
    fn signal(number: i32, handler: usize) -> usize;
}

extern "C" fn on_term(_: i32) {
    TERM.store(true, SeqCst);
}

fn on_sigterm(handler: usize) {
    // SAFETY: `handler` is SIG_IGN or `on_term`, which has the signature of a handler and only stores an atomic.
    unsafe {
        signal(SIGTERM, handler);
    }
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn number(name: &str, default: u64) -> u64 {
    env(name).and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What every connection needs to know.
struct Hello {
    started: Instant,
    start_delay: Duration,
    version: String,
    instance: String,
    /// Requests that run, and connections that have not sent their first one.
    running: AtomicUsize,
    /// Answers to `/` and `/chain`.
    answered: AtomicU64,
}

fn main() {
    let version = env("VERSION").unwrap_or_else(|| "none".into());
    if env("CRASH_ON_START").as_deref() == Some("1") {
        eprintln!("hello {version}: CRASH_ON_START is set");
        exit(3);
    }
    if env("IGNORE_TERM").as_deref() == Some("1") {
        on_sigterm(SIG_IGN);
    } else {
        on_sigterm(on_term as *const () as usize);
    }
    let name = env("HOSTNAME").or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
    let hello = Arc::new(Hello {
        started: Instant::now(),
        start_delay: Duration::from_millis(number("START_DELAY_MS", 0)),
        version,
        instance: name.unwrap_or_default().trim().to_owned(),
        running: AtomicUsize::new(0),
        answered: AtomicU64::new(0),
    });
    let address = format!("{}:{}", env("BIND").unwrap_or_else(|| "0.0.0.0".into()), number("PORT", 8080));
    let listener = match TcpListener::bind(&address) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("hello: {address}: {error}");
            exit(2);
        }
    };
    let local = listener.local_addr().expect("a bound socket has an address");
    println!("hello version={} instance={} listening on {local}", hello.version, hello.instance);
    let acceptor = {
        let hello = Arc::clone(&hello);
        thread::spawn(move || accept(&hello, &listener))
    };
    while !TERM.load(SeqCst) {
        thread::sleep(Duration::from_millis(10));
    }
    println!("hello version={} instance={} ends on SIGTERM", hello.version, hello.instance);
    // One connection of our own gets the acceptor out of its wait; it then closes the socket.
    let _ = TcpStream::connect(("127.0.0.1", local.port()));
    let _ = acceptor.join();
    while hello.running.load(SeqCst) > 0 {
        thread::sleep(Duration::from_millis(5));
    }
    exit(0);
}

fn accept(hello: &Arc<Hello>, listener: &TcpListener) {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                hello.running.fetch_add(1, SeqCst);
                let hello = Arc::clone(hello);
                thread::spawn(move || connection(&hello, stream));
            }
            // The queue is empty: nobody who got through to us is turned away.
            Err(_) if TERM.load(SeqCst) => return,
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
        if TERM.load(SeqCst) {
            let _ = listener.set_nonblocking(true);
        }
    }
}

/// Counts down when a request ends, however it ends.
struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

fn connection(hello: &Hello, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = stream.set_nonblocking(false);
    let mut running = Some(Running(&hello.running));
    let Ok(mut out) = stream.try_clone() else { return };
    let mut input = BufReader::new(stream);
    loop {
        // The wait for the next request of a living connection does not count as running.
        let _ = input.get_ref().set_read_timeout(running.is_some().then_some(FIRST_REQUEST));
        match input.fill_buf() {
            Ok([]) => return,
            Ok(_) => {}
            Err(_) if running.is_some() && !TERM.load(SeqCst) => {
                running = None;
                continue;
            }
            Err(_) => return,
        }
        let _request = running.take().unwrap_or_else(|| {
            hello.running.fetch_add(1, SeqCst);
            Running(&hello.running)
        });
        let _ = input.get_ref().set_read_timeout(Some(Duration::from_secs(30)));
        let Some(request) = read_request(&mut input) else { return };
        let answer = answer(hello, &request);
        let close = request.close || TERM.load(SeqCst);
        let head = format!(
            "HTTP/1.1 {}\r\ncontent-type: {}\r\ncontent-length: {}\r\n{}\r\n",
            answer.status,
            answer.kind,
            answer.body.len(),
            if close { "connection: close\r\n" } else { "" }
        );
        let mut bytes = head.into_bytes();
        if request.method != "HEAD" {
            bytes.extend_from_slice(&answer.body);
        }
        if out.write_all(&bytes).is_err() || close {
            return;
        }
    }
}

struct Request {
    method: String,
    path: String,
    query: String,
    /// Names in lower case, in the order sent.
    headers: Vec<(String, String)>,
    close: bool,
}

/// Reads head and body; the body is thrown away. `None`: no HTTP, or the peer went away.
fn read_request(input: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    input.by_ref().take(HEAD_LIMIT).read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target, protocol) = (words.next()?.to_owned(), words.next()?.to_owned(), words.next()?.to_owned());
    let (mut close, mut length, mut chunked) = (protocol == "HTTP/1.0", 0_u64, false);
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        input.by_ref().take(HEAD_LIMIT).read_line(&mut header).ok()?;
        let header = header.trim_end();
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':')?;
        let (name, value) = (name.to_ascii_lowercase(), value.trim());
        match name.as_str() {
            "content-length" => length = value.parse().ok()?,
            "transfer-encoding" => chunked = value.to_ascii_lowercase().contains("chunked"),
            "connection" => close |= value.eq_ignore_ascii_case("close"),
            _ => {}
        }
        headers.push((name, value.to_owned()));
    }
    if chunked {
        while skip_chunk(input)? > 0 {}
    } else {
        std::io::copy(&mut input.by_ref().take(length), &mut std::io::sink()).ok()?;
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    Some(Request { method, path: path.to_owned(), query: query.to_owned(), headers, close })
}

fn skip_chunk(input: &mut BufReader<TcpStream>) -> Option<u64> {
    let mut line = String::new();
    input.by_ref().take(HEAD_LIMIT).read_line(&mut line).ok()?;
    let size = u64::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
    std::io::copy(&mut input.by_ref().take(size), &mut std::io::sink()).ok()?;
    loop {
        let mut rest = String::new();
        if input.by_ref().take(HEAD_LIMIT).read_line(&mut rest).ok()? == 0 {
            return None;
        }
        if rest.trim_end().is_empty() {
            return Some(size);
        }
        // What follows the last chunk are trailers, up to an empty line.
        if size > 0 {
            return None;
        }
    }
}

struct Answer {
    status: &'static str,
    kind: &'static str,
    body: Vec<u8>,
}

fn answer(hello: &Hello, request: &Request) -> Answer {
    let parameter = |name: &str| {
        request.query.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name)).map(|p| p.1)
    };
    let count = |name: &str| parameter(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let text = |status, body: &str| Answer { status, kind: "text/plain", body: body.as_bytes().to_vec() };
    if matches!(request.path.as_str(), "/" | "/chain") {
        thread::sleep(Duration::from_millis(number("DELAY_MS", 0)));
        if fails(hello.answered.fetch_add(1, SeqCst)) {
            return text("500 Internal Server Error", "FAIL_PERCENT\n");
        }
    }
    match request.path.as_str() {
        "/" => greeting(hello),
        "/headers" => json_answer("200 OK", headers(request)),
        "/chain" => chain::answer(hello, request),
        "/healthz" if hello.started.elapsed() < hello.start_delay => text("503 Service Unavailable", "starting\n"),
        "/healthz" if env("READY").as_deref() == Some("false") => text("503 Service Unavailable", "READY=false\n"),
        "/healthz" => text("200 OK", "ok\n"),
        "/slow" => {
            thread::sleep(Duration::from_millis(count("ms")));
            greeting(hello)
        }
        "/burn" => {
            let until = std::time::Instant::now() + Duration::from_millis(count("ms").min(60_000));
            while std::time::Instant::now() < until {
                std::hint::spin_loop();
            }
            greeting(hello)
        }
        "/env" => match parameter("name").and_then(env) {
            Some(value) => text("200 OK", &format!("{value}\n")),
            None => text("404 Not Found", "not set\n"),
        },
        "/big" => Answer {
            status: "200 OK",
            kind: "application/octet-stream",
            body: vec![b'.'; usize::try_from(count("bytes").min(1 << 30)).unwrap_or(0)],
        },
        "/crash" => exit(3),
        _ => text("404 Not Found", "no such path\n"),
    }
}

/// Whether the answer of this number is one of `FAIL_PERCENT`, spread evenly.
fn fails(number_of: u64) -> bool {
    let percent = number("FAIL_PERCENT", 0).min(100);
    let until = |n: u64| n.wrapping_mul(percent) / 100;
    until(number_of + 1) > until(number_of)
}

/// Every header of a request as a JSON object of lists.
fn headers(request: &Request) -> String {
    let mut names: Vec<&str> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let lists = names.iter().map(|name| {
        let values = request.headers.iter().filter(|(other, _)| other == name).map(|(_, value)| json(value));
        format!("{}:[{}]", json(name), values.collect::<Vec<_>>().join(","))
    });
    format!("{{{}}}\n", lists.collect::<Vec<_>>().join(","))
}

fn json_answer(status: &'static str, body: String) -> Answer {
    Answer { status, kind: "application/json", body: body.into_bytes() }
}

fn greeting(hello: &Hello) -> Answer {
    static SHOWN: OnceLock<Vec<(String, String)>> = OnceLock::new();
    let shown = SHOWN.get_or_init(|| {
        let names = env("SHOW_ENV").unwrap_or_default();
        names.split(',').filter_map(|name| Some((name.to_owned(), env(name.trim())?))).collect()
    });
    let environment: Vec<_> = shown.iter().map(|(name, value)| format!("{}:{}", json(name), json(value))).collect();
    let body = format!(
        "{{\"version\":{},\"instance\":{},\"pid\":{},\"env\":{{{}}}}}\n",
        json(&hello.version),
        json(&hello.instance),
        std::process::id(),
        environment.join(",")
    );
    json_answer("200 OK", body)
}

fn json(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
