//! Wires the plugin together: as Velero starts it, or as a person does.

use std::{env, ffi::OsString, io, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use stillpoint_plugin::{
    backup_location::AzureStores,
    by_hand::{ByHandError, Command, Outcome},
    goplugin::{self, Environment, Parent, ServeError},
    kubernetes::Kubernetes,
    log,
    snapshot_location::AzureLocations,
    velero::{self, ALSO_SERVE, Flags, Served},
};

/// As go-plugin's own plugins exit when a person starts them.
const NOT_FOR_PEOPLE: u8 = 1;
const FAILED: u8 = 2;
const VERSIONS_UNMET: u8 = 3;
/// The doctor found something wrong.
const WRONG: u8 = 4;

fn main() -> ExitCode {
    // Before all else: from here on its death is seen.
    let parent = Parent::current();
    let environment = match Environment::read(|name| env::var_os(name)) {
        Ok(environment) => environment,
        Err(error) => return fail(&error.into()),
    };
    let mut arguments = env::args_os();
    let command = arguments.next().unwrap_or_default();
    let arguments: Vec<_> = arguments.collect();
    if environment.started_by_host() {
        serve(&environment, parent, &command, arguments)
    } else {
        by_hand(&arguments)
    }
}

fn by_hand(arguments: &[OsString]) -> ExitCode {
    match Command::parse(arguments).and_then(|command| command.run(io::stdout())) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Explained) => ExitCode::from(NOT_FOR_PEOPLE),
        Ok(Outcome::Wrong) => ExitCode::from(WRONG),
        // Knows by itself whether it is help, and where that belongs.
        Err(ByHandError::Options(error)) => error.exit(),
        Err(error) => fail(&error.into()),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("{error:#}");
    ExitCode::from(FAILED)
}

fn serve(
    environment: &Environment,
    parent: Option<Parent>,
    command: &OsString,
    arguments: Vec<OsString>,
) -> ExitCode {
    let flags = Flags::parse(arguments);
    log::to_stderr(flags.log_level.into());
    if let Some(level) = flags.bad_log_level {
        tracing::debug!(
            flag = "--log-level",
            value = level,
            "unknown level, logging at info"
        );
    }
    match run(environment, parent, command, flags.kubeconfig) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "plugin cannot serve");
            match error.downcast_ref() {
                Some(ServeError::Versions(_)) => ExitCode::from(VERSIONS_UNMET),
                _ => ExitCode::from(FAILED),
            }
        }
    }
}

fn run(
    environment: &Environment,
    parent: Option<Parent>,
    command: &OsString,
    kubeconfig: Option<PathBuf>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the threads of the plugin")?;
    let served = Served::new(env::var_os(ALSO_SERVE).as_deref());
    let command = command.to_string_lossy().into_owned();
    let reason = runtime.block_on(goplugin::serve(
        environment,
        parent,
        io::stdout(),
        |routes, calls| {
            let kubernetes = Kubernetes::new(kubeconfig, calls.afterwards());
            let locations = AzureLocations::new(kubernetes);
            velero::register(routes, calls, served, command, locations, AzureStores);
        },
    ));
    runtime.shutdown_background();
    let reason = reason?;
    tracing::debug!(%reason, "ended");
    Ok(())
}
