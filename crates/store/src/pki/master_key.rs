//! The master's own key pairs: created whole or not at all, never overwritten, readable under the
//! file names of both Salt generations.

use std::path::{Path, PathBuf};

use saltern_crypto::{PrivateKey, PublicKey};

use crate::StoreError;

/// A key pair of the master with the texts it shows to others.
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

/// How accepted minions get `pub_sig` (failover.md §6).
#[derive(Clone, Debug)]
pub enum SignatureSource {
    /// Signed per reply, with the hash the minion asks for.
    Dynamic(Box<MasterKeys>),
    /// The text of the signature file, without its newline.
    File(String),
}

/// Opens the master's identity pair in `pki_dir`, or makes one of `keysize` bits. Reads regular
/// `master.pem/.pub` as well as the links of Salt 3008. A missing `.pub` is derived again.
///
/// # Errors
/// A private key that cannot be read (broken, wrong `key_pass`) is named and left as it is.
pub fn open_master(
    _pki_dir: &Path,
    _keysize: u32,
    _key_pass: Option<&str>,
) -> Result<MasterKeys, StoreError> {
    todo!()
}

/// Opens or makes the signing pair `<name>.pem/.pub` (`master_sign_key_name`, usually
/// `master_sign`).
///
/// # Errors
/// As [`open_master`]; also a name that is no plain file name.
pub fn open_master_sign(
    _pki_dir: &Path,
    _name: &str,
    _keysize: u32,
    _signing_key_pass: Option<&str>,
) -> Result<MasterKeys, StoreError> {
    todo!()
}

/// The signature made before by `salt-key --gen-signature` (`master_use_pubkey_signature`).
/// `option` is `master_pubkey_signature` (3008's `None` means `<id>_pubkey_signature`, falling
/// back to `master_pubkey_signature`).
///
/// # Errors
/// A missing or empty file, naming it and how to make it.
pub fn read_signature_file(
    _pki_dir: &Path,
    _option: Option<&str>,
    _master_id: &str,
) -> Result<String, StoreError> {
    todo!()
}

/// Makes the pair `<name>.pem` (0400) and `<name>.pub` (0644) in `dir` for
/// `salt-key --gen-keys NAME`.
///
/// # Errors
/// A name that is no plain file name, existing files (nothing is overwritten), the file system.
pub fn gen_keys(
    _dir: &Path,
    _name: &str,
    _keysize: u32,
    _pass: Option<&str>,
) -> Result<MasterKeys, StoreError> {
    todo!()
}
