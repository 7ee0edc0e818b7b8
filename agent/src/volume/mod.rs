//! From a volume handle, or a path, to the one filesystem that may be frozen for it. Everything is read anew each time.

mod health;
mod kubelet;
mod protect;

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use self::kubelet::{Place, Record};
pub(crate) use self::protect::Protected;
use crate::{
    error::HoldError,
    mountinfo::{Device, Mount, MountTable},
};

/// A filesystem to freeze, and the name by which it was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) volume: String,
    pub(crate) mount: Mount,
}

/// A volume of this node, and why it could not be frozen now.
pub(crate) struct Listed {
    pub(crate) volume: String,
    pub(crate) mount: Option<Mount>,
    pub(crate) refusal: Option<HoldError>,
}

/// Knows where volumes are mounted and what must not be frozen. Its calls block.
pub(crate) struct Resolver {
    kubelet_root: PathBuf,
    protected: Protected,
}

impl Resolver {
    pub(crate) fn new(kubelet_root: PathBuf, protected: Protected) -> Self {
        Self {
            kubelet_root,
            protected,
        }
    }

    /// The filesystems of `volumes`, in their order, with one look at the node.
    pub(crate) fn resolve(&self, volumes: &[String]) -> Vec<Result<Target, HoldError>> {
        let view = match self.view() {
            Ok(view) => view,
            Err(error) => return volumes.iter().map(|_| Err(error.clone())).collect(),
        };
        volumes
            .iter()
            .map(|volume| {
                let mount = view.mount_of(volume)?;
                view.check(mount)?;
                Ok(Target {
                    volume: volume.clone(),
                    mount: mount.clone(),
                })
            })
            .collect()
    }

    /// The filesystem on which `path` lies.
    pub(crate) fn resolve_path(&self, path: &Path) -> Result<Target, HoldError> {
        let table = read_table()?;
        let mount = mount_of(&table, path)?;
        protect::check(&self.protected.devices(&table), mount)?;
        health::check(mount)?;
        Ok(Target {
            volume: path.display().to_string(),
            mount: mount.clone(),
        })
    }

    /// The device of the filesystem on which `path` lies.
    pub(crate) fn device_of(&self, path: &Path) -> Result<Device, HoldError> {
        mount_of(&read_table()?, path).map(|mount| mount.device)
    }

    /// All volumes of the node, each once.
    pub(crate) fn list(&self) -> Result<Vec<Listed>, HoldError> {
        let view = self.view()?;
        let mut listed: Vec<Listed> = Vec::new();
        for record in &view.records {
            if listed
                .iter()
                .any(|other| other.volume.eq_ignore_ascii_case(&record.volume))
            {
                continue;
            }
            let found = view.mount_of(&record.volume);
            let refusal = match &found {
                Ok(mount) => view.check(mount).err(),
                Err(error) => Some(error.clone()),
            };
            listed.push(Listed {
                volume: record.volume.clone(),
                mount: found.ok().cloned(),
                refusal,
            });
        }
        Ok(listed)
    }

    fn view(&self) -> Result<View, HoldError> {
        // The mount table shows paths without symbolic links.
        let root = self
            .kubelet_root
            .canonicalize()
            .unwrap_or_else(|_| self.kubelet_root.clone());
        let records = kubelet::records(&root);
        let table = read_table()?;
        let protected = self.protected.devices(&table);
        Ok(View {
            root,
            records,
            table,
            protected,
        })
    }
}

fn mount_of<'a>(table: &'a MountTable, path: &Path) -> Result<&'a Mount, HoldError> {
    protect::mount_of(table, path).map_err(|errno| HoldError::NotMounted {
        volume: path.display().to_string(),
        detail: format!("{errno}; expected a path on a mounted filesystem"),
    })
}

fn read_table() -> Result<MountTable, HoldError> {
    MountTable::read().map_err(|error| HoldError::Node(format!("/proc/self/mountinfo: {error}")))
}

/// The node at one moment.
struct View {
    root: PathBuf,
    records: Vec<Record>,
    table: MountTable,
    protected: Vec<(Device, String)>,
}

impl View {
    /// The staging mount if there is one: an open descriptor there does not hinder a pod's own mount from going.
    fn mount_of(&self, volume: &str) -> Result<&Mount, HoldError> {
        let mut block = None;
        let mut known = false;
        for record in self.records.iter().filter(|record| record.is_of(volume)) {
            known = true;
            match &record.place {
                Place::Mount(path) => {
                    if let Some(mount) = self.table.at(path) {
                        return Ok(mount);
                    }
                }
                Place::Block(path) => block = Some(path.clone()),
            }
        }
        if let Some(record) = block {
            return Err(HoldError::Block {
                volume: volume.to_owned(),
                record,
            });
        }
        let root = self.root.display();
        let detail = if known {
            format!("the kubelet knows it ({root}), but it is not mounted on this node")
        } else {
            format!(
                "no record of it under {root}: it is not on this node, or --kubelet-root is wrong"
            )
        };
        Err(HoldError::NotMounted {
            volume: volume.to_owned(),
            detail,
        })
    }

    fn check(&self, mount: &Mount) -> Result<(), HoldError> {
        protect::check(&self.protected, mount)?;
        health::check(mount)
    }
}

/// The refusal that an errno of `call` on `target` means.
pub(crate) fn refusal(call: &'static str, target: &Target, errno: Errno) -> HoldError {
    let mount = &target.mount;
    let mount_point = mount.point.clone();
    let device = mount.device;
    match errno {
        Errno::STALE | Errno::NOENT | Errno::NOTDIR | Errno::NODEV | Errno::NXIO => {
            HoldError::NotMounted {
                volume: target.volume.clone(),
                detail: format!("{} was unmounted meanwhile", mount_point.display()),
            }
        }
        Errno::BUSY => HoldError::Foreign {
            mount_point,
            device,
        },
        Errno::OPNOTSUPP | Errno::NOTTY => HoldError::Unsupported {
            mount_point,
            filesystem: mount.filesystem.clone(),
        },
        Errno::ROFS => HoldError::ReadOnly {
            mount_point,
            device,
            detail: "it went read-only, as filesystems do on an error",
        },
        Errno::IO | Errno::UCLEAN => HoldError::Unhealthy {
            mount_point,
            device,
            detail: format!("{call}: {errno}"),
        },
        _ => HoldError::Kernel {
            call,
            mount_point,
            source: errno,
        },
    }
}
