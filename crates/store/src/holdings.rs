//! Which verification keys each minion holds, as far as it is known: our minions say it when they
//! sign in, of others the operator says it. One small file a minion, so that `salt-key` can read
//! and write it beside a running master.

use std::fs;
use std::path::{Path, PathBuf};

use saltern_base::{MinionId, atomic_file};

use crate::StoreError;
use crate::fs_util::{make_dir, plain_child, read_small};

const DIR: &str = "verification_keys";

/// Most fingerprints that are read of one minion.
const MAX: usize = 16;

/// Who says which keys a minion holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The minion, in its last sign-in.
    Minion,
    /// The minion too: it verifies, and has no key to do it with.
    MinionWithoutKey,
    /// The operator.
    Operator,
}

/// The verification keys of one minion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Who says so.
    pub source: Source,
    /// The SHA-256 fingerprints; none from a minion that does not verify.
    pub fingers: Vec<String>,
}

/// What is known of a minion; `None` when nothing is, or the file makes no sense.
///
/// # Errors
/// The file system's refusal.
pub fn read(cachedir: &Path, id: &MinionId) -> Result<Option<Holding>, StoreError> {
    let Some((text, _)) = read_small(&path(cachedir, id)?)? else { return Ok(None) };
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let source = match lines.next() {
        Some("minion") => Source::Minion,
        Some("minion without key") => Source::MinionWithoutKey,
        Some("operator") => Source::Operator,
        _ => return Ok(None),
    };
    Ok(Some(Holding { source, fingers: lines.take(MAX).map(str::to_owned).collect() }))
}

/// Writes down what a minion holds.
///
/// # Errors
/// The file system's refusal.
pub fn write(cachedir: &Path, id: &MinionId, holding: &Holding) -> Result<(), StoreError> {
    let path = path(cachedir, id)?;
    let dir = cachedir.join(DIR);
    make_dir(&dir, 0o700)?;
    let mut text = String::from(match holding.source {
        Source::Minion => "minion\n",
        Source::MinionWithoutKey => "minion without key\n",
        Source::Operator => "operator\n",
    });
    for finger in holding.fingers.iter().filter(|finger| !finger.contains('\n')).take(MAX) {
        text.push_str(finger);
        text.push('\n');
    }
    // The tool may run as root beside a master that does not; neither may lock the other out.
    atomic_file::write(&path, text.as_bytes(), 0o644)
        .map_err(|e| StoreError::io("write", &path, e))?;
    give_to_owner_of(cachedir, [&dir, &path]);
    Ok(())
}

fn give_to_owner_of(cachedir: &Path, paths: [&PathBuf; 2]) {
    use std::os::unix::fs::{MetadataExt, chown};
    let Ok(owner) = fs::metadata(cachedir) else { return };
    for path in paths {
        if fs::metadata(path).is_ok_and(|m| m.uid() != owner.uid())
            && let Err(error) = chown(path, Some(owner.uid()), Some(owner.gid()))
        {
            log::warn!("{} does not belong to the master's user: {error}", path.display());
        }
    }
}

fn path(cachedir: &Path, id: &MinionId) -> Result<PathBuf, StoreError> {
    plain_child(&cachedir.join(DIR), id.as_str(), "the minion id")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    #[test]
    fn what_is_written_is_read_and_nonsense_is_nothing() {
        let scratch = Scratch::new();
        let id = MinionId::parse("web1").unwrap();
        assert_eq!(read(scratch.path(), &id).unwrap(), None);
        for source in [Source::Minion, Source::MinionWithoutKey, Source::Operator] {
            let holding = Holding { source, fingers: vec!["aa:bb".into()] };
            write(scratch.path(), &id, &holding).unwrap();
            assert_eq!(read(scratch.path(), &id).unwrap(), Some(holding));
        }
        fs::write(path(scratch.path(), &id).unwrap(), "what?").unwrap();
        assert_eq!(read(scratch.path(), &id).unwrap(), None);
    }
}
