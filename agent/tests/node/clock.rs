//! The system clock jumps during a hold. The agent sees the jump through a library that stands before the C library:
//! the machine's own clock is everybody's.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use stillpoint_loopfs::Kind;

use crate::harness::{Node, Writer};

const LIBRARY: &str = include_str!("../../../tests/system/src/chaos/clock.c");

/// The agent's wall clock.
struct Clock {
    offset: File,
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    fn of(node: &Node) -> Self {
        let directory = node.directory.path();
        let [source, library, file] =
            ["clock.c", "clock.so", "offset"].map(|name| directory.join(name));
        fs::write(&source, LIBRARY).unwrap();
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .status();
        assert!(compiled.unwrap().success());
        fs::write(&file, 0_i64.to_ne_bytes()).unwrap();
        let offset = File::options().write(true).open(&file).unwrap();
        Self {
            offset,
            library,
            file,
        }
    }

    fn jump(&self, seconds: i64) {
        self.offset.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }
}

const DAY: i64 = 24 * 3600;

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_is_kept_though_the_system_clock_jumps() {
    let Some(mut node) = Node::prepared(&[Kind::Ext4]) else {
        return;
    };
    let clock = Clock::of(&node);
    node.start_with(|command| {
        command
            .env("LD_PRELOAD", &clock.library)
            .env("CLOCK_OFFSET", &clock.file);
    });
    for (jump, year, hangs) in [
        (-40 * 365 * DAY, "198", false),
        (400 * 365 * DAY, "24", false),
        (-40 * 365 * DAY, "198", true),
    ] {
        clock.jump(0);
        let begun = Instant::now();
        let hold = node.hold_all(Duration::from_secs(1)).await;
        clock.jump(jump);
        if hangs {
            node.signal_worker(Signal::STOP);
        }
        let writer = Writer::start(node.volumes[0].path());
        writer.resumes();
        let waited = begun.elapsed();
        let case = format!("{jump} {hangs}: {waited:?}");
        assert!(waited >= Duration::from_secs(1), "{case}");
        assert!(waited < Duration::from_secs(3), "{case}");
        node.signal_worker(Signal::CONT);
        let thaw = hold.thawed().await.volumes.remove(0);
        assert!(!thaw.held && thaw.reason.contains("limit"), "{thaw:?}");
        let frozen_for = Duration::try_from(thaw.frozen_for.unwrap()).unwrap();
        assert!(
            frozen_for < Duration::from_secs(4),
            "{case}: {frozen_for:?}"
        );
        let log = node.log();
        let thawed = log.lines().rfind(|line| line.contains("thawed before"));
        assert!(
            thawed.unwrap().starts_with(year),
            "the agent saw the jump: {thawed:?}"
        );
        // It rests for as long as it was frozen.
        tokio::time::sleep(frozen_for).await;
    }
}
