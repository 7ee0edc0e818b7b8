//! Plugins whose ObjectStore works on a blob server, through a proxy.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use http::Method;
use stillpoint_lab::host::{Entry, Host, ObjectStore, Plugin};
use stillpoint_system::{
    blob::{
        Account, Azurite, Client, Proxy,
        proxy::{Action, Fault, Record, Refusal},
    },
    cloud::{Cloud, Config},
    rig::NAME,
};
use tempfile::TempDir;
use tonic::Status;

/// Of the variable that holds the account's key.
pub(crate) const KEY: &str = "LOCATION_ACCOUNT_KEY";
pub(crate) const MIB: usize = 1 << 20;

/// A proxy before a blob server, and a container of one's own there.
pub(crate) struct Setup {
    pub(crate) proxy: Proxy,
    /// Past the proxy.
    pub(crate) direct: Client,
    pub(crate) container: String,
    pub(crate) account: Account,
    /// `caCert`.
    pub(crate) ca: String,
    pub(crate) directory: TempDir,
}

/// A plugin's process with an ObjectStore.
pub(crate) struct Opened {
    pub(crate) plugin: Plugin,
    pub(crate) store: ObjectStore,
}

impl Setup {
    pub(crate) async fn new() -> Self {
        Self::before(Azurite::shared().unwrap()).await
    }

    pub(crate) async fn before(azurite: &Azurite) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let container = format!("c-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let direct = azurite.client().unwrap();
        direct.create_container(&container).await.unwrap();
        Self {
            proxy: Proxy::start(azurite.authority(), azurite.address()).unwrap(),
            direct,
            container,
            account: azurite.account().unwrap().clone(),
            ca: azurite.authority().pem().to_owned(),
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// Writes a file, such as credentials; its path.
    pub(crate) fn file(&self, name: &str, content: &str) -> String {
        written(self.directory.path(), name, content)
    }

    /// The account at the proxy, and no credential.
    pub(crate) fn location(&self) -> Config {
        [
            ("storageAccount", self.account.name.clone()),
            ("storageAccountURI", self.proxy.endpoint(&self.account.name)),
            ("caCert", self.ca.clone()),
        ]
        .map(|(key, value)| (key.into(), value))
        .into()
    }

    /// The same with the account's key from a credentials file.
    pub(crate) fn config(&self, more: &[(&str, &str)]) -> Config {
        let file = self.file("cloud", &format!("{KEY}={}\n", self.account.key()));
        let own = [("storageAccountKeyEnvVar", KEY), ("credentialsFile", &file)];
        with(with(self.location(), &own), more)
    }

    /// A plugin with [`Setup::config`].
    pub(crate) async fn open(&self, more: &[(&str, &str)]) -> Opened {
        Opened::new(Cloud::host().unwrap(), &self.config(more))
            .await
            .unwrap()
    }

    /// What went through the proxy about that key.
    pub(crate) fn about(&self, method: &Method, key: &str) -> Vec<Record> {
        let mut records = self.proxy.requests();
        records.retain(|record| record.method == method.as_str() && record.path.ends_with(key));
        records
    }

    /// All requests are refused, until the faults are cleared.
    pub(crate) fn refuse(&self, refusal: Refusal) {
        let fault = Fault::new(Action::Refuse(refusal)).always();
        self.proxy.arm(fault);
    }
}

impl Opened {
    pub(crate) async fn new(host: Host, config: &Config) -> Result<Self, Status> {
        let plugin = host.start().await.unwrap();
        let store = plugin.object_store(NAME);
        init(&store, config).await?;
        Ok(Self { plugin, store })
    }

    /// What it said of the account that it opened last.
    pub(crate) async fn said(&self, field: &str) -> String {
        let opened = |entry: &Entry| entry.message == "storage account opened";
        let logs = self.plugin.logs();
        // The answer to Init may be here before the log.
        assert!(logs.find(Duration::from_secs(10), opened).await.is_some());
        let entries = logs.entries();
        let last = entries.iter().rfind(|entry| opened(entry));
        let said = last.and_then(|entry| entry.field(field));
        said.unwrap_or_default().to_owned()
    }
}

pub(crate) async fn init(store: &ObjectStore, config: &Config) -> Result<(), Status> {
    let config: Vec<_> = config
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    store.init(&config).await
}

/// With these values; empty ones are left out.
pub(crate) fn with(mut config: Config, more: &[(&str, &str)]) -> Config {
    for (key, value) in more {
        config.insert((*key).into(), (*value).into());
    }
    config.retain(|_, value| !value.is_empty());
    config
}

pub(crate) fn written(directory: &Path, name: &str, content: &str) -> String {
    let path = directory.join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// One line that tells all of this.
#[track_caller]
pub(crate) fn told(error: &Status, parts: &[&str]) {
    let message = error.message();
    assert!(!message.contains('\n'), "more than a line: {message:?}");
    for part in parts {
        assert!(message.contains(part), "{part:?} in {error}");
    }
}

/// Bytes that tell their place.
pub(crate) fn bytes(length: usize) -> Vec<u8> {
    (0..length)
        .map(|place| (place / 7 + place / 251) as u8)
        .collect()
}
