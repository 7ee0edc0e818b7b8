//! What would do harm, or not work, is refused before anything is made.

use anyhow::{Result, ensure};
use stillpoint_lab::Sku;

use crate::{golden, scene::Scene, shell::Shell};

const GROUP: &str = "--resource-group Stillpoint-Lab";

pub(crate) async fn what_would_do_harm_is_refused_with_what_to_do(scene: &Scene) -> Result<()> {
    let lab = &scene.world.lab;
    let disks = lab.disks().len();
    let mut shell = Shell::new(scene);
    let back = "restore --latest-of data -n shop";
    shell.run(&format!("{back} --apply"), GROUP, 1).await?;
    // The claim of that name is gone, and its volume is still for it.
    scene.cordon(&["node-3"], true).await?;
    shell
        .run(&format!("{back} --name copy --zone 3"), GROUP, 1)
        .await?;
    scene.cordon(&["node-3"], false).await?;
    shell
        .run(&format!("{back} --name copy --zone 4"), GROUP, 1)
        .await?;
    shell
        .run(
            &format!("{back} --name copy --zone northeurope-1"),
            GROUP,
            1,
        )
        .await?;
    lab.change_settings(|settings| settings.withheld = vec![(Sku::UltraSsdLrs, "2".into())]);
    let ultra = "--sku UltraSSD_LRS --zone 2";
    shell
        .run(&format!("{back} --name copy {ultra}"), GROUP, 1)
        .await?;
    lab.change_settings(|settings| settings.withheld.clear());
    shell
        .run(
            &format!("{back} --name copy --storage-class gold"),
            GROUP,
            1,
        )
        .await?;
    shell.run(&format!("{back} --name copy"), "", 2).await?;
    shell.run("restore nothing -n shop", GROUP, 2).await?;
    let patch = "--as inline --patch deployment/web --volume cache --yes";
    shell.run(&format!("{back} {patch}"), GROUP, 1).await?;
    shell
        .run(
            &format!("{back} --as inline --patch deployment/web"),
            GROUP,
            1,
        )
        .await?;
    let elsewhere = "--destination-resource-group backups --source-resource-group others";
    shell
        .run(&format!("snapshot data -n shop {elsewhere}"), "", 1)
        .await?;
    shell
        .run(
            "snapshot none -n shop --destination-resource-group backups",
            "",
            1,
        )
        .await?;
    ensure!(
        lab.disks().len() == disks,
        "a disk was made: {:?}",
        lab.disks()
    );
    golden::check("refusals.txt", &shell.seen)
}
