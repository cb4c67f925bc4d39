//! The minion's files in its pki directory: its own pair, the keys of the masters it knows, and
//! the keys that vouch for masters.

mod masters;
mod trusted;

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use saltern_base::atomic_file;
use saltern_config::MinionOptions;
use saltern_crypto::{PrivateKey, same_pem};

pub(crate) use self::masters::MasterKeys;
use crate::settings::{EXIT_CONFIG, StartError};

/// Longest key file that is read.
const MAX_KEY_FILE: u64 = 64 * 1024;

/// Fewest bits of a new key.
const MIN_BITS: u32 = 2048;

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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A directory of a test's own, gone with it.
    pub(super) struct Scratch(PathBuf);

    impl Scratch {
        pub(super) fn new(name: &str) -> Self {
            let dir =
                std::env::temp_dir().join(format!("saltern-keys-{}-{name}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            Scratch(dir)
        }

        pub(super) fn options(&self, more: &str) -> MinionOptions {
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
}
