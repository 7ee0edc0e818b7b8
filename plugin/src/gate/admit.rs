//! What is decided while the API server waits.

use std::{future::pending, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout, timeout_at};

use super::{
    Gate, Site,
    arm::Sight,
    attempt::Attempt,
    keep::{Keeper, Source},
    live::Live,
    ports::Class,
};
use crate::{
    config::FreezeMode,
    hold::{self, Held, Standing},
    model::VolumeId,
};

/// For our watch to have the content that was made a moment ago.
const KNOWN_WITHIN: Duration = Duration::from_millis(500);

/// What the API server is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is none of ours.
    Pass,
    /// No, and why.
    Deny(String),
    /// Yes; under this hold, or what stands for one that could not be.
    Held(String),
}

/// What the end of a hold will be seen by, or why there is no point in one.
type Prospect = Result<Source, String>;

impl Gate {
    /// Decides until that time, or undoes what it began.
    pub(super) async fn admit(&self, attempt: Attempt, until: Instant) -> Decision {
        let settings = &self.0.settings;
        let excluded = &settings.excluded_namespaces;
        if !settings.drivers.contains(&attempt.driver)
            || excluded.contains(&attempt.snapshot.namespace)
        {
            return Decision::Pass;
        }
        if let Some(hold) = self.0.live.asked_again(&attempt.content) {
            return Decision::Held(hold);
        }
        let admission = Admission {
            site: &self.0,
            hold: hold::fresh_id(),
            attempt,
            until,
        };
        admission.decide().await
    }
}

struct Admission<'a> {
    site: &'a Arc<Site>,
    hold: String,
    attempt: Attempt,
    until: Instant,
}

impl Admission<'_> {
    async fn decide(self) -> Decision {
        let wished = async {
            let class = self.class().await;
            let mode = self.mode(&class).await;
            (class, mode)
        };
        let ((class, mode), known) = tokio::join!(wished, timeout(KNOWN_WITHIN, self.is_known()));
        if mode == FreezeMode::Off {
            return Decision::Pass;
        }
        if known.is_err() {
            let reason = "the gate's own watch does not know the content, as if nobody had made it";
            return self.unheld(mode, reason.to_owned());
        }
        if let Err(reason) = self.site.limits.count(&self.attempt.volumes) {
            return self.unheld(mode, reason);
        }
        let looked = timeout_at(self.until, self.look(&class)).await;
        let source = match looked.unwrap_or_else(|_| Err(self.late("Azure was asked"))) {
            Ok(source) => source,
            // What is there was held when it was cut.
            Err(_) if self.attempt.consistent_already => return Decision::Pass,
            Err(reason) => return self.unheld(mode, reason),
        };
        let limit = self.site.settings.freeze_timeout;
        let volumes = &self.attempt.volumes;
        let begun = Held::begin(&*self.site.holder, mode, &self.hold, volumes, limit);
        let Ok((held, standings)) = timeout_at(self.until, begun).await else {
            // Dropped, so undone.
            return self.unheld(mode, self.late("the volume was frozen"));
        };
        if let Err(reason) = self.look_again(&source).await {
            return self.unheld(mode, reason);
        }
        if Instant::now() >= self.until {
            return self.unheld(mode, self.late("the volume was frozen"));
        }
        if mode == FreezeMode::Required
            && let Some(reason) = standings.iter().find_map(|one| objection(one, &source))
        {
            return self.denied(&reason);
        }
        self.keep(mode, held, standings, source)
    }

    /// Returns when our own watch knows the content, with these volumes: it was made before its driver is asked, and who
    /// forges a review does not know of one that is still to be cut. Then a hold of them comes soon.
    async fn is_known(&self) {
        let cluster = &self.site.cluster;
        let mut changes = cluster.changes();
        let content = || cluster.content(&self.attempt.content);
        while content().is_none_or(|content| content.volumes != self.attempt.volumes) {
            if changes.changed().await.is_err() {
                pending::<()>().await;
            }
        }
        // Their agents get ready while others are asked.
        for volume in &self.attempt.volumes {
            self.site.holder.expect(volume);
        }
    }

    async fn class(&self) -> Class {
        let Some(name) = &self.attempt.class else {
            return Class::default();
        };
        let class = self
            .site
            .cluster
            .class(self.attempt.content.kind, name)
            .await;
        class.unwrap_or_else(|reason| {
            tracing::warn!(
                class = name,
                reason,
                "the class counts as if it said nothing"
            );
            Class::default()
        })
    }

    /// Of several volumes the strictest counts.
    async fn mode(&self, class: &Class) -> FreezeMode {
        let base = self.site.settings.freeze.overridden_by(class.wish);
        if base == FreezeMode::Required {
            return base;
        }
        let wishes = self.attempt.volumes.iter().map(async |volume| {
            let wish = self.site.owners.wish(volume).await;
            base.overridden_by(wish)
        });
        let modes = timeout_at(self.until, futures::future::join_all(wishes)).await;
        let modes = modes.unwrap_or_default();
        let strictest = modes.into_iter().max_by_key(|mode| mode.strictness());
        strictest.unwrap_or(base)
    }

    /// What there is before the freeze.
    async fn look(&self, class: &Class) -> Prospect {
        let arm = self.site.arm.as_ref();
        let named = arm.and_then(|arm| Some((arm, arm.names(&self.attempt, class)?)));
        let Some((arm, (disk, snapshot))) = named else {
            return self.by_status("");
        };
        match arm.look(&disk, &snapshot).await {
            Ok((_, true)) => Err(format!(
                "snapshot {} is there already, made by an earlier attempt",
                snapshot.name
            )),
            Ok((sight, false)) => Ok(Source::Azure(Box::new(sight))),
            Err(error) => {
                tracing::warn!(%snapshot, %error, "Azure does not tell; the driver's word has to do");
                self.by_status(&format!(" ({error})"))
            }
        }
    }

    /// The driver tells only that a snapshot is there, not which attempt has made it.
    fn by_status(&self, why: &str) -> Prospect {
        if self.attempt.first {
            Ok(Source::Status)
        } else {
            Err(format!(
                "an earlier attempt may have made the snapshot, and Azure cannot be asked{why}"
            ))
        }
    }

    /// A request of an earlier attempt may have been on its way while we looked.
    async fn look_again(&self, source: &Source) -> Result<(), String> {
        let Source::Azure(sight) = source else {
            return Ok(());
        };
        if self.attempt.first {
            return Ok(());
        }
        let name = &sight.snapshot.name;
        match timeout_at(self.until, sight.is_there()).await {
            Ok(Ok(false)) => Ok(()),
            Ok(Ok(true)) => Err(format!(
                "snapshot {name} came of an earlier attempt when the volume was being frozen"
            )),
            Ok(Err(error)) => Err(format!(
                "nobody knows whether snapshot {name} is there: {error}"
            )),
            Err(_) => Err(self.late("Azure was asked")),
        }
    }

    fn late(&self, what: &str) -> String {
        format!("the API server's patience (`timeoutSeconds` of the webhook) ended when {what}")
    }

    /// Nothing is frozen. The content and its people are told so, or that there will be no snapshot.
    fn unheld(&self, mode: FreezeMode, reason: String) -> Decision {
        if mode == FreezeMode::Required {
            return self.denied(&reason);
        }
        let content = &self.attempt.content.name;
        tracing::info!(content, hold = self.hold, reason, "nothing is frozen");
        let moving = |_: &VolumeId| Standing::Moving {
            reason: reason.clone(),
            mounted: true,
        };
        let standings = self.attempt.volumes.iter().map(moving).collect();
        self.keep(mode, Held::nothing(), standings, Source::Status)
    }

    fn denied(&self, reason: &str) -> Decision {
        tracing::warn!(
            content = self.attempt.content.name,
            namespace = self.attempt.snapshot.namespace,
            snapshot = self.attempt.snapshot.name,
            reason,
            "denied: no freeze, no snapshot"
        );
        Decision::Deny(format!(
            "Stillpoint: no snapshot, since `stillpoint.io/freeze` asks for a frozen filesystem (`required`) and there is \
             none: {reason}"
        ))
    }

    fn keep(
        &self,
        mode: FreezeMode,
        held: Held,
        standings: Vec<Standing>,
        source: Source,
    ) -> Decision {
        let metrics = &self.site.metrics;
        let counted = held.is_held().then(|| metrics.hold());
        if counted.is_none() {
            metrics.unheld();
        }
        let keeper = Keeper {
            counted,
            live: Live::new(self.site, &self.hold, &self.attempt.content),
            attempt: self.attempt.clone(),
            mode,
            held,
            standings,
            source,
        };
        self.site.kept.spawn(keeper.run());
        Decision::Held(self.hold.clone())
    }
}

/// Why `required` cannot take a volume as it is.
fn objection(standing: &Standing, source: &Source) -> Option<String> {
    match standing {
        Standing::Still { .. } => None,
        Standing::Moving { reason, mounted } => {
            let nowhere = matches!(source, Source::Azure(sight) if sight.is_attached_nowhere());
            (*mounted || !nowhere).then(|| reason.clone())
        }
    }
}

impl Sight {
    /// As of the look before the freeze.
    pub(super) fn is_attached_nowhere(&self) -> bool {
        self.disk.attached_to.is_empty()
    }
}
