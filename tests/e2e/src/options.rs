//! How a world is started.

use std::{
    env,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use stillpoint_lab::Settings;
use stillpoint_system::{namespace::Namespace, programs};

use crate::csi::Maker;

/// How a world is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Azure; its directory is the world's own.
    pub lab: Settings,
    /// By which names locations reach it.
    pub cloud: Cloud,
    /// What Velero runs.
    pub plugin: Plugin,
    /// What makes CSI snapshots. With it Velero has its feature EnableCSI, and leaves the plugin no disks.
    pub snapshots: Option<Maker>,
    /// In the config of the VolumeSnapshotLocation, besides what the plugin's has.
    pub location: Vec<(&'static str, &'static str)>,
    /// More flags of Velero's server.
    pub flags: Vec<String>,
    /// More of its environment.
    pub variables: Vec<(String, String)>,
    /// Where the world has its directory, with all disks.
    pub parent: PathBuf,
}

/// How locations say where Azure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    /// They name the lab's endpoint and its CA.
    Named,
    /// They do not, as those of the stock plugin: the public cloud's names lead to the lab, in a [`Namespace`].
    Public,
}

/// A plugin for Azure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plugin {
    /// Ours.
    Stillpoint,
    /// The stock one, this program.
    Stock(PathBuf),
}

impl Default for Options {
    /// Our plugin, and an Azure that takes its time for snapshots only, and little of it.
    fn default() -> Self {
        let mut lab = Settings::fast();
        lab.snapshot.duration = Duration::from_millis(400);
        Self {
            lab,
            cloud: Cloud::Named,
            plugin: Plugin::Stillpoint,
            snapshots: None,
            location: Vec::new(),
            flags: Vec::new(),
            variables: Vec::new(),
            parent: env::temp_dir(),
        }
    }
}

impl Options {
    /// The same where the public cloud's names lead to the lab.
    pub fn public(mut self, namespace: &Namespace) -> Self {
        self.lab.listen = namespace.https();
        self.cloud = Cloud::Public;
        self
    }
}

impl Plugin {
    /// The stock one, if it is here.
    pub fn stock() -> Result<Option<Self>> {
        Ok(programs::stock_plugin()?.map(Self::Stock))
    }

    /// Makes it the only plugin in `directory`, which may be there. Ours asks Kubernetes by that kubeconfig, in which it
    /// has its own rights and not those of Velero's server.
    pub(crate) fn install(&self, directory: &Path, kubeconfig: &Path) -> Result<()> {
        if directory.exists() {
            fs::remove_dir_all(directory)?;
        }
        fs::create_dir_all(directory)?;
        match self {
            Self::Stillpoint => {
                let plugin = programs::program(programs::PLUGIN)?;
                let mut install = Command::new(plugin);
                let apart = directory.with_file_name("plugin");
                fs::create_dir_all(&apart)?;
                let installed = install.arg("install").arg(&apart).output()?;
                ensure!(installed.status.success(), "{installed:?}");
                // Velero runs what is in its directory with its own flags, of which the last counts, and again what calls
                // itself the plugin.
                let program = directory.join(programs::PLUGIN);
                let (plugin, kubeconfig) = (apart.display(), kubeconfig.display());
                let script = format!(
                    "#!/bin/bash\nexec -a \"$0\" {plugin}/{} \"$@\" --kubeconfig={kubeconfig}\n",
                    programs::PLUGIN
                );
                fs::write(&program, script)?;
                fs::set_permissions(&program, Permissions::from_mode(0o755))?;
            }
            Self::Stock(program) => {
                let name = program.file_name().context("a program has a name")?;
                fs::copy(program, directory.join(name))?;
            }
        }
        Ok(())
    }

    /// What its VolumeSnapshotLocation says beyond where snapshots go: disks are frozen where their node has an agent,
    /// or no snapshot is taken; and both plugins take snapshots of the same kind.
    pub fn settings(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Stillpoint => &[("freeze", "required")],
            Self::Stock(_) => &[("incremental", "true")],
        }
    }
}
