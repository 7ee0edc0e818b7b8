//! How long things take, beside the plugin that `STOCK_PLUGIN` names, on one simulated Azure.

use std::process::ExitCode;

use stillpoint_loopfs::missing;
use stillpoint_system::bench;

fn main() -> ExitCode {
    if let Some(why) = missing() {
        eprintln!("The bench cannot run here: {why}");
        return ExitCode::FAILURE;
    }
    match bench::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("The bench failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}
