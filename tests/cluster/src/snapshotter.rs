//! CSI snapshots: their custom resources, snapshot-controller, and the sidecar that asks a driver for them.

use std::{ffi::OsString, fs, net::SocketAddr, path::Path};

use anyhow::Result;

use crate::{
    Cluster,
    companion::{Companion, CompanionOptions, Door},
    programs,
};

const CONTROLLER: &str = "snapshot-controller";
const SIDECAR: &str = "csi-snapshotter";

/// As the Azure disk driver deploys both, less leader election: its 5 requests a second would be what is measured.
const FLAGS: [&str; 5] = [
    "--v=4",
    "--worker-threads=250",
    "--kube-api-qps=100",
    "--kube-api-burst=200",
    "--retry-interval-max=30m",
];

impl Cluster {
    /// Makes VolumeSnapshots and their kin known to the cluster and starts their controller.
    pub async fn start_snapshot_controller(&self) -> Result<Companion> {
        let program = programs::path(CONTROLLER).await?;
        let definitions = program.with_file_name("crds.yaml");
        self.apply_yaml(&fs::read_to_string(definitions)?).await?;
        let address = self.place.port.on(9);
        self.start_companion(CompanionOptions {
            name: CONTROLLER,
            program,
            arguments: self.snapshot_flags(address),
            variables: Vec::new(),
            door: Door::Tcp(address),
        })
        .await
    }

    /// Starts the sidecar of the CSI driver that listens on `socket`. It ends when the driver does, as in a pod whose
    /// kubelet then starts both again.
    pub async fn start_csi_snapshotter(&self, socket: &Path) -> Result<Companion> {
        let address = self.place.port.on(10);
        let mut arguments = self.snapshot_flags(address);
        arguments.extend(["--timeout=1200s", "--extra-create-metadata=true"].map(OsString::from));
        arguments.extend(["--csi-address".into(), socket.into()]);
        self.start_companion(CompanionOptions {
            name: SIDECAR,
            program: programs::path(SIDECAR).await?,
            arguments,
            variables: Vec::new(),
            door: Door::Tcp(address),
        })
        .await
    }

    fn snapshot_flags(&self, address: SocketAddr) -> Vec<OsString> {
        let mut flags: Vec<_> = FLAGS.map(OsString::from).into();
        flags.extend(["--kubeconfig".into(), self.kubeconfig().into()]);
        flags.push(format!("--http-endpoint={address}").into());
        flags
    }
}
