//! The gate's door: where API servers ask, and what makes them trust whom they ask.
//!
//! ```text
//!   API server ──TLS──► listener ──► admit ──► Reviewer (the gate's core)
//!                          ▲                      └─ dropped when the API server goes away
//!   Secret, or files ──► certificate ──► caBundle
//!   kubelet, Prometheus ► probes ──► Readiness, metrics
//! ```
//!
//! The listener knows no Kubernetes, the certificate's keeper no HTTP; `kubernetes::Webhook` is the one side of it.

mod admit;
mod body;
mod certificate;
mod crowd;
mod error;
mod listener;
mod options;
mod patience;
mod probes;
mod refusal;
mod reviewer;
#[cfg(test)]
mod tests;
mod tls;

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::{
    admit::Admission,
    certificate::{Files, Keeper, Names},
    listener::Listener,
    probes::Probes,
    tls::Tls,
};
pub use self::{
    certificate::{Cluster, ClusterError, Material, Pace, Stored, Trust},
    error::DoorError,
    options::Options,
    probes::Readiness,
    reviewer::Reviewer,
};

/// Where admission requests come in.
const PORT: u16 = 8443;
/// Metrics and probes, of all programs.
const PROBES: u16 = 9464;
/// Connections at once.
const CONNECTIONS: usize = 256;
const PROBERS: usize = 32;

/// A door that nobody has come through yet.
pub struct Door {
    requests: TcpListener,
    address: SocketAddr,
    probes: TcpListener,
    probes_address: SocketAddr,
    tls: Arc<Tls>,
    source: Source,
    readiness: Readiness,
    metrics: Option<probes::Metrics>,
    pace: Pace,
}

enum Source {
    Files(Files),
    Cluster(Box<Keeper>),
}

impl Door {
    /// Listens, and reads the files that `options` name. The certificate is shared in `cluster`, unless it is in files.
    ///
    /// # Errors
    /// An address that cannot be listened on, a file that cannot be used.
    pub async fn open(options: &Options, cluster: Arc<dyn Cluster>) -> Result<Self, DoorError> {
        let tls = match &options.client_ca {
            Some(path) => tls::clients_of(path)?,
            None => Tls::new(None).map_err(DoorError::Tls)?,
        };
        let tls = Arc::new(tls);
        let readiness = Readiness::default();
        let source = match (&options.tls_cert, &options.tls_key) {
            (Some(certificate), Some(key)) => {
                let (certificate, key) = (certificate.clone(), key.clone());
                let served = Arc::clone(&tls);
                readiness.require("certificate", move || certificate::is_served(&served));
                Source::Files(Files::open(certificate, key, Arc::clone(&tls))?)
            }
            _ => {
                let namespace = cluster.namespace();
                let names = Names::of_service(&options.service, namespace, options.advertise);
                let keeper = Keeper::new(cluster, names, Arc::clone(&tls));
                let (standing, served) = (keeper.standing(), Arc::clone(&tls));
                readiness.require("certificate", move || standing.check(&served));
                Source::Cluster(Box::new(keeper))
            }
        };
        let flag = "--listen (STILLPOINT_GATE_LISTEN)";
        let (requests, address) = bind(options.listen, PORT, flag).await?;
        let flag = "--probes (STILLPOINT_GATE_PROBES)";
        let (probes, probes_address) = bind(options.probes, PROBES, flag).await?;
        Ok(Self {
            requests,
            address,
            probes,
            probes_address,
            tls,
            source,
            readiness,
            metrics: None,
            pace: Pace::default(),
        })
    }

    /// Another pace than the usual one.
    #[must_use]
    pub fn paced(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// With what `text` writes at `/metrics`, as OpenMetrics.
    #[must_use]
    pub fn with_metrics(mut self, text: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.metrics = Some(Box::new(text));
        self
    }

    /// Where admission requests come in.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the probes are.
    pub fn probes_address(&self) -> SocketAddr {
        self.probes_address
    }

    /// To add what else must hold for `/readyz`.
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Serves until `closed`, and then what is being answered, for ten seconds at most.
    pub async fn serve(self, reviewer: Arc<dyn Reviewer>, closed: impl Future<Output = ()>) {
        let end = CancellationToken::new();
        let requests = Listener {
            socket: self.requests,
            tls: Some(self.tls),
            most: CONNECTIONS,
        };
        let probes = Listener {
            socket: self.probes,
            tls: None,
            most: PROBERS,
        };
        let ended = end.clone();
        self.readiness
            .require("gate", move || match ended.is_cancelled() {
                true => Err("it ends".to_owned()),
                false => Ok(()),
            });
        let admission = Arc::new(Admission::new(reviewer));
        let probing = Arc::new(Probes {
            readiness: self.readiness,
            metrics: self.metrics,
        });
        let pace = self.pace;
        let kept = async {
            match self.source {
                Source::Files(files) => files.keep(pace.look).await,
                Source::Cluster(keeper) => keeper.keep(pace).await,
            }
        };
        let last = CancellationToken::new();
        let served = async {
            requests.serve(admission, end.clone()).await;
            last.cancel();
        };
        let closing = async {
            closed.await;
            end.cancel();
        };
        let all = async {
            tokio::join!(served, probes.serve(probing, last.clone()), closing);
        };
        tokio::select! {
            () = all => {}
            () = kept => {}
        }
    }
}

async fn bind(
    address: Option<SocketAddr>,
    port: u16,
    flag: &'static str,
) -> Result<(TcpListener, SocketAddr), DoorError> {
    let wanted = address.unwrap_or((Ipv6Addr::UNSPECIFIED, port).into());
    let mut bound = TcpListener::bind(wanted).await;
    if address.is_none() && bound.as_ref().is_err_and(lacks_ipv6) {
        bound = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await;
    }
    let bound = bound.and_then(|listener| {
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    bound.map_err(|source| DoorError::Listen {
        address: wanted,
        flag,
        source,
    })
}

fn lacks_ipv6(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}
