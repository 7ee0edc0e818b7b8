//! The client against a small agent that keeps the contract, and breaks it when told.

mod nodes;

use std::{
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::Stream;
use stillpoint_proto::agent::{
    self as proto, Frozen, FrozenFilesystem, HoldEvent, HoldRequest, Thawed, VolumeFreeze,
    VolumeThaw,
    agent_server::{Agent, AgentServer},
    hold_event::Event,
    hold_request::Request as HoldBegin,
    refusal::Reason,
    volume_freeze::Outcome,
};
use tokio::{net::UnixListener, sync::mpsc, task::JoinHandle, time::Instant};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, Streaming};

use super::*;
use crate::{
    model::{DiskId, VolumeId},
    ports::{Hold, Holder, VolumeHold},
};

#[derive(Clone, Copy, Default, PartialEq)]
enum Behaviour {
    #[default]
    Keeps,
    /// Thaws by itself after that many milliseconds.
    Limits(u64),
    /// Ends the stream after Frozen.
    Breaks,
    /// Fails the call after Frozen.
    Fails,
    /// Refuses the call.
    RefusesCall,
    /// Never answers the half-close.
    Silent,
    /// Answers nothing at all.
    Hangs,
    /// Ends without a word.
    Empty,
}

#[derive(Clone, Default)]
struct FakeAgent {
    behaviour: Behaviour,
    /// What callers must show; nothing at a unix socket.
    token: Option<String>,
    frozen: Arc<Mutex<usize>>,
    begun: Arc<Mutex<Vec<proto::Begin>>>,
    /// Calls that were let in.
    called: Arc<AtomicUsize>,
}

/// Thaws whatever happens to the call, as the real agent does.
struct Freeze(Arc<Mutex<usize>>);

impl Drop for Freeze {
    fn drop(&mut self) {
        *self.0.lock().unwrap() -= 1;
    }
}

type Events = Pin<Box<dyn Stream<Item = Result<HoldEvent, Status>> + Send>>;

fn event(event: Event) -> HoldEvent {
    HoldEvent { event: Some(event) }
}

fn freezes(begin: &proto::Begin) -> Frozen {
    let outcome = |volume: &String| {
        if volume.contains("elsewhere") {
            Outcome::Refused(proto::Refusal {
                reason: Reason::NotMounted.into(),
                message: "not mounted here".to_owned(),
            })
        } else if volume.contains("raw") {
            Outcome::Refused(proto::Refusal {
                reason: Reason::Block.into(),
                message: "raw block".to_owned(),
            })
        } else {
            Outcome::Frozen(FrozenFilesystem {
                filesystem: "xfs".to_owned(),
                ..Default::default()
            })
        }
    };
    let one = |volume: &String| VolumeFreeze {
        // Agents may answer in their own spelling.
        volume: volume.to_lowercase(),
        outcome: Some(outcome(volume)),
    };
    Frozen {
        volumes: begin.volumes.iter().map(one).collect(),
    }
}

fn thaws(begin: &proto::Begin, held: bool) -> Thawed {
    let frozen = begin
        .volumes
        .iter()
        .filter(|volume| !volume.contains("elsewhere"));
    let one = |volume: &String| VolumeThaw {
        volume: volume.clone(),
        frozen_for: Some(prost_types::Duration {
            seconds: 1,
            nanos: 500_000_000,
        }),
        held,
        reason: if held {
            String::new()
        } else {
            "its limit passed".to_owned()
        },
    };
    Thawed {
        volumes: frozen.map(one).collect(),
    }
}

impl FakeAgent {
    fn admit<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let shown = request.metadata().get("authorization");
        let expected = self.token.as_ref().map(|token| format!("Bearer {token}"));
        if expected.as_deref() == shown.and_then(|value| value.to_str().ok()) {
            Ok(())
        } else {
            Err(Status::unauthenticated("not a token of this cluster"))
        }
    }

    async fn serve(
        self,
        mut asked: Streaming<HoldRequest>,
        events: mpsc::Sender<Result<HoldEvent, Status>>,
    ) {
        let Ok(Some(HoldRequest {
            request: Some(HoldBegin::Begin(begin)),
        })) = asked.message().await
        else {
            return;
        };
        self.begun.lock().unwrap().push(begin.clone());
        let send = async |event: Event| events.send(Ok(self::event(event))).await.is_ok();
        match self.behaviour {
            Behaviour::Hangs => return std::future::pending().await,
            Behaviour::Empty => return,
            _ => {}
        }
        *self.frozen.lock().unwrap() += 1;
        let freeze = Freeze(Arc::clone(&self.frozen));
        send(Event::Frozen(freezes(&begin))).await;
        match self.behaviour {
            Behaviour::Breaks => return,
            Behaviour::Fails => {
                drop(events.send(Err(Status::internal("worker died"))).await);
                return;
            }
            Behaviour::Limits(after) => {
                tokio::time::sleep(Duration::from_millis(after)).await;
                drop(freeze);
                send(Event::Thawed(thaws(&begin, false))).await;
                return;
            }
            _ => {}
        }
        let closed = matches!(asked.message().await, Ok(None));
        drop(freeze);
        if closed && self.behaviour != Behaviour::Silent {
            send(Event::Thawed(thaws(&begin, true))).await;
        } else {
            events.closed().await;
        }
    }
}

#[async_trait]
impl Agent for FakeAgent {
    type HoldStream = Events;

    async fn hold(
        &self,
        asked: Request<Streaming<HoldRequest>>,
    ) -> Result<Response<Events>, Status> {
        self.admit(&asked)?;
        self.called.fetch_add(1, SeqCst);
        if self.behaviour == Behaviour::RefusesCall {
            return Err(Status::permission_denied("uid 1000 is not the agent's"));
        }
        let (sender, events) = mpsc::channel(4);
        tokio::spawn(self.clone().serve(asked.into_inner(), sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(events))))
    }

    async fn freeze(
        &self,
        _: Request<proto::FreezeRequest>,
    ) -> Result<Response<proto::FreezeResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn thaw(
        &self,
        _: Request<proto::ThawRequest>,
    ) -> Result<Response<proto::ThawResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn status(
        &self,
        asked: Request<proto::StatusRequest>,
    ) -> Result<Response<proto::StatusResponse>, Status> {
        self.admit(&asked)?;
        Ok(Response::new(proto::StatusResponse::default()))
    }
}

struct Running {
    agent: FakeAgent,
    path: PathBuf,
    server: JoinHandle<()>,
    _directory: tempfile::TempDir,
}

impl Running {
    fn start(behaviour: Behaviour) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        let agent = FakeAgent {
            behaviour,
            ..FakeAgent::default()
        };
        let server = listen(&agent, &path);
        Self {
            agent,
            path,
            server,
            _directory: directory,
        }
    }

    fn holder(&self) -> Arc<dyn Holder> {
        Arc::new(UnixAgent::new(&self.path))
    }

    /// Polls until nothing is frozen.
    async fn assert_thawed(&self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while *self.agent.frozen.lock().unwrap() > 0 {
            assert!(Instant::now() < deadline, "still frozen");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn listen(agent: &FakeAgent, path: &PathBuf) -> JoinHandle<()> {
    let listener = UnixListener::bind(path).unwrap();
    let service = AgentServer::new(agent.clone());
    tokio::spawn(async move {
        let server = tonic::transport::Server::builder().add_service(service);
        server
            .serve_with_incoming(UnixListenerStream::new(listener))
            .await
            .unwrap();
    })
}

fn disk(name: &str) -> VolumeId {
    DiskId::new(crate::snapshot::fake::group(), name).into()
}

const LIMIT: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_hold_lasts_until_its_release() {
    let running = Running::start(Behaviour::Keeps);
    let volumes = [disk("Data"), disk("elsewhere"), disk("raw")];
    let hold = running.holder().hold("h1", &volumes, LIMIT).await.unwrap();
    assert_eq!(*running.agent.frozen.lock().unwrap(), 1);
    let frozen = VolumeHold::Frozen {
        filesystem: "xfs".to_owned(),
        nodes: vec!["this host".to_owned()],
    };
    assert_eq!(hold.volumes()[0], frozen);
    for (place, not_mounted) in [(1, true), (2, false)] {
        let VolumeHold::Refused(refusal) = &hold.volumes()[place] else {
            panic!("{place}")
        };
        assert_eq!(refusal.not_mounted, not_mounted);
    }
    let began = Instant::now();
    let ends = hold.release().await;
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(ends[0].held, Ok(()));
    assert_eq!(ends[0].frozen, Duration::from_millis(1500));
    assert_eq!(ends[1].held, Err("not mounted here".to_owned()));
    assert_eq!(ends[1].frozen, Duration::ZERO);
    running.assert_thawed().await;
    let begun = running.agent.begun.lock().unwrap();
    assert_eq!(
        (begun[0].hold_id.as_str(), begun[0].limit.unwrap().seconds),
        ("h1", 10)
    );
}

#[tokio::test]
async fn a_dropped_hold_lets_go() {
    let running = Running::start(Behaviour::Keeps);
    let hold = running
        .holder()
        .hold("h1", &[disk("data")], LIMIT)
        .await
        .unwrap();
    drop(hold);
    running.assert_thawed().await;
}

#[tokio::test]
async fn a_hold_that_is_over_is_noticed_and_told() {
    for (behaviour, reason) in [
        (Behaviour::Limits(20), "its limit passed"),
        (Behaviour::Breaks, "ended the call"),
        (Behaviour::Fails, "worker died"),
    ] {
        let running = Running::start(behaviour);
        let mut hold = running
            .holder()
            .hold("h1", &[disk("data")], LIMIT)
            .await
            .unwrap();
        tokio::time::timeout(Duration::from_secs(5), hold.lost())
            .await
            .unwrap();
        let held = hold.release().await.remove(0).held.unwrap_err();
        assert!(held.contains(reason), "{held}");
        running.assert_thawed().await;
    }
}

#[tokio::test]
async fn an_agent_whose_process_ends_does_not_hold() {
    // A runtime of its own, so that its connections end with it.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.sock");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let guard = runtime.enter();
    let agent = FakeAgent::default();
    listen(&agent, &path);
    drop(guard);
    let mut hold = UnixAgent::new(&path)
        .hold("h1", &[disk("data")], LIMIT)
        .await
        .unwrap();
    runtime.shutdown_background();
    tokio::time::timeout(Duration::from_secs(5), hold.lost())
        .await
        .unwrap();
    assert!(hold.release().await[0].held.is_err());
}

#[tokio::test]
async fn a_silent_agent_did_not_hold() {
    let running = Running::start(Behaviour::Silent);
    let hold = running
        .holder()
        .hold("h1", &[disk("data")], LIMIT)
        .await
        .unwrap();
    // From here on only the clock moves.
    tokio::time::pause();
    let end = hold.release().await.remove(0);
    assert!(end.held.unwrap_err().contains("did not say within 5s"));
}

#[tokio::test]
async fn an_agent_that_does_not_begin_is_given_up() {
    let running = Running::start(Behaviour::Hangs);
    let holder = running.holder();
    let holding =
        tokio::spawn(async move { holder.hold("h1", &[disk("data")], LIMIT).await.err() });
    while running.agent.begun.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::pause();
    let error = holding.await.unwrap().unwrap().to_string();
    assert!(error.contains("did not freeze within 60s"), "{error}");
}

#[tokio::test]
async fn errors_name_the_socket_and_the_reason() {
    for (behaviour, reason) in [
        (Behaviour::RefusesCall, "uid 1000"),
        (Behaviour::Empty, "without a word"),
    ] {
        let running = Running::start(behaviour);
        let error = running
            .holder()
            .hold("h1", &[disk("data")], LIMIT)
            .await
            .err()
            .unwrap();
        let error = error.to_string();
        let socket = format!("unix:{}", running.path.display());
        assert!(error.contains(&socket) && error.contains(reason), "{error}");
    }
    let nowhere = UnixAgent::new("/nonexistent/agent.sock".as_ref());
    let error = nowhere
        .hold("h1", &[disk("data")], LIMIT)
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("unix:/nonexistent/agent.sock") && error.contains("No such file"),
        "{error}"
    );
}

#[tokio::test]
async fn an_agent_that_came_later_or_came_back_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.sock");
    let holder = UnixAgent::new(&path);
    assert!(holder.hold("h0", &[disk("data")], LIMIT).await.is_err());
    for round in ["h1", "h2"] {
        let running = FakeAgent::default();
        let server = listen(&running, &path);
        let hold = holder.hold(round, &[disk("data")], LIMIT).await.unwrap();
        assert_eq!(hold.release().await[0].held, Ok(()), "{round}");
        server.abort();
        std::fs::remove_file(&path).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.server.abort();
    }
}
