//! A static HTTPS server on loopback, as a release is published on.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A client that says nothing is not waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Serves the files of a folder until it is dropped. Whoever trusts `certificate` can ask it.
#[derive(Debug)]
pub struct Https {
    address: SocketAddr,
    /// In PEM, of `localhost`.
    pub certificate: String,
    ends: Arc<AtomicBool>,
    serving: Option<JoinHandle<()>>,
}

impl Https {
    /// # Panics
    /// When there is no free port.
    pub fn serve(folder: &Path) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate can be made");
        let chain = vec![CertificateDer::from(made.cert.der().to_vec())];
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("rcgen writes PKCS #8");
        let settings = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
        let settings = Arc::new(settings.expect("key and certificate belong together"));
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let ends = Arc::new(AtomicBool::new(false));
        let (folder, over) = (folder.to_path_buf(), ends.clone());
        let serving = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (settings, folder) = (settings.clone(), folder.clone());
                // What a client does wrong is its own affair.
                std::thread::spawn(move || drop(answer(stream, &settings, &folder)));
            }
        });
        Self { address, certificate: made.cert.pem(), ends, serving: Some(serving) }
    }

    /// `localhost:PORT`.
    pub fn host(&self) -> String {
        format!("localhost:{}", self.address.port())
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        if let Some(serving) = self.serving.take() {
            let _ = serving.join();
        }
    }
}

/// One request on one connection.
fn answer(stream: TcpStream, settings: &Arc<rustls::ServerConfig>, folder: &Path) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let session = rustls::ServerConnection::new(settings.clone()).map_err(std::io::Error::other)?;
    let mut stream = rustls::StreamOwned::new(session, stream);
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && head.len() < 1 << 16 {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head);
    let path = head.split_whitespace().nth(1).unwrap_or_default();
    let found = file(folder, path).and_then(|file| Some((std::fs::read(&file).ok()?, file)));
    let (status, kind, body) = match &found {
        Some((body, file)) if file.extension().is_some_and(|ext| ext == "json") => {
            ("200 OK", "application/json", &body[..])
        }
        Some((body, _)) => ("200 OK", "application/octet-stream", &body[..]),
        None => ("404 Not Found", "text/plain", &b"no such file"[..]),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    )?;
    stream.write_all(body)?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// The file of a path, which stays below the folder.
fn file(folder: &Path, path: &str) -> Option<PathBuf> {
    let path = Path::new(path.split('?').next()?.trim_start_matches('/'));
    let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
    Some(folder.join(path)).filter(|file| inside && file.is_file())
}
