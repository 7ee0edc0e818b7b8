//! Azurite as a process, its keys, its tokens.

use std::{
    env,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use http::Method;
use stillpoint_system::blob::{Account, Authority, Azurite, Client, Data, Logins, token};

use crate::{bytes, container};

#[tokio::test]
async fn what_is_put_is_listed_and_read_back() {
    let client = Azurite::shared().unwrap().client().unwrap();
    let container = &container();
    client.create_container(container).await.unwrap();
    let keys = [
        "backups/b/b.tar.gz",
        "backups/b/with space+plus%25#hash",
        "backups/ü/<&>'\"",
        "else",
    ];
    for key in keys {
        client.put(container, key, bytes(3000)).await.unwrap();
    }
    assert_eq!(client.list(container, "").await.unwrap(), keys);
    assert_eq!(
        client.list(container, "backups/b/").await.unwrap(),
        keys[..2]
    );
    for key in keys {
        let read = client.get(container, key).await.unwrap();
        assert_eq!(read.unwrap(), bytes(3000), "{key}");
        let properties = client.head(container, key).await.unwrap();
        assert_eq!(properties.unwrap().size, 3000, "{key}");
    }
    assert_eq!(client.get(container, "no").await.unwrap(), None);
    assert_eq!(client.head(container, "no").await.unwrap(), None);
    assert_eq!(client.blocks(container, "no").await.unwrap(), None);
    client.delete_container(container).await.unwrap();
    let error = client.list(container, "").await.unwrap_err().to_string();
    assert!(error.contains("ContainerNotFound"), "{error}");
}

#[tokio::test]
async fn blocks_are_seen_before_they_are_committed() {
    let client = Azurite::shared().unwrap().client().unwrap();
    let container = &container();
    client.create_container(container).await.unwrap();
    let path = &format!("/{container}/blob");
    let block = [("comp", "block"), ("blockid", "MDAw")];
    let answer = client
        .request(Method::PUT, path, &block, &[], bytes(10))
        .await;
    assert_eq!(answer.unwrap().status(), 201);
    let blocks = client.blocks(container, "blob").await.unwrap().unwrap();
    assert_eq!(blocks.uncommitted, [("MDAw".to_owned(), 10)]);
    assert_eq!(blocks.committed, []);
    assert_eq!(client.head(container, "blob").await.unwrap(), None);
    assert_eq!(client.list(container, "").await.unwrap(), [""; 0]);

    let list = "<BlockList><Latest>MDAw</Latest></BlockList>";
    let answer = client
        .request(Method::PUT, path, &[("comp", "blocklist")], &[], list)
        .await;
    assert_eq!(answer.unwrap().status(), 201);
    let blocks = client.blocks(container, "blob").await.unwrap().unwrap();
    assert_eq!(blocks.committed, [("MDAw".to_owned(), 10)]);
    assert_eq!(blocks.uncommitted, []);
}

#[tokio::test]
async fn after_a_restart_the_blobs_are_there_and_the_old_key_is_refused() {
    let authority = Authority::new().unwrap();
    let old = Account::new("rotated").unwrap();
    let new = Account::new("rotated").unwrap();
    let mut azurite = Azurite::start(
        &authority,
        std::slice::from_ref(&old),
        Logins::Keys,
        Data::Temporary,
    )
    .unwrap();
    let client = azurite.client().unwrap();
    let address = azurite.address();
    client.create_container("kept").await.unwrap();
    client.put("kept", "blob", "whole").await.unwrap();

    azurite.restart(&[new]).unwrap();
    assert_eq!(azurite.address(), address);
    let client = Client::with_key(&authority, &azurite.endpoint("rotated"), &old).unwrap();
    let error = client.get("kept", "blob").await.unwrap_err().to_string();
    assert!(error.starts_with("403"), "{error}");
    let read = azurite.client().unwrap().get("kept", "blob").await.unwrap();
    assert_eq!(read.unwrap(), "whole");

    azurite.stop().unwrap();
    assert!(TcpStream::connect(address).is_err());
}

#[tokio::test]
async fn tokens_for_storage_are_taken_until_they_expire() {
    let azurite = Azurite::shared().unwrap();
    let container = &container();
    let own = azurite.client().unwrap();
    own.create_container(container).await.unwrap();
    let endpoint = azurite.endpoint(&azurite.account().unwrap().name);
    let list = async |audience, lifetime| {
        let token = token(audience, Duration::from_secs(lifetime));
        let client = Client::with_token(azurite.authority(), &endpoint, &token).unwrap();
        client.list(container, "").await
    };
    let storage = "https://storage.azure.com";
    assert_eq!(list(storage, 60).await.unwrap(), [""; 0]);
    for (audience, lifetime) in [(storage, 0), ("https://management.azure.com", 60)] {
        let error = list(audience, lifetime).await.unwrap_err().to_string();
        assert!(
            error.contains("AuthenticationFailed"),
            "{audience}: {error}"
        );
    }
}

#[tokio::test]
async fn nobody_else_is_trusted_or_known() {
    let azurite = Azurite::shared().unwrap();
    let account = azurite.account().unwrap();
    let other = Authority::new().unwrap();
    let stranger = Client::with_key(&other, &azurite.endpoint(&account.name), account).unwrap();
    let error = stranger.create_container("c").await.unwrap_err();
    assert!(format!("{error:?}").contains("UnknownIssuer"), "{error:?}");

    let unknown = Account::new("unknown").unwrap();
    let endpoint = azurite.endpoint(&unknown.name);
    let client = Client::with_key(azurite.authority(), &endpoint, &unknown).unwrap();
    assert!(client.create_container("c").await.is_err());
}

#[test]
fn dropped_server_leaves_nothing() {
    let data = tempfile::tempdir().unwrap();
    let accounts = [Account::new("brief").unwrap()];
    let place = Data::Directory(data.path().join("data"));
    let azurite =
        Azurite::start(&Authority::new().unwrap(), &accounts, Logins::Keys, place).unwrap();
    let (address, pid) = (azurite.address(), azurite.pid().unwrap());
    assert!(data.path().join("data").exists());
    drop(azurite);
    assert!(TcpStream::connect(address).is_err());
    let process = format!("/proc/{}", pid.as_raw_nonzero());
    assert!(!std::path::Path::new(&process).exists());
}

#[test]
fn server_ends_with_the_process_that_started_it() {
    const CHILD: &str = "STILLPOINT_AZURITE_CHILD";
    if env::var_os(CHILD).is_some() {
        println!("\nlistens on {}", Azurite::shared().unwrap().address());
        loop {
            std::thread::park();
        }
    }
    let mut child = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "server::server_ends_with_the_process_that_started_it",
        ])
        .args(["--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address: Option<SocketAddr> = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("listens on ")?.parse().ok());
    let listened = address.is_some_and(|address| TcpStream::connect(address).is_ok());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(listened, "{address:?}");
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address.unwrap()).is_ok() {
        assert!(Instant::now() < deadline, "Azurite outlived its starter");
        std::thread::sleep(Duration::from_millis(5));
    }
}
