//! A network between client and agent that can lose every packet without a word.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

pub(super) struct Relay {
    pub(super) address: SocketAddr,
    swallows: watch::Sender<bool>,
}

impl Relay {
    /// Relays connections to `target`.
    pub(super) async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (swallows, watched) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(target).await.unwrap();
                let ((near_in, near_out), (far_in, far_out)) =
                    (near.into_split(), far.into_split());
                tokio::spawn(pipe(near_in, far_out, watched.clone()));
                tokio::spawn(pipe(far_in, near_out, watched.clone()));
            }
        });
        Self { address, swallows }
    }

    /// From now on nothing arrives anywhere, and nobody is told.
    pub(super) fn swallow(&self) {
        self.swallows.send_replace(true);
    }
}

async fn pipe(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, swallows: watch::Receiver<bool>) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        if !*swallows.borrow() && to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
    if *swallows.borrow() {
        std::future::pending::<()>().await;
    }
}
