//! Compiles the .proto files without a protoc on the machine.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 7] = [
    "velero/shared.proto",
    "velero/plugin_lister.proto",
    "velero/volume_snapshotter.proto",
    "velero/object_store.proto",
    "goplugin/broker.proto",
    "goplugin/services.proto",
    "stillpoint/agent.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    // Served by the reflection service, which go-plugin registers in every plugin.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // Bodies stay where they were received.
        .bytes(".generated.PutObjectRequest.body")
        .bytes(".generated.Bytes.data")
        .compile_fds(descriptors)?;
    Ok(())
}
