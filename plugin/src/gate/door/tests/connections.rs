//! Connections of those who have no business here.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::house::{House, SOON, review};

/// More than have a place.
const CROWD: usize = 600;

/// Reads until the other side closes.
async fn is_closed(mut stream: impl tokio::io::AsyncRead + Unpin) {
    let mut bytes = [0; 1024];
    let ends = async { while let Ok(1..) = stream.read(&mut bytes).await {} };
    timeout(SOON, ends).await.expect("the door closes it");
}

impl House {
    async fn is_answered(&self) {
        let request = self.client("http/1.1").post(self.url("/admit"));
        let answer = timeout(SOON, request.body(review("a").to_string()).send()).await;
        assert_eq!(answer.expect("without a delay").unwrap().status(), 200);
    }

    async fn speaks_tls(&self) -> impl AsyncReadWrite + use<> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let config = Arc::new(self.tls().with_no_client_auth());
        let name = self.address.ip().into();
        let connector = TlsConnector::from(config);
        connector.connect(name, stream).await.unwrap()
    }
}

trait AsyncReadWrite: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> AsyncReadWrite for T {}

#[tokio::test]
async fn a_crowd_that_says_nothing_shuts_the_door_for_nobody() {
    let house = House::open(&[]).await;
    let mut crowd = Vec::new();
    for number in 0..CROWD {
        let mut stream = TcpStream::connect(house.address).await.unwrap();
        if number % 2 == 0 {
            stream.write_all(&[22, 3, 1]).await.unwrap();
        }
        crowd.push(stream);
    }
    house.is_answered().await;
    // Those that came first have made way, the others are closed in time.
    for stream in crowd {
        is_closed(stream).await;
    }
}

#[tokio::test]
async fn requests_that_never_end_shut_the_door_for_nobody() {
    let house = House::open(&[]).await;
    let mut slow = Vec::new();
    for number in 0..20 {
        let mut stream = house.speaks_tls().await;
        let head: &[u8] = match number % 2 {
            0 => b"POST /admit HTTP/1.1\r\nHost: gate\r\nContent-Length: 3000000\r\n\r\n{",
            _ => b"POST /admit HTTP/1.1\r\nHost: ga",
        };
        stream.write_all(head).await.unwrap();
        slow.push(stream);
    }
    house.is_answered().await;
    for stream in slow {
        is_closed(stream).await;
    }
}
