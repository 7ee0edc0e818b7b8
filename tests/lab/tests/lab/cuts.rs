//! Cuts of disks that are in use: atomic, and honest about whether the filesystem was frozen.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use stillpoint_lab::{Lab, ResourceId, Settings};
use stillpoint_loopfs::{Kind, Mounted};

use crate::client::{Arm, lab};

/// Two counters at both ends of a file, the first written before the second: a copy at one instant
/// has them equal, or the first one ahead. A torn copy has the second ahead.
#[tokio::test]
async fn cut_is_atomic_under_a_writer() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let arm = Arm::login(&lab).await;
    lab.change_settings(|settings| settings.incremental.most = 1000);
    let disk = arm.disk("d", |_| ());
    let path = lab.disk_file(&disk).unwrap();
    let end = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (file, end) = (
            File::options().write(true).open(path).unwrap(),
            Arc::clone(&end),
        );
        move || {
            let last = (1 << 30) - 8;
            let mut counter = 0u64;
            while !end.load(Ordering::Relaxed) {
                counter += 1;
                file.write_all_at(&counter.to_le_bytes(), 0).unwrap();
                // In between, so that a copy made in steps would see it move.
                file.write_all_at(&counter.to_le_bytes(), 4096 * (1 + counter % 50_000))
                    .unwrap();
                file.write_all_at(&counter.to_le_bytes(), last).unwrap();
            }
            counter
        }
    });
    let mut seen = Vec::new();
    for n in 0..20 {
        let id = arm.snapshot(&format!("s{n}"), &disk).await;
        let copy = File::open(lab.snapshot(&id).unwrap().file).unwrap();
        let read = |at: u64| {
            let mut bytes = [0; 8];
            copy.read_exact_at(&mut bytes, at).unwrap();
            u64::from_le_bytes(bytes)
        };
        let (first, last) = (read(0), read((1 << 30) - 8));
        assert!(
            first == last || first == last + 1,
            "torn: {first} before {last}"
        );
        let middle = read(4096 * (1 + first % 50_000));
        assert!(
            middle == first || last < first,
            "torn: {middle} between {first} and {last}"
        );
        seen.push(first);
    }
    end.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    assert!(
        seen.is_sorted() && seen[0] < seen[19],
        "the writer wrote all the time: {seen:?}"
    );
}

#[tokio::test]
async fn frozen_ext4_needs_no_recovery_and_a_running_one_does() {
    let Some(lab) = lab(Settings::fast()).await else {
        return;
    };
    let arm = Arm::login(&lab).await;
    let disk = arm.disk("d", |_| ());
    let image = lab.disk_file(&disk).unwrap();
    stillpoint_loopfs::format(&image, Kind::Ext4, 1024).unwrap();
    let mounted = Mounted::image(&image, &lab.directory().join("mnt"), "").unwrap();
    let end = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (directory, end) = (mounted.path().to_owned(), Arc::clone(&end));
        move || {
            let mut n = 0u64;
            while !end.load(Ordering::Relaxed) {
                let file = File::create(directory.join(format!("f{}", n % 100))).unwrap();
                file.write_all_at(&n.to_le_bytes(), 0).unwrap();
                file.sync_all().unwrap();
                n += 1;
            }
        }
    });
    let running = arm.snapshot("running", &disk).await;
    freeze(mounted.path(), "--freeze");
    let frozen = arm.snapshot("frozen", &disk).await;
    freeze(mounted.path(), "--unfreeze");
    let after = arm.snapshot("after", &disk).await;
    end.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    drop(mounted);
    let needs = [running, frozen.clone(), after].map(|id| needs_recovery(&lab, &id));
    assert_eq!(
        needs,
        [true, false, true],
        "running, frozen, after the thaw"
    );
    let copy = lab.copy_of(&frozen).unwrap();
    let check = Command::new("e2fsck")
        .args(["-f", "-n"])
        .arg(&copy)
        .output()
        .unwrap();
    assert!(
        check.status.success(),
        "{}",
        String::from_utf8_lossy(&check.stdout)
    );
    let restored = Mounted::image(&copy, &lab.directory().join("restored"), "").unwrap();
    assert!(std::fs::read_dir(restored.path()).unwrap().count() > 1);
}

/// Between freeze and thaw nothing is asserted: what panics there leaves a writer that cannot be killed.
fn freeze(directory: &Path, what: &str) {
    let status = Command::new("fsfreeze").arg(what).arg(directory).status();
    if what == "--unfreeze" {
        assert!(status.unwrap().success());
    }
}

fn needs_recovery(lab: &Lab, id: &ResourceId) -> bool {
    let file = lab.snapshot(id).unwrap().file;
    let output = Command::new("dumpe2fs")
        .arg("-h")
        .arg(file)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("Filesystem features:"), "{text}");
    text.contains("needs_recovery")
}
