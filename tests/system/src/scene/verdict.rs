//! What must be true of a snapshot that something happened to: nothing frozen, nothing orphaned, and the truth told.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use stillpoint_lab::{ResourceId, SnapshotView};
use stillpoint_loopfs::Kind;
use tonic::Status;

use super::{Scene, until};
use crate::inspect;

impl Scene {
    /// Fails if the volume is frozen.
    pub async fn thawed(&self) -> Result<()> {
        tokio::task::block_in_place(|| self.volume.write_something())
    }

    /// The one snapshot that there is.
    pub fn only_snapshot(&self) -> Result<SnapshotView> {
        let mut snapshots = self.rig.lab.snapshots();
        match (snapshots.pop(), snapshots.is_empty()) {
            (Some(snapshot), true) => Ok(snapshot),
            (None, _) => bail!("there is no snapshot"),
            (Some(_), false) => bail!("there are {} snapshots", snapshots.len() + 1),
        }
    }

    /// The snapshot is called filesystem-consistent, and is.
    pub async fn is_whole(&self, answer: Result<String, Status>) -> Result<SnapshotView> {
        self.thawed().await?;
        self.is_called_whole(answer)
    }

    /// The same where the volume cannot be written to.
    pub fn is_called_whole(&self, answer: Result<String, Status>) -> Result<SnapshotView> {
        let snapshot = self.complete(answer)?;
        self.called_whole(&snapshot.id, self.volume.kind)?;
        self.says_no_secret()?;
        Ok(snapshot)
    }

    /// A snapshot of a filesystem of that kind is called filesystem-consistent, and is: nothing is to be replayed.
    pub fn called_whole(&self, id: &ResourceId, kind: Kind) -> Result<()> {
        let snapshot = self.rig.lab.snapshot(id).context("it is gone")?;
        let worth = &snapshot.tags["stillpoint-consistency"];
        ensure!(worth == "filesystem", "{:?}", snapshot.tags);
        let copy = self.rig.lab.copy_of(id)?;
        let journal = tokio::task::block_in_place(|| inspect::journal(&copy, kind))?;
        ensure!(journal.clean, "called consistent, but {journal:?}");
        Ok(())
    }

    /// The snapshot is kept and says that it is crash-consistent, and why.
    pub async fn is_crash(&self, answer: Result<String, Status>, why: &str) -> Result<()> {
        self.thawed().await?;
        self.is_called_crash(answer, why)
    }

    /// The same where the volume cannot be written to.
    pub fn is_called_crash(&self, answer: Result<String, Status>, why: &str) -> Result<()> {
        let snapshot = self.complete(answer)?;
        let (worth, reason) = (
            &snapshot.tags["stillpoint-consistency"],
            &snapshot.tags["stillpoint-reason"],
        );
        ensure!(
            worth == "crash" && reason.contains(why),
            "{:?}",
            snapshot.tags
        );
        self.says_no_secret()
    }

    /// There is no snapshot, and the message says why.
    pub async fn is_refused(&self, answer: Result<String, Status>, why: &str) -> Result<()> {
        self.thawed().await?;
        self.is_failure(answer, why)
    }

    /// The same where the volume cannot be written to.
    pub fn is_failure(&self, answer: Result<String, Status>, why: &str) -> Result<()> {
        let Err(status) = answer else {
            bail!(
                "it should have failed with {why:?}: {:?}",
                self.only_snapshot()
            )
        };
        ensure!(status.message().contains(why), "{status:?} lacks {why:?}");
        let left = self.rig.lab.snapshots();
        ensure!(left.is_empty(), "left behind: {left:?}");
        self.says_no_secret()
    }

    /// Exactly one snapshot is left, and it says that it is unfinished and not consistent.
    pub async fn is_pending(&self) -> Result<SnapshotView> {
        until("Azure has made the snapshot", || {
            let snapshots = self.rig.lab.snapshots();
            !snapshots.is_empty() && snapshots.iter().all(|one| one.state != "Creating")
        })
        .await?;
        let snapshot = self.only_snapshot()?;
        ensure!(
            snapshot.tags["stillpoint-state"] == "pending"
                && snapshot.tags["stillpoint-consistency"] == "crash",
            "{:?}",
            snapshot.tags
        );
        self.says_no_secret()?;
        Ok(snapshot)
    }

    /// The pending snapshot stays as long as somebody could be at work on it; then the next start sweeps it.
    pub async fn is_swept_later(&mut self) -> Result<()> {
        let snapshot = self.is_pending().await?;
        let hour = Duration::from_secs(3600);
        self.rig.lab.backdate_snapshot(&snapshot.id, hour)?;
        self.restart_plugin().await?;
        self.only_snapshot().context("it was swept too early")?;
        self.rig.lab.backdate_snapshot(&snapshot.id, hour)?;
        self.restart_plugin().await?;
        until("the pending snapshot is swept", || {
            self.rig.lab.snapshots().is_empty()
        })
        .await
    }

    /// The answer names the one snapshot there is, and that is complete.
    fn complete(&self, answer: Result<String, Status>) -> Result<SnapshotView> {
        let id = answer.map_err(|status| anyhow::anyhow!("{status:?}"))?;
        let snapshot = self.only_snapshot()?;
        ensure!(snapshot.id == id.parse()?, "{id} is not {}", snapshot.id);
        ensure!(
            snapshot.tags["stillpoint-state"] == "complete",
            "{:?}",
            snapshot.tags
        );
        Ok(snapshot)
    }

    /// Nothing in the plugin's log, at its chattiest, lets anyone log in.
    pub fn says_no_secret(&self) -> Result<()> {
        let credentials = self.rig.lab.credentials_file();
        let secret = credentials
            .lines()
            .find_map(|line| line.strip_prefix("AZURE_CLIENT_SECRET="))
            .context("the lab's identity has no secret")?;
        let log = self.plugin.logs().entries();
        ensure!(!log.is_empty(), "the plugin logs nothing");
        for entry in log {
            let text = format!("{entry:?}");
            // A JWT begins so.
            let told = [secret, "eyJ", "Bearer "]
                .iter()
                .any(|word| text.contains(word));
            ensure!(!told, "the log has a secret: {text}");
        }
        Ok(())
    }
}
