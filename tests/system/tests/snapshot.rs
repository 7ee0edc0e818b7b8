//! A snapshot through the real plugin and the real agent is a filesystem that is whole.

use stillpoint_lab::Settings;
use stillpoint_loopfs::{Kind, missing};
use stillpoint_system::{
    inspect,
    rig::{Rig, ZONE},
    writers::{self, Writer},
};

#[tokio::test(flavor = "multi_thread")]
async fn busy_filesystems_are_whole_on_their_snapshots() {
    if let Some(why) = missing() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let rig = Rig::start(Settings::default()).await.unwrap();
    let plugin = rig.plugin().await.unwrap();
    for kind in Kind::ALL {
        let volume = rig.volume(kind.name(), kind).unwrap();
        let writer = Writer::files(volume.path()).unwrap();
        while writer.count() < 50 {
            tokio::task::yield_now().await;
        }
        let snapshotter = rig
            .snapshotter(&plugin, &[("freeze", "required")])
            .await
            .unwrap();
        let id = snapshotter
            .volume_id(&volume.persistent_volume())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(id, volume.handle());
        let written = writer.count();
        let snapshot = snapshotter
            .create_snapshot(&id, ZONE, &[("velero.io/backup", "b")])
            .await
            .unwrap();
        volume.write_something().unwrap();
        drop(writer);

        let snapshot = snapshot.parse().unwrap();
        let seen = rig.lab.snapshot(&snapshot).unwrap();
        assert_eq!(
            seen.tags["stillpoint-consistency"], "filesystem",
            "{kind}: {:?}",
            seen.tags
        );
        let copy = rig.lab.copy_of(&snapshot).unwrap();
        let journal = inspect::journal(&copy, kind).unwrap();
        assert!(journal.clean, "{kind}: {journal:?}");
        let mounted = inspect::mount_as_is(&copy, kind, &rig.scratch().join("copy")).unwrap();
        let files = writers::check_files(mounted.path());
        assert_eq!(files.torn, 0, "{kind}");
        assert!(files.whole >= written, "{kind}: {files:?} of {written}");
    }
}
