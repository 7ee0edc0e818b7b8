//! Tests of programs that know the public cloud only.

use anyhow::{Result, ensure};
use stillpoint_system::namespace::{self, Namespace};
use tokio::runtime::Runtime;

/// Runs `test` where that cloud's names lead to the lab: starts this test program again in a namespace, for the test
/// of this name alone.
pub fn run(name: &str, test: impl AsyncFnOnce(&Namespace) -> Result<()>) -> Result<()> {
    let runtime = Runtime::new()?;
    if namespace::is_inside() {
        let namespace = namespace::prepare()?;
        return runtime.block_on(test(&namespace));
    }
    // In there nothing can be fetched.
    runtime.block_on(stillpoint_cluster::build())?;
    let mut again = namespace::command()?;
    let status = again.args(["--exact", name, "--nocapture"]).status()?;
    ensure!(status.success(), "{name} failed in there: {status}");
    Ok(())
}
