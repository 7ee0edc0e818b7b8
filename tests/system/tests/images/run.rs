//! Each image does in its container what it is for.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use stillpoint_loopfs::Kind;
use stillpoint_system::kubelet::Kubelet;

use crate::engine::{Engine, missing, said};

/// Of an image that is not to run as root.
const NOBODY: &str = "65532:65532";

#[tokio::test(flavor = "multi_thread")]
async fn images_are_built_and_run_with_the_least_that_they_need() {
    if let Some(why) = missing() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let daemon_set = stillpoint_cluster::rendered(&json!({})).await.unwrap();
    let daemon_set = daemon_set
        .into_iter()
        .find(|one| one["kind"] == "DaemonSet");
    let pod = daemon_set.unwrap()["spec"]["template"]["spec"].take();
    let done = tokio::task::spawn_blocking(move || -> Result<()> {
        let engine = Engine::start()?;
        plugin_installs_itself(&engine)?;
        gate_starts(&engine)?;
        agent_holds_a_filesystem(&engine, &pod)
    });
    done.await.unwrap().unwrap();
}

/// As in an init container of Velero's pod.
fn plugin_installs_itself(engine: &Engine) -> Result<()> {
    let image = engine.build("velero-plugin-stillpoint")?;
    ensure!(engine.inspect(&image, "{{.Config.User}}")? == NOBODY);
    let directory = tempfile::tempdir()?;
    // An emptyDir's.
    fs::set_permissions(directory.path(), Permissions::from_mode(0o777))?;
    let target = format!("--volume={}:/target", directory.path().display());
    let run = ["--rm", "--read-only", "--cap-drop=all", &target, &image];
    said(&mut engine.run(&run))?;
    let installed = fs::metadata(directory.path().join("velero-plugin-stillpoint"))?;
    ensure!(
        installed.uid() == 65532,
        "it belongs to {}",
        installed.uid()
    );
    ensure!(installed.mode() & 0o111 == 0o111, "{:o}", installed.mode());
    Ok(())
}

/// It can be started by nobody, and knows whom to trust; in a cluster it is tested elsewhere.
fn gate_starts(engine: &Engine) -> Result<()> {
    let image = engine.build("stillpoint-gate")?;
    ensure!(engine.inspect(&image, "{{.Config.User}}")? == NOBODY);
    let run = ["--rm", "--read-only", "--cap-drop=all", &image];
    let output = engine.run(&run).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let expected = "no Kubernetes is configured";
    ensure!(
        !output.status.success() && said.contains(expected),
        "{said}"
    );
    let run = ["--rm", "--read-only", "--entrypoint=/bin/cat", &image];
    let authorities =
        crate::engine::said(engine.run(&run).arg("/etc/ssl/certs/ca-certificates.crt"))?;
    ensure!(authorities.contains("BEGIN CERTIFICATE"));
    Ok(())
}

/// With exactly what the chart gives it: a filesystem that is mounted after its start is frozen and thawed, and thawed
/// when the container is told to end.
fn agent_holds_a_filesystem(engine: &Engine, pod: &Value) -> Result<()> {
    let image = engine.build("stillpoint-agent")?;
    let directory = tempfile::tempdir()?;
    let node = Shared::mount(directory.path())?;
    let home = node.0.join("kubelet");
    let kubelet = Kubelet::at(&home)?;
    let run = node.0.join("run");
    fs::create_dir(&run)?;
    let container = &pod["containers"][0];
    let mut arguments = vec!["--detach".to_owned(), "--name=agent".to_owned()];
    arguments.extend(privileges(&container["securityContext"])?);
    arguments.extend(mounts(pod, &home, &run)?);
    for variable in container["env"].as_array().into_iter().flatten() {
        let name = variable["name"].as_str().context("a variable has a name")?;
        let value = variable["value"].as_str();
        match (name, value) {
            ("STILLPOINT_NODE_NAME", None) => arguments.push(format!("--env={name}=node-1")),
            // There is no cluster here.
            ("STILLPOINT_ADVERTISE", None) => {}
            (_, value) => {
                let value = value.with_context(|| format!("{variable}"))?;
                arguments.push(format!("--env={name}={value}"));
            }
        }
    }
    arguments.push(image);
    let command = container["args"].as_array().into_iter().flatten();
    arguments.extend(command.filter_map(Value::as_str).map(Into::into));
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    said(&mut engine.run(&arguments))?;
    wait_for(&run.join("agent.sock"))
        .with_context(|| format!("{:?}", engine.podman(&["logs", "agent"]).output()))?;

    let disk = directory.path().join("disk");
    stillpoint_loopfs::format(&disk, Kind::Ext4, 64)?;
    let volume = kubelet.mount_csi("/subscriptions/s/disks/d", "pvc-1", "pod-1", &disk)?;
    // As PostgreSQL has its own.
    fs::set_permissions(volume.path(), Permissions::from_mode(0o700))?;
    std::os::unix::fs::chown(volume.path(), Some(999), Some(999))?;
    let inside = Path::new("/var/lib/kubelet").join(volume.path().strip_prefix(&home)?);
    let inside = inside.to_str().context("a path is text")?;
    let agent = |arguments: &[&str]| {
        let exec = [&["exec", "agent", "stillpoint-agent"], arguments].concat();
        said(&mut engine.podman(&exec))
    };
    agent(&["freeze", inside, "--ttl", "60s"])?;
    ensure!(volume.is_frozen()?, "it is not frozen");
    agent(&["thaw", inside])?;
    ensure!(!volume.is_frozen()?, "it is still frozen");
    agent(&["freeze", inside, "--ttl", "60s"])?;
    ensure!(volume.is_frozen()?, "it is not frozen");
    said(&mut engine.podman(&["stop", "--time=30", "agent"]))?;
    ensure!(
        !volume.is_frozen()?,
        "the end of the container leaves it frozen"
    );
    Ok(())
}

/// A securityContext as flags.
fn privileges(context: &Value) -> Result<Vec<String>> {
    let mut flags = Vec::new();
    for (key, value) in context.as_object().context("a securityContext")? {
        match (key.as_str(), value) {
            ("runAsUser", user) => flags.push(format!("--user={user}")),
            ("runAsGroup", _) | ("allowPrivilegeEscalation", Value::Bool(true)) => {}
            ("allowPrivilegeEscalation", Value::Bool(false)) => {
                flags.push("--security-opt=no-new-privileges".into());
            }
            ("readOnlyRootFilesystem", Value::Bool(true)) => {
                flags.extend(["--read-only".into(), "--read-only-tmpfs=false".into()]);
            }
            ("seccompProfile", profile) => {
                // Podman's default is the runtime's.
                ensure!(profile["type"] == "RuntimeDefault", "{profile}");
            }
            ("capabilities", capabilities) => {
                for how in ["drop", "add"] {
                    let names = capabilities[how].as_array().into_iter().flatten();
                    let names = names.filter_map(Value::as_str);
                    flags.extend(names.map(|name| format!("--cap-{how}={name}")));
                }
            }
            other => anyhow::bail!("the test does not know {other:?}"),
        }
    }
    Ok(flags)
}

/// The pod's hostPaths, in directories of the test.
fn mounts(pod: &Value, kubelet: &Path, run: &Path) -> Result<Vec<String>> {
    let mut flags = Vec::new();
    for mount in pod["containers"][0]["volumeMounts"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let host = match mount["name"].as_str() {
            Some("kubelet") => kubelet,
            Some("run") => run,
            other => anyhow::bail!("the test does not know the volume {other:?}"),
        };
        let inside = mount["mountPath"].as_str().context("a mountPath")?;
        let propagation = match mount["mountPropagation"].as_str() {
            Some("HostToContainer") => "rslave",
            None => "rprivate",
            other => anyhow::bail!("the test does not know the propagation {other:?}"),
        };
        let access = if mount["readOnly"] == true { "ro," } else { "" };
        flags.push(format!(
            "--volume={}:{inside}:{access}{propagation}",
            host.display()
        ));
    }
    Ok(flags)
}

fn wait_for(socket: &Path) -> Result<()> {
    for _ in 0..600 {
        if std::os::unix::net::UnixStream::connect(socket).is_ok() {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    anyhow::bail!("nobody listens on {}", socket.display())
}

/// A directory whose mounts reach those who have it mounted, as a node's root.
struct Shared(PathBuf);

impl Shared {
    fn mount(parent: &Path) -> Result<Self> {
        let path = parent.join("node");
        fs::create_dir(&path)?;
        said(Command::new("mount").arg("--bind").arg(&path).arg(&path))?;
        let shared = Self(path);
        said(Command::new("mount").arg("--make-shared").arg(&shared.0))?;
        Ok(shared)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
