//! A certificate in files that somebody else renews.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::time::sleep;

use super::check;
use crate::gate::door::{DoorError, tls::Tls};

/// The files, and what was last read of them.
pub(in crate::gate::door) struct Files {
    certificate: PathBuf,
    key: PathBuf,
    seen: (Vec<u8>, Vec<u8>),
    tls: Arc<Tls>,
}

impl Files {
    /// Serves what is there now.
    pub(in crate::gate::door) fn open(
        certificate: PathBuf,
        key: PathBuf,
        tls: Arc<Tls>,
    ) -> Result<Self, DoorError> {
        let mut files = Self {
            certificate,
            key,
            seen: Default::default(),
            tls,
        };
        files.look()?;
        Ok(files)
    }

    /// Serves what is there, whenever it has changed. Never ends.
    pub(in crate::gate::door) async fn keep(mut self, every: Duration) {
        let mut told = None;
        loop {
            sleep(every).await;
            match self.look() {
                Ok(false) => {}
                Ok(true) => {
                    told = None;
                    tracing::info!(path = %self.certificate.display(), "another certificate is served");
                }
                // Also between the writing of the one and of the other.
                Err(error) => {
                    let reason = error.to_string();
                    if told.as_ref() != Some(&reason) {
                        tracing::warn!(reason, "the certificate stays as it was");
                    }
                    told = Some(reason);
                }
            }
        }
    }

    fn look(&mut self) -> Result<bool, DoorError> {
        let read = |path: &PathBuf, flag| {
            std::fs::read(path).map_err(|error| DoorError::Certificate {
                path: path.clone(),
                flag,
                reason: error.to_string(),
            })
        };
        let certificate = read(&self.certificate, "--tls-cert (STILLPOINT_GATE_TLS_CERT)")?;
        let key = read(&self.key, "--tls-key (STILLPOINT_GATE_TLS_KEY)")?;
        let now = (certificate, key);
        if now == self.seen {
            return Ok(false);
        }
        let unfit = |reason| DoorError::Certificate {
            path: self.certificate.clone(),
            flag: "--tls-cert and --tls-key",
            reason,
        };
        let certified = check::certified(&now.0, &now.1);
        let certified = certified.map_err(|error| unfit(error.to_string()))?;
        let served = self.tls.serve(Arc::new(certified));
        served.map_err(|error| unfit(error.to_string()))?;
        self.seen = now;
        Ok(true)
    }
}
