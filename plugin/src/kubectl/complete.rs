//! Completion: the shells' scripts, and names that only the cluster and Azure know.

use std::{
    env,
    ffi::{OsStr, OsString},
    io::Write,
    time::Duration,
};

use clap::{CommandFactory as _, Parser as _};
use clap_complete::{
    engine::{CompletionCandidate, complete},
    env::Shells,
};
use tokio_util::sync::CancellationToken;

use super::{
    Failure,
    cli::{Cli, Completion, Global, Shell},
    context::Context,
};
use crate::kubernetes::Scope;

/// How a shell asks: the variable that clap's scripts set.
pub(super) const VARIABLE: &str = "COMPLETE";
/// How kubectl asks, by way of `kubectl_complete-stillpoint`.
pub(super) const FOR_KUBECTL: &str = "__complete";
const PROGRAM: &str = "kubectl-stillpoint";
/// Nobody waits longer for a completion.
const PATIENCE: Duration = Duration::from_secs(3);
/// cobra's directive "no file names", which kubectl reads on the last line.
const NO_FILES: &str = ":4";

pub(super) fn print_script(asked: &Completion, out: &mut impl Write) -> Result<(), Failure> {
    let name = match asked.shell {
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
        Shell::Kubectl => {
            writeln!(out, "#!/bin/sh\nexec {PROGRAM} {FOR_KUBECTL} \"$@\"")?;
            return Ok(());
        }
    };
    let shells = Shells::builtins();
    let shell = shells.completer(name);
    let shell = shell.ok_or_else(|| Failure::Usage(format!("{name} is not known")))?;
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)?;
    out.write_all(&script)?;
    Ok(())
}

/// Answers kubectl: the last word is to be completed.
pub(super) fn answer_kubectl(words: &[OsString], out: &mut impl Write) -> Result<(), Failure> {
    let mut line = vec![OsString::from(PROGRAM)];
    line.extend(words.iter().cloned());
    let last = line.len() - 1;
    let candidates = complete(&mut Cli::command(), line, last, None)?;
    for candidate in candidates.iter().filter(|one| !one.is_hide_set()) {
        let value = candidate.get_value().to_string_lossy();
        match candidate.get_help() {
            Some(help) => writeln!(out, "{value}\t{help}")?,
            None => writeln!(out, "{value}")?,
        }
    }
    writeln!(out, "{NO_FILES}")?;
    Ok(())
}

pub(super) fn claims(current: &OsStr) -> Vec<CompletionCandidate> {
    matching(current, async |context| {
        let namespace = context.namespace().await?;
        let claims = context.by_hand().await?;
        let claims = claims.claim_names(&Scope::Namespace(namespace)).await;
        let claims = claims.map_err(Failure::Kubernetes)?.into_iter();
        Ok(claims.map(|(_, name)| (name, String::new())).collect())
    })
}

pub(super) fn snapshots(current: &OsStr) -> Vec<CompletionCandidate> {
    matching(current, async |context| {
        let group = env::var("STILLPOINT_SNAPSHOT_RESOURCE_GROUP").ok();
        let found = context.snapshots(group.as_deref()).await?;
        let named = |one: &super::found::Found| {
            let home = one.home.as_ref()?;
            let of = format!("{}/{}", home.namespace, home.claim);
            Some((one.snapshot.id.name.clone(), of))
        };
        Ok(found.iter().filter_map(named).collect())
    })
}

/// What begins like `current`; nothing if nobody answers in time.
fn matching(
    current: &OsStr,
    names: impl AsyncFnOnce(&Context) -> Result<Vec<(String, String)>, Failure>,
) -> Vec<CompletionCandidate> {
    let Some(current) = current.to_str() else {
        return Vec::new();
    };
    let runtime = tokio::runtime::Builder::new_current_thread();
    let Ok(runtime) = { runtime }.enable_all().build() else {
        return Vec::new();
    };
    let names = runtime.block_on(async {
        let context = Context::new(options(env::args_os()), CancellationToken::new());
        tokio::time::timeout(PATIENCE, names(&context)).await
    });
    let Ok(Ok(names)) = names else {
        return Vec::new();
    };
    let names = names
        .into_iter()
        .filter(|(name, _)| name.starts_with(current));
    let candidate = |(name, help): (String, String)| {
        let help = Some(help).filter(|help| !help.is_empty());
        CompletionCandidate::new(name).help(help.map(Into::into))
    };
    names.map(candidate).collect()
}

/// What a half-written command line says of cluster and Azure.
fn options(words: impl Iterator<Item = OsString>) -> Global {
    const KNOWN: [&str; 8] = [
        "--kubeconfig",
        "--context",
        "--namespace",
        "-n",
        "--subscription",
        "--credentials-file",
        "--resource-manager-endpoint",
        "--active-directory-authority",
    ];
    let mut line = vec![OsString::from(PROGRAM)];
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy().into_owned();
        let with_value = text.split_once('=').map(|(name, _)| name.to_owned());
        if with_value.is_some_and(|name| KNOWN.contains(&name.as_str())) {
            line.push(word);
        } else if KNOWN.contains(&text.as_str())
            && let Some(value) = words.next_if(|value| !value.is_empty())
        {
            line.extend([word, value]);
        }
    }
    line.push("status".into());
    let bare = || Cli::try_parse_from([PROGRAM, "status"]);
    let read = Cli::try_parse_from(line).or_else(|_| bare());
    read.map_or_else(|error| error.exit(), |cli| cli.global)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(line: &str) -> String {
        let words: Vec<_> = line.split(' ').map(OsString::from).collect();
        let mut out = Vec::new();
        answer_kubectl(&words, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn kubectl_is_told_commands_options_and_values() {
        for (line, expected) in [
            ("sn", "snapshots\t"),
            ("restore --as ", "inline"),
            ("restore --sto", "--storage-class"),
            ("completion f", "fish"),
        ] {
            let answered = answered(line);
            assert!(answered.contains(expected), "{line}: {answered}");
            assert!(answered.ends_with(":4\n"), "{answered}");
        }
    }

    #[test]
    fn a_half_written_line_says_where_to_look() {
        let line = "kubectl-stillpoint restore --latest-of da -n shop --context=prod --zone";
        let global = options(line.split(' ').map(OsString::from));
        assert_eq!(global.namespace.as_deref(), Some("shop"));
        assert_eq!(global.context.as_deref(), Some("prod"));
    }

    #[test]
    fn every_shell_has_a_script() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Kubectl] {
            let mut out = Vec::new();
            print_script(&Completion { shell }, &mut out).unwrap();
            let script = String::from_utf8(out).unwrap();
            assert!(script.contains(PROGRAM), "{shell:?}: {script}");
        }
    }
}
