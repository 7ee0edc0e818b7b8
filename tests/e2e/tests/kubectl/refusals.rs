//! What would do harm, or not work, is refused before anything is made.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::{Api, api::DeleteParams};
use stillpoint_lab::Sku;

use crate::{golden, scene::Scene, shell::Shell};

/// A volume that somebody keeps for a claim that is not there yet.
const RESERVED: &str = "
apiVersion: v1
kind: PersistentVolume
metadata: {name: held}
spec:
  accessModes: [ReadWriteOnce]
  capacity: {storage: 1Gi}
  claimRef: {namespace: shop, name: held}
  csi: {driver: disk.csi.azure.com, volumeHandle: none}
";

pub(crate) async fn what_would_do_harm_is_refused_with_what_to_do(scene: &Scene) -> Result<()> {
    let lab = &scene.world.lab;
    let disks = lab.disks().len();
    let mut shell = Shell::new(scene);
    let back = "restore --latest-of data -n shop";
    shell.run(&format!("{back} --apply"), 1).await?;
    scene.cordon(&["node-3"], true).await?;
    shell
        .run(&format!("{back} --name copy --zone 3"), 1)
        .await?;
    scene.cordon(&["node-3"], false).await?;
    shell
        .run(&format!("{back} --name copy --zone 4"), 1)
        .await?;
    shell
        .run(&format!("{back} --name copy --zone northeurope-1"), 1)
        .await?;
    lab.change_settings(|settings| settings.withheld = vec![(Sku::UltraSsdLrs, "2".into())]);
    let ultra = "--sku UltraSSD_LRS --zone 2";
    shell.run(&format!("{back} --name copy {ultra}"), 1).await?;
    lab.change_settings(|settings| settings.withheld.clear());
    shell
        .run(&format!("{back} --name copy --storage-class gold"), 1)
        .await?;
    shell.run("restore nothing -n shop", 2).await?;
    let patch = "--as inline --patch deployment/web --volume cache --yes";
    shell.run(&format!("{back} {patch}"), 1).await?;
    shell
        .run(&format!("{back} --as inline --patch deployment/web"), 1)
        .await?;
    let elsewhere = "--destination-resource-group backups --source-resource-group others";
    shell
        .run(&format!("snapshot data -n shop {elsewhere}"), 1)
        .await?;
    shell
        .run(
            "snapshot none -n shop --destination-resource-group backups",
            1,
        )
        .await?;
    let to = "--destination-resource-group backups";
    shell
        .run(
            &format!("snapshot data none -n shop {to} --freeze off -o name"),
            3,
        )
        .await?;
    scene.world.cluster.apply_yaml(RESERVED).await?;
    shell
        .run(&format!("{back} --name held --zone 2"), 1)
        .await?;
    let volumes: Api<PersistentVolume> = Api::all(scene.world.client());
    volumes.delete("held", &DeleteParams::default()).await?;
    ensure!(
        lab.disks().len() == disks,
        "a disk was made: {:?}",
        lab.disks()
    );
    golden::check("refusals.txt", &shell.seen)
}
