//! What runs in the pods: PostgreSQL under pgbench on one volume, file writers on the others.

use anyhow::Result;
use stillpoint_cluster::until;
use stillpoint_e2e::{
    World,
    postgres::{Load, Postgres, Sums},
    world::SOON,
};
use stillpoint_system::writers::Writer;

use crate::shop;

/// The running programs.
pub(crate) struct Application {
    writers: Vec<Writer>,
    _load: Load,
    pub(crate) postgres: Postgres,
}

impl Application {
    /// Starts all, and waits until each writes.
    pub(crate) async fn start(world: &World) -> Result<Self> {
        let [(database, _), files @ ..] = shop::CLAIMS;
        let mut writers = Vec::new();
        for (claim, _) in files {
            let writer = Writer::files(&world.mounted(shop::NAME, claim).await?)?;
            until("the writer writes", SOON, async || {
                Ok((writer.count() > 20).then_some(()))
            })
            .await?;
            writers.push(writer);
        }
        let volume = world.mounted(shop::NAME, database).await?;
        let postgres = Postgres::create(&volume, &world.scratch().join("before"))?;
        let load = postgres.load()?;
        until("pgbench writes", SOON, async || {
            Ok((postgres.sums()?.transactions > 20).then_some(()))
        })
        .await?;
        Ok(Self {
            writers,
            _load: load,
            postgres,
        })
    }

    /// Ends all.
    pub(crate) fn stop(self) -> Result<()> {
        self.writers.into_iter().try_for_each(Writer::stop)
    }
}

/// PostgreSQL starts on what was restored, and has lost nothing that was committed before the backup.
pub(crate) async fn database_is_whole(world: &World, before: Sums) -> Result<()> {
    let [(claim, _), ..] = shop::CLAIMS;
    let volume = world.mounted(shop::NAME, claim).await?;
    let postgres = Postgres::start(&volume, &world.scratch().join("after"))?;
    let sums = postgres.sums()?;
    assert!(sums.agree(), "{sums:?}\n{}", postgres.log());
    assert!(sums.transactions >= before.transactions, "{sums:?}");
    postgres.check()
}

/// Every volume takes writes: nothing is frozen.
pub(crate) async fn assert_writable(world: &World) -> Result<()> {
    for (claim, _) in shop::CLAIMS {
        let writer = Writer::files(&world.mounted(shop::NAME, claim).await?)?;
        until(&format!("{claim} is written"), SOON, async || {
            Ok((writer.count() > 2).then_some(()))
        })
        .await?;
        writer.stop()?;
    }
    Ok(())
}
