//! The door by a real client over loopback: TLS, the pin, tokens, and clients that behave badly. Kubernetes is the one in
//! memory; against a real one it is tried in `tests/node`.

mod client;
mod connections;
mod fuzz;
mod relay;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use stillpoint_loopfs::{Kind, Mounted};
use stillpoint_proto::agent::{FreezeRequest, StatusRequest, hold_event::Event};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use self::client::Client;
use super::*;
use crate::{
    account::{AUDIENCE, tests::Cluster},
    control::Control,
    freeze::Freezes,
    hold::Holds,
    journal::Journal,
    kernel::Linux,
    ledger::Books,
    pulse::Pulse,
    service::Service,
    ttl::TtlHolds,
    volume::{Protected, Resolver},
};

const HOUR: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(30);

/// An agent's door, with a kubelet's directory of its own.
struct House {
    address: SocketAddr,
    fingerprint: String,
    cluster: Arc<Cluster>,
    holds: Arc<Holds>,
    closed: CancellationToken,
    served: JoinHandle<Result<(), tonic::transport::Error>>,
    directory: TempDir,
    _supervisor: Control,
}

impl House {
    async fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let kubelet = directory.path().join("kubelet");
        std::fs::create_dir(&kubelet).unwrap();
        let journal = Journal::at(directory.path().join("journal"));
        drop(journal.lock().unwrap());
        let (ours, supervisor) = Control::pair().unwrap();
        let socket = directory.path().join("agent.sock");
        let protected = Protected::new(&kubelet, journal.directory(), &socket);
        let books = Books::new(journal.clone(), Arc::new(ours), Arc::new(Pulse::new()));
        let freezes = Freezes::new(Arc::new(Linux), Arc::new(books), Metrics::new());
        let holds = Holds::new(Resolver::new(kubelet, protected), freezes);
        let service = service(Service {
            node: "node-1".into(),
            holds: holds.clone(),
            ttl: TtlHolds::new(holds.clone()),
            journal,
        });
        let door = TcpDoor::open(Some(([127, 0, 0, 1], 0).into()))
            .await
            .unwrap();
        let cluster = Cluster::new();
        let accounts = Accounts::new(cluster.clone(), vec!["velero/velero".parse().unwrap()]);
        let closed = CancellationToken::new();
        Self {
            address: door.address,
            fingerprint: door.identity.fingerprint.clone(),
            cluster,
            holds,
            served: tokio::spawn(serve(
                door,
                Arc::new(accounts),
                Metrics::new(),
                service,
                closed.clone().cancelled_owned(),
            )),
            closed,
            directory,
            _supervisor: supervisor,
        }
    }

    fn token(&self) -> String {
        self.cluster.token("velero/velero", AUDIENCE, HOUR)
    }

    async fn client(&self) -> Client {
        let client = Client::connect(self.address, &self.fingerprint, &self.token()).await;
        client.unwrap()
    }

    /// Asks with that token on a connection of its own.
    async fn status(&self, token: &str) -> Result<String, Status> {
        let mut client = Client::connect(self.address, &self.fingerprint, token)
            .await
            .unwrap();
        let status = client.agent.status(StatusRequest {}).await?;
        Ok(status.into_inner().node)
    }
}

#[tokio::test]
async fn an_accepted_token_is_answered_and_others_get_a_code_and_a_sentence() {
    let house = House::open().await;
    assert_eq!(house.status(&house.token()).await.unwrap(), "node-1");
    let token = |account: &str, audience: &str| house.cluster.token(account, audience, HOUR);
    for (token, code, sentence) in [
        (
            token("velero/velero", "vault"),
            Code::Unauthenticated,
            "Kubernetes rejects",
        ),
        (
            token("shop/shop", AUDIENCE),
            Code::PermissionDenied,
            "does not accept shop/shop",
        ),
        (
            String::new(),
            Code::Unauthenticated,
            "authorization: Bearer",
        ),
    ] {
        let status = house.status(&token).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(sentence), "{status}");
    }
    house.cluster.down.store(true, SeqCst);
    let status = house.status(&house.token()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.message().contains("connection refused"), "{status}");
}

#[tokio::test]
async fn calls_on_one_connection_share_one_review() {
    let house = House::open().await;
    let client = house.client().await;
    let calls = (0..20).map(|_| {
        let mut agent = client.agent.clone();
        async move { agent.status(StatusRequest {}).await.map(drop) }
    });
    for answer in futures::future::join_all(calls).await {
        answer.unwrap();
    }
    assert_eq!(house.cluster.reviews.load(SeqCst), 1);
}

#[tokio::test]
async fn another_certificate_than_the_announced_is_refused_by_the_client() {
    let (house, other) = tokio::join!(House::open(), House::open());
    let refused = Client::connect(house.address, &other.fingerprint, &house.token()).await;
    let error = refused.err().expect("not the certificate that was pinned");
    assert!(error.contains("certificate"), "{error}");
}

#[tokio::test]
async fn freeze_and_thaw_with_a_ttl_are_not_for_the_tcp_door() {
    let house = House::open().await;
    let request = FreezeRequest {
        path: "/".into(),
        ttl: prost_types::Duration::try_from(Duration::from_secs(1)).ok(),
    };
    let status = house
        .client()
        .await
        .agent
        .freeze(request)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
}

#[tokio::test]
async fn a_hold_bears_the_name_of_its_account_and_is_thawed_when_its_client_vanishes() {
    if let Some(why) = stillpoint_loopfs::missing() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let house = House::open().await;
    let (_mounted, handle) = volume(&house);
    let relay = relay::Relay::start(house.address).await;
    let mut client = Client::connect(relay.address, &house.fingerprint, &house.token())
        .await
        .unwrap();
    let (side, mut events) = client.hold(&handle).await.unwrap();
    let event = events.message().await.unwrap().unwrap().event;
    assert!(matches!(event, Some(Event::Frozen(_))), "{event:?}");
    let listed = house.holds.list();
    assert_eq!(listed[0].request.holder, "velero/velero");

    relay.swallow();
    let thawed = async {
        while !house.holds.list().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // The hold's own limit is a minute.
    let noticed = tokio::time::timeout(PATIENCE, thawed).await;
    house.holds.stop().await;
    noticed.expect("thawed though no packet says that the client is gone");
    drop((side, events));
}

/// A volume that the kubelet has staged.
fn volume(house: &House) -> (Mounted, String) {
    let handle =
        "/subscriptions/5/resourceGroups/rg/providers/Microsoft.Compute/disks/d".to_owned();
    let staging = house
        .directory
        .path()
        .join("kubelet/plugins/kubernetes.io/csi/disk.csi.azure.com/d");
    std::fs::create_dir_all(&staging).unwrap();
    let data = serde_json::json!({ "driverName": "disk.csi.azure.com", "volumeHandle": handle });
    std::fs::write(staging.join("vol_data.json"), data.to_string()).unwrap();
    let image = house.directory.path().join("d.img");
    stillpoint_loopfs::format(&image, Kind::Ext4, 64).unwrap();
    let mounted = Mounted::image(&image, &staging.join("globalmount"), "").unwrap();
    (mounted, handle)
}

#[tokio::test]
async fn the_door_closes_when_it_is_told() {
    let house = House::open().await;
    let client = house.client().await;
    house.closed.cancel();
    drop(client);
    tokio::time::timeout(PATIENCE, house.served)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let refused = tokio::net::TcpStream::connect(house.address).await;
    assert!(refused.is_err(), "nobody listens any more");
}
