//! Certificates, keys and kubeconfigs of one cluster, as files.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::json;

/// The files in a cluster's directory.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    directory: PathBuf,
    server: String,
}

impl Credentials {
    /// Writes all of them, with a certificate for `hosts`; `server` is the URL of the API server.
    pub(crate) fn write(directory: &Path, hosts: &[String], server: String) -> Result<Self> {
        let files = Self {
            directory: directory.to_owned(),
            server,
        };
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.distinguished_name
            .push(DnType::CommonName, "Stillpoint cluster CA");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca_key = KeyPair::generate()?;
        fs::write(files.ca(), ca.self_signed(&ca_key)?.pem())?;

        let mut leaf = CertificateParams::new(hosts)?;
        leaf.distinguished_name
            .push(DnType::CommonName, "Stillpoint cluster");
        leaf.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = leaf.signed_by(&key, &Issuer::new(ca, ca_key))?;
        fs::write(files.certificate(), certificate.pem())?;
        secret(&files.key(), &key.serialize_pem())?;

        let account_key = KeyPair::generate()?;
        secret(&files.account_key(), &account_key.serialize_pem())?;
        fs::write(files.account_public_key(), account_key.public_key_pem())?;

        let token = uuid::Uuid::new_v4();
        let admin = format!("{token},admin,admin,system:masters\n");
        secret(&files.tokens(), &admin)?;
        files.write_kubeconfig("admin", &token.to_string())?;
        Ok(files)
    }

    /// A kubeconfig `<name>.kubeconfig` that presents `token`.
    pub(crate) fn write_kubeconfig(&self, name: &str, token: &str) -> Result<PathBuf> {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "cluster", "cluster": {
                "server": self.server, "certificate-authority": self.ca(),
            } }],
            "users": [{ "name": name, "user": { "token": token } }],
            "contexts": [{ "name": name, "context": { "cluster": "cluster", "user": name } }],
            "current-context": name,
        });
        let path = self.directory.join(format!("{name}.kubeconfig"));
        secret(&path, &config.to_string())?;
        Ok(path)
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.directory.join("admin.kubeconfig")
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.directory.join("ca.crt")
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.directory.join("server.crt")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.directory.join("server.key")
    }

    pub(crate) fn account_key(&self) -> PathBuf {
        self.directory.join("service-account.key")
    }

    pub(crate) fn account_public_key(&self) -> PathBuf {
        self.directory.join("service-account.pub")
    }

    pub(crate) fn tokens(&self) -> PathBuf {
        self.directory.join("tokens.csv")
    }
}

fn secret(path: &Path, content: &str) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    Ok(options.open(path)?.write_all(content.as_bytes())?)
}
