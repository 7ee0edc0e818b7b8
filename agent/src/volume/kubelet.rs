//! The kubelet's records: which paths of this node belong to a volume handle.
//!
//! - CSI staging: `plugins/kubernetes.io/csi/<driver>/<sha256 of the handle>/globalmount`, before
//!   Kubernetes 1.24 `plugins/kubernetes.io/csi/pv/<pv>/globalmount`; `vol_data.json` beside the mount.
//! - CSI pods: `pods/<uid>/volumes/kubernetes.io~csi/<pv>/mount`, `vol_data.json` beside it.
//! - CSI block volumes: `plugins/kubernetes.io/csi/volumeDevices/<pv>/data/vol_data.json`.
//! - In-tree: `plugins/kubernetes.io/azure-disk/mounts/m<checksum of the disk's URI>`; no record of the URI.
//! - In-tree block volumes: `plugins/kubernetes.io/azure-disk/volumeDevices/<disk name>`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

const DRIVER: &str = "disk.csi.azure.com";
const RECORD: &str = "vol_data.json";

/// What the kubelet keeps in `vol_data.json`; all its values are strings (pkg/volume/csi).
#[derive(Debug, Deserialize)]
struct VolumeData {
    #[serde(rename = "volumeHandle")]
    handle: String,
    #[serde(rename = "driverName")]
    driver: String,
}

/// One place that the kubelet has, or had, for a volume.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Record {
    /// The volume handle of a managed disk; of another driver's volume `DRIVER^HANDLE`; for an in-tree volume the name of
    /// its mount, as the kubelet keeps no more.
    pub(crate) volume: String,
    pub(crate) place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Where its filesystem is mounted, if it is.
    Mount(PathBuf),
    /// The record of a raw block volume.
    Block(PathBuf),
}

impl Record {
    /// Whether it is of `volume`. Azure's IDs compare without case, the handles of other drivers as they are.
    pub(crate) fn is_of(&self, volume: &str) -> bool {
        self.volume == volume
            || (!self.volume.contains('^') && self.volume.eq_ignore_ascii_case(volume))
            || (self.is_in_tree() && self.volume == in_tree_name(volume))
            || (self.is_in_tree_block() && is_last_segment(&self.volume, volume))
    }

    fn is_in_tree(&self) -> bool {
        matches!(&self.place, Place::Mount(path) if path.ends_with(Path::new("azure-disk/mounts").join(&self.volume)))
    }

    fn is_in_tree_block(&self) -> bool {
        matches!(&self.place, Place::Block(path) if path.ends_with(Path::new("azure-disk/volumeDevices").join(&self.volume)))
    }
}

fn is_last_segment(name: &str, volume: &str) -> bool {
    volume
        .rsplit('/')
        .next()
        .is_some_and(|last| last.eq_ignore_ascii_case(name))
}

/// All records under the kubelet's `root`: staging mounts first, then in-tree ones, block volumes, and pods'.
///
/// What cannot be read is left out: the kubelet writes and removes these files at any time.
pub(crate) fn records(root: &Path) -> Vec<Record> {
    let plugins = root.join("plugins/kubernetes.io");
    let mut records = Vec::new();
    for staging in entries(&plugins.join("csi")) {
        // Also `pv`, the staging of older kubelets, and `volumeDevices`, in which there are no mounts.
        for volume in entries(&staging) {
            csi(
                &mut records,
                &volume,
                Place::Mount(volume.join("globalmount")),
            );
        }
    }
    for mount in entries(&plugins.join("azure-disk/mounts")) {
        in_tree(&mut records, Place::Mount(mount));
    }
    for volume in entries(&plugins.join("csi/volumeDevices")) {
        let data = volume.join("data");
        csi(&mut records, &data, Place::Block(data.join(RECORD)));
    }
    for device in entries(&plugins.join("azure-disk/volumeDevices")) {
        in_tree(&mut records, Place::Block(device));
    }
    for pod in entries(&root.join("pods")) {
        for volume in entries(&pod.join("volumes/kubernetes.io~csi")) {
            csi(&mut records, &volume, Place::Mount(volume.join("mount")));
        }
    }
    records
}

fn csi(records: &mut Vec<Record>, directory: &Path, place: Place) {
    let Ok(text) = fs::read(directory.join(RECORD)) else {
        return;
    };
    match serde_json::from_slice::<VolumeData>(&text) {
        Ok(VolumeData { handle, driver }) => records.push(Record {
            volume: if driver == DRIVER {
                handle
            } else {
                format!("{driver}^{handle}")
            },
            place,
        }),
        Err(error) => tracing::debug!(path = %directory.display(), %error, "unreadable {RECORD}"),
    }
}

fn in_tree(records: &mut Vec<Record>, place: Place) {
    let (Place::Mount(path) | Place::Block(path)) = &place;
    if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
        records.push(Record {
            volume: name.to_owned(),
            place,
        });
    }
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort_unstable();
    paths
}

/// The directory that the in-tree plugin mounts a managed disk at: `m` and the decimal CRC-32, in Koopman's
/// polynomial, of the lower-cased URI (`makeGlobalPDPath` of pkg/volume/azuredd, `MakeCRC32` of its cloud provider).
fn in_tree_name(uri: &str) -> String {
    const KOOPMAN: u32 = 0xEB31_D82E;
    let mut crc = u32::MAX;
    for byte in uri.to_ascii_lowercase().bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ (KOOPMAN & (crc & 1).wrapping_neg());
        }
    }
    format!("m{}", !crc)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DISK: &str =
        "/subscriptions/S/resourceGroups/RG/providers/Microsoft.Compute/disks/pvc-Data";

    fn write(root: &Path, path: &str, handle: &str, driver: &str) {
        let file = root.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let data = serde_json::json!({
            "attachmentID": "csi-1", "driverName": driver, "nodeName": "n", "specVolID": "pv",
            "volumeHandle": handle, "volumeLifecycleMode": "Persistent",
        });
        fs::write(file, data.to_string()).unwrap();
    }

    #[test]
    fn the_checksum_is_gos_crc32_in_koopmans_polynomial() {
        // The catalogued check value of CRC-32K over "123456789" (reflected, initial and final all ones) is 0x2D3DD0AE.
        assert_eq!(in_tree_name("123456789"), format!("m{}", 0x2D3D_D0AE_u32));
        assert_eq!(in_tree_name("/A/b"), in_tree_name("/a/B"), "case");
    }

    #[test]
    fn each_kind_of_record_is_found_without_case() {
        let staged = "plugins/kubernetes.io/csi/disk.csi.azure.com/0123/vol_data.json";
        let older = "plugins/kubernetes.io/csi/pv/pvc-1/vol_data.json";
        let pod = "pods/uid/volumes/kubernetes.io~csi/pvc-1/vol_data.json";
        for path in [staged, older, pod] {
            let root = tempfile::tempdir().unwrap();
            write(root.path(), path, DISK, DRIVER);
            for handle in [DISK.to_owned(), DISK.to_lowercase(), DISK.to_uppercase()] {
                let found = records(root.path())
                    .into_iter()
                    .find(|record| record.is_of(&handle));
                let Some(Record {
                    place: Place::Mount(mount),
                    ..
                }) = found
                else {
                    panic!("{path}: {handle}: {found:?}")
                };
                assert!(mount.starts_with(root.path()), "{path}");
            }
        }
    }

    #[test]
    fn in_tree_mounts_and_devices_are_found() {
        let root = tempfile::tempdir().unwrap();
        let plugin = root.path().join("plugins/kubernetes.io/azure-disk");
        fs::create_dir_all(plugin.join("mounts").join(in_tree_name(DISK))).unwrap();
        fs::create_dir_all(plugin.join("volumeDevices/Raw")).unwrap();
        let records = records(root.path());
        let mounted: Vec<_> = records
            .iter()
            .filter(|r| r.is_of(&DISK.to_uppercase()))
            .collect();
        assert!(
            matches!(
                mounted[..],
                [Record {
                    place: Place::Mount(_),
                    ..
                }]
            ),
            "{mounted:?}"
        );
        let raw = DISK.replace("pvc-Data", "raw");
        let block: Vec<_> = records.iter().filter(|r| r.is_of(&raw)).collect();
        assert!(
            matches!(
                block[..],
                [Record {
                    place: Place::Block(_),
                    ..
                }]
            ),
            "{block:?}"
        );
    }

    #[test]
    fn block_volumes_other_drivers_and_broken_records_are_told_apart() {
        let root = tempfile::tempdir().unwrap();
        let csi = "plugins/kubernetes.io/csi";
        write(
            root.path(),
            &format!("{csi}/volumeDevices/pv/data/{RECORD}"),
            DISK,
            DRIVER,
        );
        write(
            root.path(),
            &format!("{csi}/file.csi.azure.com/9/{RECORD}"),
            DISK,
            "file.csi.azure.com",
        );
        write(
            root.path(),
            &format!("{csi}/disk.csi.azure.com/1/{RECORD}"),
            "x",
            DRIVER,
        );
        fs::write(
            root.path()
                .join(format!("{csi}/disk.csi.azure.com/1/{RECORD}")),
            "{",
        )
        .unwrap();
        let found: Vec<_> = records(root.path());
        let [other, block] = &found[..] else {
            panic!("{found:?}")
        };
        assert!(matches!(block.place, Place::Block(_)), "{block:?}");
        let named = format!("file.csi.azure.com^{DISK}");
        for (name, is_other) in [
            (DISK, false),
            (&named, true),
            (&named.to_uppercase(), false),
        ] {
            assert_eq!(other.is_of(name), is_other, "{name}");
        }
        assert!(block.is_of(DISK) && !block.is_of(&named));
    }

    proptest! {
        #[test]
        fn any_handle_round_trips(handle in "\\PC{1,80}") {
            let root = tempfile::tempdir().unwrap();
            write(root.path(), "plugins/kubernetes.io/csi/disk.csi.azure.com/1/vol_data.json", &handle, DRIVER);
            let records = records(root.path());
            prop_assert!(matches!(&records[..], [record] if record.volume == handle && record.is_of(&handle)));
        }
    }
}
