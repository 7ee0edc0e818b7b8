//! The server, from the handshake to the end of the last call.

use std::{
    io::{self, Write},
    time::Duration,
};

use stillpoint_proto::{
    DESCRIPTORS,
    goplugin::{
        grpc_broker_server::GrpcBrokerServer, grpc_controller_server::GrpcControllerServer,
        grpc_stdio_server::GrpcStdioServer,
    },
};
use thiserror::Error;
use tokio::{sync::mpsc, time::timeout};
use tonic::{service::RoutesBuilder, transport::Server};

use super::{
    SocketError, StopReason, TlsError, VersionsUnmet,
    broker::Broker,
    calls::Calls,
    connection::accept,
    control::{Controller, Stdio},
    environment::{APP_PROTOCOL, Environment},
    handshake::Handshake,
    parent::Parent,
    socket::Socket,
    stop::{self, Signals},
    tls::Tls,
};

/// The service name whose health go-plugin asks for.
const HEALTH: &str = "plugin";

/// What is served by reflection; the descriptors hold more.
const SERVICES: [&str; 7] = [
    "generated.ObjectStore",
    "generated.PluginLister",
    "generated.VolumeSnapshotter",
    "plugin.GRPCBroker",
    "plugin.GRPCController",
    "plugin.GRPCStdio",
    "grpc.health.v1.Health",
];

/// What a host may send ahead. HTTP/2's own 64 KiB is four of Velero's messages, after which both sides wait for each
/// other.
const WINDOW: u32 = 1 << 20;

/// How long the last answers may take to leave.
const FAREWELL: Duration = Duration::from_millis(100);

/// The process cannot serve.
#[derive(Debug, Error)]
pub enum ServeError {
    /// No common version.
    #[error(transparent)]
    Versions(#[from] VersionsUnmet),
    /// No socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No reflection.
    #[error("cannot describe the services")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// No signals.
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    /// The host does not listen.
    #[error("cannot write the handshake to the host (stdout)")]
    Handshake(#[source] io::Error),
    /// The server failed.
    #[error("the gRPC server failed")]
    Server(#[from] tonic::transport::Error),
    /// A defect.
    #[error("the gRPC server ended in an unforeseen way")]
    Defect(#[from] tokio::task::JoinError),
}

/// Serves `services` besides go-plugin's own until the host ends it or dies, then lets the calls in flight clean
/// up. `stdout` gets the handshake line, and nothing after it.
///
/// # Errors
/// If it cannot begin to serve.
pub async fn serve(
    environment: &Environment,
    parent: Option<Parent>,
    mut stdout: impl Write,
    services: impl FnOnce(&mut RoutesBuilder, &Calls),
) -> Result<StopReason, ServeError> {
    let signals = Signals::catch().map_err(ServeError::Signals)?;
    let socket = Socket::bind(environment)?;
    let path = socket.path().to_owned();
    let version = environment.negotiate();
    let tls = environment
        .client_certificate
        .as_deref()
        .map(Tls::new)
        .transpose()?;

    let handshake = Handshake {
        version: APP_PROTOCOL,
        socket: &path,
        certificate: tls.as_ref().map(|tls| tls.certificate.as_ref()),
        multiplex_field: environment.multiplex,
    };
    // Also to a host of other versions: it then explains the mismatch in its own words. Before all else that takes
    // time: connections wait in the socket.
    writeln!(stdout, "{handshake}")
        .and_then(|()| stdout.flush())
        .map_err(ServeError::Handshake)?;
    version?;

    let calls = Calls::default();
    let (shutdown, shutdown_asked) = mpsc::channel(1);
    let mut routes = RoutesBuilder::default();
    go_plugin_services(&mut routes, &calls, shutdown).await?;
    services(&mut routes, &calls);

    tracing::debug!(socket = %path.display(), tls = tls.is_some(), "serving");

    let stopping = calls.stopping();
    let (incoming, accepting) = accept(socket, tls.map(|tls| tls.acceptor), stopping.clone());
    let server = Server::builder()
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .add_routes(routes.routes())
        .serve_with_incoming_shutdown(incoming, stopping.clone().cancelled_owned());
    let mut server = tokio::spawn(server);

    let reason = tokio::select! {
        reason = stop::reason(signals, shutdown_asked, parent) => reason,
        ended = &mut server => {
            ended??;
            return Ok(StopReason::Terminated);
        }
    };
    drain(&calls, reason).await;
    // A caller that holds a stream open does not hold us.
    let _ = timeout(FAREWELL, server).await;
    accepting.await?;
    Ok(reason)
}

async fn go_plugin_services(
    routes: &mut RoutesBuilder,
    calls: &Calls,
    shutdown: mpsc::Sender<()>,
) -> Result<(), ServeError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter
        .set_service_status(HEALTH, tonic_health::ServingStatus::Serving)
        .await;
    let stop = calls.stopping();
    routes
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(GrpcControllerServer::new(Controller { shutdown }))
        .add_service(GrpcStdioServer::new(Stdio { stop: stop.clone() }))
        .add_service(GrpcBrokerServer::new(Broker { stop: stop.clone() }));
    Ok(())
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    SERVICES.into_iter().fold(
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET),
        tonic_reflection::server::Builder::with_service_name,
    )
}

async fn drain(calls: &Calls, reason: StopReason) {
    tracing::debug!(%reason, in_flight = calls.in_flight(), "stopping");
    calls.stop();
    if timeout(reason.patience(), calls.finished()).await.is_err() {
        tracing::warn!(
            in_flight = calls.in_flight(),
            "calls did not end in time; what they had begun in Azure is swept at a later start"
        );
    }
}
