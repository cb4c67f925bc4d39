//! The minion's files in its pki directory: its own pair, the key of the master it knows, and the
//! keys that vouch for masters.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use saltern_base::atomic_file;
use saltern_config::MinionOptions;
use saltern_crypto::{HashType, PrivateKey, PublicKey, same_pem};
use saltern_wire::auth::client::{CachedKey, Mismatch, Trust, VerificationKey};

use crate::settings::{EXIT_CONFIG, StartError};

/// Longest key file that is read.
const MAX_KEY_FILE: u64 = 64 * 1024;

/// Fewest bits of a new key.
const MIN_BITS: u32 = 2048;

/// The name of the file with the master's key.
const MASTER_KEY: &str = "minion_master.pub";

/// Opens the minion's key, or makes it: `minion.pem` (0400) and `minion.pub` in `pki_dir`.
pub(crate) fn open_or_create(opts: &MinionOptions) -> Result<PrivateKey, StartError> {
    let dir = &opts.pki_dir;
    let path = dir.join("minion.pem");
    let passphrase = opts.key_pass.as_ref().map(|p| p.expose().as_str());
    let fail = |what: &str, error: &dyn std::fmt::Display| {
        StartError::new(EXIT_CONFIG, format!("{} {what}: {error}", path.display()))
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|e| fail("cannot be made", &e))?;
    match read_file(&path) {
        Ok(pem) => {
            tighten(&path, opts.permissive_pki_access);
            let key = PrivateKey::from_pem(&pem, passphrase).map_err(|e| {
                fail("is no usable key (move it away to make a new one, or set key_pass)", &e)
            })?;
            write_public(dir, &key)
                .map_err(|e| fail("has no writable minion.pub beside it", &e))?;
            return Ok(key);
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(fail("cannot be read", &e)),
    }
    let bits = u32::try_from(opts.keysize).unwrap_or(MIN_BITS).max(MIN_BITS);
    log::info!("Generating keys: {}", dir.display());
    let key = PrivateKey::generate(bits).map_err(|e| fail("cannot be made", &e))?;
    let pem = key.to_pem(passphrase).map_err(|e| fail("cannot be made", &e))?;
    match atomic_file::create_new(&path, &pem, 0o400) {
        // Another program (salt-call beside the daemon) was quicker: its key is ours.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return open_or_create(opts),
        other => other.map_err(|e| fail("cannot be written", &e))?,
    }
    write_public(dir, &key).map_err(|e| fail("has no writable minion.pub beside it", &e))?;
    Ok(key)
}

fn write_public(dir: &Path, key: &PrivateKey) -> io::Result<()> {
    let path = dir.join("minion.pub");
    let text = key.public().to_pem();
    let same = read_file(&path)
        .is_ok_and(|old| std::str::from_utf8(&old).is_ok_and(|old| same_pem(old, &text)));
    if same { Ok(()) } else { atomic_file::write(&path, text.as_bytes(), 0o644) }
}

/// Takes the rights of others away from the private key (CVE-2020-17490).
fn tighten(path: &Path, permissive: bool) {
    let allowed = if permissive { 0o740 } else { 0o700 };
    let Ok(metadata) = fs::metadata(path) else { return };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & !allowed == 0 {
        return;
    }
    log::warn!("{} was readable by others; its mode is set to 0400", path.display());
    if let Err(error) = fs::set_permissions(path, fs::Permissions::from_mode(0o400)) {
        log::error!("The mode of {} cannot be set: {error}", path.display());
    }
}

/// Reads a key file; longer ones, and what is no file (a pipe would hold us), are errors.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_KEY_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_KEY_FILE {
        return Err(io::Error::other("too long for a key"));
    }
    Ok(bytes)
}

/// The keys of masters. On disk there is one, `minion_master.pub`, as in Salt; in memory there is
/// one for each master, so hot masters with different keys do not undo each other.
#[derive(Debug)]
pub(crate) struct MasterKeys {
    path: PathBuf,
    several: bool,
    verified: Mutex<HashMap<usize, String>>,
}

impl MasterKeys {
    /// `several` says that keys of more than one master, vouched for by signatures, may end up
    /// in the one file.
    pub(crate) fn new(opts: &MinionOptions, masters: usize) -> Self {
        MasterKeys {
            path: opts.pki_dir.join(MASTER_KEY),
            several: masters > 1 && opts.verify_master_pubkey_sign,
            verified: Mutex::default(),
        }
    }

    /// The file, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What is known of this master's key.
    pub(crate) fn known(&self, master: usize) -> CachedKey {
        let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        match verified.get(&master) {
            // A file that was removed means "trust anew", as in Salt, where nothing is kept.
            Some(_) if !self.path.exists() => CachedKey::Absent,
            Some(pem) => CachedKey::Text(pem.clone()),
            // The file may hold another master's key; a signature decides, as for a new master.
            None if self.several => CachedKey::Absent,
            None => self.read(),
        }
    }

    fn read(&self) -> CachedKey {
        match read_file(&self.path) {
            Ok(bytes) => String::from_utf8(bytes).map_or(CachedKey::Unreadable, CachedKey::Text),
            Err(e) if e.kind() == io::ErrorKind::NotFound => CachedKey::Absent,
            Err(_) => CachedKey::Unreadable,
        }
    }

    /// Remembers the key of a master that has signed us in; `store` also in the file.
    pub(crate) fn remember(&self, master: usize, key: &PublicKey, store: bool) {
        let pem = key.wire_pem().to_owned();
        let stored = || matches!(self.read(), CachedKey::Text(old) if same_pem(&old, &pem));
        if store
            && !stored()
            && let Err(error) = atomic_file::write(&self.path, pem.as_bytes(), 0o644)
        {
            log::error!("{} cannot be written: {error}", self.path.display());
        }
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.insert(master, pem);
    }
}

/// Whom to trust, as the options say; the verification keys are read anew each time, so a file
/// that was put right works without a restart.
pub(crate) fn trust(opts: &MinionOptions, hash_type: HashType) -> Trust {
    let finger = opts.master_finger.trim();
    Trust {
        open_mode: opts.open_mode,
        verify_master_pubkey_sign: opts.verify_master_pubkey_sign,
        always_verify_signature: opts.always_verify_signature,
        verification_keys: if opts.verify_master_pubkey_sign {
            verification_keys(opts)
        } else {
            Vec::new()
        },
        unexpected_signature: match opts.master_pubkey_sign_policy.as_str() {
            "warn" => Mismatch::Warn,
            _ => Mismatch::Fail,
        },
        revoked: opts.revoked_master_fingerprints.clone(),
        master_finger: (!finger.is_empty()).then(|| finger.to_owned()),
        hash_type,
    }
}

fn verification_keys(opts: &MinionOptions) -> Vec<VerificationKey> {
    let first = format!("{}.pub", opts.master_sign_key_name);
    let mut names = vec![first];
    names.extend(opts.master_sign_keys.iter().cloned());
    let mut keys = Vec::new();
    for name in names {
        let path = opts.pki_dir.join(&name);
        let key = read_file(&path)
            .map_err(|e| e.to_string())
            .and_then(|pem| PublicKey::from_pem(&pem).map_err(|e| e.to_string()));
        match key {
            Ok(key) => keys.push(VerificationKey { name, key }),
            Err(error) => {
                log::error!("The verification key {} is not usable: {error}", path.display());
            }
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let dir =
                std::env::temp_dir().join(format!("saltern-keys-{}-{name}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            Scratch(dir)
        }

        fn options(&self, more: &str) -> MinionOptions {
            let file = self.0.join("minion");
            let pki = self.0.join("pki");
            let text = format!("id: web1\nroot_dir: /\npki_dir: {}\n{more}", pki.display());
            fs::write(&file, text).unwrap();
            saltern_config::load_minion(&file).unwrap().opts
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_pair_is_made_once_and_only_its_owner_can_read_it() {
        let scratch = Scratch::new("pair");
        let opts = scratch.options("");
        let made = open_or_create(&opts).unwrap();
        let pem = opts.pki_dir.join("minion.pem");
        assert_eq!((mode(&pem), mode(&opts.pki_dir)), (0o400, 0o700));
        fs::remove_file(opts.pki_dir.join("minion.pub")).unwrap();
        fs::set_permissions(&pem, fs::Permissions::from_mode(0o644)).unwrap();
        let opened = open_or_create(&opts).unwrap();
        assert_eq!(made.public().wire_pem(), opened.public().wire_pem());
        assert_eq!(mode(&pem), 0o400, "rights of others are taken away");
        let public = fs::read_to_string(opts.pki_dir.join("minion.pub")).unwrap();
        assert!(same_pem(&public, made.public().wire_pem()), "the public half comes back");
    }

    #[test]
    fn a_damaged_key_is_an_error_and_stays() {
        let scratch = Scratch::new("damaged");
        let opts = scratch.options("");
        fs::create_dir_all(&opts.pki_dir).unwrap();
        let pem = opts.pki_dir.join("minion.pem");
        fs::write(&pem, "no key").unwrap();
        let error = open_or_create(&opts).unwrap_err();
        assert!(error.message.contains("minion.pem"), "{error}");
        assert_eq!(fs::read(&pem).unwrap(), b"no key");
    }

    #[test]
    fn a_verification_key_that_cannot_be_read_never_hangs() {
        let scratch = Scratch::new("verify");
        let opts = scratch.options("verify_master_pubkey_sign: True\n");
        // A directory in its place; a pipe would be refused by the same check.
        fs::create_dir_all(opts.pki_dir.join("master_sign.pub")).unwrap();
        assert!(trust(&opts, HashType::Sha256).verification_keys.is_empty());
    }

    #[test]
    fn hot_masters_with_different_keys_do_not_undo_each_other() {
        let scratch = Scratch::new("hot");
        let opts = scratch.options("verify_master_pubkey_sign: True\n");
        fs::create_dir_all(&opts.pki_dir).unwrap();
        let keys = MasterKeys::new(&opts, 2);
        let pair = || PrivateKey::generate(2048).unwrap();
        let (one, two) = (pair(), pair());
        assert_eq!(keys.known(0), CachedKey::Absent);
        keys.remember(0, one.public(), true);
        assert_eq!(keys.known(1), CachedKey::Absent, "the file is of another master");
        keys.remember(1, two.public(), true);
        assert_eq!(keys.known(0), CachedKey::Text(one.public().wire_pem().to_owned()));
        assert_eq!(keys.known(1), CachedKey::Text(two.public().wire_pem().to_owned()));
        fs::remove_file(opts.pki_dir.join(MASTER_KEY)).unwrap();
        assert_eq!(keys.known(0), CachedKey::Absent, "removing the file means: trust anew");
    }

    #[test]
    fn without_signatures_the_file_counts_for_every_master() {
        let scratch = Scratch::new("plain");
        let opts = scratch.options("");
        fs::create_dir_all(&opts.pki_dir).unwrap();
        let keys = MasterKeys::new(&opts, 2);
        fs::write(opts.pki_dir.join(MASTER_KEY), "text").unwrap();
        assert_eq!(keys.known(1), CachedKey::Text("text".into()));
    }
}
