//! How the host ends the process, and its view of the plugin's standard streams.

use std::pin::Pin;

use futures::{Stream, StreamExt as _, stream};
use stillpoint_proto::goplugin::{
    Empty, StdioData, grpc_controller_server::GrpcController, grpc_stdio_server::GrpcStdio,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// `Shutdown` answers at once; what it starts is [`super::stop`]'s.
pub(super) struct Controller {
    pub(super) shutdown: mpsc::Sender<()>,
}

#[tonic::async_trait]
impl GrpcController for Controller {
    async fn shutdown(&self, _: Request<Empty>) -> Result<Response<Empty>, Status> {
        // Full: asked before.
        let _ = self.shutdown.try_send(());
        Ok(Response::new(Empty {}))
    }
}

/// Held open without a word: nothing here writes to stdout, and stderr goes to the host through its pipe.
pub(super) struct Stdio {
    pub(super) stop: CancellationToken,
}

type StdioStream = Pin<Box<dyn Stream<Item = Result<StdioData, Status>> + Send>>;

#[tonic::async_trait]
impl GrpcStdio for Stdio {
    type StreamStdioStream = StdioStream;

    async fn stream_stdio(&self, _: Request<()>) -> Result<Response<StdioStream>, Status> {
        let stop = self.stop.clone().cancelled_owned();
        Ok(Response::new(Box::pin(
            stream::pending().take_until(Box::pin(stop)),
        )))
    }
}
