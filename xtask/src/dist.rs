//! The static build: one file that runs on any Linux of its architecture.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::run::{Done, cargo, output, root, run};

const TARGET: &str = "x86_64-unknown-linux-musl";

/// Most bytes of the program.
const MOST: u64 = 25_000_000;

/// The program is one small file, and stays one.
pub fn is_small(program: &Path) -> Result<u64, String> {
    let size = fs::metadata(program).map_err(|e| format!("{}: {e}", program.display()))?.len();
    match size <= MOST {
        true => Ok(size),
        false => Err(format!("{} has {size} bytes; at most {MOST} it is", program.display())),
    }
}

/// Builds it, and makes sure that it is static and starts.
pub fn build() -> Done {
    if output(Command::new("musl-gcc").arg("--version")).is_err() {
        return Err("musl-gcc is missing; install it: apt-get install musl-tools".to_owned());
    }
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    if !Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).exists() {
        return Err(format!("the target is missing; install it: rustup target add {TARGET}"));
    }
    run(cargo()
        .args(["build", "--profile", "dist", "--locked", "--package", "saltern"])
        .args(["--target", TARGET]))?;
    let built = root().join("target").join(TARGET).join("dist/saltern");
    let place = root().join("target/dist");
    fs::create_dir_all(&place).map_err(|e| e.to_string())?;
    let file = place.join("saltern");
    fs::copy(&built, &file).map_err(|e| format!("{}: {e}", built.display()))?;
    let kind = output(Command::new("file").arg("-b").arg(&file)).unwrap_or_default();
    let interpreter = output(Command::new("readelf").arg("-lW").arg(&file))?;
    if interpreter.contains("INTERP") {
        return Err(format!("{} needs a dynamic loader: {kind}", file.display()));
    }
    run(Command::new(&file).arg("--version"))?;
    let size = is_small(&file)?;
    println!("{} ({:.1} MB, static)", file.display(), size as f64 / 1e6);
    Ok(())
}
