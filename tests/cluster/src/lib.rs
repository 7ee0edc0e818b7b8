//! A Kubernetes cluster with Velero, as plain processes on loopback: the real programs, no containers.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use stillpoint_cluster::{Cluster, Parts, VeleroOptions};
//!
//! let cluster = Cluster::start(Parts::All).await?;
//! cluster.add_node("node-1", "westeurope-1").await?;
//! cluster.apply_yaml("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}").await?;
//! let velero = cluster.start_velero(VeleroOptions::default()).await?;
//! println!("{}", velero.cli(&["backup", "create", "first", "--wait"]).await?);
//! # Ok(())
//! # }
//! ```
//!
//! All of it ends when the [`Cluster`] and its [`Velero`] are dropped, and when the process that started them dies.

mod audit;
mod chart;
mod cluster;
mod companion;
mod credentials;
mod objects;
mod part;
mod process;
mod programs;
mod scratch;
mod snapshotter;
mod velero;

pub use audit::Asked;
pub use chart::{Helm, chart, rendered};
pub use cluster::Cluster;
pub use companion::{Companion, CompanionOptions, Door};
pub use objects::until;
pub use part::{Part, Parts};
pub use programs::{build, missing, promtool};
pub use velero::{Velero, VeleroOptions, velero};
