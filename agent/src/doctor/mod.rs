//! `doctor`: whether a hold on this node would find all that it needs, a line for each thing, with what to do.
//!
//! It is run where the agent runs, in its container, with its environment, and freezes nothing.

mod agent;
mod cluster;
mod node;
mod report;

use tokio::runtime;

use self::report::Report;
use crate::{cli::ServeOptions, report::print};

/// Prints what is found. Whether nothing is wrong.
///
/// # Errors
/// If it cannot look at all.
pub(crate) fn run(options: &ServeOptions, json: bool) -> std::io::Result<bool> {
    let mut report = Report::default();
    node::examine(&mut report, options);
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            agent::examine(&mut report, options).await;
            cluster::examine(&mut report, options).await;
        });
    print(&match json {
        true => report.json(),
        false => report.text(),
    });
    Ok(report.is_good())
}
