//! The line with latency.

use std::time::{Duration, Instant};

use stillpoint_system::blob::{Azurite, Client, Link};

use crate::{bytes, container};

#[tokio::test]
async fn all_arrives_in_order_and_none_of_it_early() {
    const DELAY: Duration = Duration::from_millis(10);
    let azurite = Azurite::shared().unwrap();
    let link = Link::start(azurite.address(), DELAY).unwrap();
    let account = azurite.account().unwrap();
    let endpoint = link.endpoint(&account.name);
    let client = Client::with_key(azurite.authority(), &endpoint, account).unwrap();
    let container = &container();

    let began = Instant::now();
    client.create_container(container).await.unwrap();
    assert!(
        began.elapsed() >= 6 * DELAY,
        "a connection costs a round trip, TLS one more, a request one more"
    );
    let blob = bytes(20 << 20);
    client.put(container, "blob", blob.clone()).await.unwrap();
    assert_eq!(client.get(container, "blob").await.unwrap().unwrap(), blob);
    let began = Instant::now();
    client.head(container, "blob").await.unwrap();
    assert!(began.elapsed() >= 2 * DELAY);

    drop(link);
    assert!(client.head(container, "blob").await.is_err());
}
