//! Keeps the shared certificate fit, trusted and served.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use rustls::{pki_types::CertificateDer, sign::CertifiedKey};
use thiserror::Error;
use tokio::time::sleep;

use super::{Cluster, ClusterError, Names, Pace, Stored, check, check::Unfit, issue::issue};
use crate::gate::door::tls::Tls;

/// After a failure; twice as long after each further one, up to the time from look to look.
const PAUSE: Duration = Duration::from_millis(500);
/// Replicas that change the same at once.
const ATTEMPTS: usize = 8;

/// Why a look at the cluster did not end well.
#[derive(Debug, Error)]
pub(super) enum LookError {
    #[error("Secret: {0}")]
    Secret(#[source] ClusterError),
    #[error("webhook configuration: {0}")]
    Trust(#[source] ClusterError),
    #[error("making a certificate: {0}")]
    Issue(#[from] rcgen::Error),
    #[error("serving the certificate: {0}")]
    Tls(#[from] rustls::Error),
    #[error("others change the Secret or the webhook configuration all the time")]
    Busy,
}

/// Why the gate is not ready for its certificate's sake; `None` once it was.
#[derive(Clone)]
pub(in crate::gate::door) struct Standing(Arc<Mutex<Option<String>>>);

impl Standing {
    /// A served certificate that has not come to its end.
    pub(in crate::gate::door) fn check(&self, tls: &Tls) -> Result<(), String> {
        let reason = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = &*reason {
            return Err(reason.clone());
        }
        check::is_served(tls)
    }

    fn set(&self, reason: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }
}

/// One replica's care for it.
pub(in crate::gate::door) struct Keeper {
    cluster: Arc<dyn Cluster>,
    names: Names,
    tls: Arc<Tls>,
    standing: Standing,
    /// A certificate whose authority has been put in place, but not for long enough to be known by every API server.
    next: Option<CertificateDer<'static>>,
    has_stood: bool,
    is_alone_told: bool,
}

impl Keeper {
    pub(in crate::gate::door) fn new(
        cluster: Arc<dyn Cluster>,
        names: Names,
        tls: Arc<Tls>,
    ) -> Self {
        let reason = "the Secret has not been read yet".to_owned();
        Self {
            cluster,
            names,
            tls,
            standing: Standing(Arc::new(Mutex::new(Some(reason)))),
            next: None,
            has_stood: false,
            is_alone_told: false,
        }
    }

    pub(in crate::gate::door) fn standing(&self) -> Standing {
        self.standing.clone()
    }

    /// Looks for ever, whatever Kubernetes does meanwhile.
    pub(in crate::gate::door) async fn keep(mut self, pace: Pace) {
        let mut told = None;
        let mut pause = PAUSE;
        loop {
            match self.look(pace.lifetime).await {
                Ok(()) => {
                    if told.take().is_some() {
                        tracing::info!("the certificate is kept again");
                    }
                    pause = PAUSE;
                    sleep(pace.look).await;
                }
                Err(error) => {
                    let reason = error.to_string();
                    if told.as_ref() != Some(&reason) {
                        tracing::warn!(
                            reason,
                            "the gate's certificate cannot be looked after; trying again, with the one it has meanwhile"
                        );
                    }
                    if !self.has_stood {
                        self.standing.set(Some(reason.clone()));
                    }
                    told = Some(reason);
                    sleep(pause.min(pace.look)).await;
                    pause = (pause * 2).min(pace.look);
                }
            }
        }
    }

    /// Brings Secret, webhook configuration and what is served into line.
    pub(super) async fn look(&mut self, lifetime: Duration) -> Result<(), LookError> {
        for _ in 0..ATTEMPTS {
            // Before the Secret: a bundle that is seen here and differs from what the Secret holds then is an older one,
            // or it has been changed since, which ends the attempt to write it. So none is ever put back in time.
            let trust = self.cluster.trust().await;
            let seen = self.cluster.stored().await.map_err(LookError::Secret)?;
            let (stored, certified) = match self.fit(seen.as_ref()) {
                Ok(found) => found,
                Err(reason) => {
                    self.renew(seen.as_ref(), &reason, lifetime).await?;
                    continue;
                }
            };
            let authorities = &stored.material.authorities;
            // What is read can be served, whether the rest succeeds or not: there is nothing better.
            if self.tls.certified().is_none() {
                self.tls.serve(Arc::clone(&certified))?;
            }
            let in_place = match trust.map_err(LookError::Trust)? {
                None => {
                    if !std::mem::replace(&mut self.is_alone_told, true) {
                        tracing::warn!(
                            "there is no webhook configuration, so nobody asks this gate"
                        );
                    }
                    true
                }
                Some(trust) => {
                    self.is_alone_told = false;
                    let others = trust.webhooks.iter();
                    let in_place = others.filter(|(_, bundle)| bundle != authorities).count() == 0;
                    if !in_place {
                        match self.cluster.set_trust(&trust, authorities).await {
                            Err(ClusterError::Changed) => continue,
                            set => set.map_err(LookError::Trust)?,
                        }
                        tracing::info!("caBundle of the webhook configuration is set");
                    }
                    in_place
                }
            };
            self.exchange(certified, authorities, in_place)?;
            self.has_stood = true;
            self.standing.set(None);
            return Ok(());
        }
        Err(LookError::Busy)
    }

    fn fit<'a>(
        &self,
        seen: Option<&'a Stored>,
    ) -> Result<(&'a Stored, Arc<CertifiedKey>), Option<Unfit>> {
        let stored = seen.ok_or(None)?;
        let certified = check::fit(&stored.material, &self.names).map_err(Some)?;
        Ok((stored, Arc::new(certified)))
    }

    async fn renew(
        &self,
        seen: Option<&Stored>,
        reason: &Option<Unfit>,
        lifetime: Duration,
    ) -> Result<(), LookError> {
        let mut names = self.names.clone();
        // Else replicas of two versions would each replace the other's.
        if let (Some(stored), Some(Unfit::Name(_))) = (seen, reason) {
            names.add(&check::names(&stored.material.certificate));
        }
        let before = seen.map(|stored| stored.material.authorities.as_slice());
        let made = issue(
            &names,
            SystemTime::now(),
            lifetime,
            before.unwrap_or_default(),
        )?;
        let version = seen.map(|stored| stored.version.as_str());
        match self.cluster.store(&made, version).await {
            Ok(()) => {
                let reason = match reason {
                    Some(reason) => reason.to_string(),
                    None => "there was none".to_owned(),
                };
                tracing::info!(reason, names = ?names, "a new certificate of the gate");
                Ok(())
            }
            // The other's is then as good.
            Err(ClusterError::Changed) => Ok(()),
            Err(error) => Err(LookError::Secret(error)),
        }
    }

    /// Serves another certificate only when its authority has been in place since the look before, if the one that is
    /// served is good that long.
    fn exchange(
        &mut self,
        certified: Arc<CertifiedKey>,
        authorities: &[u8],
        in_place: bool,
    ) -> Result<(), LookError> {
        let served = self.tls.certified();
        let leaf = certified.cert.first().cloned();
        if served
            .as_ref()
            .is_some_and(|served| served.cert == certified.cert)
        {
            self.next = None;
            return Ok(());
        }
        let is_good = |served: &CertifiedKey| check::trusted(served, authorities, &self.names);
        let is_good = served.is_some_and(|served| is_good(&served).is_ok());
        let is_known = in_place && self.next == leaf;
        if is_good && !is_known {
            self.next = leaf;
            return Ok(());
        }
        self.tls.serve(certified)?;
        self.next = None;
        tracing::info!("another certificate is served");
        Ok(())
    }
}
