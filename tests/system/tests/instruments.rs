//! The instruments can tell a frozen copy from one that was cut while writers ran.

use std::{fs, process::Command, thread, time::Duration};

use stillpoint_loopfs::{Kind, Mounted, missing};
use stillpoint_system::{
    inspect,
    writers::{self, Writer},
};

#[test]
fn a_frozen_copy_is_clean_and_a_live_one_is_not() {
    if let Some(why) = missing() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for kind in Kind::ALL {
        let volume = Mounted::fresh(directory.path(), kind.name(), kind).unwrap();
        let image = directory.path().join(format!("{kind}.img"));
        let files = Writer::files(volume.path()).unwrap();
        let sqlite = Writer::sqlite(volume.path()).unwrap();
        while files.count() < 100 || sqlite.count() < 100 {
            thread::sleep(Duration::from_millis(10));
        }

        let live = directory.path().join(format!("{kind}-live.img"));
        fs::copy(&image, &live).unwrap();
        let frozen = directory.path().join(format!("{kind}-frozen.img"));
        let fsfreeze = |flag| {
            Command::new("fsfreeze")
                .arg(flag)
                .arg(volume.path())
                .status()
                .unwrap()
        };
        files.longest_stall();
        assert!(fsfreeze("--freeze").success(), "{kind}");
        let written = files.count();
        let copied = fs::copy(&image, &frozen);
        thread::sleep(Duration::from_millis(200));
        assert!(fsfreeze("--unfreeze").success(), "{kind}");
        copied.unwrap();
        let before = files.count();
        while files.count() < before + 5 {
            thread::sleep(Duration::from_millis(10));
        }
        assert!(
            files.longest_stall() >= Duration::from_millis(190),
            "{kind}: the writer saw no freeze"
        );
        files.stop().unwrap();
        sqlite.stop().unwrap();

        let live = inspect::journal(&live, kind).unwrap();
        assert!(!live.clean, "{kind}, live: {live:?}");
        let found = inspect::journal(&frozen, kind).unwrap();
        assert!(found.clean, "{kind}, frozen: {found:?}");

        let mount_point = directory.path().join(format!("{kind}-copy"));
        let copy = inspect::mount_as_is(&frozen, kind, &mount_point).unwrap();
        let found = writers::check_files(copy.path());
        assert_eq!(found.torn, 0, "{kind}: {found:?}");
        assert!(found.whole >= written, "{kind}: {found:?} of {written}");
        let answer = writers::check_sqlite(copy.path(), directory.path()).unwrap();
        assert_eq!(answer, "ok", "{kind}");
    }
}
