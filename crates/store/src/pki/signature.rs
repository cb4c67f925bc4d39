//! `salt-key --gen-signature`: signs the master's public key ahead of time (failover.md §6).

use std::path::{Path, PathBuf};

use crate::StoreError;

/// What `salt-key --gen-signature` was asked for.
#[derive(Clone, Debug)]
pub struct GenSignature<'a> {
    /// The master's pki directory.
    pub pki_dir: &'a Path,
    /// `--pub FILE`; else `<pki_dir>/master.pub`.
    pub public: Option<&'a Path>,
    /// `--priv FILE`; else `<pki_dir>/<sign_name>.pem`.
    pub private: Option<&'a Path>,
    /// `master_sign_key_name`.
    pub sign_name: &'a str,
    /// `--auto-create`: make the signing pair when it is missing.
    pub auto_create: bool,
    /// `--signature-path DIR`; else `pki_dir`.
    pub output_dir: Option<&'a Path>,
    /// `master_pubkey_signature`: the name of the output file.
    pub output_name: &'a str,
    /// Bits of a created pair.
    pub keysize: u32,
    /// `signing_key_pass`.
    pub pass: Option<&'a str>,
}

/// What became of it.
#[derive(Clone, Debug)]
pub struct SignatureOutcome {
    /// The file with the signature.
    pub path: PathBuf,
    /// The private key that signed.
    pub signed_by: PathBuf,
    /// Whether the signing pair was made by this call.
    pub created_pair: bool,
}

/// Signs the cleaned text of the public key, so that every minion can verify it (stock Salt signs
/// it with its newline, and no minion can).
///
/// # Errors
/// A missing key, an existing output file (nothing is overwritten), a missing output directory.
pub fn gen_signature(_request: &GenSignature<'_>) -> Result<SignatureOutcome, StoreError> {
    todo!()
}
