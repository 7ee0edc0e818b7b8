//! `kubectl stillpoint`: what a person does by hand, with the same use cases and adapters as Velero's plugin.
//!
//! ```text
//! cli, values ─► take, list, restore, delete, status ─► output, progress, confirm
//!                  │ found, plan: what is meant, whether it can be (pure)
//!                  └ context: cluster, agents by port-forward, Azure
//! ```

mod cli;
mod complete;
mod confirm;
mod context;
mod delete;
mod failure;
mod found;
mod list;
mod output;
mod plan;
mod progress;
mod restore;
mod status;
mod take;
mod values;

use std::{env, ffi::OsString, io, io::Write};

use clap::{CommandFactory as _, Parser as _};
use clap_complete::env::CompleteEnv;
use tokio_util::sync::CancellationToken;

pub use self::failure::Exit;
use self::{
    cli::{Cli, Command},
    context::Context,
    failure::Failure,
};
use crate::log;

/// Does what the command line asks for.
pub fn run(arguments: impl Iterator<Item = OsString>) -> Exit {
    let arguments: Vec<_> = arguments.collect();
    if env::var_os(complete::VARIABLE).is_some() {
        // Answers and ends the program, if a shell asks.
        CompleteEnv::with_factory(Cli::command).complete();
    }
    let mut out = io::stdout();
    if arguments
        .get(1)
        .is_some_and(|word| word == complete::FOR_KUBECTL)
    {
        return told(complete::answer_kubectl(&arguments[2..], &mut out).map(|()| Exit::Done));
    }
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
        }
    };
    log::for_people(cli.global.log_level);
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return told(Err(error.into())),
    };
    let exit = told(runtime.block_on(obey(cli, &mut out)));
    runtime.shutdown_background();
    exit
}

async fn obey(cli: Cli, out: &mut impl Write) -> Result<Exit, Failure> {
    let cancel = CancellationToken::new();
    let interrupted = cancel.clone();
    tokio::spawn(async move { heed_interruptions(&interrupted).await });
    let context = Context::new(cli.global, cancel);
    let exit = match &cli.command {
        Command::Snapshot(asked) => take::run(&context, asked, out).await,
        Command::Snapshots(asked) => {
            unless_interrupted(&context, list::run(&context, asked, out)).await
        }
        Command::Restore(asked) => restore::run(&context, asked, out).await,
        Command::Delete(asked) => delete::run(&context, asked, out).await,
        Command::Status(asked) => {
            unless_interrupted(&context, status::run(&context, asked, out)).await
        }
        Command::Completion(asked) => complete::print_script(asked, out).map(|()| Exit::Done),
    };
    let exit = match exit {
        Err(failure) if context.cancel.is_cancelled() => {
            eprintln!("error: {failure}");
            Ok(Exit::Interrupted)
        }
        exit => exit,
    };
    context.close().await;
    exit
}

/// The first has what is in the making undone, which takes as long as Azure takes; the second ends us at once, as does
/// one that answers a question.
async fn heed_interruptions(cancel: &CancellationToken) {
    for first in [true, false] {
        if tokio::signal::ctrl_c().await.is_err() {
            return;
        }
        if !first || confirm::is_asking() {
            eprintln!();
            std::process::exit(Exit::Interrupted.code().into());
        }
        eprintln!("interrupted: what is in the making is undone; once more to leave it as it is");
        cancel.cancel();
    }
}

/// For what makes nothing.
async fn unless_interrupted(
    context: &Context,
    reading: impl Future<Output = Result<Exit, Failure>>,
) -> Result<Exit, Failure> {
    tokio::select! {
        exit = reading => exit,
        () = context.cancel.cancelled() => Ok(Exit::Interrupted),
    }
}

fn told(result: Result<Exit, Failure>) -> Exit {
    result.unwrap_or_else(|failure| {
        eprintln!("error: {failure}");
        failure.exit()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    #[test]
    fn krew_installs_this_program() {
        let manifest = include_str!("../../../deploy/krew/stillpoint.yaml");
        let manifest: Value = serde_saphyr::from_str(manifest).unwrap();
        assert_eq!(manifest["metadata"]["name"], "stillpoint");
        let platforms = manifest["spec"]["platforms"].as_array().unwrap();
        assert_eq!(platforms.len(), 2);
        for platform in platforms {
            assert_eq!(platform["bin"], "kubectl-stillpoint");
            assert_eq!(platform["files"][0]["from"], "kubectl-stillpoint");
        }
    }
}
