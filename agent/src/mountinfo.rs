//! The mount table: parsing of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).

use std::{
    ffi::OsString,
    fmt,
    num::ParseIntError,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
    str::FromStr,
};

use thiserror::Error;

/// The device number of a filesystem's superblock. One filesystem, however often it is mounted, has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Device {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl Device {
    /// Major 0: no block device of its own (btrfs, overlay, tmpfs, nfs).
    pub(crate) fn is_anonymous(self) -> bool {
        self.major == 0
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// Not of the form `major:minor`.
#[derive(Debug, Error)]
#[error("device {0:?}: expected major:minor")]
pub(crate) struct DeviceError(String);

impl FromStr for Device {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let parse = || {
            let (major, minor) = text.split_once(':')?;
            Some(Self {
                major: major.parse().ok()?,
                minor: minor.parse().ok()?,
            })
        };
        parse().ok_or_else(|| DeviceError(text.to_owned()))
    }
}

/// One line of the mount table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) id: u64,
    pub(crate) device: Device,
    /// The directory of the filesystem that is mounted; not `/` for a bind mount of a subdirectory.
    pub(crate) root: PathBuf,
    pub(crate) point: PathBuf,
    pub(crate) filesystem: String,
    pub(crate) source: PathBuf,
    /// Options of the superblock, which all mounts of the filesystem share; not the flags of this mount.
    pub(crate) options: Vec<String>,
}

impl Mount {
    pub(crate) fn has_option(&self, name: &str) -> bool {
        self.options.iter().any(|option| option == name)
    }
}

/// A line that is not of the documented form.
#[derive(Debug, Error)]
#[error("mount table line {line:?}: {wrong}")]
pub(crate) struct MountInfoError {
    line: String,
    wrong: &'static str,
}

/// The mounts of this process's mount namespace at one moment, in the order in which they cover each other.
#[derive(Clone, Debug, Default)]
pub(crate) struct MountTable(Vec<Mount>);

impl MountTable {
    /// Reads the table as it is now.
    pub(crate) fn read() -> std::io::Result<Self> {
        let bytes = std::fs::read("/proc/self/mountinfo")?;
        Self::parse(&bytes).map_err(std::io::Error::other)
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, MountInfoError> {
        bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(parse_line)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// What a look-up of `point` arrives at: the last mount there.
    pub(crate) fn at(&self, point: &Path) -> Option<&Mount> {
        self.0.iter().rev().find(|mount| mount.point == point)
    }

    pub(crate) fn by_id(&self, id: u64) -> Option<&Mount> {
        self.0.iter().find(|mount| mount.id == id)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Mount> {
        self.0.iter()
    }

    /// All mounts of one filesystem.
    pub(crate) fn of(&self, device: Device) -> impl Iterator<Item = &Mount> {
        self.0.iter().filter(move |mount| mount.device == device)
    }
}

fn parse_line(line: &[u8]) -> Result<Mount, MountInfoError> {
    let error = |wrong| MountInfoError {
        line: String::from_utf8_lossy(line).into_owned(),
        wrong,
    };
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    // 6 fixed fields, then optional ones (shared:2 …) up to a lone hyphen.
    let hyphen = fields
        .iter()
        .skip(6)
        .position(|field| *field == b"-")
        .ok_or_else(|| error("no hyphen after the optional fields"))?;
    let [id, _parent, device, root, point, _flags, ..] = fields[..] else {
        return Err(error("fewer than 6 fields"));
    };
    // An empty source prints as two spaces in a row, so a missing last field is wrong.
    let [filesystem, source, options, ..] = fields[6 + hyphen + 1..] else {
        return Err(error("fewer than 3 fields after the hyphen"));
    };
    let text = |field| String::from_utf8_lossy(field).into_owned();
    Ok(Mount {
        id: text(id)
            .parse()
            .map_err(|_: ParseIntError| error("the mount ID is no number"))?,
        device: text(device)
            .parse()
            .map_err(|_: DeviceError| error("the device is not major:minor"))?,
        root: unescape(root),
        point: unescape(point),
        filesystem: text(filesystem),
        source: unescape(source),
        options: text(options).split(',').map(str::to_owned).collect(),
    })
}

/// The kernel writes space, tab, newline, backslash (and `#` in some fields) as `\` and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'\\'
            && let [
                a @ b'0'..=b'3',
                b @ b'0'..=b'7',
                c @ b'0'..=b'7',
                after @ ..,
            ] = tail
        {
            bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            rest = after;
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_with_and_without_optional_fields_is_read() {
        let table = MountTable::parse(
            b"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue\n\
              41 36 8:32 / /data ro,relatime - xfs /dev/sdc rw,attr2,inode64\n",
        )
        .unwrap();
        let mount = table.by_id(36).unwrap();
        assert_eq!(mount.device.to_string(), "98:0");
        assert_eq!(mount.root, Path::new("/mnt1"));
        assert_eq!(mount.source, Path::new("/dev/root"));
        let data = table.at(Path::new("/data")).unwrap();
        assert!(
            data.has_option("rw") && !data.has_option("ro"),
            "the mount's flags are not the superblock's: {data:?}"
        );
    }

    #[test]
    fn the_last_mount_on_a_point_is_the_visible_one() {
        let table = MountTable::parse(
            b"1 0 8:1 / /a rw - ext4 /dev/sda1 rw\n2 1 8:2 / /a rw - ext4 /dev/sda2 rw\n",
        )
        .unwrap();
        assert_eq!(table.at(Path::new("/a")).unwrap().id, 2);
    }

    #[test]
    fn wrong_lines_are_refused() {
        for line in [
            "1 0 8:1 / /a rw",
            "1 0 8:1 / /a rw - ext4",
            "x 0 8:1 / /a rw - ext4 /dev/sda rw",
            "1 0 8-1 / /a rw - ext4 /dev/sda rw",
            "- - - -",
        ] {
            assert!(MountTable::parse(line.as_bytes()).is_err(), "{line}");
        }
    }

    #[test]
    fn escapes_are_decoded_and_other_backslashes_kept() {
        for (escaped, plain) in [
            (r"/a\040b", &b"/a b"[..]),
            (r"/a\011\012\134\043", b"/a\t\n\\#"),
            (r"/a\04", b"/a\\04"),
            (r"/a\999", b"/a\\999"),
            (r"/\303\244", "/ä".as_bytes()),
        ] {
            let path = unescape(escaped.as_bytes());
            assert_eq!(path.as_os_str().as_bytes(), plain, "{escaped}");
        }
    }

    fn escape(bytes: &[u8]) -> Vec<u8> {
        let mut escaped = Vec::new();
        for &byte in bytes {
            match byte {
                b' ' | b'\t' | b'\n' | b'\\' | b'#' => {
                    escaped.extend(format!("\\{byte:03o}").bytes());
                }
                _ => escaped.push(byte),
            }
        }
        escaped
    }

    proptest! {
        #[test]
        fn any_mount_point_round_trips(name in proptest::collection::vec(1_u8.., 0..40), major in 0_u32..4096, minor in 0_u32..1_048_576) {
            let point = [b"/", &name[..]].concat();
            let mut line = format!("7 1 {major}:{minor} / ").into_bytes();
            line.extend(escape(&point));
            line.extend(b" rw shared:3 - ext4 /dev/sdb rw\n");
            let table = MountTable::parse(&line).unwrap();
            let mount = table.by_id(7).unwrap();
            prop_assert_eq!(mount.point.as_os_str().as_bytes(), &point[..]);
            prop_assert_eq!(mount.device, Device { major, minor });
            prop_assert_eq!(mount.device.to_string().parse::<Device>().unwrap(), mount.device);
        }
    }
}
