//! The master's own key pairs: created whole or not at all, private keys never overwritten,
//! readable under the file names of both Salt generations.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use saltern_base::atomic_file;
use saltern_crypto::{PrivateKey, PublicKey, same_pem};

use crate::StoreError;
use crate::fs_util::{plain_child, read_small};

const PRIVATE_MODE: u32 = 0o400;
const PUBLIC_MODE: u32 = 0o644;
/// Salt refuses to make anything smaller.
const MIN_BITS: u32 = 2048;

/// A key pair of the master and where it lies.
#[derive(Clone, Debug)]
pub struct MasterKeys {
    /// The private key.
    pub private: PrivateKey,
    /// Its public half.
    pub public: PublicKey,
    /// Where the private key lies.
    pub private_path: PathBuf,
    /// Where the public key lies.
    pub public_path: PathBuf,
    /// Whether this call made the pair.
    pub created: bool,
}

/// Opens the master's identity pair in `pki_dir`, or makes one of `keysize` bits. Reads regular
/// `master.pem/.pub` as well as the links of Salt 3008. A missing or foreign `.pub` is derived
/// again: the private key is the truth.
///
/// # Errors
/// A private key that cannot be read (broken, wrong `key_pass`) is named and left as it is.
pub fn open_master(
    pki_dir: &Path,
    keysize: u32,
    key_pass: Option<&str>,
) -> Result<MasterKeys, StoreError> {
    open_pair(pki_dir, "master", keysize, key_pass, "key_pass")
}

/// Opens or makes the signing pair `<name>.pem/.pub` (`master_sign_key_name`, usually
/// `master_sign`).
///
/// # Errors
/// As [`open_master`]; also a name that is no plain file name, and a `.pub` without its `.pem`:
/// a new pair would be one that no minion knows.
pub fn open_master_sign(
    pki_dir: &Path,
    name: &str,
    keysize: u32,
    signing_key_pass: Option<&str>,
) -> Result<MasterKeys, StoreError> {
    let base = plain_child(pki_dir, name, "master_sign_key_name")?;
    let (pem, public) = (with_suffix(&base, "pem"), with_suffix(&base, "pub"));
    if public.exists() && pem.symlink_metadata().is_err() {
        return Err(StoreError::unusable(format!(
            "{} is there but {} is not: copy the private signing key from the other master, or \
             remove the .pub file to make a new pair",
            public.display(),
            pem.display()
        )));
    }
    open_pair(pki_dir, name, keysize, signing_key_pass, "signing_key_pass")
}

/// The signature made before by `salt-key --gen-signature` (`master_use_pubkey_signature`).
/// `option` is `master_pubkey_signature`; Salt 3008's `None` means `<id>_pubkey_signature`, here
/// falling back to `master_pubkey_signature`.
///
/// # Errors
/// A missing or empty file, naming it and how to make it.
pub fn read_signature_file(
    pki_dir: &Path,
    option: Option<&str>,
    master_id: &str,
) -> Result<String, StoreError> {
    const USUAL: &str = "master_pubkey_signature";
    let own = format!("{}_pubkey_signature", master_id.trim_end_matches("_master"));
    let names = option.map_or_else(|| vec![own.as_str(), USUAL], |name| vec![name]);
    for name in &names {
        let path = plain_child(pki_dir, name, "master_pubkey_signature")?;
        if let Some((text, _)) = read_small(&path)? {
            let text = text.trim();
            if !text.is_empty() {
                return Ok(text.to_owned());
            }
        }
    }
    Err(StoreError::unusable(format!(
        "master_use_pubkey_signature is set but {} has no signature file {}; make it with \
         'salt-key --gen-signature --auto-create'",
        pki_dir.display(),
        names.join(" or ")
    )))
}

/// Makes the pair `<name>.pem` (0400) and `<name>.pub` (0644) in `dir` for
/// `salt-key --gen-keys NAME`.
///
/// # Errors
/// A name that is no plain file name, existing files (nothing is overwritten), the file system.
pub fn gen_keys(
    dir: &Path,
    name: &str,
    keysize: u32,
    pass: Option<&str>,
) -> Result<MasterKeys, StoreError> {
    let base = plain_child(dir, name, "the key name")?;
    let (pem, public) = (with_suffix(&base, "pem"), with_suffix(&base, "pub"));
    for path in [&pem, &public] {
        if path.symlink_metadata().is_ok() {
            let path = path.display();
            return Err(StoreError::unusable(format!(
                "{path} is there already and stays as it is; choose another name"
            )));
        }
    }
    if !dir.is_dir() {
        return Err(StoreError::unusable(format!("{} is no directory", dir.display())));
    }
    create_pair(pem, public, keysize, pass)
}

fn open_pair(
    dir: &Path,
    name: &str,
    keysize: u32,
    pass: Option<&str>,
    pass_option: &str,
) -> Result<MasterKeys, StoreError> {
    let base = dir.join(name);
    let (pem, public) = (with_suffix(&base, "pem"), with_suffix(&base, "pub"));
    let Some((text, _)) = read_small(&pem)? else {
        if pem.symlink_metadata().is_ok() {
            return Err(StoreError::unusable(format!(
                "{} links to a file that is missing; restore it, or remove the link to make a new \
                 key that every minion has to be told of",
                pem.display()
            )));
        }
        return create_pair(pem, public, keysize, pass);
    };
    read_pair(&text, pem, public, pass, pass_option)
}

fn read_pair(
    text: &str,
    pem: PathBuf,
    public_path: PathBuf,
    pass: Option<&str>,
    pass_option: &str,
) -> Result<MasterKeys, StoreError> {
    let private = PrivateKey::from_pem(text.as_bytes(), pass).map_err(|e| {
        StoreError::unusable(format!(
            "{} holds no private key that can be read ({e}); restore it or check {pass_option}, it \
             has been left as it is",
            pem.display()
        ))
    })?;
    let open_to_others = fs::metadata(&pem).is_ok_and(|m| m.permissions().mode() & 0o077 != 0);
    if open_to_others {
        log::warn!("{} is readable by others; it should have mode 0400", pem.display());
    }
    let public = private.public().clone();
    match read_small(&public_path)? {
        Some((text, _)) if same_pem(&text, &public.to_pem()) => {}
        found => {
            if found.is_some() {
                log::warn!("{} does not belong to its .pem; written anew", public_path.display());
            }
            write_public(&public_path, &public)?;
        }
    }
    Ok(MasterKeys { private, public, private_path: pem, public_path, created: false })
}

fn create_pair(
    pem: PathBuf,
    public_path: PathBuf,
    keysize: u32,
    pass: Option<&str>,
) -> Result<MasterKeys, StoreError> {
    let fail = |e| StoreError::unusable(format!("cannot make the key {}: {e}", pem.display()));
    let private = PrivateKey::generate(keysize.max(MIN_BITS)).map_err(fail)?;
    let text = private.to_pem(pass).map_err(fail)?;
    // The private key first: whatever happens then, the public one can be derived from it.
    match atomic_file::create_new(&pem, &text, PRIVATE_MODE) {
        Ok(()) => {}
        // Another process made the pair meanwhile: its key counts.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            let Some((text, _)) = read_small(&pem)? else {
                return Err(StoreError::io("read", &pem, e));
            };
            return read_pair(&text, pem, public_path, pass, "the pass phrase");
        }
        Err(e) => return Err(StoreError::io("write", &pem, e)),
    }
    let public = private.public().clone();
    write_public(&public_path, &public)?;
    Ok(MasterKeys { private, public, private_path: pem, public_path, created: true })
}

fn write_public(path: &Path, public: &PublicKey) -> Result<(), StoreError> {
    atomic_file::write(path, public.to_pem().as_bytes(), PUBLIC_MODE)
        .map_err(|e| StoreError::io("write", path, e))
}

/// Appends a suffix; a dot in the name is part of the name.
pub(super) fn with_suffix(base: &Path, suffix: &str) -> PathBuf {
    let mut name = base.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}
