//! Steps of one backup's life, each asserted.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use serde_json::Value;
use stillpoint_cluster::until;
use stillpoint_e2e::{World, world::SOON};
use stillpoint_loopfs::Kind;
use stillpoint_system::{
    inspect,
    writers::{self, Writer},
};

use crate::{files, shop};

type Content = BTreeMap<PathBuf, Vec<u8>>;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_backed_up_while_it_was_written_comes_back_in_other_zones() {
    let Some(world) = World::start().await.unwrap() else {
        return;
    };
    let (_, snapshots) = match life(&world).await {
        Ok(done) => done,
        Err(error) => panic!("{error:?}\n{}", world.velero.log()),
    };
    assert_eq!(snapshots, 3);
}

async fn life(world: &World) -> Result<((), usize)> {
    shop::open(world).await?;
    let before = shop::running(world, 5).await?;
    let mut busy = Vec::new();
    for claim in shop::CLAIMS {
        let writer = Writer::files(&world.mounted(shop::NAME, claim).await?)?;
        until("the writer writes", SOON, async || {
            Ok((writer.count() > 20).then_some(()))
        })
        .await?;
        busy.push(writer);
    }

    let create = ["backup", "create", "first", "--include-namespaces", "shop"];
    let said = world
        .velero
        .cli(&[&create[..], &["--wait"]].concat())
        .await?;
    assert_eq!(
        phase(world, "backup", "first").await?,
        "Completed",
        "{said}"
    );
    let frozen = frozen(world)?;
    for writer in busy {
        writer.stop()?;
    }
    let snapshots = world.lab.snapshots().len();

    shop::lose(world).await?;

    world
        .map_zones("westeurope-1=westeurope-2,westeurope-2=westeurope-3,westeurope-3=westeurope-1")
        .await?;
    let create = ["restore", "create", "back", "--from-backup", "first"];
    let said = world
        .velero
        .cli(&[&create[..], &["--wait"]].concat())
        .await?;
    assert_eq!(
        phase(world, "restore", "back").await?,
        "Completed",
        "{said}"
    );
    let after = shop::running(world, 5).await?;
    for (number, claim) in shop::CLAIMS.iter().enumerate() {
        let pod = format!("db-{number}");
        let (old, new) = (&before[&pod], &after[&pod]);
        let expected = match old.as_str() {
            "node-1" => "node-2",
            "node-2" => "node-3",
            _ => "node-1",
        };
        assert_eq!(new, expected, "{pod} was on {old}");
        let path = world.mounted(shop::NAME, claim).await?;
        shop::volume(world, claim).await?;
        assert_same(&files::all(&path), &frozen[*claim], claim);
    }

    world
        .velero
        .cli(&["backup", "delete", "first", "--confirm"])
        .await?;
    until("the backup is gone", SOON, async || {
        let left = world.velero.cli(&["backup", "get"]).await?;
        let blobs = world.blobs().await?;
        let snapshots = world.lab.snapshots();
        anyhow::ensure!(
            !left.contains("first") && blobs.is_empty() && snapshots.is_empty(),
            "{left} {blobs:?} {snapshots:?}"
        );
        Ok(Some(()))
    })
    .await?;
    Ok(((), snapshots))
}

async fn phase(world: &World, kind: &str, name: &str) -> Result<String> {
    let said = world.velero.cli(&[kind, "get", name, "-o", "json"]).await?;
    let object: Value = serde_json::from_str(&said)?;
    Ok(object["status"]["phase"]
        .as_str()
        .unwrap_or_default()
        .into())
}

/// What each snapshot holds, by claim, read before anything could be replayed.
fn frozen(world: &World) -> Result<BTreeMap<String, Content>> {
    let mut found = BTreeMap::new();
    for snapshot in world.lab.snapshots() {
        let tags = &snapshot.tags;
        assert_eq!(tags["stillpoint-consistency"], "filesystem", "{tags:?}");
        assert_eq!(tags["velero.io-backup"], "first", "{tags:?}");
        let copy = world.lab.copy_of(&snapshot.id)?;
        let journal = inspect::journal(&copy, Kind::Ext4)?;
        assert!(journal.clean, "{journal:?}");
        let claim = tags["kubernetes.io-created-for-pvc-name"].clone();
        let mounted = mount(world, &copy)?;
        let seen = writers::check_files(mounted.path());
        assert!(seen.whole > 20 && seen.torn == 0, "{claim}: {seen:?}");
        found.insert(claim, files::all(mounted.path()));
    }
    Ok(found)
}

fn mount(world: &World, image: &Path) -> Result<stillpoint_loopfs::Mounted> {
    let directory = world.scratch();
    fs::create_dir_all(&directory)?;
    inspect::mount_as_is(image, Kind::Ext4, &directory.join("copy"))
}

/// Without the contents in the message.
fn assert_same(restored: &Content, frozen: &Content, claim: &str) {
    let restored_names: Vec<_> = restored.keys().collect();
    let names: Vec<_> = frozen.keys().collect();
    assert_eq!(restored_names, names, "{claim}");
    for (name, content) in frozen {
        assert!(restored[name] == *content, "{claim}: {name:?} differs");
    }
}
