//! The services that a go-plugin host expects beside the provider's own.

use crate::context::{End, Lifecycle};
use crate::proto::goplugin::grpc_broker_server::GrpcBroker;
use crate::proto::goplugin::grpc_controller_server::GrpcController;
use crate::proto::goplugin::grpc_stdio_server::GrpcStdio;
use crate::proto::goplugin::{ConnInfo, Empty, StdioData};
use crate::proto::health::health_check_response::ServingStatus;
use crate::proto::health::health_server::Health;
use crate::proto::health::{HealthCheckRequest, HealthCheckResponse};
use futures_util::stream;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

/// Health, controller, broker and stdio.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    lifecycle: Lifecycle,
}

impl Host {
    pub(crate) fn new(lifecycle: Lifecycle) -> Self {
        Self { lifecycle }
    }

    /// A stream that sends what is given, stays open, and ends with the server.
    fn open<T: Send + 'static>(&self, first: Option<T>) -> BoxStream<T> {
        let lifecycle = self.lifecycle.clone();
        Box::pin(stream::unfold(first, move |first| {
            let lifecycle = lifecycle.clone();
            async move {
                if let Some(item) = first {
                    return Some((Ok(item), None));
                }
                lifecycle.ended().await;
                None
            }
        }))
    }

    fn status(service: &str) -> Result<HealthCheckResponse, Status> {
        if service.is_empty() || service == "plugin" {
            Ok(HealthCheckResponse { status: ServingStatus::Serving.into() })
        } else {
            Err(Status::not_found("unknown service"))
        }
    }
}

#[tonic::async_trait]
impl Health for Host {
    async fn check(&self, rq: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Self::status(&rq.into_inner().service).map(Response::new)
    }

    async fn watch(&self, rq: Request<HealthCheckRequest>) -> Result<Response<BoxStream<HealthCheckResponse>>, Status> {
        let unknown = HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() };
        let first = Self::status(&rq.into_inner().service).unwrap_or(unknown);
        Ok(Response::new(self.open(Some(first))))
    }
}

#[tonic::async_trait]
impl GrpcController for Host {
    async fn shutdown(&self, _: Request<Empty>) -> Result<Response<Empty>, Status> {
        self.lifecycle.end(End::Shutdown);
        Ok(Response::new(Empty {}))
    }
}

#[tonic::async_trait]
impl GrpcBroker for Host {
    async fn start_stream(&self, _: Request<Streaming<ConnInfo>>) -> Result<Response<BoxStream<ConnInfo>>, Status> {
        Ok(Response::new(self.open(None)))
    }
}

#[tonic::async_trait]
impl GrpcStdio for Host {
    async fn stream_stdio(&self, _: Request<()>) -> Result<Response<BoxStream<StdioData>>, Status> {
        Ok(Response::new(self.open(None)))
    }
}
