//! The static build: one file that runs on any Linux of its architecture.

use std::fs;
use std::process::Command;

use crate::run::{Done, cargo, output, root, run};

const TARGET: &str = "x86_64-unknown-linux-musl";

/// Builds it, and makes sure that it is static and starts.
pub fn build() -> Done {
    if output(Command::new("musl-gcc").arg("--version")).is_err() {
        return Err("musl-gcc is missing; install it: apt-get install musl-tools".to_owned());
    }
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    if !std::path::Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).exists() {
        return Err(format!("the target is missing; install it: rustup target add {TARGET}"));
    }
    run(cargo()
        .args(["build", "--profile", "dist", "--locked", "--package", "saltern"])
        .args(["--target", TARGET]))?;
    let built = root().join("target").join(TARGET).join("dist/saltern");
    let place = root().join("target/dist");
    fs::create_dir_all(&place).map_err(|e| e.to_string())?;
    let file = place.join("saltern");
    let size = fs::copy(&built, &file).map_err(|e| format!("{}: {e}", built.display()))?;
    let kind = output(Command::new("file").arg("-b").arg(&file)).unwrap_or_default();
    let interpreter = output(Command::new("readelf").arg("-lW").arg(&file))?;
    if interpreter.contains("INTERP") {
        return Err(format!("{} needs a dynamic loader: {kind}", file.display()));
    }
    run(Command::new(&file).arg("--version"))?;
    println!("{} ({:.1} MB, static)", file.display(), size as f64 / 1e6);
    Ok(())
}
