//! What runs as the first process, and what it can do.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};

use saltern_value::{Map, Value};

use crate::sysroot::Sysroot;

/// `init`, `systemd`, `selinux`, `transactional`.
pub(crate) fn grains(sysroot: &Sysroot) -> Map {
    let mut grains = Map::from([
        ("init", Value::from(init_system(sysroot))),
        ("transactional", Value::Bool(sysroot.which("transactional-update").is_some())),
    ]);
    if sysroot.which("systemctl").is_some() && sysroot.which("localectl").is_some() {
        grains.insert("systemd", systemd(sysroot));
    }
    if sysroot.which("selinuxenabled").is_some() {
        grains.insert("selinux", selinux(sysroot));
    }
    grains
}

fn init_system(sysroot: &Sysroot) -> &'static str {
    if sysroot.exists("/run/systemd/system") {
        return "systemd";
    }
    let cmdline = sysroot.read("/proc/1/cmdline").unwrap_or_default().replace('\0', " ");
    let words: Vec<&str> = cmdline.split_whitespace().collect();
    let Some(first) = words.first() else { return "unknown" };
    let program = if first.starts_with('/') {
        Some((*first).to_owned()).filter(|path| sysroot.is_file(path))
    } else {
        sysroot.which(first)
    };
    if let Some(path) = program.filter(|path| path.ends_with("bin/init")) {
        const KNOWN: [&str; 3] = ["upstart", "sysvinit", "systemd"];
        return sysroot.find_in(&path, &KNOWN).and_then(|i| KNOWN.get(i)).unwrap_or(&"unknown");
    }
    for name in ["supervisord", "dumb-init", "tini"] {
        if sysroot.which(name).is_some_and(|path| words.contains(&path.as_str())) {
            return name;
        }
    }
    if words == ["runit"] || words.contains(&"/sbin/my_init") { "runit" } else { "unknown" }
}

/// What `systemctl --version` prints, from the library that knows it: its name has the version,
/// its text the features.
fn systemd(sysroot: &Sysroot) -> Map {
    const DIRS: [&str; 4] = [
        "/usr/lib/systemd",
        "/lib/systemd",
        "/usr/lib/x86_64-linux-gnu/systemd",
        "/usr/lib/aarch64-linux-gnu/systemd",
    ];
    let library = DIRS.iter().find_map(|dir| {
        let names = sysroot.names(dir);
        let name = names.into_iter().find(|n| n.starts_with("libsystemd-shared-"))?;
        Some((format!("{dir}/{name}"), name))
    });
    let mut version = String::new();
    let mut features = None;
    if let Some((path, name)) = library {
        let tail = name.trim_start_matches("libsystemd-shared-");
        version = tail.chars().take_while(char::is_ascii_digit).collect();
        features = File::open(sysroot.path(&path)).ok().and_then(|file| feature_text(file).ok());
    }
    let version = if version.is_empty() { "UNDEFINED".to_owned() } else { version };
    Map::from([("version", version), ("features", features.unwrap_or_default())])
}

/// `+PAM -AUDIT ... default-hierarchy=unified` out of a program, ended by a NUL. The file has
/// megabytes, so the search jumps from one `P` to the next.
fn feature_text(file: impl Read + Seek) -> io::Result<String> {
    const AFTER_P: [&[u8]; 2] = [b"AM +", b"AM -"];
    let mut reader = BufReader::with_capacity(64 * 1024, file);
    loop {
        if reader.skip_until(b'P')? == 0 {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut next = [0; 4];
        let ahead = reader.fill_buf()?;
        match ahead.get(..4) {
            Some(peeked) => next.copy_from_slice(peeked),
            None => {
                reader.read_exact(&mut next)?;
                reader.seek_relative(-4)?;
            }
        }
        if AFTER_P.contains(&&next[..]) {
            // The sign stands before the P.
            reader.seek_relative(-2)?;
            let mut text = Vec::new();
            reader.take(4096).read_until(0, &mut text)?;
            text.pop();
            return Ok(String::from_utf8_lossy(&text).into_owned());
        }
    }
}

fn selinux(sysroot: &Sysroot) -> Map {
    let enforcing = sysroot.read_line("/sys/fs/selinux/enforce");
    let mut grains = Map::from([("enabled", enforcing.is_some())]);
    if sysroot.which("getenforce").is_some() {
        grains.insert(
            "enforced",
            match enforcing.as_deref() {
                Some("1") => "Enforcing",
                Some(_) => "Permissive",
                None => "Disabled",
            },
        );
    }
    grains
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn features_are_found_among_other_bytes() {
        let bytes = b"\0no PAM here\0+PAM +AUDIT -APPARMOR default-hierarchy=unified\0more";
        let text = "+PAM +AUDIT -APPARMOR default-hierarchy=unified";
        assert_eq!(feature_text(Cursor::new(bytes)).unwrap(), text);
        assert!(feature_text(Cursor::new(b"Perhaps PAM")).is_err());
        // At the seam of two reads.
        let mut long = vec![b'x'; 64 * 1024 - 2];
        long.extend_from_slice(b"+PAM -A b=c\0");
        assert_eq!(feature_text(Cursor::new(long)).unwrap(), "+PAM -A b=c");
    }
}
