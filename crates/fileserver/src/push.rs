//! `_file_recv`: files minions push with `cp.push`, into `<cachedir>/minions/<id>/files`.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;
use saltern_base::MinionId;
use saltern_value::Value;

use crate::locate::clean;

/// Whether and how much may be pushed.
#[derive(Clone, Copy, Debug)]
pub struct PushSettings {
    /// `file_recv`
    pub allowed: bool,
    /// `file_recv_max_size`, in megabytes of 1,048,576 bytes.
    pub max_megabytes: u64,
}

/// One chunk of a pushed file.
#[derive(Clone, Copy, Debug)]
pub struct Push<'a> {
    /// `path`: a list of path parts.
    pub path: &'a Value,
    /// `loc`: where the chunk goes.
    pub offset: u64,
    /// `size`: of the whole file, when the minion says so.
    pub size: Option<u64>,
    /// `data`
    pub data: &'a [u8],
}

/// Takes pushed files.
#[derive(Debug)]
pub struct Receiver {
    cachedir: PathBuf,
    settings: PushSettings,
}

impl Receiver {
    /// A receiver below `<cachedir>/minions`.
    #[must_use]
    pub fn new(cachedir: &Path, settings: PushSettings) -> Self {
        Receiver { cachedir: cachedir.to_owned(), settings }
    }

    /// Takes one chunk; `false` (as on the wire) for everything not allowed, too large, or with a
    /// path that would leave the minion's own directory.
    #[must_use]
    pub fn receive(&self, minion: &MinionId, push: &Push<'_>) -> bool {
        if !self.settings.allowed {
            return false;
        }
        let Some(rel) = relative(push.path) else {
            log::warn!("{minion} tried to push a file outside of its directory; refused");
            return false;
        };
        let limit = self.settings.max_megabytes.saturating_mul(1 << 20);
        let end = push.offset.saturating_add(push.data.len() as u64);
        if end > limit || push.size.is_some_and(|size| size > limit) {
            log::error!(
                "{minion} pushes {rel}, which is larger than file_recv_max_size ({} MB); refused",
                self.settings.max_megabytes
            );
            return false;
        }
        match self.write(minion, &rel, push) {
            Ok(()) => true,
            Err(e) => {
                log::warn!("cannot take {rel} from {minion}: {e}");
                false
            }
        }
    }

    /// Goes down directory by directory and follows no link, so whatever lies there, nothing
    /// outside of the minion's directory is touched.
    fn write(&self, minion: &MinionId, rel: &str, push: &Push<'_>) -> io::Result<()> {
        let start = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let mut dir = rustix::fs::open(&self.cachedir, start, Mode::empty())?;
        for part in ["minions", minion.as_str(), "files"] {
            dir = enter(&dir, part)?;
        }
        let mut parts = rel.split('/').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_some() {
                dir = enter(&dir, part)?;
                continue;
            }
            return write_chunk(open_file(&dir, part, push.offset)?, push);
        }
        Ok(())
    }
}

fn enter(dir: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    match mkdirat(dir, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => return Err(e.into()),
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(openat(dir, name, flags, Mode::empty())?)
}

fn open_file(dir: &OwnedFd, name: &str, offset: u64) -> io::Result<File> {
    let mut flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC
        // Never waits for the other end of a pipe.
        | OFlags::NONBLOCK;
    if offset == 0 {
        flags |= OFlags::TRUNC;
    }
    Ok(File::from(openat(dir, name, flags, Mode::RUSR | Mode::WUSR)?))
}

fn write_chunk(file: File, push: &Push<'_>) -> io::Result<()> {
    let meta = file.metadata()?;
    if !meta.is_file() || push.offset > meta.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the chunk does not fit the file"));
    }
    // A chunk sent again lands where it was, which an append would not do.
    file.write_all_at(push.data, push.offset)
}

fn relative(path: &Value) -> Option<String> {
    let parts: Option<Vec<&str>> = path.as_list()?.iter().map(Value::as_str).collect();
    clean(&parts?.join("/"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::testing::Scratch;

    fn receiver(dir: &Scratch) -> Receiver {
        Receiver::new(dir.path(), PushSettings { allowed: true, max_megabytes: 1 })
    }

    fn push(receiver: &Receiver, parts: &[&str], offset: u64, data: &[u8]) -> bool {
        let path = Value::List(parts.iter().map(|p| Value::from(*p)).collect());
        let minion = MinionId::parse("web").unwrap();
        receiver.receive(&minion, &Push { path: &path, offset, size: None, data })
    }

    #[test]
    fn chunks_make_a_file() {
        let dir = Scratch::new();
        let r = receiver(&dir);
        assert!(push(&r, &["var", "log", "x"], 0, b"abc"));
        assert!(push(&r, &["var", "log", "x"], 3, b"def"));
        assert!(push(&r, &["var", "log", "x"], 3, b"def"), "sent again after a lost reply");
        let file = dir.path().join("minions/web/files/var/log/x");
        assert_eq!(fs::read(&file).unwrap(), b"abcdef");
        assert!(push(&r, &["var/log", "x"], 0, b"new"));
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(!push(&r, &["var", "log", "x"], 100, b"hole"));
    }

    #[test]
    fn nothing_leaves_the_minions_directory() {
        let dir = Scratch::new();
        let r = receiver(&dir);
        let tricks: [&[&str]; 8] = [
            &["..", "x"],
            &["../x"],
            &["a", "..", "..", "x"],
            &["/etc", "x"],
            &["", "etc", "x"],
            &["a\0b"],
            &[],
            &["."],
        ];
        for bad in tricks {
            assert!(!push(&r, bad, 0, b"evil"), "{bad:?}");
        }
        assert!(fs::read_dir(dir.path()).unwrap().next().is_none());
        let text = Value::from("x");
        let minion = MinionId::parse("web").unwrap();
        assert!(!r.receive(&minion, &Push { path: &text, offset: 0, size: None, data: b"" }));
        assert!(push(&r, &["ok"], 0, b""));
        let files = dir.path().join("minions/web/files");
        symlink(dir.path(), files.join("link")).unwrap();
        symlink(dir.path().join("target"), files.join("file")).unwrap();
        assert!(!push(&r, &["link", "x"], 0, b"evil"));
        assert!(!push(&r, &["file"], 0, b"evil"));
        assert!(!dir.path().join("x").exists() && !dir.path().join("target").exists());
    }

    #[test]
    fn size_and_permission_are_limits() {
        let dir = Scratch::new();
        let r = receiver(&dir);
        assert!(!push(&r, &["x"], 1 << 20, b"y"));
        assert!(!push(&r, &["x"], u64::MAX, b"y"));
        let off = Receiver::new(dir.path(), PushSettings { allowed: false, max_megabytes: 1 });
        assert!(!push(&off, &["x"], 0, b"y"));
        assert!(fs::read_dir(dir.path()).unwrap().next().is_none());
    }
}
