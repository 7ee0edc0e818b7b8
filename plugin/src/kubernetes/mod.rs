//! Kubernetes, as far as a snapshot needs it: where volumes are mounted, which agents are there, what owners ask for and
//! are told.
//!
//! ```text
//!  first Init ─► client ─► PVs and VolumeAttachments: listed, then watched ─► known for as long as the process lives
//!                   └────► token for the agents, renewed ahead
//! ```
//!
//! Before the first Init with `agent: auto` nothing of it exists. Nothing here lies between a freeze and its thaw.

mod attachment;
mod backups;
mod by_hand;
mod connect;
mod follow;
mod forward;
mod inspect;
mod lease;
mod news;
mod pod;
mod record;
mod snapshots;
mod store;
mod token;
mod view;
mod volume;
mod webhook;
mod wish;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::{core::v1::PersistentVolume, storage::v1::VolumeAttachment};
use kube::{Api, Client};
use tokio::sync::OnceCell;
use tokio_util::task::TaskTracker;

use self::{
    attachment::Attachment, backups::Backups, connect::Connection, lease::Leases, pod::Pods,
    store::Store, token::Tokens, volume::Volume,
};
use crate::config::ServiceAccount;

pub use by_hand::{ByHand, Claim, Scope, Site, Workload, WriteError};
pub use connect::Access;
pub use forward::PortForwards;
pub use inspect::{Attached, Right};
pub use news::EventReason;
pub use snapshots::Snapshots;
pub use view::View;
pub use webhook::Webhook;

/// For one look-up before a freeze.
const PATIENCE: Duration = Duration::from_secs(3);

/// The cluster of this process; nothing of it exists before it is needed.
pub struct Kubernetes {
    way: Way,
    /// What is still to be done when the process is asked to end.
    afterwards: TaskTracker,
    cluster: OnceCell<Result<Arc<Cluster>, String>>,
}

/// How to come to it.
enum Way {
    /// As a program of the cluster, or with a kubeconfig.
    Program(Option<PathBuf>),
    Person(Access),
}

/// A cluster that can be asked.
struct Cluster {
    client: Client,
    /// Velero's namespace.
    home: String,
    volumes: Arc<Store<Volume>>,
    attachments: Arc<Store<Attachment>>,
    leases: Leases,
    backups: Backups,
    pods: Pods,
    own_account: Option<ServiceAccount>,
    /// Of the agents.
    namespace: String,
    default_namespace: String,
    tokens: Mutex<HashMap<ServiceAccount, Arc<Tokens>>>,
}

impl Kubernetes {
    /// The cluster that Velero's `--kubeconfig` names, or this pod's, or `KUBECONFIG`'s. Work that nobody waits for is
    /// given to `afterwards`.
    pub fn new(kubeconfig: Option<PathBuf>, afterwards: TaskTracker) -> Self {
        Self {
            way: Way::Program(kubeconfig),
            afterwards,
            cluster: OnceCell::new(),
        }
    }

    /// The cluster that a person names.
    pub fn of_person(access: Access, afterwards: TaskTracker) -> Self {
        Self {
            way: Way::Person(access),
            afterwards,
            cluster: OnceCell::new(),
        }
    }

    /// A view of it for those whose agents admit `account`; this pod's own if none is given. Gets ready in the background.
    pub fn view(self: &Arc<Self>, account: Option<ServiceAccount>) -> Arc<View> {
        let view = Arc::new(View::new(Arc::clone(self), account));
        let prepared = Arc::clone(&view);
        tokio::spawn(async move { prepared.prepare().await });
        view
    }

    /// The snapshots of it, followed from now on.
    ///
    /// # Errors
    /// The reason, if there is no configuration that can be used.
    pub async fn snapshots(&self) -> Result<Arc<Snapshots>, String> {
        Ok(Snapshots::begin(self.cluster().await?.client.clone()))
    }

    /// # Errors
    /// The reason, if there is no configuration that can be used; it stays so for the process.
    async fn cluster(&self) -> Result<Arc<Cluster>, String> {
        let connection = async || match &self.way {
            Way::Program(kubeconfig) => Connection::new(kubeconfig.as_deref()).await,
            Way::Person(access) => Connection::by_hand(access).await,
        };
        let connect = async || match connection().await {
            Ok(connection) => Ok(Cluster::begin(connection)),
            Err(error) => Err(error.to_string()),
        };
        self.cluster.get_or_init(connect).await.clone()
    }
}

impl Cluster {
    /// Begins to follow what happens in the cluster.
    fn begin(connection: Connection) -> Arc<Self> {
        let Connection {
            client,
            home,
            namespace,
            account,
            default_namespace,
        } = connection;
        let volumes = Arc::new(Store::new("PersistentVolumes"));
        let attachments = Arc::new(Store::new("VolumeAttachments"));
        let all: Api<PersistentVolume> = Api::all(client.clone());
        tokio::spawn(follow::follow(all, Arc::clone(&volumes), Volume::of));
        let all: Api<VolumeAttachment> = Api::all(client.clone());
        tokio::spawn(follow::follow(
            all,
            Arc::clone(&attachments),
            Attachment::of,
        ));
        Arc::new(Self {
            leases: Leases::new(client.clone(), namespace.clone()),
            namespace,
            default_namespace,
            backups: Backups::new(client.clone(), &home),
            home,
            pods: Pods::new(client.clone()),
            client,
            volumes,
            attachments,
            own_account: account,
            tokens: Mutex::default(),
        })
    }

    /// That account, or our own.
    fn account(&self, account: Option<&ServiceAccount>) -> ServiceAccount {
        let account = account.or(self.own_account.as_ref());
        account.cloned().unwrap_or_else(|| ServiceAccount {
            namespace: connect::NAMESPACE.to_owned(),
            name: connect::NAMESPACE.to_owned(),
        })
    }

    /// The tokens of that account, or of our own.
    fn tokens(&self, account: Option<&ServiceAccount>) -> Arc<Tokens> {
        let account = self.account(account);
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Tokens::new(self.client.clone(), account.clone()));
        Arc::clone(tokens.entry(account.clone()).or_insert_with(new))
    }
}

/// Why Kubernetes did not answer, on one line.
fn described(error: &kube::Error) -> String {
    match error {
        // Its Display repeats everything in the form of Debug.
        kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
        other => crate::error::report(other),
    }
}

/// An answer within [`PATIENCE`], or the reason why there is none.
async fn patiently<T>(answer: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => answer.map_err(|error| described(&error)),
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    }
}
