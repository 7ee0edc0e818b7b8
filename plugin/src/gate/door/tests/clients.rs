//! Who is let in, and what they see of the door's certificate.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{
    fake::Fake,
    house::{House, SOON, client, review, write_certificate},
};
use crate::gate::door::{Door, DoorError, Options};

/// One who signs certificates of clients.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self {
            pem: params.self_signed(&key).unwrap().pem(),
            issuer: Issuer::new(params, key),
        }
    }

    fn client_of(&self, house: &House) -> reqwest::Client {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(Vec::new()).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let chain = vec![certificate.der().clone()];
        let tls = house.tls().with_client_auth_cert(chain, key).unwrap();
        client(tls, "http/1.1")
    }
}

async fn is_answered(house: &House, client: reqwest::Client) -> bool {
    let request = client.post(house.url("/admit"));
    let sent = request.body(review("a").to_string()).send().await;
    sent.is_ok_and(|answer| answer.status() == 200)
}

#[tokio::test]
async fn with_a_client_ca_only_those_it_has_signed_are_answered() {
    let (ours, foreign) = (Authority::new(), Authority::new());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("clients.crt");
    std::fs::write(&path, &ours.pem).unwrap();
    let house = House::open(&["--client-ca", &path.display().to_string()]).await;
    assert!(is_answered(&house, ours.client_of(&house)).await);
    assert!(!is_answered(&house, foreign.client_of(&house)).await);
    assert!(!is_answered(&house, house.client("http/1.1")).await);
    assert_eq!(house.stub.begun.available_permits(), 1);
}

#[tokio::test]
async fn a_renewed_file_is_served_to_new_connections_while_old_ones_go_on() {
    let house = House::open(&[]).await;
    let old = house.client("h2");
    assert!(is_answered(&house, old.clone()).await);
    write_certificate(&house.directory);
    let renewed = async {
        while !is_answered(&house, house.client("h2")).await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, renewed).await.unwrap();
    assert!(is_answered(&house, old).await, "its connection is the same");
    // Half of another pair changes nothing.
    let path = house.directory.path().join("tls.key");
    std::fs::write(path, b"no key").unwrap();
    assert!(is_answered(&house, house.client("h2")).await);
}

#[tokio::test]
async fn until_there_is_a_certificate_the_gate_is_not_ready() {
    let cluster = Arc::new(Fake::new());
    cluster.state().is_down = true;
    let options = options(&[]);
    let door = Door::open(&options, cluster.clone()).await.unwrap();
    let house = House::of(door, tempfile::tempdir().unwrap());
    std::fs::write(house.directory.path().join("ca.crt"), Authority::new().pem).unwrap();
    let (code, reason) = house.probe("/readyz").await;
    assert_eq!(code, 503, "{reason}");
    assert!(reason.starts_with("certificate: "), "{reason}");
    cluster.state().is_down = false;
    let ready = async {
        while house.probe("/readyz").await.0 != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, ready).await.unwrap();
    std::fs::write(house.directory.path().join("ca.crt"), cluster.bundle()).unwrap();
    assert!(is_answered(&house, house.client("h2")).await);
}

fn options(more: &[&str]) -> Options {
    use clap::Parser as _;
    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        door: Options,
    }
    let local = "127.0.0.1:0";
    let fixed = [
        "gate",
        "--listen",
        local,
        "--probes",
        local,
        "--advertise",
        "127.0.0.1",
    ];
    Cli::parse_from(fixed.iter().chain(more)).door
}

#[tokio::test]
async fn what_cannot_be_used_is_named_with_its_flag() {
    let directory = tempfile::tempdir().unwrap();
    write_certificate(&directory);
    let path = |name: &str| directory.path().join(name).display().to_string();
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = other.local_addr().unwrap().to_string();
    std::fs::write(path("empty"), "").unwrap();
    let (certificate, key, empty, none) = (
        path("tls.crt"),
        path("tls.key"),
        path("empty"),
        path("none"),
    );
    for (arguments, expected) in [
        (vec!["--client-ca", &empty], vec![&*empty, "--client-ca"]),
        (vec!["--client-ca", &none], vec![&*none, "--client-ca"]),
        (
            vec!["--tls-cert", &none, "--tls-key", &key],
            vec![&*none, "--tls-cert"],
        ),
        (
            vec!["--tls-cert", &certificate, "--tls-key", &none],
            vec![&*none, "--tls-key"],
        ),
        (
            vec!["--tls-cert", &key, "--tls-key", &key],
            vec!["tls.crt", "--tls-cert"],
        ),
    ] {
        let failed = open(&options(&arguments)).await;
        for part in expected {
            assert!(failed.contains(part), "{part}: {failed}");
        }
    }
    let mut listening = options(&[]);
    listening.listen = Some(taken.parse().unwrap());
    let failed = open(&listening).await;
    assert!(
        failed.contains(&taken) && failed.contains("--listen"),
        "{failed}"
    );
}

async fn open(options: &Options) -> String {
    let opened: Result<Door, DoorError> = Door::open(options, Arc::new(Fake::default())).await;
    opened.err().unwrap().to_string()
}
