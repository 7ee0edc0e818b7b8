//! The program as a person runs it, and what is seen of it.

use std::{
    fs::File,
    process::{Output, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use stillpoint_system::programs;
use tokio::{process::Command, time::timeout};

use crate::{golden::Names, scene::Scene};

const ENDS_WITHIN: Duration = Duration::from_secs(120);

/// Commands and what they said, as in a terminal.
pub(crate) struct Shell<'a> {
    scene: &'a Scene,
    names: Names,
    pub(crate) seen: String,
}

impl Scene {
    /// The program, with the person's kubeconfig and Azure credentials.
    pub(crate) fn program(&self, line: &str) -> Result<Command> {
        let mut command = Command::new(programs::program(programs::KUBECTL)?);
        for (name, value) in self.variables() {
            command.env(name, value);
        }
        command
            .env_remove("KUBERNETES_SERVICE_HOST")
            .args(line.split(' ').filter(|word| !word.is_empty()))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        Ok(command)
    }

    pub(crate) fn variables(&self) -> [(&'static str, String); 5] {
        let endpoint = self.world.lab.endpoint().to_owned();
        [
            ("KUBECONFIG", self.kubeconfig.display().to_string()),
            ("SSL_CERT_FILE", self.authority.display().to_string()),
            (
                "AZURE_CREDENTIALS_FILE",
                self.credentials.display().to_string(),
            ),
            ("STILLPOINT_RESOURCE_MANAGER_ENDPOINT", endpoint.clone()),
            ("STILLPOINT_ACTIVE_DIRECTORY_AUTHORITY", endpoint),
        ]
    }

    /// What it said, once it has ended.
    pub(crate) async fn output(&self, line: &str) -> Result<Output> {
        let output = self.program(line)?.output();
        let output = timeout(ENDS_WITHIN, output).await;
        Ok(output.with_context(|| format!("{line}: it does not end"))??)
    }

    /// What it said on stdout; it must have done what it was asked.
    pub(crate) async fn stdout(&self, line: &str) -> Result<String> {
        let output = self.output(line).await?;
        ensure!(output.status.success(), "{line}: {output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }
}

impl<'a> Shell<'a> {
    pub(crate) fn new(scene: &'a Scene) -> Self {
        Self {
            scene,
            names: Names::default(),
            seen: String::new(),
        }
    }

    /// Runs `kubectl stillpoint LINE`, which must exit so.
    pub(crate) async fn run(&mut self, line: &str, exit: i32) -> Result<()> {
        let path = self.scene.world.scratch().join("seen");
        let file = File::create(&path)?;
        let mut command = self.scene.program(line)?;
        let status = command.stdout(file.try_clone()?).stderr(file).status();
        let status = timeout(ENDS_WITHIN, status).await;
        let status = status.with_context(|| format!("{line}: it does not end"))??;
        let said = std::fs::read_to_string(&path)?;
        ensure!(status.code() == Some(exit), "{line}: {status}\n{said}");
        let subscription = &self.scene.world.lab.endpoints().subscription;
        let endpoint = self.scene.world.lab.endpoint();
        let said = said.replace(endpoint, "https://management.azure.com");
        let said = self.names.normalised(&said, subscription);
        self.say(&format!("kubectl stillpoint {line}"), &said);
        Ok(())
    }

    /// A command of others', done by other means.
    pub(crate) fn say(&mut self, line: &str, said: &str) {
        if !self.seen.is_empty() {
            self.seen.push('\n');
        }
        self.seen += &format!("$ {line}\n{said}");
    }
}
