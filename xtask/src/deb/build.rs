//! Lays out the package's files and has dpkg-deb pack them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{output, root, run};

const UNITS: [&str; 2] = ["salt-master.service", "salt-minion.service"];
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Builds the package and returns its place.
pub fn build(program: &Path, needs_libc: bool) -> Result<PathBuf, String> {
    let stage = root().join("target/deb/stage");
    if stage.exists() {
        fs::remove_dir_all(&stage).map_err(|e| at(&stage, e))?;
    }
    install(program, &stage.join("usr/bin/saltern"), 0o755)?;
    links(program, &stage.join("usr/bin"))?;
    for unit in UNITS {
        let from = root().join("packaging/systemd").join(unit);
        install(&from, &stage.join("usr/lib/systemd/system").join(unit), 0o644)?;
    }
    let backoff = root().join("packaging/systemd/backoff.conf");
    install(&backoff, &stage.join("usr/share/saltern/backoff.conf"), 0o644)?;
    for dir in ["etc/salt/master.d", "etc/salt/minion.d"] {
        fs::create_dir_all(stage.join(dir)).map_err(|e| at(&stage, e))?;
    }
    let doc = stage.join("usr/share/doc/saltern");
    for (from, to) in
        [("README.md", "README.md"), ("LICENSE", "copyright"), ("docs/failover.md", "failover.md")]
    {
        install(&root().join(from), &doc.join(to), 0o644)?;
    }
    for script in SCRIPTS {
        let from = root().join("packaging/debian").join(script);
        install(&from, &stage.join("DEBIAN").join(script), 0o755)?;
    }
    let version = env!("CARGO_PKG_VERSION");
    let arch = output(Command::new("dpkg").arg("--print-architecture"))?.trim().to_owned();
    control(&stage, version, &arch, needs_libc)?;
    let package = root().join(format!("target/deb/saltern_{version}_{arch}.deb"));
    run(Command::new("dpkg-deb")
        .args(["--build", "--root-owner-group", "-Zxz"])
        .arg(&stage)
        .arg(&package))?;
    Ok(package)
}

/// Salt's names for the program, as it gives them itself, but relative.
fn links(program: &Path, dir: &Path) -> Result<(), String> {
    let made = root().join("target/deb/links");
    let printed = output(Command::new(program).arg("links").arg(&made))?;
    for line in printed.lines() {
        let name = line.split(" -> ").next().and_then(|path| Path::new(path).file_name());
        let name = name.ok_or_else(|| format!("saltern links printed: {line}"))?;
        symlink("saltern", dir.join(name)).map_err(|e| at(dir, e))?;
    }
    Ok(())
}

fn control(stage: &Path, version: &str, arch: &str, needs_libc: bool) -> Result<(), String> {
    let template = root().join("packaging/debian/control.in");
    let template = fs::read_to_string(&template).map_err(|e| at(&template, e))?;
    let size = output(Command::new("du").args(["-sk", "--apparent-size"]).arg(stage))?;
    let size = size.split_whitespace().next().unwrap_or("0");
    let depends =
        if needs_libc { format!("libc6 (>= {})", libc_version()?) } else { String::new() };
    let text: String = template
        .replace("@VERSION@", version)
        .replace("@ARCH@", arch)
        .replace("@SIZE@", size)
        .replace("@DEPENDS@", &depends)
        .lines()
        // A field without a value is none.
        .filter(|line| *line != "Depends: ")
        .map(|line| format!("{line}\n"))
        .collect();
    let file = stage.join("DEBIAN/control");
    fs::write(&file, text).map_err(|e| at(&file, e))
}

/// The glibc of this machine, which the release build may need all of.
fn libc_version() -> Result<String, String> {
    let shown = output(Command::new("ldd").arg("--version"))?;
    let version = shown.lines().next().and_then(|line| line.rsplit(' ').next());
    version.map(str::to_owned).ok_or_else(|| "ldd prints no version".to_owned())
}

fn install(from: &Path, to: &Path, mode: u32) -> Result<(), String> {
    if let Some(dir) = to.parent() {
        fs::create_dir_all(dir).map_err(|e| at(dir, e))?;
    }
    fs::copy(from, to).map_err(|e| at(from, e))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).map_err(|e| at(to, e))
}

fn at(path: &Path, error: std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
