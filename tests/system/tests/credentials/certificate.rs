//! Client certificates.

use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256};
use stillpoint_lab::{Credential, Identity};
use stillpoint_system::cloud::Cloud;

use super::{log_in, written};

struct Certificate {
    key: KeyPair,
    certificate: rcgen::Certificate,
}

impl Certificate {
    fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let parameters = CertificateParams::new(vec!["velero".to_owned()]).unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        Self { key, certificate }
    }

    fn pem(&self) -> String {
        format!("{}{}", self.certificate.pem(), self.key.serialize_pem())
    }

    fn pkcs12(&self, password: &str) -> Vec<u8> {
        use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
        let key = PrivateKey::from_der(&self.key.serialize_der()).unwrap();
        let certificate = Certificate::from_der(self.certificate.der()).unwrap();
        let mut store = KeyStore::new();
        let chain = PrivateKeyChain::new("1", key, [certificate]);
        store.add_entry("velero", KeyStoreEntry::PrivateKeyChain(chain));
        store.writer(password).write().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_logs_in_from_pem_and_pkcs12_and_says_why_not() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    cloud.lab.create_disk(&cloud.premium("d")).unwrap();
    let (known, other) = (Certificate::new(), Certificate::new());
    let credential = Credential::Certificate {
        pem: known.certificate.pem(),
    };
    let identity = Identity::new(&cloud.lab.endpoints().tenant, vec![credential]);
    cloud.lab.add_identity(identity.clone());
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = written(directory.path(), name, content);
        format!("AZURE_CLIENT_CERTIFICATE_PATH={}\n", path.display())
    };
    let pem = file("client.pem", known.pem().as_bytes());
    let pfx = file("client.pfx", &known.pkcs12("open sesame"));
    let bare = file("bare.pfx", &known.pkcs12(""));
    let inline = known.pem().replace('\n', "\\n");
    let inline = format!("AZURE_CLIENT_CERTIFICATE=\"{inline}\"\n");
    let who = format!(
        "AZURE_TENANT_ID={}\nAZURE_CLIENT_ID={}\n",
        identity.tenant, identity.client_id
    );
    let plugin = cloud.plugin().await.unwrap();
    for lines in [
        pem.clone(),
        inline,
        bare,
        format!("{pem}AZURE_CLIENT_SEND_CERTIFICATE_CHAIN=true\n"),
        format!("{pfx}AZURE_CLIENT_CERTIFICATE_PASSWORD=open sesame\n"),
        format!("{pfx}AZURE_CLIENT_CERTIFICATE_PASSWORD=\"open sesame\"\n"),
    ] {
        let answer = log_in(&cloud, &plugin, directory.path(), &format!("{who}{lines}")).await;
        assert!(answer.is_ok(), "{lines}: {answer:?}");
    }
    let half = format!("{}{}", known.certificate.pem(), other.key.serialize_pem());
    for (lines, told) in [
        (
            format!("{pfx}AZURE_CLIENT_CERTIFICATE_PASSWORD=hunter2\n"),
            &[
                "AZURE_CLIENT_CERTIFICATE_PASSWORD does not open it",
                "AZURE_CLIENT_CERTIFICATE_PATH",
            ][..],
        ),
        (pfx, &["set AZURE_CLIENT_CERTIFICATE_PASSWORD"]),
        (
            "AZURE_CLIENT_CERTIFICATE_PATH=/nowhere/c.pem\n".into(),
            &[
                "/nowhere/c.pem",
                "AZURE_CLIENT_CERTIFICATE_PATH",
                "credentialsFile",
            ],
        ),
        (
            file("half.pem", half.as_bytes()),
            &["none of which is that key's"],
        ),
        (
            file("keyless.pem", known.certificate.pem().as_bytes()),
            &["no private key", "expected key and certificate"],
        ),
        (file("empty.pem", b""), &["neither PEM nor PKCS#12"]),
        (
            "AZURE_CLIENT_CERTIFICATE=hunter2\n".into(),
            &["AZURE_CLIENT_CERTIFICATE", "neither PEM nor PKCS#12"],
        ),
        (
            file("other.pem", other.pem().as_bytes()),
            &["AADSTS700027", "not registered", &identity.client_id],
        ),
    ] {
        let answer = log_in(&cloud, &plugin, directory.path(), &format!("{who}{lines}")).await;
        let error = answer.unwrap_err();
        for part in told {
            assert!(error.message().contains(part), "{part} in {error}");
        }
        assert!(!error.message().contains("hunter2"), "{error}");
    }
    let logged = format!("{:?}", plugin.logs().entries());
    for secret in ["hunter2", "sesame", "PRIVATE KEY"] {
        assert!(!logged.contains(secret), "{secret} was logged");
    }
}
