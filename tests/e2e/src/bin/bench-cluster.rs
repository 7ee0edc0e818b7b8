//! How long writes stall and how long a backup takes on a whole cluster, beside the plugin that `STOCK_PLUGIN` names with
//! Velero's exec hooks.

use std::process::ExitCode;

use stillpoint_e2e::bench;

fn main() -> ExitCode {
    match bench::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("The bench failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}
