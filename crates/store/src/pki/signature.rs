//! `salt-key --gen-signature`: signs the master's public key ahead of time (failover.md §6).

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use saltern_base::atomic_file;
use saltern_crypto::{CryptoError, PrivateKey, PublicKey, SigAlgo, clean_pem};

use super::master_key::{open_master_sign, with_suffix};
use crate::StoreError;
use crate::fs_util::{plain_child, read_small};

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
pub fn gen_signature(request: &GenSignature<'_>) -> Result<SignatureOutcome, StoreError> {
    let output_dir = request.output_dir.unwrap_or(request.pki_dir);
    if !output_dir.is_dir() {
        let dir = output_dir.display();
        return Err(StoreError::unusable(format!("the signature path {dir} is no directory")));
    }
    let path = plain_child(output_dir, request.output_name, "master_pubkey_signature")?;
    if path.symlink_metadata().is_ok() {
        let path = path.display();
        return Err(StoreError::unusable(format!(
            "{path} is there already; remove it to sign again"
        )));
    }
    let public_path =
        request.public.map_or_else(|| request.pki_dir.join("master.pub"), Path::to_owned);
    let public = must_read(&public_path, "the public key to sign")?;
    // Nothing but a key may be signed.
    PublicKey::from_pem(public.as_bytes()).map_err(|e| unusable(&public_path, &e))?;
    let (private, signed_by, created_pair) = signing_key(request)?;
    let signature = sign_public_key(&private, &public, SigAlgo::Pkcs1v15Sha1)
        .map_err(|e| unusable(&signed_by, &e))?;
    match atomic_file::create_new(&path, signature.as_bytes(), 0o644) {
        Ok(()) => Ok(SignatureOutcome { path, signed_by, created_pair }),
        Err(e) => Err(StoreError::io("write", &path, e)),
    }
}

/// The text that goes out as `pub_sig`: base64 with its newline, of the signature over the cleaned
/// key, which is exactly what goes out as `pub_key`.
///
/// # Errors
/// What OpenSSL says.
pub fn sign_public_key(
    private: &PrivateKey,
    public_pem: &str,
    algo: SigAlgo,
) -> Result<String, CryptoError> {
    let signature = private.sign(algo, clean_pem(public_pem).as_bytes())?;
    let mut text = STANDARD.encode(signature);
    text.push('\n');
    Ok(text)
}

/// Whether minions that hold the verification key `<sign_name>.pub` of `pki_dir` will believe this
/// signature over the master's key; `None` when there is no such file to tell.
#[must_use]
pub fn signature_holds(
    pki_dir: &Path,
    sign_name: &str,
    signature: &str,
    public: &PublicKey,
) -> Option<bool> {
    let path = with_suffix(&plain_child(pki_dir, sign_name, "master_sign_key_name").ok()?, "pub");
    let (verification, _) = read_small(&path).ok()??;
    let Ok(verification) = PublicKey::from_pem(verification.as_bytes()) else { return Some(false) };
    let Ok(bytes) = STANDARD.decode(signature.trim()) else { return Some(false) };
    let text = public.wire_pem();
    let by = |algo| verification.verify(algo, text.as_bytes(), &bytes);
    Some(SigAlgo::ALL.into_iter().any(by))
}

fn signing_key(request: &GenSignature<'_>) -> Result<(PrivateKey, PathBuf, bool), StoreError> {
    let path = match request.private {
        Some(path) => path.to_owned(),
        None => {
            let base = plain_child(request.pki_dir, request.sign_name, "master_sign_key_name")?;
            with_suffix(&base, "pem")
        }
    };
    if request.private.is_none() && request.auto_create && path.symlink_metadata().is_err() {
        let name = request.sign_name;
        let pair = open_master_sign(request.pki_dir, name, request.keysize, request.pass)?;
        return Ok((pair.private, pair.private_path, pair.created));
    }
    let text = must_read(&path, "the signing key")?;
    let key =
        PrivateKey::from_pem(text.as_bytes(), request.pass).map_err(|e| unusable(&path, &e))?;
    Ok((key, path, false))
}

fn must_read(path: &Path, what: &str) -> Result<String, StoreError> {
    match read_small(path)? {
        Some((text, _)) => Ok(text),
        None => Err(StoreError::Io {
            what: format!("find {what} {}", path.display()),
            source: io::Error::from(io::ErrorKind::NotFound),
        }),
    }
}

fn unusable(path: &Path, e: &CryptoError) -> StoreError {
    StoreError::unusable(format!("{} cannot be used: {e}", path.display()))
}
