//! A writer that a freeze stops.

use std::{fs, path::Path, sync::mpsc, thread, time::Duration};

use crate::harness::PATIENCE;

/// Writes a file from a thread of its own; whether it is done can be asked.
pub(crate) struct Writer(mpsc::Receiver<()>);

impl Writer {
    pub(crate) fn start(directory: &Path) -> Self {
        let (done, receiver) = mpsc::channel();
        let path = directory.join(format!("written-{}", uuid::Uuid::new_v4()));
        thread::spawn(move || {
            fs::write(path, "content").unwrap();
            let _ = done.send(());
        });
        Self(receiver)
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.0.recv_timeout(Duration::from_millis(150)).is_err()
    }

    pub(crate) fn resumes(self) {
        self.0.recv_timeout(PATIENCE).expect("the writer resumes");
    }
}
