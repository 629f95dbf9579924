//! How long a GET of an application takes when 1,000 are stored.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::Ground;
use super::figure::Figure;
use super::statistic::{median, ms, percentile};
use super::workload::{Api, application, path};

const STORED: u32 = 1000;
const REQUESTS: u32 = 5000;
/// Steps through all stored applications in an order that no cache likes.
const STRIDE: u32 = 617;

/// One connection that is kept, as the provider's are.
struct Kept {
    stream: BufReader<TcpStream>,
    head: String,
}

impl Kept {
    fn open(api: &Api) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("API: {error}");
        let stream = TcpStream::connect(api.address()).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(failed)?;
        let head = format!("host: {}\r\nauthorization: {}\r\n\r\n", api.address(), api.bearer());
        Ok(Self { stream: BufReader::new(stream), head })
    }

    /// Reads the whole answer.
    fn get(&mut self, path: &str) -> Result<Duration, String> {
        let request = format!("GET {path} HTTP/1.1\r\n{}", self.head);
        let begun = Instant::now();
        let answer = self.exchange(&request).map_err(|error| format!("GET {path}: {error}"))?;
        let took = begun.elapsed();
        if answer.starts_with("HTTP/1.1 200") { Ok(took) } else { Err(format!("GET {path}: {answer}")) }
    }

    fn exchange(&mut self, request: &str) -> std::io::Result<String> {
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        let length = head.to_ascii_lowercase();
        let length = length.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let mut body = vec![0; length.unwrap_or_default()];
        self.stream.read_exact(&mut body)?;
        Ok(head)
    }
}

pub fn measure(ground: &mut Ground) -> Result<Vec<Figure>, String> {
    let api = &ground.api;
    ground.progress.step(&format!("storing {STORED} applications"));
    let name = |number: u32| path(&format!("stored-{number}"));
    let spec = application(&ground.image, 0, "64Mi", 0);
    let made = (0..STORED).map(|number| api.create(&name(number), &spec)).collect::<Result<Vec<_>, _>>()?;
    for answer in &made {
        api.finish(answer)?;
    }
    ground.progress.step(&format!("{REQUESTS} GETs with {STORED} applications stored"));
    let mut connection = Kept::open(api)?;
    let mut times = Vec::new();
    for request in 0..REQUESTS {
        times.push(ms(connection.get(&name(request * STRIDE % STORED))?));
    }
    let middle = median(&times);
    Ok(vec![Figure::limit(
        "API GET, 99th percentile",
        percentile(&times, 99.0),
        "ms",
        5.0,
        &format!(
            "{REQUESTS} GETs of single applications, one after the other on a kept connection, with {STORED} \
             applications stored (0 replicas each); the median is {middle:.2} ms."
        ),
    )])
}
