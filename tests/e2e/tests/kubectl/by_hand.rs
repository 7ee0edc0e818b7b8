//! Documents for programs, pruning, logins, completion.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use stillpoint_system::arm::Arm;

use crate::{golden, scene::Scene, shell::Shell};

/// YAML and JSON of what would be made, a disk alone, a command of which a part failed.
pub(crate) async fn output_is_what_programs_read(scene: &Scene) -> Result<()> {
    let lab = &scene.world.lab;
    let disks = lab.disks().len();
    let mut shell = Shell::new(scene);
    let back = "restore --latest-of data -n shop --name copy --zone 3";
    shell.run(&format!("{back} --dry-run=server"), 0).await?;
    shell.run(&format!("{back} --dry-run --in-tree"), 0).await?;
    shell
        .run(&format!("{back} --dry-run --as inline"), 0)
        .await?;
    ensure!(
        lab.disks().len() == disks,
        "a dry run made a disk: {:?}",
        lab.disks()
    );
    let several = "snapshot data legacy -n shop --destination-resource-group backups";
    // Its disk is in no pod any more: it is consistent all the same, and nothing is frozen.
    let output = scene
        .output(&format!("{several} --freeze required -o json"))
        .await?;
    let read: Value = serde_json::from_slice(&output.stdout)?;
    let worth = |place: usize| read["items"][place]["consistency"].as_str();
    ensure!(worth(0) == Some("filesystem"), "{read:#} {output:?}");
    ensure!(worth(1) == Some("unmounted"), "{read:#} {output:?}");
    ensure!(output.status.code() == Some(0), "{output:?}");
    shell
        .run(&format!("{back} --dry-run --as disk -o yaml"), 0)
        .await?;
    let made = scene.stdout(&format!("{back} --as disk")).await?;
    let disk = lab
        .disk(&made.trim().parse()?)
        .context("the disk is not there")?;
    ensure!(disk["zones"][0] == "3", "{disk:#}");
    golden::check("documents.txt", &shell.seen)
}

pub(crate) async fn old_snapshots_are_pruned_and_deleted(scene: &Scene) -> Result<()> {
    let of_data = async || -> Result<Vec<String>> {
        let names = scene.stdout("snapshots -n shop --pvc data -o name").await?;
        Ok(names.lines().map(str::to_owned).collect())
    };
    let before = of_data().await?;
    ensure!(before.len() == 3, "{before:?}");
    let to = "--destination-resource-group backups";
    scene
        .stdout(&format!("snapshot data -n shop {to} --keep 2"))
        .await?;
    let after = of_data().await?;
    ensure!(
        after.len() == 2 && after[1] == before[0],
        "{before:?} {after:?}"
    );

    // Nobody can be asked.
    let asked = scene.output(&format!("delete {}", after[1])).await?;
    ensure!(asked.status.code() == Some(1), "{asked:?}");
    let said = String::from_utf8_lossy(&asked.stderr);
    ensure!(said.contains("say --yes"), "{said}");
    let dry = scene
        .stdout("delete -n shop --older-than 0s --keep 1 --dry-run")
        .await?;
    ensure!(dry.contains(&after[1]) && !dry.contains(&after[0]), "{dry}");
    scene
        .stdout("delete -n shop --older-than 0s --keep 1 --yes")
        .await?;
    let left = of_data().await?;
    ensure!(left == after[..1], "{left:?}");
    Ok(())
}

/// A file says nothing, nor does the environment: `az` is asked.
pub(crate) async fn azure_cli_s_login_will_do(scene: &Scene) -> Result<()> {
    let lab = &scene.world.lab;
    let arm = Arm::login(lab).await?;
    let directory = scene.world.scratch().join("bin");
    fs::create_dir_all(&directory)?;
    let az = directory.join("az");
    let answer = serde_json::json!({
        "accessToken": arm.token(), "expires_on": 4_102_444_800_u32, "tokenType": "Bearer",
    });
    fs::write(
        &az,
        format!(
            "#!/bin/sh\necho \"$@\" >>{0}.asked\necho '{answer}'\n",
            az.display()
        ),
    )?;
    fs::set_permissions(&az, fs::Permissions::from_mode(0o755))?;
    let path = format!("{}:{}", directory.display(), std::env::var("PATH")?);
    let subscription = &lab.endpoints().subscription;
    let list = format!("snapshots -n shop --pvc data -o name --subscription {subscription}");
    let mut command = scene.program(&list)?;
    let command = command
        .env("PATH", path)
        .env_remove("AZURE_CREDENTIALS_FILE");
    let output = command.stdin(Stdio::null()).output().await?;
    ensure!(output.status.success(), "{output:?}");
    ensure!(String::from_utf8(output.stdout)?.starts_with("shop-data-"));
    let asked = fs::read_to_string(format!("{}.asked", az.display()))?;
    ensure!(asked.contains("account get-access-token"), "{asked}");
    Ok(())
}

/// As kubectl asks, and as bash does.
pub(crate) async fn names_are_completed(scene: &Scene) -> Result<()> {
    let claims = scene
        .stdout("__complete restore -n shop --latest-of da")
        .await?;
    ensure!(claims == "data\n:4\n", "{claims}");
    let snapshots = scene.stdout("__complete delete shop-legacy-").await?;
    let first = snapshots.lines().next().unwrap_or_default();
    ensure!(
        first.starts_with("shop-legacy-") && first.ends_with("\tshop/legacy"),
        "{snapshots}"
    );
    let script = scene.stdout("completion bash").await?;
    let directory = programs_directory()?;
    let words = "kubectl-stillpoint snapshot -n shop le";
    let ask = format!(
        "{script}\nCOMP_WORDS=({words}); COMP_CWORD=4; COMP_TYPE=9; _clap_complete_kubectl_stillpoint kubectl-stillpoint \
         le shop\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
    );
    let mut bash = tokio::process::Command::new("bash");
    let path = format!("{directory}:{}", std::env::var("PATH")?);
    bash.args(["--norc", "-c", &ask]).env("PATH", path);
    let output = bash.envs(scene.variables()).output().await?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(said.trim() == "legacy", "{output:?}");
    Ok(())
}

fn programs_directory() -> Result<String> {
    let program = stillpoint_system::programs::program(stillpoint_system::programs::KUBECTL)?;
    let directory = program.parent().context("a program is in a directory")?;
    Ok(directory.display().to_string())
}
