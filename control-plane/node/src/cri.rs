//! CRI v1 over a Unix socket. Every call has a deadline; after it the state is unknown.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use sampan_engine::runtime::RuntimeError;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use crate::proto::{self, image_service_client::ImageServiceClient, runtime_service_client::RuntimeServiceClient};
use crate::reason;

const MESSAGE_LIMIT: usize = 32 * 1024 * 1024;

/// A connection to one container runtime. Cheap to clone; connects by itself, again after each loss.
#[derive(Debug, Clone)]
pub struct Cri {
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
    /// Where the runtime listens.
    pub socket: PathBuf,
}

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident: $client:ident $method:ident($query:ty) -> $answer:ty, $call:literal, $seconds:expr;)*) => {
        impl Cri {
            $($(#[$doc])* pub async fn $name(&self, query: $query) -> Result<$answer, RuntimeError> {
                let mut client = self.$client.clone();
                let query = request(query, $seconds);
                within($call, $seconds, async move { client.$method(query).await }).await
            })*
        }
    };
}

fn request<Q>(query: Q, seconds: u64) -> tonic::Request<Q> {
    let mut request = tonic::Request::new(query);
    request.set_timeout(Duration::from_secs(seconds));
    request
}

/// Our own deadline is a little later than the one on the wire: the runtime may undo its work and say so.
async fn within<A>(
    call: &str,
    seconds: u64,
    work: impl Future<Output = Result<tonic::Response<A>, tonic::Status>>,
) -> Result<A, RuntimeError> {
    match tokio::time::timeout(Duration::from_millis(seconds * 1000 + 500), work).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(reason::from_status(call, &status)),
        Err(_) => Err(reason::deadline(call, seconds)),
    }
}

calls! {
    /// Name and version of the runtime.
    version: runtime version(proto::VersionRequest) -> proto::VersionResponse, "Version", 10;
    /// Conditions, handlers, configuration.
    status: runtime status(proto::StatusRequest) -> proto::StatusResponse, "Status", 10;
    /// Makes a sandbox.
    run_pod_sandbox: runtime run_pod_sandbox(proto::RunPodSandboxRequest) -> proto::PodSandboxId, "RunPodSandbox", 120;
    /// State and address of one sandbox.
    pod_sandbox_status: runtime pod_sandbox_status(proto::PodSandboxStatusRequest) -> proto::PodSandboxStatusResponse,
        "PodSandboxStatus", 10;
    /// Sandboxes by filter.
    list_pod_sandbox: runtime list_pod_sandbox(proto::ListPodSandboxRequest) -> proto::ListPodSandboxResponse,
        "ListPodSandbox", 10;
    /// Creates a container.
    create_container: runtime create_container(proto::CreateContainerRequest) -> proto::ContainerId, "CreateContainer", 120;
    /// Containers by filter.
    list_containers: runtime list_containers(proto::ListContainersRequest) -> proto::ListContainersResponse,
        "ListContainers", 10;
    /// One container, with exit code and times.
    container_status: runtime container_status(proto::ContainerStatusRequest) -> proto::ContainerStatusResponse,
        "ContainerStatus", 10;
    /// CPU and memory of containers by filter.
    list_container_stats: runtime list_container_stats(proto::ListContainerStatsRequest)
        -> proto::ListContainerStatsResponse, "ListContainerStats", 10;
    /// One image.
    image_status: images image_status(proto::ImageStatusRequest) -> proto::ImageStatusResponse, "ImageStatus", 10;
    /// Pulls an image.
    pull_image: images pull_image(proto::PullImageRequest) -> proto::PullImageResponse, "PullImage", 600;
}

impl Cri {
    /// A client of the runtime at `socket`; nothing is sent yet.
    pub fn new(socket: &Path) -> Self {
        let path = socket.to_path_buf();
        // The address is not used: the connector below always goes to the socket.
        let channel = Endpoint::from_static("http://cri.invalid").connect_with_connector_lazy(tower::service_fn(
            move |_: http::Uri| {
                let path = path.clone();
                async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
            },
        ));
        Self {
            runtime: RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE_LIMIT),
            images: ImageServiceClient::new(channel).max_decoding_message_size(MESSAGE_LIMIT),
            socket: socket.to_path_buf(),
        }
    }

    /// Ends all processes of a sandbox. Gone already is success.
    pub async fn stop_pod_sandbox(&self, id: &str) -> Result<(), RuntimeError> {
        let mut client = self.runtime.clone();
        let query = request(proto::PodSandboxId { pod_sandbox_id: id.into() }, 60);
        reason::gone_is_fine(
            within("StopPodSandbox", 60, async move { client.stop_pod_sandbox(query).await }).await.map(|_| ()),
        )
    }

    /// Removes a sandbox with its containers. Gone already is success.
    pub async fn remove_pod_sandbox(&self, id: &str) -> Result<(), RuntimeError> {
        let mut client = self.runtime.clone();
        let query = request(proto::PodSandboxId { pod_sandbox_id: id.into() }, 30);
        reason::gone_is_fine(
            within("RemovePodSandbox", 30, async move { client.remove_pod_sandbox(query).await }).await.map(|_| ()),
        )
    }

    /// Starts a created container.
    pub async fn start_container(&self, id: &str) -> Result<(), RuntimeError> {
        let mut client = self.runtime.clone();
        let query = request(proto::ContainerId { container_id: id.into() }, 30);
        within("StartContainer", 30, async move { client.start_container(query).await }).await.map(|_| ())
    }

    /// TERM, `grace_seconds`, KILL. Gone already is success.
    pub async fn stop_container(&self, id: &str, grace_seconds: u64) -> Result<(), RuntimeError> {
        let mut client = self.runtime.clone();
        let grace_seconds = grace_seconds.min(24 * 3600);
        let seconds = grace_seconds + 30;
        let query =
            request(proto::StopContainerRequest { container_id: id.into(), timeout: grace_seconds as i64 }, seconds);
        reason::gone_is_fine(
            within("StopContainer", seconds, async move { client.stop_container(query).await }).await.map(|_| ()),
        )
    }

    /// Removes a container, running or not. Gone already is success.
    pub async fn remove_container(&self, id: &str) -> Result<(), RuntimeError> {
        let mut client = self.runtime.clone();
        let query = request(proto::ContainerId { container_id: id.into() }, 30);
        reason::gone_is_fine(
            within("RemoveContainer", 30, async move { client.remove_container(query).await }).await.map(|_| ()),
        )
    }

    /// Removes an image from the node. Gone already is success.
    pub async fn remove_image(&self, image: &str) -> Result<(), RuntimeError> {
        let mut client = self.images.clone();
        let image = proto::ImageSpec { image: image.into(), ..Default::default() };
        let query = request(proto::RemoveImageRequest { image: Some(image) }, 30);
        reason::gone_is_fine(
            within("RemoveImage", 30, async move { client.remove_image(query).await }).await.map(|_| ()),
        )
    }

    /// Runs a command in a container. A grandchild may hold the call open, hence a deadline of our own.
    pub async fn exec_sync(
        &self,
        id: &str,
        command: Vec<String>,
        timeout_seconds: u64,
    ) -> Result<proto::ExecSyncResponse, RuntimeError> {
        let mut client = self.runtime.clone();
        // 0 would mean "no limit".
        let timeout_seconds = timeout_seconds.clamp(1, 24 * 3600);
        let seconds = timeout_seconds + 5;
        let query = request(
            proto::ExecSyncRequest { container_id: id.into(), cmd: command, timeout: timeout_seconds as i64 },
            seconds,
        );
        within("ExecSync", seconds, async move { client.exec_sync(query).await }).await
    }

    /// Asks until the runtime answers, at most `limit`. Returns the last failure.
    pub async fn wait_ready(&self, limit: Duration) -> Result<(), RuntimeError> {
        let end = tokio::time::Instant::now() + limit;
        loop {
            let asked =
                tokio::time::timeout(Duration::from_secs(2), self.version(proto::VersionRequest::default())).await;
            let failure = match asked {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => error,
                Err(_) => reason::deadline("Version", 2),
            };
            if tokio::time::Instant::now() >= end {
                return Err(failure);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
