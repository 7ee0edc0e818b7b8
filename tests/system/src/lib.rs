//! A node of a cluster on this machine: volumes mounted as a kubelet mounts them, programs that write to
//! them, the agent and the plugin as processes, and a look at what the snapshots hold.

pub mod agent;
pub mod arm;
pub mod ask;
pub mod bench;
pub mod blob;
pub mod chaos;
pub mod cloud;
pub mod demo;
pub mod inspect;
pub mod kubelet;
pub mod namespace;
pub mod programs;

pub mod relay;
pub mod rig;
pub mod role;
pub mod scene;
pub mod table;
pub mod writers;
