//! Builds small OCI images in memory, and pushes them to a registry on loopback. For our own images and for tests.

use std::collections::BTreeMap;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use serde_json::json;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// One file of an image. `path` is absolute or relative to the root; missing folders are made.
#[derive(Debug, Clone)]
pub struct File {
    pub path: String,
    pub mode: u32,
    pub content: Vec<u8>,
}

/// What an image consists of: one layer and its configuration.
#[derive(Debug, Clone, Default)]
pub struct ImageSpec {
    pub files: Vec<File>,
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    pub env: Vec<(String, String)>,
    pub labels: BTreeMap<String, String>,
    pub working_dir: Option<String>,
}

/// A built image: three blobs and their digests. The same spec always gives the same digests.
#[derive(Debug, Clone)]
pub struct Image {
    layer: Blob,
    config: Blob,
    manifest: Blob,
}

#[derive(Debug, Clone)]
struct Blob {
    digest: String,
    content: Vec<u8>,
}

impl Blob {
    fn new(content: Vec<u8>) -> Self {
        Self { digest: digest(&content), content }
    }
}

/// Why building or pushing an image failed.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    #[error("image file {path}: {detail}")]
    File { path: String, detail: String },
    #[error("archive: {0}")]
    Archive(#[from] std::io::Error),
    #[error("registry {registry}: {detail}")]
    Registry { registry: String, detail: String },
}

/// `sha256:…` of some bytes.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", crate::identity::full_hash(bytes))
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn header(size: usize, mode: u32, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size as u64);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(kind);
    header
}

fn layer(files: &[File]) -> Result<Vec<u8>, OciError> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut folders = std::collections::BTreeSet::new();
    for file in files {
        let path = file.path.trim_start_matches('/');
        if path.is_empty() || path.split('/').any(|part| part == ".." || part.is_empty()) {
            return Err(OciError::File { path: file.path.clone(), detail: "not a plain path inside the image".into() });
        }
        let parts: Vec<&str> = path.split('/').collect();
        for depth in 1..parts.len() {
            let folder = format!("{}/", parts[..depth].join("/"));
            if folders.insert(folder.clone()) {
                let mut entry = header(0, 0o755, tar::EntryType::Directory);
                builder.append_data(&mut entry, &folder, std::io::empty())?;
            }
        }
        let mut entry = header(file.content.len(), file.mode, tar::EntryType::Regular);
        builder.append_data(&mut entry, path, file.content.as_slice())?;
    }
    Ok(builder.into_inner()?)
}

/// Builds an image from files and configuration.
pub fn build(spec: &ImageSpec) -> Result<Image, OciError> {
    let layer = Blob::new(layer(&spec.files)?);
    let mut config = json!({});
    if !spec.entrypoint.is_empty() {
        config["Entrypoint"] = json!(spec.entrypoint);
    }
    if !spec.command.is_empty() {
        config["Cmd"] = json!(spec.command);
    }
    if !spec.env.is_empty() {
        config["Env"] = json!(spec.env.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>());
    }
    if !spec.labels.is_empty() {
        config["Labels"] = json!(spec.labels);
    }
    if let Some(folder) = &spec.working_dir {
        config["WorkingDir"] = json!(folder);
    }
    let config = Blob::new(
        json!({
            "architecture": architecture(),
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
            "history": [{"created_by": "sampan"}],
        })
        .to_string()
        .into_bytes(),
    );
    let manifest = Blob::new(
        json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": config.digest, "size": config.content.len()},
            "layers": [{"mediaType": LAYER, "digest": layer.digest, "size": layer.content.len()}],
        })
        .to_string()
        .into_bytes(),
    );
    Ok(Image { layer, config, manifest })
}

impl Image {
    /// Digest of the manifest: what `repo@sha256:…` names.
    pub fn digest(&self) -> String {
        self.manifest.digest.clone()
    }

    /// Digest of the configuration: what container runtimes call the image id.
    pub fn id(&self) -> String {
        self.config.digest.clone()
    }

    /// An OCI archive (tar) for `ctr images import`, under the whole name `reference`.
    pub fn archive(&self, reference: &str) -> Result<Vec<u8>, OciError> {
        let index = json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [{
                "mediaType": MANIFEST,
                "digest": self.digest(),
                "size": self.manifest.content.len(),
                "annotations": {
                    "io.containerd.image.name": reference,
                    "org.opencontainers.image.ref.name": reference,
                },
            }],
        })
        .to_string()
        .into_bytes();
        let mut builder = tar::Builder::new(Vec::new());
        let mut add = |path: &str, content: &[u8]| {
            let mut entry = header(content.len(), 0o644, tar::EntryType::Regular);
            builder.append_data(&mut entry, path, content)
        };
        add("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        add("index.json", &index)?;
        for blob in [&self.layer, &self.config, &self.manifest] {
            add(&format!("blobs/sha256/{}", blob.digest.trim_start_matches("sha256:")), &blob.content)?;
        }
        Ok(builder.into_inner()?)
    }

    /// Pushes to the registry at `host:port` over plain HTTP; returns `host:port/repository@sha256:…`.
    pub async fn push(&self, registry: &str, repository: &str, tag: &str) -> Result<String, OciError> {
        for blob in [&self.layer, &self.config] {
            push_blob(registry, repository, blob).await?;
        }
        let path = format!("/v2/{repository}/manifests/{tag}");
        let (status, _) = call(registry, "PUT", &path, Some(MANIFEST), self.manifest.content.clone()).await?;
        if !status.is_success() {
            return Err(refused(registry, "manifest", status));
        }
        Ok(format!("{registry}/{repository}@{}", self.digest()))
    }
}

fn refused(registry: &str, what: &str, status: http::StatusCode) -> OciError {
    OciError::Registry { registry: registry.into(), detail: format!("the {what} was answered with {status}") }
}

async fn push_blob(registry: &str, repository: &str, blob: &Blob) -> Result<(), OciError> {
    let digest = &blob.digest;
    let (status, _) = call(registry, "HEAD", &format!("/v2/{repository}/blobs/{digest}"), None, Vec::new()).await?;
    if status.is_success() {
        return Ok(());
    }
    let (status, headers) =
        call(registry, "POST", &format!("/v2/{repository}/blobs/uploads/"), None, Vec::new()).await?;
    if !status.is_success() {
        return Err(refused(registry, "start of an upload", status));
    }
    let place = headers.get(http::header::LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let place: http::Uri = place.parse().map_err(|_| OciError::Registry {
        registry: registry.into(),
        detail: "no usable Location for the upload".into(),
    })?;
    let mut path = place.path_and_query().map(ToString::to_string).unwrap_or_default();
    path.push_str(if path.contains('?') { "&digest=" } else { "?digest=" });
    path.push_str(digest);
    let (status, _) = call(registry, "PUT", &path, Some("application/octet-stream"), blob.content.clone()).await?;
    if status.is_success() { Ok(()) } else { Err(refused(registry, "blob", status)) }
}

async fn call(
    registry: &str,
    method: &str,
    path: &str,
    content_type: Option<&str>,
    body: Vec<u8>,
) -> Result<(http::StatusCode, http::HeaderMap), OciError> {
    let failed = |detail: String| OciError::Registry { registry: registry.into(), detail };
    let stream = tokio::net::TcpStream::connect(registry).await.map_err(|error| failed(error.to_string()))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(error.to_string()))?;
    let connection = tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header(http::header::HOST, registry);
    if let Some(kind) = content_type {
        request = request.header(http::header::CONTENT_TYPE, kind);
    }
    let request = request.body(Full::new(Bytes::from(body))).map_err(|error| failed(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(|error| failed(error.to_string()))?;
    let (parts, body) = response.into_parts();
    body.collect().await.map_err(|error| failed(error.to_string()))?;
    connection.abort();
    Ok((parts.status, parts.headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_spec_gives_the_same_digest() {
        let spec = ImageSpec {
            files: vec![File { path: "/bin/app".into(), mode: 0o755, content: b"x".to_vec() }],
            entrypoint: vec!["/bin/app".into()],
            ..ImageSpec::default()
        };
        assert_eq!(build(&spec).unwrap().digest(), build(&spec).unwrap().digest());
    }

    #[test]
    fn a_path_that_leaves_the_image_is_refused() {
        let spec = ImageSpec {
            files: vec![File { path: "../x".into(), mode: 0o644, content: Vec::new() }],
            ..ImageSpec::default()
        };
        assert!(matches!(build(&spec), Err(OciError::File { .. })));
    }
}
