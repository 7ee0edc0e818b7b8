//! Two disks that are written to all the time; snapshots with and without a freeze; what is on them. Then a backup's
//! objects in a blob server.

use std::{process::ExitCode, time::Instant};

use anyhow::Result;
use stillpoint_lab::Settings;
use stillpoint_loopfs::{Kind, missing};
use stillpoint_system::{
    demo::{Backup, Busy, Examined, report},
    rig::Rig,
    table::progress,
};

/// Zone 2 stands for the zone that is left.
const MAPPING: &str = "westeurope-1=westeurope-2";

fn main() -> ExitCode {
    if let Some(why) = missing() {
        eprintln!("The demo cannot run here: {why}");
        return ExitCode::FAILURE;
    }
    let runtime = tokio::runtime::Runtime::new();
    match runtime
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(demo()))
    {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("Something is not as it should be: see the red cells.");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("The demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn demo() -> Result<bool> {
    let begun = Instant::now();
    progress("Starting a simulated Azure whose disks are files, and a node agent …");
    let rig = Rig::start(Settings::default()).await?;
    let plugin = rig.plugin().await?;
    progress("Starting the Velero plugin, as Velero does …");

    let mut examined = Vec::new();
    for kind in [Kind::Ext4, Kind::Xfs] {
        progress(format!(
            "{kind}: a 1 GiB disk in zone 1, mounted into a pod; SQLite and a file writer begin …"
        ));
        let busy = Busy::start(&rig, kind)?;
        busy.until_warm().await;
        for freeze in ["off", "required"] {
            progress(format!("{kind}: a snapshot with freeze={freeze} …"));
            let config = [("freeze", freeze), ("zoneMapping", MAPPING)];
            let snapshotter = rig.snapshotter(&plugin, &config).await?;
            let snapshot = busy.snapshot(&rig, &snapshotter).await?;
            progress(format!(
                "{kind}: restoring it into zone 2 and looking at the copy …"
            ));
            examined.push(Examined::restore(&rig, &snapshotter, &busy, snapshot).await?);
        }
        busy.stop()?;
    }
    progress(
        "A backup's objects, written and read back through the plugin, on Azurite, a real blob server …",
    );
    let backup = Backup::start(&rig, &plugin).await?;
    let (kept, all_kept) = backup.keep().await?;
    plugin.shut_down().await?;
    let (table, as_it_should) = report(&examined);
    println!("\n{table}\n{kept}");
    progress(format!(
        "{:.0} s. Nothing is left on this machine.",
        begun.elapsed().as_secs_f64()
    ));
    Ok(as_it_should && all_kept)
}
