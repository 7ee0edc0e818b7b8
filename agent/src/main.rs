//! Stillpoint's node agent.

use std::process::ExitCode;

use clap::Parser as _;
use stillpoint_agent::{Cli, run};

fn main() -> ExitCode {
    run(&Cli::parse())
}
