//! The program inside the image of `sampan conformance`. std only, static; its first argument says what it does.
//! It has no signal handler, so as first process of its PID namespace it ignores SIGTERM.

use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let second = args.get(2).map(String::as_str).unwrap_or_default();
    match args.get(1).map(String::as_str) {
        Some("serve") => serve(),
        Some("exit") => {
            println!("exits with {second}");
            ExitCode::from(second.parse().unwrap_or(64))
        }
        Some("eat") => {
            let mut kept = Vec::new();
            loop {
                kept.push(vec![1_u8; 1 << 20]);
            }
        }
        Some("kernel") => {
            print("kernel_version", &["/proc/version"]);
            ExitCode::SUCCESS
        }
        Some("memory") => {
            print("limit", &["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]);
            ExitCode::SUCCESS
        }
        // 7: no connection.
        Some("connect") => match second.parse() {
            Ok(target) if std::net::TcpStream::connect_timeout(&target, Duration::from_millis(1500)).is_ok() => {
                ExitCode::SUCCESS
            }
            Ok(_) => ExitCode::from(7),
            Err(_) => ExitCode::from(64),
        },
        _ => ExitCode::from(64),
    }
}

fn print(key: &str, paths: &[&str]) {
    if let Some(text) = paths.iter().find_map(|path| std::fs::read_to_string(path).ok()) {
        println!("{key}={}", text.trim());
    }
}

/// Answers every request on port 8080 with the environment variable VERSION.
fn serve() -> ExitCode {
    let Ok(listener) = std::net::TcpListener::bind("0.0.0.0:8080") else {
        eprintln!("port 8080 cannot be listened on");
        return ExitCode::FAILURE;
    };
    let body = std::env::var("VERSION").unwrap_or_default();
    println!("serves version {body}");
    for mut stream in listener.incoming().flatten() {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
        let _ = stream.read(&mut [0; 1024]);
        let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    }
    ExitCode::FAILURE
}
