//! The instruments of the object store's tests do what they say: a real blob server, the proxy with its faults, the
//! line with latency.

mod faults;
mod link;
mod server;

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use stillpoint_system::blob::{Azurite, Client, Proxy};

/// A proxy before the shared server, a client of each, and a container of one's own.
struct Setup {
    proxy: Proxy,
    direct: Client,
    through: Client,
    container: String,
}

impl Setup {
    async fn new() -> Result<Self> {
        let azurite = Azurite::shared()?;
        let proxy = Proxy::start(azurite.authority(), azurite.address())?;
        let account = azurite.account()?;
        let endpoint = proxy.endpoint(&account.name);
        let through = Client::with_key(azurite.authority(), &endpoint, account)?;
        let direct = azurite.client()?;
        let container = container();
        direct.create_container(&container).await?;
        Ok(Self {
            proxy,
            direct,
            through,
            container,
        })
    }
}

fn container() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("c-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Bytes that tell their place.
fn bytes(length: usize) -> Vec<u8> {
    (0..length)
        .map(|place| (place / 7 + place / 251) as u8)
        .collect()
}
