//! Images and containers, in a storage of the test's own.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const BASE: &str = "localhost/base";

/// The programs that the tests need, and are not there.
pub(crate) fn missing() -> Option<String> {
    if let Some(why) = stillpoint_loopfs::missing().or_else(stillpoint_cluster::missing) {
        return Some(why);
    }
    let found = |program: &&str| Command::new(program).arg("--version").output().is_ok();
    let tools = ["buildah", "podman", "runc", "mmdebstrap"];
    if let Some(tool) = tools.iter().find(|tool| !found(tool)) {
        return Some(format!("{tool} is missing: `make setup` installs it"));
    }
    let agent = context().join(architecture()).join("stillpoint-agent");
    (!agent.exists()).then(|| format!("there is no {}: `make release` makes it", agent.display()))
}

/// What `make release` leaves.
fn context() -> PathBuf {
    target().join("image")
}

fn target() -> PathBuf {
    let set = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    set.unwrap_or_else(|| Path::new(REPOSITORY).join("target"))
}

/// As builders name it.
fn architecture() -> &'static str {
    match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Buildah and podman with a storage of their own; its containers end with it.
pub(crate) struct Engine(TempDir);

impl Engine {
    /// One with a base image: a Debian as the one on which the programs were built.
    pub(crate) fn start() -> Result<Self> {
        let engine = Self(
            tempfile::Builder::new()
                .prefix("stillpoint-images-")
                .tempdir()?,
        );
        let release = fs::read_to_string("/etc/os-release")?;
        let codename = release
            .lines()
            .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
        let codename = codename.context("/etc/os-release has no VERSION_CODENAME")?;
        // Made once: it takes a while.
        let base = target().join(format!("image-base-{codename}.tar"));
        if !base.exists() {
            let new = engine.0.path().join("base.tar");
            let mut make = Command::new("mmdebstrap");
            make.args([
                "--quiet",
                "--variant=essential",
                "--include=ca-certificates",
                codename,
            ]);
            said(make.arg(&new))?;
            fs::copy(&new, base.with_extension("new"))?;
            fs::remove_file(&new)?;
            fs::rename(base.with_extension("new"), &base)?;
        }
        said(engine.podman(&["import", "--quiet"]).arg(&base).arg(BASE))?;
        Ok(engine)
    }

    /// The image of that target.
    pub(crate) fn build(&self, target: &str) -> Result<String> {
        let tag = format!("localhost/{target}");
        let mut build = self.command("buildah", &["build", "--isolation=chroot", "--quiet"]);
        build
            .args([
                "--build-arg",
                &format!("BASE={BASE}"),
                "--target",
                target,
                "--tag",
                &tag,
            ])
            .arg("--file")
            .arg(Path::new(REPOSITORY).join("deploy/Dockerfile"))
            .arg(context());
        said(&mut build)?;
        Ok(tag)
    }

    /// A value of an image's config, by a Go template.
    pub(crate) fn inspect(&self, image: &str, template: &str) -> Result<String> {
        said(&mut self.podman(&["image", "inspect", "--format", template, image]))
    }

    /// Podman with these arguments.
    pub(crate) fn podman(&self, arguments: &[&str]) -> Command {
        let mut command = self.command("podman", &["--runtime=runc", "--cgroup-manager=cgroupfs"]);
        command.args(arguments);
        command
    }

    /// `podman run`, with no network; limits that any machine allows.
    pub(crate) fn run(&self, arguments: &[&str]) -> Command {
        let run = [
            "run",
            "--network=none",
            "--ulimit=nofile=1024:1024",
            "--ulimit=nproc=1024:1024",
        ];
        self.podman(&[&run, arguments].concat())
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .arg("--root")
            .arg(self.0.path().join("storage"))
            .arg("--runroot")
            .arg(self.0.path().join("run"))
            .args(arguments)
            .env("STORAGE_DRIVER", "vfs")
            .env("TMPDIR", self.0.path());
        command
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self
            .podman(&["rm", "--all", "--force", "--time=0"])
            .output();
    }
}

/// What it prints, if it succeeds.
pub(crate) fn said(command: &mut Command) -> Result<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().with_context(|| format!("{command:?}"))?;
    let (stdout, stderr) = (
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr),
    );
    ensure!(status.success(), "{command:?}: {status}\n{stdout}{stderr}");
    Ok(stdout.trim_end().to_owned())
}
