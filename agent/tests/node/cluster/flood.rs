//! A flood of everything that a door can be asked: no thaw is later for it, and the agent does not grow with it.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use rustix::process::Pid;
use stillpoint_proto::agent::HoldRequest;
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    sync::{mpsc, oneshot},
    task::{JoinSet, yield_now},
    time::sleep,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use super::*;
use crate::harness::{Hold, eventually};

/// By how much a deadline may be missed, with the machine as busy as it is.
const LATE: Duration = Duration::from_millis(700);
/// In KiB. Measured: 10 MiB more than at rest.
const GROWTH: u64 = 32 << 10;

fn resident(process: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

/// Those who flood, and how often they asked.
struct Flood {
    tasks: JoinSet<()>,
    asked: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
}

impl Flood {
    fn by<F: Future<Output = bool> + Send>(
        &mut self,
        many: usize,
        ask: impl Fn() -> F + Clone + Send + 'static,
    ) {
        for _ in 0..many {
            let (ask, asked, refused) = (ask.clone(), self.asked.clone(), self.refused.clone());
            self.tasks.spawn(async move {
                loop {
                    let answered = ask().await;
                    asked.fetch_add(1, Relaxed);
                    refused.fetch_add(usize::from(!answered), Relaxed);
                    yield_now().await;
                }
            });
        }
    }
}

/// Begins a hold of all volumes for a second, and says by how much its thaw is late.
async fn lateness(node: &Node) -> Duration {
    // What was frozen until its limit rests for as long.
    let hold = loop {
        let hold = node.hold_all(Duration::from_secs(1)).await;
        if hold.volumes.iter().all(|volume| {
            matches!(
                volume.outcome,
                Some(stillpoint_proto::agent::volume_freeze::Outcome::Frozen(_))
            )
        }) {
            break hold;
        }
        sleep(Duration::from_millis(100)).await;
    };
    let thawed = hold.thawed().await;
    let longest = thawed.volumes.iter().map(|thaw| {
        assert!(thaw.reason.contains("limit"), "{thaw:?}");
        Duration::try_from(thaw.frozen_for.unwrap()).unwrap()
    });
    longest
        .max()
        .unwrap()
        .saturating_sub(Duration::from_secs(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_delays_no_thaw_and_the_agent_does_not_grow_with_it() {
    let Some(mut site) = Site::start().await else {
        return;
    };
    let old = site.lease(None).await;
    site.node.kill_all();
    site.start_agent_with("info");
    let lease = site.lease(Some(&old)).await;
    let token = site.token("velero", AUDIENCE).await;
    let forged = site.token("another", AUDIENCE).await;
    let fingerprint = annotation(&lease, "stillpoint.io/certificate-sha256").to_owned();
    let endpoint = annotation(&lease, "stillpoint.io/endpoint");
    let address: SocketAddr = endpoint.strip_prefix("https://").unwrap().parse().unwrap();
    let worker = site.node.worker().unwrap();
    assert!(site.status(&lease, &token).await.is_ok());
    let calm = lateness(&site.node).await;
    let before = resident(worker);

    let mut flood = Flood {
        tasks: JoinSet::new(),
        asked: Arc::default(),
        refused: Arc::default(),
    };
    // Connections that never speak, and some that speak nonsense.
    flood.by(40, move || async move {
        let Ok(mut stream) = TcpStream::connect(address).await else {
            return false;
        };
        let _ = stream.write_all(b"\x16\x03\x01\x02\x00").await;
        sleep(Duration::from_millis(300)).await;
        true
    });
    // Tokens of an account that is not accepted.
    let pin = fingerprint.clone();
    flood.by(4, move || {
        let (forged, pin) = (forged.clone(), pin.clone());
        async move {
            let Ok(mut client) = Client::connect(address, &pin, &forged).await else {
                return false;
            };
            client.agent.status(StatusRequest {}).await.is_ok()
        }
    });
    // An accepted account gone wild: one connection full of questions, one full of holds that never begin.
    let mut wild = Vec::new();
    for _ in 0..2 {
        wild.push(
            Client::connect(address, &fingerprint, &token)
                .await
                .unwrap()
                .agent,
        );
    }
    let (asking, opening) = (wild[0].clone(), wild[1].clone());
    flood.by(64, move || {
        let mut agent = asking.clone();
        async move { agent.status(StatusRequest {}).await.is_ok() }
    });
    flood.by(100, move || {
        let mut agent = opening.clone();
        async move {
            let (side, requests) = mpsc::channel::<HoldRequest>(1);
            let Ok(events) = agent.hold(ReceiverStream::new(requests)).await else {
                return false;
            };
            let silent = events.into_inner().message().await;
            drop(side);
            !matches!(silent, Err(status) if status.code() == Code::DeadlineExceeded)
        }
    });
    // The same by the node's own socket, with messages that are too large.
    let socket = site.node.socket();
    flood.by(4, move || {
        let socket = socket.clone();
        async move {
            let mut client = crate::harness::connect(&socket).await;
            let long = "v".repeat(1 << 20);
            Hold::begin(&mut client, &[&long], Duration::from_secs(1))
                .await
                .is_ok()
        }
    });
    let mut late = Vec::new();
    for _ in 0..3 {
        late.push(lateness(&site.node).await);
    }
    let grown = resident(worker).saturating_sub(before);
    let (asked, refused) = (flood.asked.load(Relaxed), flood.refused.load(Relaxed));
    flood.tasks.shutdown().await;
    drop(wild);
    println!(
        "{asked} calls and connections, {refused} of them refused or cut off: thaws late by {late:?} (at rest by {calm:?}), \
         {grown} KiB more memory than {before} KiB"
    );
    assert!(asked > 500 && refused > 100, "no flood: {asked} {refused}");
    assert!(late.iter().all(|late| *late < LATE), "{late:?}");
    assert!(grown < GROWTH, "{grown} KiB");
    assert_eq!(site.node.worker(), Some(worker), "the same worker");
    eventually("nothing is held", || !site.node.volumes[0].is_frozen());
    until("the agent serves again", PATIENCE, async || {
        Ok(site.status(&lease, &token).await.is_ok().then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_at_most_so_many_holds_and_one_more_is_refused_at_once() {
    let Some(node) = Node::with(&[Kind::Ext4]) else {
        return;
    };
    // Each takes a place from its first moment.
    let opened = Arc::new(AtomicUsize::new(0));
    let ended = Arc::new(AtomicBool::new(false));
    let mut open = Vec::new();
    let mut releases = Vec::new();
    for _ in 0..256 {
        let mut client = node.client().await;
        let (opened, ended) = (opened.clone(), ended.clone());
        let handle = node.volumes[0].handle.clone();
        let (release, released) = oneshot::channel::<()>();
        releases.push(release);
        open.push(tokio::spawn(async move {
            let limit = Duration::from_secs(30);
            let hold = Hold::begin(&mut client, &[&handle], limit).await.unwrap();
            opened.fetch_add(1, Relaxed);
            let _ = released.await;
            assert!(ended.load(Relaxed));
            drop(hold);
        }));
    }
    eventually("all are open", || opened.load(Relaxed) == 256);
    let mut client = node.client().await;
    let begun = Instant::now();
    let more = Hold::begin(&mut client, &[&node.volumes[0].handle], PATIENCE).await;
    let status = more.err().expect("one too many");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("256 holds"), "{status}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    ended.store(true, Relaxed);
    drop(releases);
    for hold in open {
        hold.await.unwrap();
    }
    eventually("all are released", || !node.volumes[0].is_frozen());
    let (side, requests) = mpsc::channel::<HoldRequest>(1);
    let mut events = client
        .hold(ReceiverStream::new(requests))
        .await
        .unwrap()
        .into_inner();
    let silent = events.message().await;
    assert!(
        matches!(&silent, Err(status) if status.message().contains("Begin did not come")),
        "{silent:?}"
    );
    drop(side);
    let again = node.hold_all(Duration::from_secs(5)).await;
    assert!(again.release().await.volumes[0].held);
}
