//! A client's connection: its requests, one after the other, and what happens to each.

use std::sync::Arc;

use anyhow::Result;
use futures::future::FutureExt as _;
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Mutex,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    body::{Ending, Entry, Middle, Passing, Source, Way, drain},
    fault::Action,
    upstream::Upstream,
};

pub(super) async fn accept(shared: Arc<Shared>, listener: TcpListener, tls: TlsAcceptor) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(connection(Arc::clone(&shared), stream, tls.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(shared: Arc<Shared>, stream: TcpStream, tls: TlsAcceptor) {
    let _ = stream.set_nodelay(true);
    let Ok(stream) = tls.accept(stream).await else {
        return;
    };
    let upstream = Arc::new(Mutex::new(Upstream::default()));
    let close = CancellationToken::new();
    let service = service_fn(|request| {
        let (shared, upstream, close) = (Arc::clone(&shared), Arc::clone(&upstream), close.clone());
        async move {
            let answer = handle(&shared, &upstream, &close, request).await;
            if answer.is_err() {
                // The connection ends by this, without a word, not by an answer of hyper's.
                close.cancel();
                std::future::pending::<()>().await;
            }
            answer
        }
    });
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let _ = close.run_until_cancelled(served).await;
}

/// What is to happen once the request was passed on.
#[derive(Default)]
struct Plan {
    cut_request: Option<u64>,
    middle_of_answer: Option<(u64, Middle)>,
    later: Vec<Action>,
}

/// An error closes the connection.
async fn handle(
    shared: &Arc<Shared>,
    upstream: &Mutex<Upstream>,
    close: &CancellationToken,
    request: Request<Incoming>,
) -> Result<Response<Passing>> {
    let method = request.method().clone();
    let (entry, actions, cleared) = {
        // All at once, so that no clear is missed in between.
        let mut state = shared.state();
        let cleared = shared.cleared.subscribe();
        let query = request.uri().query().unwrap_or_default();
        let actions = state.faults.meet(&method, request.uri().path(), query);
        let number = state.log.open(&request, &actions);
        let shared = Arc::clone(shared);
        (Entry { shared, number }, actions, cleared)
    };
    let ending = Ending(entry.clone());

    let mut plan = Plan::default();
    for action in actions {
        match action {
            Action::Refuse(refusal) => {
                let sent = drain(request.into_body()).await?;
                entry.note(|record| record.sent = sent);
                return Ok(whole(refusal.answer(&method), ending));
            }
            Action::CloseBefore => anyhow::bail!("a fault closes this connection"),
            Action::Stall => drop(cleared.clone().changed().await),
            Action::CutRequest { after } => plan.cut_request = Some(after),
            Action::CutAnswer { after } => {
                plan.middle_of_answer = Some((after, Middle::Cut(close.clone())));
            }
            Action::StallAnswer { after } => {
                let mut cleared = cleared.clone();
                let stall = async move { drop(cleared.changed().await) }.boxed();
                plan.middle_of_answer = Some((after, Middle::Stall(stall)));
            }
            Action::Replace(_) | Action::CloseAfter | Action::Header { .. } => {
                plan.later.push(action);
            }
        }
    }

    let cut = plan
        .cut_request
        .map(|after| (after, Middle::Cut(close.clone())));
    let mut request =
        request.map(|body| Passing::new(Source::Stream(body), Way::Request(entry.clone()), cut));
    for name in ["connection", "keep-alive", "expect"] {
        request.headers_mut().remove(name);
    }
    let mut upstream = upstream.lock().await;
    let mut answer = upstream.pass(shared, request).await?;
    for name in ["connection", "keep-alive"] {
        answer.headers_mut().remove(name);
    }
    for action in plan.later {
        match action {
            Action::Replace(refusal) => {
                drain(answer.into_body()).await?;
                return Ok(whole(refusal.answer(&method), ending));
            }
            Action::Header { name, value } => {
                match value {
                    Some(value) => answer.headers_mut().insert(name, value),
                    None => answer.headers_mut().remove(name),
                };
            }
            _ => {
                drain(answer.into_body()).await?;
                anyhow::bail!("a fault closes this connection");
            }
        }
    }
    let status = answer.status();
    entry.note(|record| record.status = Some(status));
    Ok(answer.map(|body| {
        Passing::new(
            Source::Stream(body),
            Way::Answer(Some(ending)),
            plan.middle_of_answer,
        )
    }))
}

fn whole(answer: Response<bytes::Bytes>, ending: Ending) -> Response<Passing> {
    let status = answer.status();
    ending.0.note(|record| record.status = Some(status));
    answer.map(|body| Passing::new(Source::Whole(Some(body)), Way::Answer(Some(ending)), None))
}
