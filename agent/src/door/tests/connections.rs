//! Connections of those who have no business here.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{House, PATIENCE, client};

/// Reads until the other side closes.
async fn is_closed(mut stream: impl tokio::io::AsyncRead + Unpin) {
    let mut bytes = [0; 1024];
    let ends = async { while let Ok(1..) = stream.read(&mut bytes).await {} };
    timeout(PATIENCE, ends).await.expect("the agent closes it");
}

#[tokio::test]
async fn a_connection_without_a_handshake_is_closed_and_delays_nobody() {
    let house = House::open().await;
    let mut silent = TcpStream::connect(house.address).await.unwrap();
    let mut talking = TcpStream::connect(house.address).await.unwrap();
    silent.write_all(&[22, 3, 1]).await.unwrap();
    talking.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(house.status(&house.token()).await.unwrap(), "node-1");
    is_closed(silent).await;
    is_closed(talking).await;
}

#[tokio::test]
async fn a_connection_without_an_accepted_call_is_closed_and_one_with_it_stays() {
    let house = House::open().await;
    let idle = client::tls(house.address, &house.fingerprint)
        .await
        .unwrap();
    let mut admitted = house.client().await;
    let ask = |agent: &mut client::Client| {
        let mut agent = agent.agent.clone();
        async move {
            agent
                .status(stillpoint_proto::agent::StatusRequest {})
                .await
        }
    };
    ask(&mut admitted).await.unwrap();
    is_closed(idle).await;
    ask(&mut admitted).await.expect("the same connection");
}

#[tokio::test]
async fn a_crowd_without_tokens_does_not_shut_the_door_for_good() {
    let house = House::open().await;
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(TcpStream::connect(house.address).await.unwrap());
    }
    let client = timeout(PATIENCE + Duration::from_secs(30), house.client());
    let mut client = client.await.expect("a place is free in the end");
    let status = client
        .agent
        .status(stillpoint_proto::agent::StatusRequest {});
    assert_eq!(status.await.unwrap().into_inner().node, "node-1");
}
