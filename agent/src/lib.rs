//! Stillpoint's node agent: freezes filesystems of volumes for as long as a call lives.
//!
//! `serve` is two processes: a `supervisor`, which thaws whatever happens, and the `worker` that it runs. In the
//! worker a request comes in by a `door`, through the `service`, to a `hold` of volumes, each a share in a
//! `freeze` of its filesystem. From afar it comes in only for an `account` that `kubernetes` knows; `remote` wires that. `metrics` is what is counted on the way.

mod account;
mod cli;
mod client;
mod control;
mod doctor;
mod door;
mod error;
mod freeze;
mod hold;
mod identity;
mod journal;
mod kernel;
mod kubernetes;
mod ledger;
mod log;
mod metrics;
mod mountinfo;
mod probes;
mod pulse;
mod remote;
mod report;
mod service;
mod supervisor;
mod sys;
mod ttl;
mod volume;
mod worker;

use std::process::ExitCode;

use self::client::ClientError;
pub use self::{
    account::Account,
    cli::{Cli, Command, RemoteOptions, ServeOptions, SocketOption},
};

/// Does what the command line asks; the exit codes are those that its help lists.
pub fn run(cli: &Cli) -> ExitCode {
    let client = |result: Result<(), ClientError>| {
        result.map_err(|error| (error.exit_code(), error.to_string()))
    };
    let result = match &cli.command {
        Command::Serve(options) => {
            log::start();
            supervisor::run(options).map_err(|error| (1, error.to_string()))
        }
        Command::Worker(options) => {
            log::start();
            worker::run(options).map_err(|error| (1, error.to_string()))
        }
        Command::Status { socket, json } => client(client::status(&socket.socket, *json)),
        Command::Doctor { options, json } => match doctor::run(options, *json) {
            Ok(true) => Ok(()),
            Ok(false) => return ExitCode::from(cli::WRONG),
            Err(error) => Err((1, error.to_string())),
        },
        Command::Freeze { path, ttl, socket } => client(client::freeze(&socket.socket, path, *ttl)),
        Command::Thaw { path, socket } => client(client::thaw(&socket.socket, path)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => {
            eprintln!("stillpoint-agent: {message}");
            ExitCode::from(code)
        }
    }
}
