//! Freezes written down twice: in the journal for the next start, and with the supervisor for this one's end.

use std::{
    io,
    os::fd::BorrowedFd,
    sync::Arc,
    time::{Duration, SystemTime},
};

use uuid::Uuid;

use crate::{
    control::{self, Control, Message},
    freeze::{Ledger, Record},
    identity,
    journal::{Entry, Journal, Open, State},
    pulse::Pulse,
    volume::Target,
};

/// The journal and the supervisor.
pub(crate) struct Books {
    journal: Journal,
    supervisor: Arc<Control>,
    boot: String,
    pulse: Arc<Pulse>,
}

impl Books {
    pub(crate) fn new(journal: Journal, supervisor: Arc<Control>, pulse: Arc<Pulse>) -> Self {
        Self {
            journal,
            supervisor,
            boot: identity::boot(),
            pulse,
        }
    }
}

impl Ledger for Books {
    fn intent(&self, target: &Target, hold: &str) -> io::Result<Box<dyn Record>> {
        let silent = |reason| io::Error::other(format!("the supervisor: {reason}"));
        self.pulse.check().map_err(silent)?;
        let mount = &target.mount;
        let block = identity::block_device(mount.device, &mount.source);
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let entry = Entry {
            device: mount.device,
            mount_point: mount.point.clone(),
            filesystem: mount.filesystem.clone(),
            source: mount.source.clone(),
            hold: hold.to_owned(),
            volume: target.volume.clone(),
            since: since.as_secs(),
            boot: self.boot.clone(),
            sequence: block.and_then(identity::sequence),
            state: State::Intent,
        };
        let key = Uuid::new_v4().to_string();
        Ok(Box::new(Page {
            open: self.journal.create(&key, &entry)?,
            key,
            entry,
            supervisor: self.supervisor.clone(),
            told: false,
        }))
    }
}

struct Page {
    key: String,
    entry: Entry,
    open: Open,
    supervisor: Arc<Control>,
    told: bool,
}

impl Record for Page {
    fn freezing(&mut self, root: BorrowedFd<'_>, limit: Duration) -> io::Result<()> {
        let message = Message::Freezing {
            key: self.key.clone(),
            device: self.entry.device.to_string(),
            mount_point: self.entry.mount_point.clone(),
            deadline: control::monotonic() + limit,
        };
        self.supervisor.send(&message, Some(root))?;
        self.told = true;
        self.open.advance(State::Freezing)
    }

    fn frozen(&mut self) -> io::Result<()> {
        self.open.advance(State::Frozen)?;
        let key = self.key.clone();
        self.supervisor.send(&Message::Frozen { key }, None)
    }

    fn close(self: Box<Self>) {
        let page = *self;
        if let Err(error) = page.open.remove() {
            tracing::warn!(hold = page.entry.hold, %error, "journal entry not removed");
        }
        let message = Message::Released { key: page.key };
        if page.told
            && let Err(error) = page.supervisor.send(&message, None)
        {
            tracing::warn!(hold = page.entry.hold, %error, "supervisor not told of the thaw");
        }
    }
}
