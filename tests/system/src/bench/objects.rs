//! Objects of a backup, written to and read from a real blob server by the plugin's ObjectStore.

use std::{
    io,
    pin::Pin,
    task::{Context as Task, Poll},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use stillpoint_lab::host::{ObjectStore, Plugin};
use tempfile::NamedTempFile;
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

use super::{Figures, Size, plugins::Candidate};
use crate::blob::{Account, Authority, Azurite, Client, Data, Link, Logins};

const CONTAINER: &str = "bench";
/// Of the variable in the credentials file.
const KEY: &str = "BENCH_ACCOUNT_KEY";
const ROUND_TRIP: Duration = Duration::from_millis(20);
const MIB: u64 = 1 << 20;

/// The blob server, near and at a distance.
pub(super) struct Objects {
    azurite: Azurite,
    far: Link,
    account: Account,
    credentials: NamedTempFile,
    size: Size,
}

impl Objects {
    pub(super) async fn start(size: Size) -> Result<Self> {
        let account = Account::new("bench")?;
        let accounts = std::slice::from_ref(&account);
        let azurite = Azurite::start(&Authority::new()?, accounts, Logins::Keys, Data::Temporary)?;
        azurite.client()?.create_container(CONTAINER).await?;
        let far = Link::start(azurite.address(), ROUND_TRIP / 2)?;
        let credentials = NamedTempFile::new()?;
        std::fs::write(credentials.path(), format!("{KEY}={}\n", account.key()))?;
        Ok(Self {
            azurite,
            far,
            account,
            credentials,
            size,
        })
    }

    /// Throughput of one object, near and far.
    pub(super) async fn throughput(
        &self,
        candidate: &Candidate,
        figures: &mut Figures,
    ) -> Result<()> {
        let length = self.size.object * MIB;
        for (name, endpoint) in [("near", self.near()), ("far", self.far())] {
            let (plugin, store) = self.open(candidate, &endpoint).await?;
            let begun = Instant::now();
            store.put(CONTAINER, name, Pattern::new(length)).await?;
            figures.set(&format!("upload_{name}"), rate(length, begun));
            let begun = Instant::now();
            let read = read(&store, name).await?;
            figures.set(&format!("download_{name}"), rate(length, begun));
            ensure!(read == length, "{read} of {length} bytes were read back");
            store.delete(CONTAINER, name).await?;
            plugin.shut_down().await?;
        }
        Ok(())
    }

    /// What the blob server itself gives one client that has nothing else to do, for comparison.
    pub(super) async fn server(&self, figures: &mut Figures) -> Result<()> {
        let client = self.azurite.client()?;
        let block = vec![0x5a; 4 * MIB as usize];
        let begun = Instant::now();
        for number in 0..self.size.object / 4 {
            let key = format!("server/{number}");
            client.put(CONTAINER, &key, block.clone()).await?;
        }
        figures.set("server_upload", rate(self.size.object * MIB, begun));
        let begun = Instant::now();
        for number in 0..self.size.object / 4 {
            let read = client.get(CONTAINER, &format!("server/{number}")).await?;
            ensure!(read.is_some(), "a block of the server's own is gone");
        }
        figures.set("server_download", rate(self.size.object * MIB, begun));
        Ok(())
    }

    /// Most memory that a process ever had resident, for an upload and a download of a large object.
    pub(super) async fn memory(&self, candidate: &Candidate, figures: &mut Figures) -> Result<()> {
        let length = self.size.large << 30;
        let (plugin, store) = self.open(candidate, &self.near()).await?;
        store.put(CONTAINER, "large", Pattern::new(length)).await?;
        figures.set("upload_peak_mib", peak(&plugin)?);
        plugin.shut_down().await?;
        let (plugin, store) = self.open(candidate, &self.near()).await?;
        compare(&store, "large", length).await?;
        figures.set("download_peak_mib", peak(&plugin)?);
        store.delete(CONTAINER, "large").await?;
        plugin.shut_down().await?;
        Ok(())
    }

    /// The objects of the list, made once.
    pub(super) async fn fill(&self) -> Result<()> {
        let client: &Client = &self.azurite.client()?;
        futures::stream::iter(0..self.size.listed)
            .map(|number| async move {
                let key = format!("list/{:04}/{:02}", number / 20, number % 20);
                client.put(CONTAINER, &key, Vec::new()).await.map(drop)
            })
            .buffer_unordered(16)
            .try_collect::<()>()
            .await
    }

    /// The best of three lists, so that the server's own start does not count.
    pub(super) async fn list(&self, candidate: &Candidate, figures: &mut Figures) -> Result<()> {
        let (plugin, store) = self.open(candidate, &self.near()).await?;
        let mut best = Duration::MAX;
        for _ in 0..3 {
            let begun = Instant::now();
            let objects = store.objects(CONTAINER, "list/").await?;
            best = best.min(begun.elapsed());
            ensure!(
                objects.len() == self.size.listed,
                "{} of {} objects were listed",
                objects.len(),
                self.size.listed
            );
        }
        figures.time("list", best);
        plugin.shut_down().await?;
        Ok(())
    }

    fn near(&self) -> String {
        self.azurite.endpoint(&self.account.name)
    }

    fn far(&self) -> String {
        self.far.endpoint(&self.account.name)
    }

    /// A process of its own, so that its peak is of one kind of work.
    async fn open(&self, candidate: &Candidate, endpoint: &str) -> Result<(Plugin, ObjectStore)> {
        let plugin = candidate.start_alone().await?;
        let store = plugin.object_store(candidate.registered());
        let credentials = self
            .credentials
            .path()
            .to_str()
            .context("a path in UTF-8")?;
        store
            .init(&[
                ("storageAccount", &self.account.name),
                ("storageAccountURI", endpoint),
                ("storageAccountKeyEnvVar", KEY),
                ("credentialsFile", credentials),
                ("caCert", self.azurite.authority().pem()),
            ])
            .await?;
        Ok((plugin, store))
    }
}

async fn read(store: &ObjectStore, key: &str) -> Result<u64> {
    let mut parts = store.get(CONTAINER, key).await?;
    let mut length = 0;
    while let Some(part) = parts.try_next().await? {
        length += part.len() as u64;
    }
    Ok(length)
}

async fn compare(store: &ObjectStore, key: &str, length: u64) -> Result<()> {
    let mut parts = store.get(CONTAINER, key).await?;
    let mut expected = Pattern::new(length);
    let (mut at, mut piece) = (0, Vec::new());
    while let Some(part) = parts.try_next().await? {
        piece.resize(part.len(), 0);
        expected
            .read_exact(&mut piece)
            .await
            .context("more came than was written")?;
        ensure!(
            piece == part,
            "what was read differs within {at}+{}",
            part.len()
        );
        at += part.len() as u64;
    }
    ensure!(at == length, "{at} of {length} bytes were read back");
    Ok(())
}

fn peak(plugin: &Plugin) -> Result<f64> {
    Ok(plugin.usage()?.peak_resident as f64 / MIB as f64)
}

/// MiB a second.
fn rate(length: u64, begun: Instant) -> f64 {
    length as f64 / MIB as f64 / begun.elapsed().as_secs_f64()
}

/// Bytes that differ from place to place, and cost nearly nothing to make.
struct Pattern {
    block: Vec<u8>,
    at: u64,
    length: u64,
}

impl Pattern {
    /// Prime, so that no block of a blob is like another.
    const PERIOD: usize = 1_048_573;

    fn new(length: u64) -> Self {
        let mut state = 1_u32;
        let block = (0..Self::PERIOD)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        Self {
            block,
            at: 0,
            length,
        }
    }
}

impl AsyncRead for Pattern {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Task<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let offset = (self.at % Self::PERIOD as u64) as usize;
        let left = usize::try_from(self.length - self.at).unwrap_or(usize::MAX);
        let piece = &self.block[offset..];
        let piece = &piece[..piece.len().min(left).min(buffer.remaining())];
        buffer.put_slice(piece);
        let length = piece.len() as u64;
        self.at += length;
        Poll::Ready(Ok(()))
    }
}
