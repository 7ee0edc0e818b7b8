//! `kubectl stillpoint`.

use std::{env, process::ExitCode};

use stillpoint_plugin::kubectl;

fn main() -> ExitCode {
    ExitCode::from(kubectl::run(env::args_os()).code())
}
