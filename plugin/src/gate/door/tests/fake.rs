//! A cluster in memory that holds its objects as strictly as an API server.

use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;

use crate::gate::door::certificate::{Cluster, ClusterError, Material, Stored, Trust};

#[derive(Default)]
pub(crate) struct Fake {
    state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    versions: u64,
    pub(crate) secret: Option<Stored>,
    pub(crate) trust: Option<Trust>,
    pub(crate) is_down: bool,
    pub(crate) writes_of_secret: usize,
}

impl State {
    fn version(&mut self) -> String {
        self.versions += 1;
        self.versions.to_string()
    }

    pub(crate) fn put_secret(&mut self, material: Material) {
        let version = self.version();
        self.secret = Some(Stored { version, material });
    }

    /// As a person does who applies the manifest.
    pub(crate) fn put_trust(&mut self, bundle: &[u8]) {
        let version = self.version();
        let webhooks = ["contents", "groups"].map(|name| (name.to_owned(), bundle.to_vec()));
        self.trust = Some(Trust {
            version,
            webhooks: webhooks.into(),
        });
    }
}

impl Fake {
    /// With a webhook configuration that nobody has completed yet.
    pub(crate) fn new() -> Self {
        let fake = Self::default();
        fake.state().put_trust(b"");
        fake
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn material(&self) -> Material {
        self.state().secret.clone().unwrap().material
    }

    /// The one that all webhooks have.
    pub(crate) fn bundle(&self) -> Vec<u8> {
        let webhooks = self.state().trust.clone().unwrap().webhooks;
        assert!(webhooks.iter().all(|(_, bundle)| *bundle == webhooks[0].1));
        webhooks[0].1.clone()
    }

    /// An answer comes later than the question, so others come between.
    async fn asked(&self) -> Result<MutexGuard<'_, State>, ClusterError> {
        tokio::task::yield_now().await;
        let state = self.state();
        match state.is_down {
            true => Err(ClusterError::Failed("down".to_owned())),
            false => Ok(state),
        }
    }
}

#[async_trait]
impl Cluster for Fake {
    fn namespace(&self) -> &str {
        "velero"
    }

    async fn stored(&self) -> Result<Option<Stored>, ClusterError> {
        Ok(self.asked().await?.secret.clone())
    }

    async fn store(&self, material: &Material, seen: Option<&str>) -> Result<(), ClusterError> {
        let mut state = self.asked().await?;
        if state.secret.as_ref().map(|stored| stored.version.as_str()) != seen {
            return Err(ClusterError::Changed);
        }
        state.writes_of_secret += 1;
        state.put_secret(material.clone());
        Ok(())
    }

    async fn trust(&self) -> Result<Option<Trust>, ClusterError> {
        Ok(self.asked().await?.trust.clone())
    }

    async fn set_trust(&self, seen: &Trust, authorities: &[u8]) -> Result<(), ClusterError> {
        let mut state = self.asked().await?;
        if state.trust.as_ref().map(|trust| &trust.version) != Some(&seen.version) {
            return Err(ClusterError::Changed);
        }
        state.put_trust(authorities);
        Ok(())
    }
}
