//! Links libgcc statically: Velero's image has no libgcc_s, which Rust's standard library asks for to unwind.

use std::{env, error::Error, fs, path::PathBuf};

/// What the linker finds for `-lgcc_s`: the same code as archives. libc after them, for what they need of it.
const LIBGCC_S: &str = "GROUP ( -lgcc_eh -lgcc -lc )\n";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let gnu =
        env::var("CARGO_CFG_TARGET_OS")? == "linux" && env::var("CARGO_CFG_TARGET_ENV")? == "gnu";
    if gnu {
        let directory = PathBuf::from(env::var("OUT_DIR")?).join("link");
        fs::create_dir_all(&directory)?;
        fs::write(directory.join("libgcc_s.so"), LIBGCC_S)?;
        // Searched before the system's directories.
        println!("cargo::rustc-link-search=native={}", directory.display());
    }
    Ok(())
}
