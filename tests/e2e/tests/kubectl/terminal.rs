//! A session in a terminal: bars while it works, questions before it destroys.

use std::{process::Stdio, time::Duration};

use anyhow::{Result, ensure};
use stillpoint_cluster::until;
use stillpoint_system::programs;
use tokio::process::Command;

use crate::scene::Scene;

const SOON: Duration = Duration::from_secs(60);
const TMUX: &str = "tmux";

/// Why no terminal can be had, or `None`.
pub(crate) fn missing() -> Option<String> {
    let found = std::process::Command::new(TMUX).arg("-V").output();
    found
        .is_err()
        .then(|| "tmux is missing: apt-get install tmux".to_owned())
}

/// A terminal; its programs end when it is dropped.
struct Terminal {
    socket: String,
}

impl Terminal {
    async fn open(scene: &Scene) -> Result<Self> {
        let terminal = Self {
            socket: scene.world.scratch().join("tmux").display().to_string(),
        };
        let size = ["-x", "200", "-y", "50"];
        let mut arguments = vec!["-f", "/dev/null", "new-session", "-d"];
        arguments.extend(size);
        let variables = scene
            .variables()
            .map(|(name, value)| format!("{name}={value}"));
        for variable in &variables {
            arguments.extend(["-e", variable]);
        }
        arguments.push("PS1='$ ' sh");
        terminal.tmux(&arguments).await?;
        Ok(terminal)
    }

    async fn tmux(&self, arguments: &[&str]) -> Result<String> {
        let mut tmux = Command::new(TMUX);
        tmux.args(["-S", &self.socket])
            .args(arguments)
            .stdin(Stdio::null());
        let output = tmux.output().await?;
        ensure!(output.status.success(), "{arguments:?}: {output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }

    async fn types(&self, text: &str) -> Result<()> {
        self.tmux(&["send-keys", "-l", text]).await?;
        self.tmux(&["send-keys", "Enter"]).await.map(drop)
    }

    /// Waits until the screen shows all of it at once.
    async fn shows(&self, parts: &[&str]) -> Result<String> {
        until(&format!("the screen shows {parts:?}"), SOON, async || {
            let screen = self.tmux(&["capture-pane", "-p"]).await?;
            ensure!(parts.iter().all(|part| screen.contains(part)), "{screen}");
            Ok(Some(screen))
        })
        .await
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let mut tmux = std::process::Command::new(TMUX);
        let _ = tmux.args(["-S", &self.socket, "kill-server"]).output();
    }
}

pub(crate) async fn bars_and_questions(scene: &Scene) -> Result<()> {
    let program = programs::program(programs::KUBECTL)?;
    let program = program.display();
    let terminal = Terminal::open(scene).await?;
    let to = "--destination-resource-group backups";
    terminal
        .types(&format!(
            "{program} snapshot data -n shop {to}; echo exit=$?"
        ))
        .await?;
    // A bar half full, while the filesystem stands still.
    terminal
        .shows(&["shop/data", "=>", "frozen; Azure cuts the snapshot"])
        .await?;
    terminal
        .shows(&["filesystem, frozen for", "FROZEN-MS", "exit=0"])
        .await?;

    let names = scene.stdout("snapshots -n shop --pvc data -o name").await?;
    let name = names.lines().next().unwrap_or_default();
    terminal.types("clear").await?;
    terminal
        .types(&format!("{program} delete {name}; echo exit=$?"))
        .await?;
    terminal
        .shows(&["of shop/data", "Delete this snapshot? [y/N]"])
        .await?;
    terminal.types("n").await?;
    terminal.shows(&["nothing was changed", "exit=1"]).await?;
    terminal.types("clear").await?;
    terminal
        .types(&format!("{program} delete {name}; echo exit=$?"))
        .await?;
    terminal.shows(&["Delete this snapshot? [y/N]"]).await?;
    terminal.tmux(&["send-keys", "C-c"]).await?;
    terminal.shows(&["exit=130"]).await?;
    terminal.types("clear").await?;
    terminal
        .types(&format!("{program} delete {name}; echo exit=$?"))
        .await?;
    terminal.shows(&["Delete this snapshot? [y/N]"]).await?;
    terminal.types("y").await?;
    terminal
        .shows(&[&format!("snapshot {name} deleted"), "exit=0"])
        .await?;

    // Interrupted while it is frozen: it is undone, and nothing stays.
    terminal.types("clear").await?;
    let before = scene.world.lab.snapshots().len();
    terminal
        .types(&format!(
            "{program} snapshot data -n shop {to}; echo exit=$?"
        ))
        .await?;
    terminal.shows(&["frozen; Azure cuts the snapshot"]).await?;
    terminal.tmux(&["send-keys", "C-c"]).await?;
    terminal.shows(&["interrupted", "exit=130"]).await?;
    ensure!(
        scene.world.lab.snapshots().len() == before,
        "{:?}",
        scene.world.lab.snapshots()
    );
    Ok(())
}
