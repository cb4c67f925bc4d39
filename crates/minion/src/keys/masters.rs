//! The keys of masters on disk: `minion_master.pub` as in Salt, and with several masters one
//! verified key for each in `masters/<name>.pub`, so that masters with different keys do not undo
//! each other.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use saltern_base::atomic_file;
use saltern_config::MinionOptions;
use saltern_crypto::{HashType, PublicKey, same_pem};
use saltern_wire::auth::client::{CachedKey, Trust};

use super::read_file;
use super::trusted::Trusted;

/// The file with the key of the master in use, or of the first one.
pub(super) const MASTER_KEY: &str = "minion_master.pub";

/// The directory with one file for each master.
const MASTERS: &str = "masters";

/// What this minion knows of masters' keys, and whom it trusts.
///
/// Which file counts for a master of several: its own; without one, `minion_master.pub` as long
/// as that is not known to be another master's. With `verify_master_pubkey_sign` a signature
/// decides about a master without a file. Removing `minion_master.pub` means "trust anew", as in
/// Salt: the files of all masters go with it.
#[derive(Debug)]
pub(crate) struct MasterKeys {
    shared: PathBuf,
    dir: PathBuf,
    /// The names of the masters, as configured.
    names: Vec<String>,
    signatures_decide: bool,
    trusted: Trusted,
    /// Keys that could not be written, by master; also the lock over all files.
    unwritten: Mutex<HashMap<usize, String>>,
    /// What was trusted when each master signed us in last.
    marks: Mutex<HashMap<usize, String>>,
}

impl MasterKeys {
    /// `names` are the masters in the order of their numbers.
    pub(crate) fn new(opts: &MinionOptions, names: Vec<String>) -> Self {
        MasterKeys {
            shared: opts.pki_dir.join(MASTER_KEY),
            dir: opts.pki_dir.join(MASTERS),
            names,
            signatures_decide: opts.verify_master_pubkey_sign,
            trusted: Trusted::new(opts),
            unwritten: Mutex::default(),
            marks: Mutex::default(),
        }
    }

    /// Whether the verification keys or the list of revoked keys have changed since this master
    /// signed us in: then it is to be asked again, since it may have been revoked, and since it
    /// has to learn which signatures we can check.
    pub(crate) fn trust_changed(&self, master: usize) -> bool {
        let marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = marks.get(&master).cloned();
        drop(marks);
        mark.is_some_and(|mark| mark != self.trusted.mark())
    }

    /// Whom to trust in a sign-in at this master, as options and files say now.
    pub(crate) fn trust(&self, master: usize, hash_type: HashType) -> Trust {
        let own = self.own_file(master).filter(|file| file.exists());
        let file = own.as_deref().unwrap_or(&self.shared);
        Trust { known_file: file.display().to_string(), ..self.trusted.trust(hash_type) }
    }

    /// What is known of this master's key.
    pub(crate) fn known(&self, master: usize) -> CachedKey {
        let mut unwritten = self.lock();
        let Some(own) = self.own_file(master) else { return read_key(&self.shared) };
        if let Some(pem) = unwritten.get(&master) {
            return CachedKey::Text(pem.clone());
        }
        if !self.shared.exists() {
            unwritten.clear();
            self.forget();
            return CachedKey::Absent;
        }
        match read_key(&own) {
            CachedKey::Absent if self.signatures_decide => CachedKey::Absent,
            CachedKey::Absent => match read_key(&self.shared) {
                CachedKey::Text(text) if self.is_somebodys(&text) => CachedKey::Absent,
                shared => shared,
            },
            known => known,
        }
    }

    /// Remembers the key of a master that has signed us in; `store` also in the shared file.
    pub(crate) fn remember(&self, master: usize, key: &PublicKey, store: bool) {
        let mark = self.trusted.mark();
        self.marks.lock().unwrap_or_else(PoisonError::into_inner).insert(master, mark);
        let mut unwritten = self.lock();
        let pem = key.wire_pem();
        // The shared file first: without it the others do not count.
        let mut written = Ok(());
        if store || !self.shared.exists() {
            written = write_key(&self.shared, pem);
        }
        if let Some(own) = self.own_file(master) {
            written = written.and_then(|()| self.make_dir()).and_then(|()| write_key(&own, pem));
            match written {
                Ok(()) => drop(unwritten.remove(&master)),
                Err(_) => drop(unwritten.insert(master, pem.to_owned())),
            }
        }
        if let Err(error) = written {
            log::error!(
                "The key of the master {} cannot be written to {}: {error}",
                self.names.get(master).map_or("", String::as_str),
                self.shared.parent().unwrap_or(Path::new("")).display()
            );
        }
    }

    /// The file of one of several masters; a single one has none.
    fn own_file(&self, master: usize) -> Option<PathBuf> {
        let name = self.names.get(master).filter(|_| self.names.len() > 1)?;
        Some(self.dir.join(file_name(name)))
    }

    /// Whether a key is that of a master with a file of its own.
    fn is_somebodys(&self, pem: &str) -> bool {
        (0..self.names.len())
            .filter_map(|master| self.own_file(master))
            .any(|own| matches!(read_key(&own), CachedKey::Text(text) if same_pem(&text, pem)))
    }

    /// Removes the files of the single masters.
    fn forget(&self) {
        for own in (0..self.names.len()).filter_map(|master| self.own_file(master)) {
            match fs::remove_file(&own) {
                Ok(()) => log::warn!(
                    "{} is gone, so {} is forgotten as well",
                    self.shared.display(),
                    own.display()
                ),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => log::error!("{} cannot be removed: {error}", own.display()),
            }
        }
    }

    fn make_dir(&self) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<usize, String>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file name for a master's name: what is neither letter, digit, dot nor hyphen is written as
/// its bytes in hexadecimal, so different names have different files and none leaves the
/// directory.
fn file_name(master: &str) -> String {
    let mut name = String::new();
    for byte in master.bytes().take(80) {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' => name.push(char::from(byte)),
            other => name.push_str(&format!("%{other:02x}")),
        }
    }
    if name.len() > 200 || master.len() > 80 {
        name = HashType::Sha256.hex_digest(master.as_bytes());
    }
    name + ".pub"
}

fn read_key(path: &Path) -> CachedKey {
    match read_file(path) {
        Ok(bytes) => String::from_utf8(bytes).map_or(CachedKey::Unreadable, CachedKey::Text),
        Err(e) if e.kind() == io::ErrorKind::NotFound => CachedKey::Absent,
        Err(_) => CachedKey::Unreadable,
    }
}

/// Replaces a file unless it holds this key already.
fn write_key(path: &Path, pem: &str) -> io::Result<()> {
    match read_key(path) {
        CachedKey::Text(old) if same_pem(&old, pem) => Ok(()),
        _ => atomic_file::write(path, pem.as_bytes(), 0o644),
    }
}

#[cfg(test)]
mod tests {
    use saltern_crypto::PrivateKey;

    use super::super::tests::Scratch;
    use super::*;

    fn two(opts: &MinionOptions) -> MasterKeys {
        fs::create_dir_all(&opts.pki_dir).unwrap();
        MasterKeys::new(opts, vec!["m1".into(), "10.0.0.2:4506".into()])
    }

    fn text(key: &PrivateKey) -> CachedKey {
        CachedKey::Text(key.public().wire_pem().to_owned())
    }

    #[test]
    fn each_master_has_a_verified_key_on_disk() {
        for signed in ["verify_master_pubkey_sign: True\n", ""] {
            let scratch = Scratch::new(&format!("hot{}", signed.len()));
            let opts = scratch.options(signed);
            let keys = two(&opts);
            let pair = || PrivateKey::generate(2048).unwrap();
            let (one, other) = (pair(), pair());
            assert_eq!(keys.known(0), CachedKey::Absent);
            keys.remember(0, one.public(), true);
            assert_eq!(keys.known(1), CachedKey::Absent, "the file is of another master");
            keys.remember(1, other.public(), false);
            // As after a restart: nothing of it is in memory only.
            let keys = two(&opts);
            assert_eq!((keys.known(0), keys.known(1)), (text(&one), text(&other)));
            assert_eq!(read_key(&opts.pki_dir.join(MASTER_KEY)), text(&one), "the first one's");
            let trust = keys.trust(1, HashType::Sha256);
            assert!(trust.known_file.ends_with("masters/10.0.0.2%3a4506.pub"), "{trust:?}");
            fs::remove_file(opts.pki_dir.join(MASTER_KEY)).unwrap();
            assert_eq!(keys.known(1), CachedKey::Absent, "removing the file means: trust anew");
            keys.remember(0, other.public(), true);
            assert_eq!(keys.known(1), CachedKey::Absent, "and that for every master");
        }
    }

    #[test]
    fn without_signatures_a_shared_file_of_nobody_counts_for_every_master() {
        let scratch = Scratch::new("plain");
        let opts = scratch.options("");
        let keys = two(&opts);
        fs::write(opts.pki_dir.join(MASTER_KEY), "text").unwrap();
        assert_eq!(keys.known(1), CachedKey::Text("text".into()));
    }

    #[test]
    fn a_single_master_has_salts_file_only() {
        let scratch = Scratch::new("single");
        let opts = scratch.options("");
        fs::create_dir_all(&opts.pki_dir).unwrap();
        let keys = MasterKeys::new(&opts, vec!["m1".into()]);
        let pair = PrivateKey::generate(2048).unwrap();
        keys.remember(0, pair.public(), true);
        assert_eq!(keys.known(0), text(&pair));
        assert!(!opts.pki_dir.join(MASTERS).exists());
    }

    #[test]
    fn a_change_of_what_is_trusted_is_noticed_once_signed_in() {
        let scratch = Scratch::new("mark");
        let opts = scratch.options("verify_master_pubkey_sign: True\n");
        let keys = two(&opts);
        assert!(!keys.trust_changed(0), "never signed in");
        let pair = PrivateKey::generate(2048).unwrap();
        keys.remember(0, pair.public(), true);
        assert!(!keys.trust_changed(0));
        let pem = pair.public().to_pem();
        fs::write(opts.pki_dir.join("master_sign_next.pub"), pem).unwrap();
        assert!(keys.trust_changed(0));
        keys.remember(0, pair.public(), true);
        assert!(!keys.trust_changed(0));
        let list = opts.pki_dir.join("revoked_master_fingerprints");
        fs::write(list, "00".repeat(32)).unwrap();
        assert!(keys.trust_changed(0));
    }

    #[test]
    fn names_of_masters_make_safe_file_names() {
        assert_eq!(file_name("../x"), "..%2fx.pub");
        assert_eq!(file_name("[::1]:4506"), "%5b%3a%3a1%5d%3a4506.pub");
        assert!(file_name(&"ü".repeat(200)).len() < 100);
        assert_ne!(file_name(&"a".repeat(100)), file_name(&"a".repeat(101)));
    }
}
