//! Exactly the privileges that the DaemonSet has are needed: with them the agent in a container freezes and thaws a volume
//! that is mounted after its start, and with one less it does not do all of that.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod container;

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use stillpoint_loopfs::Kind;
use stillpoint_system::kubelet::{Kubelet, PodVolume};

use self::container::{Container, KUBELET, missing};

/// The kubelet's mounts reach those who have its directory mounted, as on a node.
struct Node {
    volume: Option<PodVolume>,
    kubelet: Kubelet,
    shared: PathBuf,
    directory: tempfile::TempDir,
}

impl Node {
    fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let shared = directory.path().join("kubelet");
        let kubelet = Kubelet::at(&shared)?;
        for arguments in [["--bind", "."], ["--make-shared", ""]] {
            let arguments = arguments
                .into_iter()
                .filter(|argument| !argument.is_empty());
            let mut mount = Command::new("mount");
            mount.current_dir(&shared).args(arguments).arg(&shared);
            ensure!(mount.status()?.success(), "{mount:?}");
        }
        Ok(Self {
            volume: None,
            kubelet,
            shared,
            directory,
        })
    }

    /// Mounts a volume whose root is closed to everybody but its owner, as PostgreSQL's is; its path in the container.
    fn mount(&mut self) -> Result<PathBuf> {
        let image = self.directory.path().join("disk");
        stillpoint_loopfs::format(&image, Kind::Ext4, 64)?;
        let volume =
            self.kubelet
                .mount_csi("/subscriptions/5/disks/d", "pvc-1", "pod-1", &image)?;
        let root = volume.staged.path();
        chown(root, Some(999), Some(999))?;
        fs::set_permissions(root, Permissions::from_mode(0o700))?;
        let inside = Path::new(KUBELET).join(root.strip_prefix(&self.shared)?);
        self.volume = Some(volume);
        Ok(inside)
    }

    fn is_frozen(&self) -> Result<bool> {
        self.volume.as_ref().context("it is mounted")?.is_frozen()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.volume = None;
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(&self.shared)
            .status();
    }
}

/// The securityContext of the agent's container, as the chart has it.
fn security_context() -> Result<Value> {
    let defaults = json!({});
    let rendered = stillpoint_cluster::rendered(&defaults);
    let objects = tokio::runtime::Runtime::new()?.block_on(rendered)?;
    let daemon_set = objects.into_iter().find(|one| one["kind"] == "DaemonSet");
    let spec = &daemon_set.context("a DaemonSet")?["spec"]["template"]["spec"];
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        ensure!(spec[host].is_null(), "{host}");
    }
    let kubelet = spec["containers"][0]["volumeMounts"]
        .as_array()
        .and_then(|mounts| mounts.iter().find(|mount| mount["mountPath"] == KUBELET));
    let propagation = &kubelet.context("the kubelet's directory is mounted")?["mountPropagation"];
    ensure!(propagation == "HostToContainer", "{propagation}");
    Ok(spec["containers"][0]["securityContext"].clone())
}

/// The capabilities that are added, all others being dropped; anything else is as no container could have less.
fn capabilities(context: &Value) -> Result<Vec<String>> {
    let mut added = Vec::new();
    for (key, value) in context.as_object().context("a securityContext")? {
        match key.as_str() {
            "runAsUser" => ensure!(value == 0, "runAsUser: {value}"),
            "readOnlyRootFilesystem" => ensure!(value == true, "{key}: {value}"),
            "seccompProfile" => ensure!(value["type"] == "RuntimeDefault", "{key}: {value}"),
            "capabilities" => {
                ensure!(value["drop"] == json!(["ALL"]), "{value}");
                let names = value["add"].as_array().into_iter().flatten();
                added.extend(names.filter_map(Value::as_str).map(str::to_owned));
            }
            _ => bail!("{key}: {value}: what is it for?"),
        }
    }
    Ok(added)
}

/// What `podman run` makes of it; its own seccomp profile is the runtime's default.
fn flags<'a>(capabilities: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let mut flags = [
        "--cap-drop=all",
        "--read-only",
        "--read-only-tmpfs=false",
        "--user=0",
    ]
    .map(String::from)
    .to_vec();
    flags.extend(
        capabilities
            .into_iter()
            .map(|name| format!("--cap-add={name}")),
    );
    flags
}

#[test]
fn exactly_the_daemon_sets_privileges_freeze_and_thaw() {
    if let Some(why) = missing() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    exactly().unwrap();
}

fn exactly() -> Result<()> {
    let capabilities = capabilities(&security_context()?)?;
    let mut node = Node::new()?;
    let agent = Container::start(&flags(&capabilities), &node.shared, "rslave")?;
    let path = node.mount()?;
    let (frozen, said) = agent.ask("freeze", &path)?;
    ensure!(frozen && node.is_frozen()?, "{said}");
    let (thawed, said) = agent.ask("thaw", &path)?;
    ensure!(thawed && !node.is_frozen()?, "{said}");
    let log = agent.log()?;
    ensure!(
        !log.contains("not locked") && agent.status("VmLck")? != "0 kB",
        "{log}"
    );
    // Filtered, and with no right but those.
    ensure!(
        agent.status("Seccomp")? == "2",
        "{}",
        agent.status("Seccomp")?
    );
    let effective = u64::from_str_radix(&agent.status("CapEff")?, 16)?;
    ensure!(
        effective.count_ones() as usize == capabilities.len(),
        "{effective:x}"
    );
    Ok(())
}

#[test]
fn with_one_privilege_less_something_fails_and_the_agent_says_which_is_missing() {
    if let Some(why) = missing() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let capabilities = capabilities(&security_context().unwrap()).unwrap();
    for missing in &capabilities {
        one_less(&capabilities, missing)
            .with_context(|| missing.clone())
            .unwrap();
    }
    not_propagated(&capabilities).unwrap();
}

fn one_less(capabilities: &[String], missing: &String) -> Result<()> {
    let rest = capabilities.iter().filter(|name| *name != missing);
    let mut node = Node::new()?;
    let agent = Container::start(&flags(rest), &node.shared, "rslave")?;
    let path = node.mount()?;
    let (frozen, said) = agent.ask("freeze", &path)?;
    let expected = format!("CAP_{missing}");
    match missing.as_str() {
        "SYS_ADMIN" | "DAC_READ_SEARCH" => {
            ensure!(!frozen && said.contains(&expected), "{said}");
            ensure!(!node.is_frozen()?, "it is frozen");
        }
        "IPC_LOCK" => {
            ensure!(frozen, "{said}");
            let log = agent.log()?;
            ensure!(
                log.contains("not locked") && log.contains(&expected),
                "{log}"
            );
            ensure!(agent.status("VmLck")? == "0 kB", "it is locked without");
            ensure!(agent.ask("thaw", &path)?.0, "it is not thawed");
        }
        _ => bail!("what is it for?"),
    }
    Ok(())
}

/// A volume that is mounted later is not seen without HostToContainer.
fn not_propagated(capabilities: &[String]) -> Result<()> {
    let mut node = Node::new()?;
    let agent = Container::start(&flags(capabilities), &node.shared, "rprivate")?;
    let path = node.mount()?;
    let (frozen, said) = agent.ask("freeze", &path)?;
    ensure!(!frozen && !node.is_frozen()?, "{said}");
    Ok(())
}
