//! A control group of the test's own, by version 1 or 2.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::Pid;

/// Removed when dropped; what is in it then goes back to the root group.
pub(crate) struct Cgroup {
    directory: PathBuf,
    root: PathBuf,
    is_v2: bool,
}

impl Cgroup {
    /// `None` where there is none of that controller, said loudly.
    pub(crate) fn new(controller: &str) -> Option<Self> {
        let base = Path::new("/sys/fs/cgroup");
        let is_v2 = base.join("cgroup.controllers").exists();
        let root = if is_v2 {
            // Enabled already, as a rule.
            let _ = fs::write(
                base.join("cgroup.subtree_control"),
                format!("+{controller}"),
            );
            base.to_owned()
        } else {
            base.join(controller)
        };
        let directory = root.join(format!("stillpoint-{}", uuid::Uuid::new_v4()));
        if let Err(error) = fs::create_dir(&directory) {
            eprintln!("SKIPPED: no control group for {controller}: {error}");
            return None;
        }
        Some(Self {
            directory,
            root,
            is_v2,
        })
    }

    pub(crate) fn add(&self, process: Pid) {
        let pid = process.as_raw_nonzero().to_string();
        fs::write(self.directory.join("cgroup.procs"), pid).unwrap();
    }

    /// That process starts in it.
    pub(crate) fn start(&self, command: &mut Command) {
        let mut inside = Command::new("sh");
        inside
            .args(["-c", r#"echo $$ > "$0" && exec "$@""#])
            .arg(self.directory.join("cgroup.procs"))
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        *command = inside;
    }

    pub(crate) fn limit_processes(&self, most: u32) {
        fs::write(self.directory.join("pids.max"), most.to_string()).unwrap();
    }

    /// So much more than is used now, in bytes; or no limit.
    pub(crate) fn limit_memory(&self, more: Option<u64>) {
        let (limit, used, none) = if self.is_v2 {
            ("memory.max", "memory.current", "max")
        } else {
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "-1")
        };
        let used = fs::read_to_string(self.directory.join(used)).unwrap();
        let used: u64 = used.trim().parse().unwrap();
        let most = more.map_or_else(|| none.to_owned(), |more| (used + more).to_string());
        fs::write(self.directory.join(limit), most).unwrap();
    }

    fn processes(&self) -> Vec<String> {
        let text = fs::read_to_string(self.directory.join("cgroup.procs")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for pid in self.processes() {
            let _ = fs::write(self.root.join("cgroup.procs"), pid);
        }
        let removed = fs::remove_dir(&self.directory);
        if let Err(error) = removed
            && error.kind() != io::ErrorKind::NotFound
        {
            eprintln!("{}: {error}", self.directory.display());
        }
    }
}
