use stillpoint_lab::{Credential, Identity, settings};

use super::{
    login::{read, with_file},
    start,
};
use crate::azure::connect;

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

fn key_of(pem: &str) -> &str {
    let end = "-----END PRIVATE KEY-----\n";
    &pem[..pem.find(end).unwrap() + end.len()]
}
