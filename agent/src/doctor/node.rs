//! The node itself: its kernel, our privileges, the directories that must be there.

use std::{fs, path::Path};

use rustix::fs::statfs;

use super::report::Report;
use crate::{cli::ServeOptions, journal::Journal};

const SYS_ADMIN: u32 = 21;
const DAC_READ_SEARCH: u32 = 2;
const IPC_LOCK: u32 = 14;
/// Of `struct statfs`: TMPFS_MAGIC.
const TMPFS: i64 = 0x0102_1994;
const FILESYSTEMS: [&str; 3] = ["ext4", "xfs", "btrfs"];

pub(super) fn examine(report: &mut Report, options: &ServeOptions) {
    kernel(report);
    privileges(report);
    kubelet(report, &options.kubelet_root);
    journal(report, &options.journal);
}

fn kernel(report: &mut Report) {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let known: Vec<_> = FILESYSTEMS
        .into_iter()
        .filter(|name| {
            known
                .lines()
                .any(|line| line.split_whitespace().last() == Some(name))
        })
        .collect();
    match known.is_empty() {
        false => report.good("kernel", format!("{release}, with {}", known.join(", "))),
        true => report.warn(
            "kernel",
            format!("{release} has loaded none of {}", FILESYSTEMS.join(", ")),
            "others are frozen only if their driver can; a module may be loaded with the first volume",
        ),
    }
    if !Path::new("/sys/dev/block").exists() {
        report.warn(
            "kernel",
            "/sys/dev/block is not there, so whether a device is the same as before a restart is not known",
            "mount sysfs in the container",
        );
    }
}

fn privileges(report: &mut Report) {
    const REMEDY: &str = "run as user 0 with capabilities.add [SYS_ADMIN, DAC_READ_SEARCH, IPC_LOCK] in the securityContext";
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let Some(effective) = effective(&status) else {
        report.warn("privileges", "/proc/self/status does not tell them", REMEDY);
        return;
    };
    let mut missing = Vec::new();
    for (bit, name, purpose) in [
        (SYS_ADMIN, "CAP_SYS_ADMIN", "FIFREEZE and FITHAW"),
        (
            DAC_READ_SEARCH,
            "CAP_DAC_READ_SEARCH",
            "opening roots of mode 0700",
        ),
    ] {
        if effective & (1 << bit) == 0 {
            missing.push(format!("{name} ({purpose})"));
        }
    }
    if effective & (1 << IPC_LOCK) == 0 {
        report.warn(
            "privileges",
            "without CAP_IPC_LOCK the supervisor's memory may be swapped out",
            REMEDY,
        );
    }
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    if !is_initial(&map) {
        report.wrong(
            "privileges",
            "this is not the node's own user namespace, in which alone filesystems can be frozen",
            "run the pod with hostUsers: true, its default",
        );
    }
    match missing.is_empty() {
        true => report.good("privileges", "CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH"),
        false => report.wrong(
            "privileges",
            format!("without {}", missing.join(" and ")),
            REMEDY,
        ),
    }
}

fn effective(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// All IDs stand for themselves.
fn is_initial(uid_map: &str) -> bool {
    let fields: Vec<_> = uid_map.split_whitespace().collect();
    fields.is_empty() || fields == ["0", "0", "4294967295"]
}

fn kubelet(report: &mut Report, root: &Path) {
    let path = root.display();
    if !root.is_dir() {
        report.wrong(
            "kubelet",
            format!("{path} is no directory, so no volume is found"),
            "set --kubelet-root (STILLPOINT_KUBELET_ROOT) to the kubelet's root, and mount it there",
        );
        return;
    }
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let real = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    match propagation(&table, &real) {
        Some(false) if crate::kubernetes::in_pod() => report.wrong(
            "kubelet",
            format!("mounts that come later below {path} are not seen in this container"),
            "give the volumeMount of the kubelet's directory mountPropagation: HostToContainer",
        ),
        _ => report.good("kubelet", format!("{path} is there")),
    }
}

/// Whether the mount that holds `path` takes over what is mounted below it elsewhere.
fn propagation(table: &str, path: &Path) -> Option<bool> {
    let mounts = table.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let point = Path::new(fields.nth(4)?);
        let tags = fields.skip(1).take_while(|field| *field != "-");
        let follows = tags
            .into_iter()
            .any(|tag| tag.starts_with("master:") || tag.starts_with("shared:"));
        path.starts_with(point)
            .then(|| (point.components().count(), follows))
    });
    // Of several on one point the last covers the others.
    mounts
        .max_by_key(|(depth, _)| *depth)
        .map(|(_, follows)| follows)
}

fn journal(report: &mut Report, directory: &Path) {
    const REMEDY: &str =
        "let --journal (STILLPOINT_JOURNAL) be on the node's own /run, mounted from the host";
    let path = directory.display();
    match statfs(directory) {
        Err(error) => {
            report.wrong("journal", format!("{path}: {error}"), REMEDY);
            return;
        }
        Ok(found) if found.f_type != TMPFS => report.warn(
            "journal",
            format!("{path} is not on a tmpfs: it outlives a reboot, and could be frozen itself"),
            REMEDY,
        ),
        Ok(_) => report.good("journal", format!("{path} is on a tmpfs")),
    }
    match Journal::at(directory.to_owned()).entries() {
        Ok(entries) if entries.is_empty() => {}
        Ok(entries) => report.warn(
            "journal",
            format!("{} filesystems are frozen, or were and could not be reached", entries.len()),
            "`stillpoint-agent status` names them; they go by themselves when a hold ends or the device is seen thawed",
        ),
        Err(error) => report.wrong("journal", format!("{path}: {error}"), REMEDY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_and_user_namespaces_are_read() {
        let status = "Name:\tx\nCapInh:\t0000000000000000\nCapEff:\t0000000000200004\n";
        let seen = effective(status).unwrap();
        assert_eq!(seen, 1 << SYS_ADMIN | 1 << DAC_READ_SEARCH);
        assert_eq!(effective("Name:\tx\n"), None);
        assert!(is_initial("         0          0 4294967295\n"));
        assert!(!is_initial("         0     100000      65536\n"));
    }

    #[test]
    fn whether_later_mounts_are_seen_is_told_by_the_nearest_mount() {
        let table = "\
            1 0 8:1 / / rw shared:1 - ext4 /dev/sda rw\n\
            2 1 8:2 / /var/lib/kubelet rw,relatime - ext4 /dev/sda rw\n\
            3 2 8:3 / /var/lib/kubelet/pods/x rw master:7 - ext4 /dev/sdb rw\n";
        for (path, expected) in [
            ("/var/lib/kubelet", Some(false)),
            ("/var/lib/kubelet/pods/x", Some(true)),
            ("/home", Some(true)),
        ] {
            assert_eq!(propagation(table, Path::new(path)), expected, "{path}");
        }
        assert_eq!(propagation("", Path::new("/")), None);
    }
}
