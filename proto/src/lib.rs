//! The three contracts that the programs speak, and the code generated from them.

/// Velero's plugin services; the package is called `generated` on the wire.
pub mod velero {
    tonic::include_proto!("generated");
}

/// The services that go-plugin itself adds to every plugin; package `plugin` on the wire.
pub mod goplugin {
    tonic::include_proto!("plugin");
}

/// Stillpoint's node agent.
pub mod agent {
    tonic::include_proto!("stillpoint.agent.v1");
}

/// The encoded `FileDescriptorSet` of all contracts, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
