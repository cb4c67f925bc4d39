//! The roll-over of the signing pair: the next pair beside the active one, then the former one
//! beside its successor. Each state is what lies on disk, so every step can be interrupted and
//! gone on with.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use saltern_base::atomic_file;
use saltern_crypto::{PrivateKey, PublicKey};

use super::master_key::{MasterKeys, gen_keys, with_suffix};
use crate::StoreError;
use crate::fs_util::{plain_child, read_small, remove, stat, sync_dir};
use crate::stamp::Stamp;

/// The signing pair of a pki directory, with all its generations.
#[derive(Clone, Debug)]
pub struct SigningFiles {
    dir: PathBuf,
    name: String,
    pass: Option<String>,
}

/// The generations on disk. Without `next` and `old`, no roll-over is under way.
#[derive(Clone, Debug)]
pub struct Generations {
    /// The pair that signs for whoever does not say which keys it has.
    pub active: PrivateKey,
    /// The pair to come.
    pub next: Option<PrivateKey>,
    /// The pair of before, for minions that do not have the active one yet.
    pub old: Option<PrivateKey>,
    /// The activation of the next pair was interrupted and is to be gone on with.
    pub interrupted: bool,
}

/// Tells whether any file of the generations was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigningStamp([Option<Stamp>; 3]);

impl SigningFiles {
    /// `name` is `master_sign_key_name`, `pass` `signing_key_pass`.
    ///
    /// # Errors
    /// A name that is no plain file name.
    pub fn new(dir: &Path, name: &str, pass: Option<&str>) -> Result<Self, StoreError> {
        plain_child(dir, name, "master_sign_key_name")?;
        Ok(SigningFiles {
            dir: dir.to_owned(),
            name: name.to_owned(),
            pass: pass.map(str::to_owned),
        })
    }

    /// The name of the active pair's files, without suffix.
    #[must_use]
    pub fn active_name(&self) -> &str {
        &self.name
    }

    /// The name of the next pair's files, without suffix. Minions look for keys under all names
    /// that begin with the active pair's, so the public file keeps its name there.
    #[must_use]
    pub fn next_name(&self) -> String {
        format!("{}_next", self.name)
    }

    /// The name of the former pair's files, without suffix.
    #[must_use]
    pub fn old_name(&self) -> String {
        format!("{}_old", self.name)
    }

    /// The file of that name in the pki directory.
    #[must_use]
    pub fn file(&self, name: &str, suffix: &str) -> PathBuf {
        with_suffix(&self.dir.join(name), suffix)
    }

    /// Looks at the files without reading them.
    ///
    /// # Errors
    /// The file system's refusal.
    pub fn stamp(&self) -> Result<SigningStamp, StoreError> {
        let of = |name: &str| stat(&self.file(name, "pem"));
        Ok(SigningStamp([of(&self.name)?, of(&self.next_name())?, of(&self.old_name())?]))
    }

    /// Reads the generations.
    ///
    /// # Errors
    /// No active pair, or a key that cannot be read, naming the file.
    pub fn read(&self) -> Result<Generations, StoreError> {
        let path = self.file(&self.name, "pem");
        let Some(active) = self.private(&path)? else {
            return Err(StoreError::unusable(format!(
                "{} is missing: there is no signing pair to replace; set master_sign_pubkey and \
                 start the master, or copy the pair from another master",
                path.display()
            )));
        };
        let next = self.private(&self.file(&self.next_name(), "pem"))?;
        let old = self.private(&self.file(&self.old_name(), "pem"))?;
        let same = |key: &PrivateKey| key.public() == active.public();
        // The former pair is put aside first, then the next one takes its place.
        let put_aside = next.is_some() && old.as_ref().is_some_and(same);
        let left_over = next.is_none() && self.file(&self.next_name(), "pub").exists();
        Ok(Generations {
            next,
            old: old.filter(|key| !same(key)),
            interrupted: put_aside || left_over,
            active,
        })
    }

    /// Step 1: makes the next pair.
    ///
    /// # Errors
    /// A roll-over that is under way, the file system.
    pub fn create_next(&self, keysize: u32) -> Result<MasterKeys, StoreError> {
        let made = gen_keys(&self.dir, &self.next_name(), keysize, self.pass.as_deref())?;
        // The master may run as another user than the tool.
        if let Ok(owner) = fs::metadata(self.file(&self.name, "pem")) {
            for path in [&made.private_path, &made.public_path] {
                let foreign = fs::metadata(path).is_ok_and(|m| m.uid() != owner.uid());
                if foreign && let Err(e) = chown(path, Some(owner.uid()), Some(owner.gid())) {
                    return Err(StoreError::io("give to the master's user", path, e));
                }
            }
        }
        Ok(made)
    }

    /// Step 2: the next pair becomes the active one, and the active one the former. A running
    /// master finds a whole active pair at any moment. Goes on with an interrupted activation.
    ///
    /// # Errors
    /// No next pair, a former one not retired yet, the file system.
    pub fn activate(&self) -> Result<(), StoreError> {
        let found = self.read()?;
        let [active, next, old] =
            [&self.name, &self.next_name(), &self.old_name()].map(|name| self.file(name, "pem"));
        if found.next.is_some() {
            if found.old.is_some() {
                return Err(StoreError::unusable(format!(
                    "{} is of the roll-over before; retire it first",
                    old.display()
                )));
            }
            match fs::hard_link(&active, &old) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(StoreError::io("write", &old, e));
                }
                _ => self.write_public(&self.old_name(), found.active.public())?,
            }
            self.sync()?;
            fs::rename(&next, &active).map_err(|e| StoreError::io("replace", &active, e))?;
        } else if !found.interrupted {
            return Err(StoreError::unusable(format!("{} is missing", next.display())));
        }
        let active = self.read()?.active;
        self.write_public(&self.name, active.public())?;
        remove(&self.file(&self.next_name(), "pub"))?;
        self.sync()
    }

    /// Step 3: removes the former pair.
    ///
    /// # Errors
    /// The file system.
    pub fn retire(&self) -> Result<(), StoreError> {
        for suffix in ["pem", "pub"] {
            remove(&self.file(&self.old_name(), suffix))?;
        }
        self.sync()
    }

    fn private(&self, path: &Path) -> Result<Option<PrivateKey>, StoreError> {
        let Some((text, _)) = read_small(path)? else { return Ok(None) };
        PrivateKey::from_pem(text.as_bytes(), self.pass.as_deref()).map(Some).map_err(|e| {
            StoreError::unusable(format!(
                "{} holds no private key that can be read ({e}); check signing_key_pass, or \
                 restore it",
                path.display()
            ))
        })
    }

    fn write_public(&self, name: &str, key: &PublicKey) -> Result<(), StoreError> {
        let path = self.file(name, "pub");
        atomic_file::write(&path, key.to_pem().as_bytes(), 0o644)
            .map_err(|e| StoreError::io("write", &path, e))
    }

    fn sync(&self) -> Result<(), StoreError> {
        sync_dir(&self.dir).map_err(|e| StoreError::io("write", &self.dir, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    fn files(scratch: &Scratch) -> SigningFiles {
        let files = SigningFiles::new(scratch.path(), "master_sign", None).unwrap();
        gen_keys(scratch.path(), "master_sign", 2048, None).unwrap();
        files
    }

    fn on_disk(files: &SigningFiles, name: &str) -> Option<PublicKey> {
        let text = fs::read(files.file(name, "pub")).ok()?;
        Some(PublicKey::from_pem(&text).unwrap())
    }

    #[test]
    fn a_roll_over_from_beginning_to_end() {
        let scratch = Scratch::new();
        let files = files(&scratch);
        let first = files.read().unwrap().active;
        assert!(files.activate().is_err(), "nothing to activate");
        let next = files.create_next(2048).unwrap();
        assert!(files.create_next(2048).is_err(), "nothing is overwritten");
        files.activate().unwrap();
        let found = files.read().unwrap();
        assert_eq!(found.active.public(), &next.public);
        assert_eq!(found.old.unwrap().public(), first.public());
        assert!(found.next.is_none() && !found.interrupted);
        assert_eq!(on_disk(&files, "master_sign"), Some(next.public.clone()));
        files.create_next(2048).unwrap();
        assert!(files.activate().is_err(), "the former one is to be retired first");
        files.retire().unwrap();
        assert!(files.read().unwrap().old.is_none());
        files.activate().unwrap();
    }

    #[test]
    fn an_interrupted_activation_is_gone_on_with() {
        let scratch = Scratch::new();
        let files = files(&scratch);
        let next = files.create_next(2048).unwrap();
        let [active, new, old] =
            ["master_sign", "master_sign_next", "master_sign_old"].map(|n| files.file(n, "pem"));
        fs::hard_link(&active, &old).unwrap();
        let found = files.read().unwrap();
        assert!(found.interrupted && found.old.is_none() && found.next.is_some());
        fs::rename(&new, &active).unwrap();
        let found = files.read().unwrap();
        assert!(found.interrupted && found.old.is_some());
        files.activate().unwrap();
        assert!(!files.read().unwrap().interrupted);
        assert_eq!(on_disk(&files, "master_sign"), Some(next.public));
    }
}
