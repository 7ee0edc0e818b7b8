//! Agents of nodes, behind TLS as the real ones are, in a cluster of the test's choice.

use std::collections::HashMap;

use aws_lc_rs::digest;
use rustls::{ServerConfig, crypto::aws_lc_rs::default_provider, version::TLS13};
use tokio::{
    io::{copy_bidirectional, duplex},
    net::TcpListener,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::*;

const TOKEN: &str = "t0ken";

/// A node whose agent listens on loopback.
struct Node {
    agent: FakeAgent,
    address: AgentAddress,
    connections: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<()>>,
}

impl Node {
    async fn start(behaviour: Behaviour) -> Self {
        let agent = FakeAgent {
            behaviour,
            token: Some(TOKEN.to_owned()),
            ..FakeAgent::default()
        };
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["anything".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let seen = digest::digest(&digest::SHA256, &certificate);
        let fingerprint = seen.as_ref().iter().map(|byte| format!("{byte:02x}"));
        let fingerprint = fingerprint.collect();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
        let mut tls = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key.into())
            .unwrap();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let connections = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&connections);
        let (sender, incoming) = mpsc::channel(1);
        let accepting = tokio::spawn(async move {
            // They break with their node.
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(mut tls) = acceptor.accept(stream).await else {
                    continue;
                };
                counted.fetch_add(1, SeqCst);
                let (server, mut proxy) = duplex(1 << 16);
                connections.spawn(async move { copy_bidirectional(&mut tls, &mut proxy).await });
                let _ = sender.send(Ok::<_, std::io::Error>(server)).await;
            }
        });
        let service = AgentServer::new(agent.clone());
        let serving = tokio::spawn(async move {
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(ReceiverStream::new(incoming))
                .await
                .unwrap();
        });
        Self {
            agent,
            address: AgentAddress {
                authority,
                fingerprint,
            },
            connections,
            tasks: vec![accepting, serving],
        }
    }

    fn frozen(&self) -> usize {
        *self.agent.frozen.lock().unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// What Kubernetes says.
#[derive(Default)]
struct Cluster {
    nodes: Mutex<HashMap<VolumeId, Vec<String>>>,
    agents: Mutex<HashMap<String, AgentAddress>>,
    /// What a second look at a Lease shows.
    renewed: Mutex<HashMap<String, AgentAddress>>,
    token: Mutex<String>,
}

impl Cluster {
    fn of(nodes: &[(&str, &Node)], volumes: &[(&str, &[&str])]) -> Arc<Self> {
        let cluster = Self {
            token: Mutex::new(TOKEN.to_owned()),
            ..Self::default()
        };
        for (name, node) in nodes {
            let mut agents = cluster.agents.lock().unwrap();
            agents.insert((*name).to_owned(), node.address.clone());
        }
        for (volume, nodes) in volumes {
            cluster.attach(volume, nodes);
        }
        Arc::new(cluster)
    }

    fn attach(&self, volume: &str, nodes: &[&str]) {
        let nodes = nodes.iter().map(|node| (*node).to_owned()).collect();
        self.nodes.lock().unwrap().insert(disk(volume), nodes);
    }
}

#[async_trait]
impl Directory for Cluster {
    async fn nodes(&self, volume: &VolumeId) -> Result<Nodes, String> {
        let names = self.nodes.lock().unwrap().get(volume).cloned();
        let names = names.ok_or("no PV of the cluster is this volume")?;
        Ok(Nodes { names, stale: None })
    }

    fn nodes_now(&self, volume: &VolumeId) -> Vec<String> {
        let nodes = self.nodes.lock().unwrap();
        nodes.get(volume).cloned().unwrap_or_default()
    }

    async fn agent(&self, node: &str, anew: bool) -> Result<AgentAddress, String> {
        let mut agents = self.agents.lock().unwrap();
        if anew && let Some(address) = self.renewed.lock().unwrap().remove(node) {
            agents.insert(node.to_owned(), address);
        }
        let known = agents.get(node).cloned();
        known.ok_or_else(|| format!("node {node} has no agent"))
    }

    async fn token(&self) -> Result<Token, String> {
        Ok(Token::new(self.token.lock().unwrap().clone()))
    }
}

async fn hold(agents: &NodeAgents, volumes: &[&str]) -> Box<dyn Hold> {
    let volumes: Vec<_> = volumes.iter().map(|name| disk(name)).collect();
    agents.hold("h1", &volumes, LIMIT).await.unwrap()
}

fn refusal(hold: &dyn Hold, place: usize) -> &crate::ports::Refusal {
    match &hold.volumes()[place] {
        VolumeHold::Refused(refusal) => refusal,
        frozen => panic!("{frozen:?}"),
    }
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < deadline, "not yet: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn one_connection_made_ahead_serves_all_holds_of_a_node() {
    let node = Node::start(Behaviour::Keeps).await;
    let cluster = Cluster::of(&[("n1", &node)], &[("a", &["n1"]), ("b", &["n1"])]);
    let agents = NodeAgents::new(cluster);
    agents.expect(&disk("a"));
    until("connected", || node.connections.load(SeqCst) == 1).await;
    let first = hold(&agents, &["a"]).await;
    let second = hold(&agents, &["b"]).await;
    assert_eq!(node.frozen(), 2);
    let VolumeHold::Frozen { nodes, .. } = &first.volumes()[0] else {
        panic!()
    };
    assert_eq!(nodes, &["n1"]);
    assert_eq!(first.release().await[0].held, Ok(()));
    assert_eq!(second.release().await[0].held, Ok(()));
    assert_eq!(node.connections.load(SeqCst), 1);
    until("thawed", || node.frozen() == 0).await;
}

#[tokio::test]
async fn a_shared_volume_stands_still_on_all_of_its_nodes_or_on_none() {
    let one = Node::start(Behaviour::Keeps).await;
    let two = Node::start(Behaviour::Keeps).await;
    let failing = Node::start(Behaviour::RefusesCall).await;
    let nodes = [("n1", &one), ("n2", &two), ("n3", &failing)];
    let shared: &[&str] = &["n1", "n2"];
    let cluster = Cluster::of(
        &nodes,
        &[
            ("a", shared),
            ("b", &["n1", "n3"]),
            ("c", &["n1", "n4"]),
            ("raw", shared),
        ],
    );
    let agents = NodeAgents::new(cluster.clone());
    let held = hold(&agents, &["a"]).await;
    assert_eq!((one.frozen(), two.frozen()), (1, 1));
    assert!(matches!(&held.volumes()[0], VolumeHold::Frozen { nodes, .. } if nodes == shared));
    assert_eq!(held.release().await[0].held, Ok(()));

    for (volume, reason) in [
        ("b", "uid 1000"),
        ("c", "n4 has no agent"),
        ("raw", "raw block"),
    ] {
        let held = hold(&agents, &[volume]).await;
        let refusal = refusal(&*held, 0);
        assert!(refusal.message.contains(reason), "{refusal:?}");
        until("let go", || one.frozen() + two.frozen() == 0).await;
    }

    let held = hold(&agents, &["a"]).await;
    cluster.attach("a", &["n1", "n2", "n3"]);
    let held = held.release().await.remove(0).held.unwrap_err();
    assert_eq!(held, "it was attached to n3 meanwhile");
}

#[tokio::test]
async fn volumes_of_several_nodes_are_one_hold_that_is_lost_with_any_of_them() {
    let keeps = Node::start(Behaviour::Keeps).await;
    let breaks = Node::start(Behaviour::Breaks).await;
    let nodes = [("n1", &keeps), ("n2", &breaks)];
    let cluster = Cluster::of(&nodes, &[("a", &["n1"]), ("b", &["n2"]), ("c", &[])]);
    let agents = NodeAgents::new(cluster);
    let mut held = hold(&agents, &["c", "a", "b", "unknown"]).await;
    assert!(refusal(&*held, 0).not_mounted && refusal(&*held, 3).not_mounted);
    assert!(refusal(&*held, 3).message.contains("no PV of the cluster"));
    held.lost().await;
    let ends = held.release().await;
    assert_eq!(ends[1].held, Ok(()));
    assert!(ends[2].held.is_err() && ends[0].held.is_err());
    until("thawed", || keeps.frozen() + breaks.frozen() == 0).await;
}

#[tokio::test]
async fn another_certificate_a_foreign_token_and_a_closed_port_are_told() {
    let node = Node::start(Behaviour::Keeps).await;
    let cluster = Cluster::of(&[("n1", &node)], &[("a", &["n1"])]);
    let refused = async || {
        // Its own connections: the good one would go on.
        let agents = NodeAgents::new(cluster.clone());
        let held = hold(&agents, &["a"]).await;
        refusal(&*held, 0).message.clone()
    };
    *cluster.token.lock().unwrap() = "stolen".to_owned();
    let reason = refused().await;
    assert!(
        reason.contains("does not let us in: not a token"),
        "{reason}"
    );
    assert!(!reason.contains("stolen"), "{reason}");
    *cluster.token.lock().unwrap() = TOKEN.to_owned();

    let wrong = |change: &dyn Fn(&mut AgentAddress)| {
        let mut address = node.address.clone();
        change(&mut address);
        cluster
            .agents
            .lock()
            .unwrap()
            .insert("n1".to_owned(), address);
    };
    wrong(&|address| address.fingerprint = "00".repeat(32));
    let reason = refused().await;
    assert!(reason.contains(&node.address.fingerprint), "{reason}");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().to_string();
    drop(closed);
    wrong(&|address| address.authority.clone_from(&port));
    let reason = refused().await;
    assert!(
        reason.contains("refused") && reason.contains(&port),
        "{reason}"
    );
    assert_eq!(node.frozen(), 0);
}

#[tokio::test]
async fn an_agent_that_came_back_with_another_certificate_is_found_by_its_lease() {
    let old = Node::start(Behaviour::Keeps).await;
    let cluster = Cluster::of(&[("n1", &old)], &[("a", &["n1"])]);
    let mut gone = old.address.clone();
    gone.fingerprint = "00".repeat(32);
    let name = "n1".to_owned();
    cluster.agents.lock().unwrap().insert(name.clone(), gone);
    let address = old.address.clone();
    cluster.renewed.lock().unwrap().insert(name, address);
    let held = hold(&NodeAgents::new(cluster), &["a"]).await;
    assert_eq!(held.release().await[0].held, Ok(()));
}

#[tokio::test]
async fn an_agent_that_went_after_it_was_ready_is_found_anew_for_the_hold() {
    let old = Node::start(Behaviour::Keeps).await;
    let new = Node::start(Behaviour::Keeps).await;
    let cluster = Cluster::of(&[("n1", &old)], &[("a", &["n1"])]);
    let renewed = new.address.clone();
    let agents = NodeAgents::new(Arc::clone(&cluster) as Arc<dyn Directory>);
    agents.ready("n1").await.unwrap();
    drop(old);
    cluster
        .renewed
        .lock()
        .unwrap()
        .insert("n1".to_owned(), renewed);
    let held = hold(&agents, &["a"]).await;
    assert_eq!(new.frozen(), 1);
    assert_eq!(held.release().await[0].held, Ok(()));
}

#[tokio::test]
async fn what_an_agent_refuses_is_not_asked_again() {
    for behaviour in [Behaviour::RefusesCall, Behaviour::Empty] {
        let node = Node::start(behaviour).await;
        let cluster = Cluster::of(&[("n1", &node)], &[("a", &["n1"])]);
        let held = hold(&NodeAgents::new(cluster), &["a"]).await;
        assert!(refusal(&*held, 0).message.contains("did not hold"));
        assert_eq!(node.agent.called.load(SeqCst), 1);
    }
}

#[test]
fn a_token_shows_nothing_of_itself() {
    let shown = format!("{:?}", Token::new(TOKEN.to_owned()));
    assert!(!shown.contains(TOKEN), "{shown}");
}
