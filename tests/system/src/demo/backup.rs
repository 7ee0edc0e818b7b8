//! A backup's objects: written, listed, read back and deleted through the plugin, as Velero does it, on a real blob
//! server.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use stillpoint_lab::host::{ObjectStore, Plugin};

use crate::{
    blob::{Account, Authority, Azurite, Data, Logins},
    rig::{NAME, Rig},
    table::{Cell, Table, Tone},
};

const CONTAINER: &str = "velero";
/// What a backup named `demo` leaves, and how many bytes of each: the first is many blocks.
const OBJECTS: [(&str, usize); 4] = [
    ("demo.tar.gz", 48 << 20),
    ("demo-logs.gz", 100_000),
    ("demo-volumesnapshots.json.gz", 700),
    ("velero-backup.json", 3_000),
];
const BACKUP: &str = "cluster-1/backups/demo/";

/// A blob server with an empty container, and the plugin initialized for it.
#[derive(Debug)]
pub struct Backup {
    azurite: Azurite,
    store: ObjectStore,
}

impl Backup {
    /// Starts the server; its key goes into a credentials file, as Velero mounts one.
    pub async fn start(rig: &Rig, plugin: &Plugin) -> Result<Self> {
        let account = Account::new("demobackups")?;
        let credentials = rig.scratch().join("cloud");
        fs::write(&credentials, format!("DEMO_KEY={}\n", account.key()))?;
        let authority = Authority::new()?;
        let accounts = std::slice::from_ref(&account);
        let azurite = Azurite::start(&authority, accounts, Logins::Keys, Data::Temporary)?;
        azurite.client()?.create_container(CONTAINER).await?;
        let store = plugin.object_store(NAME);
        let config = [
            ("storageAccount", account.name.as_str()),
            ("storageAccountURI", &azurite.endpoint(&account.name)),
            ("storageAccountKeyEnvVar", "DEMO_KEY"),
            ("caCert", authority.pem()),
            (
                "credentialsFile",
                credentials.to_str().context("a path in UTF-8")?,
            ),
            ("bucket", CONTAINER),
            ("prefix", "cluster-1"),
        ];
        store.init(&config).await?;
        Ok(Self { azurite, store })
    }

    /// Writes the objects, reads them back, and deletes them: a table, and whether all is as it should be.
    pub async fn keep(&self) -> Result<(Table, bool)> {
        let mut table = Table::default();
        let head = ["", "bytes", "read back", "by signed URL"];
        table.row(head.map(Cell::plain)).line();
        let mut good = true;
        for (name, size) in OBJECTS {
            let (key, written) = (format!("{BACKUP}{name}"), content(name, size));
            self.store.put(CONTAINER, &key, written.as_slice()).await?;
            let read = self.store.read(CONTAINER, &key).await? == written;
            let fetched = self.fetched(&key).await? == written;
            good &= read && fetched;
            let same = |same| Cell::judged(if same { "the same" } else { "differs" }, same);
            table.row([
                Cell::plain(name),
                Cell::new(size.to_string(), Tone::Faint),
                same(read),
                same(fetched),
            ]);
        }
        ensure!(
            self.listed().await? == (vec![BACKUP.to_owned()], keys()),
            "what is listed is not what was written: {:?}",
            self.listed().await?
        );
        for key in keys() {
            self.store.delete(CONTAINER, &key).await?;
        }
        let left = self.azurite.client()?.list(CONTAINER, "").await?;
        ensure!(left.is_empty(), "not deleted: {left:?}");
        Ok((table, good))
    }

    async fn listed(&self) -> Result<(Vec<String>, Vec<String>)> {
        let backups = "cluster-1/backups/";
        let prefixes = self.store.common_prefixes(CONTAINER, backups, "/").await?;
        Ok((prefixes, self.store.objects(CONTAINER, BACKUP).await?))
    }

    /// As `velero backup logs` does: without the plugin and without a credential.
    async fn fetched(&self, key: &str) -> Result<Vec<u8>> {
        let lifetime = Duration::from_secs(600);
        let url = self.store.signed_url(CONTAINER, key, lifetime).await?;
        let ca = reqwest::Certificate::from_pem(self.azurite.authority().pem().as_bytes())?;
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder().tls_certs_only([ca]).build()?;
        // Its URL is as good as a credential, so no error shows it.
        let answer = client.get(url).send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status);
        let answer = answer.map_err(reqwest::Error::without_url)?;
        Ok(answer.bytes().await?.to_vec())
    }
}

fn keys() -> Vec<String> {
    let keys = OBJECTS.map(|(name, _)| format!("{BACKUP}{name}"));
    let mut keys = Vec::from(keys);
    keys.sort();
    keys
}

/// Of that length, and different in each object and at each place.
fn content(name: &str, size: usize) -> Vec<u8> {
    let seed = name.len() as u64;
    let words = (0u64..).map(|at| (at ^ seed << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    words.flat_map(u64::to_le_bytes).take(size).collect()
}
