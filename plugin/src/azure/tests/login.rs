use std::{path::Path, time::Duration};

use stillpoint_lab::{Action, Credential, Identity, Lab, settings};

use super::{Bench, bench, location, start};
use crate::{
    azure::{Client, ConnectError, Settings, connect, connect_as},
    model::{DiskId, ResourceGroup},
    ports::{Azure, AzureError},
};

fn with_file(lab: &Lab, directory: &Path, lines: &str) -> Settings {
    let path = directory.join(format!("{}.env", uuid::Uuid::new_v4()));
    let common = lab.credentials_file();
    let common: String = common
        .lines()
        .filter(|line| line.contains("SUBSCRIPTION") || line.contains("RESOURCE_GROUP"))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(&path, format!("{common}{lines}")).unwrap();
    Settings {
        credentials_file: Some(path),
        api_timeout: Duration::from_secs(3),
        ..location(lab)
    }
}

async fn read(client: &Client) -> Result<(), AzureError> {
    let group: ResourceGroup = client.environment().snapshots.clone();
    match client.disk(&DiskId::new(group, "nothing")).await {
        Err(AzureError::NotFound { .. }) | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A key and certificate in PEM.
fn certificate() -> (String, rcgen::CertifiedKey<rcgen::KeyPair>) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let cert = rcgen::CertificateParams::new(vec!["velero".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let pem = format!("{}{}", key.serialize_pem(), cert.pem());
    (
        pem,
        rcgen::CertifiedKey {
            cert,
            signing_key: key,
        },
    )
}

fn pkcs12(pair: &rcgen::CertifiedKey<rcgen::KeyPair>, password: &str) -> Vec<u8> {
    use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
    let mut store = KeyStore::new();
    let key = PrivateKey::from_der(&pair.signing_key.serialize_der()).unwrap();
    let cert = Certificate::from_der(pair.cert.der()).unwrap();
    store.add_entry(
        "velero",
        KeyStoreEntry::PrivateKeyChain(PrivateKeyChain::new("1", key, [cert])),
    );
    store.writer(password).write().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_logs_in_however_it_is_stored() {
    let Some(lab) = start(settings::Settings::fast()).await else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let (pem, pair) = certificate();
    let credential = Credential::Certificate {
        pem: pair.cert.pem(),
    };
    let identity = Identity::new(&lab.endpoints().tenant, vec![credential]);
    lab.add_identity(identity.clone());
    let who = format!(
        "AZURE_TENANT_ID={}\nAZURE_CLIENT_ID={}\n",
        identity.tenant, identity.client_id
    );
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let (pem_file, p12_file) = (
        file("c.pem", pem.as_bytes()),
        file("c.pfx", &pkcs12(&pair, "hush")),
    );
    let quoted = pem.replace('\n', "\\n");
    for lines in [
        format!("AZURE_CLIENT_CERTIFICATE_PATH={pem_file}\n"),
        format!("AZURE_CLIENT_CERTIFICATE=\"{quoted}\"\n"),
        format!(
            "AZURE_CLIENT_CERTIFICATE_PATH={p12_file}\nAZURE_CLIENT_CERTIFICATE_PASSWORD=hush\n"
        ),
        format!(
            "AZURE_CLIENT_CERTIFICATE_PATH={pem_file}\nAZURE_CLIENT_SEND_CERTIFICATE_CHAIN=true\n"
        ),
    ] {
        let client = connect(&with_file(&lab, directory.path(), &format!("{who}{lines}"))).unwrap();
        let answer = read(&client).await;
        assert!(answer.is_ok(), "{lines}: {answer:?}");
    }
    let (other, _) = certificate();
    let mismatched = file(
        "m.pem",
        format!("{}{}", pair.cert.pem(), key_of(&other)).as_bytes(),
    );
    for (lines, expected) in [
        (
            format!(
                "AZURE_CLIENT_CERTIFICATE_PATH={p12_file}\nAZURE_CLIENT_CERTIFICATE_PASSWORD=loud\n"
            ),
            "AZURE_CLIENT_CERTIFICATE_PASSWORD does not open it",
        ),
        (
            format!("AZURE_CLIENT_CERTIFICATE_PATH={p12_file}\n"),
            "set AZURE_CLIENT_CERTIFICATE_PASSWORD",
        ),
        (
            "AZURE_CLIENT_CERTIFICATE_PATH=/nowhere.pem\n".to_owned(),
            "/nowhere.pem",
        ),
        (
            format!("AZURE_CLIENT_CERTIFICATE_PATH={mismatched}\n"),
            "none of which is that key's",
        ),
        (
            "AZURE_CLIENT_CERTIFICATE=hello\n".to_owned(),
            "neither PEM nor PKCS#12",
        ),
    ] {
        let error = connect(&with_file(&lab, directory.path(), &format!("{who}{lines}")))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{expected} in {error}");
        assert!(!error.contains("loud"), "{error}");
    }
    let unknown = file("o.pem", other.as_bytes());
    let lines = format!("{who}AZURE_CLIENT_CERTIFICATE_PATH={unknown}\n");
    let client = connect(&with_file(&lab, directory.path(), &lines)).unwrap();
    let error = read(&client).await.unwrap_err().to_string();
    assert!(
        error.contains("AADSTS700027") && error.contains("not registered"),
        "{error}"
    );
}

fn key_of(pem: &str) -> &str {
    let end = "-----END PRIVATE KEY-----\n";
    &pem[..pem.find(end).unwrap() + end.len()]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_vouches_for_a_certificate_that_is_not_registered() {
    let Some(lab) = start(settings::Settings::fast()).await else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let ca_key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let mut ca = rcgen::CertificateParams::new(vec![]).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name
        .push(rcgen::DnType::CommonName, "test CA");
    let ca_cert = ca.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(ca, &ca_key);
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let mut leaf = rcgen::CertificateParams::new(vec!["velero.example".to_owned()]).unwrap();
    leaf.distinguished_name
        .push(rcgen::DnType::CommonName, "velero.example");
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let credential = Credential::Issued {
        authority: ca_cert.pem(),
        subject: "velero.example".to_owned(),
    };
    let identity = Identity::new(&lab.endpoints().tenant, vec![credential]);
    lab.add_identity(identity.clone());
    // The key first, the authority before the leaf: order must not matter.
    let pem = format!("{}{}{}", key.serialize_pem(), ca_cert.pem(), leaf.pem());
    let path = directory.path().join("chain.pem");
    std::fs::write(&path, pem).unwrap();
    for (send, works) in [("1", true), ("false", false)] {
        let lines = format!(
            "AZURE_TENANT_ID={}\nAZURE_CLIENT_ID={}\nAZURE_CLIENT_CERTIFICATE_PATH={}\n\
             AZURE_CLIENT_SEND_CERTIFICATE_CHAIN={send}\n",
            identity.tenant,
            identity.client_id,
            path.display()
        );
        let client = connect(&with_file(&lab, directory.path(), &lines)).unwrap();
        let answer = read(&client).await;
        assert_eq!(answer.is_ok(), works, "{send}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_name_what_is_wrong_and_where() {
    let Some(lab) = start(settings::Settings::fast()).await else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let (tenant, client) = (&lab.endpoints().tenant, &lab.identity().client_id);
    let nobody = "22222222-2222-2222-2222-222222222222";
    for (lines, expected) in [
        (
            format!(
                "AZURE_TENANT_ID={tenant}\nAZURE_CLIENT_ID={client}\nAZURE_CLIENT_SECRET=hunter2\n"
            ),
            vec![
                "AADSTS7000215",
                "AZURE_CLIENT_SECRET is wrong",
                client.as_str(),
                ".env",
            ],
        ),
        (
            format!(
                "AZURE_TENANT_ID={nobody}\nAZURE_CLIENT_ID={client}\nAZURE_CLIENT_SECRET=hunter2\n"
            ),
            vec!["AADSTS90002", "AZURE_TENANT_ID is not known", nobody],
        ),
        (
            format!(
                "AZURE_TENANT_ID={tenant}\nAZURE_CLIENT_ID={nobody}\nAZURE_CLIENT_SECRET=hunter2\n"
            ),
            vec!["AADSTS700016", "AZURE_CLIENT_ID is not known", nobody],
        ),
    ] {
        let client = connect(&with_file(&lab, directory.path(), &lines)).unwrap();
        let begun = std::time::Instant::now();
        let error = read(&client).await.unwrap_err();
        assert!(matches!(error, AzureError::Credentials(_)), "{error:?}");
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "a refusal is final"
        );
        let error = error.to_string();
        for part in expected {
            assert!(error.contains(part), "{part} in {error}");
        }
        assert!(!error.contains("hunter2"), "{error}");
    }
    let mut elsewhere = location(&lab);
    elsewhere.active_directory_authority = Some("https://127.0.0.1:9".parse().unwrap());
    elsewhere.api_timeout = Duration::from_secs(1);
    let error = read(&connect(&elsewhere).unwrap())
        .await
        .unwrap_err()
        .to_string();
    for part in ["https://127.0.0.1:9", "activeDirectoryAuthorityURI"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    let mut untrusting = location(&lab);
    untrusting.ca_cert = None;
    untrusting.api_timeout = Duration::from_secs(1);
    let error = read(&connect(&untrusting).unwrap())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("`caCert`"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn workload_identity_reads_its_token_from_the_file() {
    let Some(lab) = start(settings::Settings::fast()).await else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let lines = format!(
        "AZURE_TENANT_ID={}\nAZURE_CLIENT_ID={}\nAZURE_FEDERATED_TOKEN_FILE=/nowhere/token\n",
        lab.endpoints().tenant,
        lab.identity().client_id
    );
    let error = connect(&with_file(&lab, directory.path(), &lines))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("/nowhere/token") && error.contains("AZURE_FEDERATED_TOKEN_FILE"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_locations_share_one_login_and_a_revoked_token_is_replaced() {
    let Some(bench) = bench(settings::Settings::fast()).await else {
        return;
    };
    let mut other = location(&bench.lab);
    other.resource_group = Some("another".to_owned());
    other.api_timeout = Duration::from_secs(5);
    let other = connect(&other).unwrap();
    assert!(bench.client.shares_with(&other));
    assert_eq!(other.environment().snapshots.name, "another");
    let disk = bench.disk("d");
    let reads = (0..8).map(|_| bench.client.disk(&disk));
    for read in futures::future::join_all(reads).await {
        read.unwrap();
    }
    read(&other).await.unwrap();
    assert_eq!(bench.requests("POST", "/oauth2/").len(), 1);
    bench.lab.revoke_tokens();
    bench.client.disk(&disk).await.unwrap();
    assert_eq!(bench.requests("POST", "/oauth2/").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_tried_again_and_a_short_lived_token_renewed() {
    let lab = settings::Settings {
        token_lifetime: Duration::from_secs(5),
        ..settings::Settings::fast()
    };
    let Some(Bench { lab, client }) = bench(lab).await else {
        return;
    };
    for action in [super::status(503), Action::CloseBefore, Action::Truncate] {
        lab.inject(stillpoint_lab::Fault {
            method: Some("POST".to_owned()),
            path: "**/token".to_owned(),
            skip: 0,
            times: 1,
            action,
        });
    }
    read(&client).await.unwrap();
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(1000)).await;
        read(&client).await.unwrap();
    }
}

#[test]
fn what_can_be_told_without_azure_is_told_at_once() {
    let base = "AZURE_SUBSCRIPTION_ID=s\nAZURE_RESOURCE_GROUP=g\n";
    for (lines, expected) in [
        ("", "AZURE_SUBSCRIPTION_ID is not set in "),
        (
            "AZURE_SUBSCRIPTION_ID=s\n",
            "AZURE_RESOURCE_GROUP is not set in ",
        ),
        (
            "{base}AZURE_CLIENT_SECRET=x\n",
            "AZURE_TENANT_ID is not set",
        ),
        (
            "{base}AZURE_CLIENT_SECRET=x\nAZURE_TENANT_ID=t\n",
            "AZURE_CLIENT_ID is not set",
        ),
        (
            "{base}AZURE_CLIENT_SECRET=x\nAZURE_TENANT_ID=a/b\nAZURE_CLIENT_ID=c\n",
            "AZURE_TENANT_ID=`a/b`",
        ),
        (
            "{base}AZURE_USERNAME=me\nAZURE_PASSWORD=x\n",
            "AZURE_USERNAME",
        ),
        ("{base}AZURE_CLOUD_NAME=Moon\n", "`Moon`"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cloud");
        std::fs::write(&path, lines.replace("{base}", base)).unwrap();
        let settings = Settings {
            credentials_file: Some(path),
            ..Settings::default()
        };
        let error = connect_as(&settings, &|_| None).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected} in {error}");
        assert!(error.contains("cloud"), "where: {error}");
    }
    let settings = Settings {
        ca_cert: Some("hello".to_owned()),
        ..Settings::default()
    };
    let process = |name: &str| match name {
        "AZURE_SUBSCRIPTION_ID" | "AZURE_RESOURCE_GROUP" => Some("x".to_owned()),
        _ => None,
    };
    let error = connect_as(&settings, &process).unwrap_err();
    assert!(matches!(error, ConnectError::CaCert(_)), "{error}");
}
