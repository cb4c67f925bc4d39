//! Files that are whole or absent, whatever happens in between: written beside their place,
//! synced, then renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Replaces (or creates) `path` with `data` and permission bits `mode`, whatever the umask is.
///
/// # Errors
/// Any failure of the file system; the former file is then still whole.
pub fn write(path: &Path, data: &[u8], mode: u32) -> io::Result<()> {
    let temporary = write_temporary(path, data, mode, true)?;
    finish(&temporary, path, fs::rename(&temporary, path))
}

/// Like [`write`] for what may be lost in a power cut, which may then also leave an empty file:
/// other processes see it whole or not at all, and nobody waits for the disk.
///
/// # Errors
/// Any failure of the file system; the former file is then still whole.
pub fn write_unsynced(path: &Path, data: &[u8], mode: u32) -> io::Result<()> {
    let temporary = write_temporary(path, data, mode, false)?;
    fs::rename(&temporary, path).inspect_err(|_| drop(fs::remove_file(&temporary)))
}

/// Creates `path` with `data`; leaves an existing file as it is.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] when the file is there, else any failure of the file system.
pub fn create_new(path: &Path, data: &[u8], mode: u32) -> io::Result<()> {
    let temporary = write_temporary(path, data, mode, true)?;
    let linked = fs::hard_link(&temporary, path);
    let removed = fs::remove_file(&temporary);
    linked.and(removed).and_then(|()| sync_parent(path))
}

fn write_temporary(path: &Path, data: &[u8], mode: u32, sync: bool) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let unique = COUNTER.fetch_add(1, Ordering::Relaxed);
    // A leading dot: no one who lists minion ids or SLS files takes it for one. The name is cut
    // so that a 255 byte id still has a temporary file.
    let short: String = name.chars().take(40).collect();
    let temporary = path.with_file_name(format!(".{short}.{}-{unique}.tmp", process::id()));
    let attempt = || -> io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(data)?;
        if sync { file.sync_all() } else { Ok(()) }
    };
    attempt().inspect_err(|_| drop(fs::remove_file(&temporary)))?;
    Ok(temporary)
}

fn finish(temporary: &Path, path: &Path, renamed: io::Result<()>) -> io::Result<()> {
    renamed.inspect_err(|_| drop(fs::remove_file(temporary)))?;
    sync_parent(path)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("saltern-base-{}-{name}", process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn replaces_whole_files_with_the_mode_asked_for() {
        let dir = scratch("write");
        let path = dir.join("key.pem");
        write(&path, b"one", 0o400).unwrap();
        write(&path, b"two", 0o400).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        write_unsynced(&path, b"three", 0o400).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "no temporary file is left");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn create_new_keeps_what_is_there() {
        let dir = scratch("new");
        let path = dir.join("key.pem");
        create_new(&path, b"one", 0o600).unwrap();
        let error = create_new(&path, b"two", 0o600).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        fs::remove_dir_all(dir).unwrap();
    }
}
