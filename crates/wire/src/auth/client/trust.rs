//! Whether the key a master presents is to be trusted: the table of failover §7, row by row.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use saltern_crypto::{HashType, PublicKey, SigAlgo, fingerprint};

use super::error::{Failure, SignInError};

/// A key that vouches for master keys (`master_sign.pub`).
#[derive(Clone, Debug)]
pub struct VerificationKey {
    /// Its name for the log, e.g. `master_sign.pub`.
    pub name: String,
    /// The key.
    pub key: PublicKey,
}

/// What to do when only one side has signing switched on and the minion's side is off
/// (rows 2 and 7): Salt fails, which forbids switching signing on at the masters first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mismatch {
    /// As Salt.
    #[default]
    Fail,
    /// Accept as without the signature, and warn.
    Warn,
}

/// The minion's options about whom to trust.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// `open_mode`
    pub open_mode: bool,
    /// `verify_master_pubkey_sign`
    pub verify_master_pubkey_sign: bool,
    /// `always_verify_signature`
    pub always_verify_signature: bool,
    /// The readable verification keys; with none, nothing verifies.
    pub verification_keys: Vec<VerificationKey>,
    /// What a signature nobody asked for means.
    pub unexpected_signature: Mismatch,
    /// Fingerprints of master keys never to be trusted again, by any hash Salt has; with colons
    /// or without, in either case.
    pub revoked: Vec<String>,
    /// The file the cached key was read from, for messages.
    pub known_file: String,
    /// `master_finger`, unless empty.
    pub master_finger: Option<String>,
    /// `hash_type`
    pub hash_type: HashType,
}

/// Something to log although the sign-in went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// The master signs its key and this minion does not verify ([`Mismatch::Warn`]).
    UnexpectedPubSig,
}

/// What is known about the master's key before the answer.
#[derive(Clone, Debug)]
pub(super) enum Known {
    Nothing,
    Key(PublicKey),
    Unreadable,
}

/// The key a master presents, with what came along.
pub(super) struct Presented<'a> {
    pub(super) pem: &'a str,
    pub(super) key: &'a PublicKey,
    /// `None`: absent. `Some(Err)`: there, but no text.
    pub(super) pub_sig: Option<Result<&'a str, ()>>,
    pub(super) sig_algo: SigAlgo,
}

/// The presented key is trusted; how so.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trusted {
    /// The token must come back (the "tok" rows).
    pub(super) token_required: bool,
    /// The cached key is to become this one.
    pub(super) store: bool,
    /// Name of the verification key that vouched for it.
    pub(super) verified_with: Option<String>,
    pub(super) warning: Option<Warning>,
}

impl Trust {
    /// Applies the table.
    pub(super) fn judge(&self, known: &Known, new: &Presented<'_>) -> Result<Trusted, Failure> {
        // Of the key and not of the text, which could be made to look different.
        let finger = self.finger(new.key);
        if self.is_revoked(new.key) {
            return Err(Failure::Revoked(finger));
        }
        let trusted = match known {
            Known::Key(cached) if !self.open_mode && cached == new.key => self.same_key(new),
            Known::Key(_) if !self.open_mode => self.changed_key(new),
            _ => self.no_comparison(known, new),
        }?;
        match &self.master_finger {
            Some(expected) if !expected.eq_ignore_ascii_case(&finger) => {
                Err(Failure::WrongFinger { expected: expected.clone(), found: finger })
            }
            _ => Ok(trusted),
        }
    }

    /// A key's fingerprint as operators see it elsewhere.
    pub(super) fn finger(&self, key: &PublicKey) -> String {
        fingerprint(key.wire_pem(), self.hash_type)
    }

    /// Whether an operator has revoked this key. The length of an entry tells its hash.
    #[must_use]
    pub fn is_revoked(&self, key: &PublicKey) -> bool {
        self.revoked.iter().any(|entry| {
            let entry: String = entry.chars().filter(char::is_ascii_alphanumeric).collect();
            HashType::of_hex_len(entry.len()).is_some_and(|hash| {
                let finger = fingerprint(key.wire_pem(), hash).replace(':', "");
                finger.eq_ignore_ascii_case(&entry)
            })
        })
    }

    /// What an operator needs to find out which key does not fit: the fingerprints of both, and
    /// where the one that was known lies.
    pub(super) fn explain(
        &self,
        failure: Failure,
        known: &Known,
        new: Option<&PublicKey>,
    ) -> SignInError {
        let hash = self.hash_type.name();
        let mut parts = Vec::new();
        let known = match known {
            Known::Key(key) => format!("known here: {} in {}", self.finger(key), self.known_file),
            Known::Unreadable => format!("not readable here: {}", self.known_file),
            Known::Nothing => String::new(),
        };
        let new = new.map(|key| format!("presented: {}", self.finger(key))).unwrap_or_default();
        match &failure {
            Failure::KeyChanged
            | Failure::BadSignature
            | Failure::BadAesKey
            | Failure::BadToken
            | Failure::CachedKeyUnreadable
            | Failure::UnexpectedPubSig
            | Failure::MissingPubSig => parts.extend([known, new]),
            Failure::BadPubSig => {
                parts.extend([known, new]);
                parts.extend(
                    self.verification_keys
                        .iter()
                        .map(|v| format!("verification key {}: {}", v.name, self.finger(&v.key))),
                );
            }
            Failure::NoVerificationKey | Failure::Revoked(_) => parts.push(new),
            _ => {}
        }
        parts.retain(|part| !part.is_empty());
        let detail = match parts.is_empty() {
            true => String::new(),
            false => format!("{hash} fingerprints: {}", parts.join("; ")),
        };
        SignInError { failure, detail }
    }

    /// Rows 6 to 11. Where Salt does not look at a signature that is there (row 9), we do.
    fn same_key(&self, new: &Presented<'_>) -> Result<Trusted, Failure> {
        let warning = self.sides_agree(new)?;
        let verified_with =
            if self.verify_master_pubkey_sign { Some(self.verify(new)?) } else { None };
        Ok(Trusted { token_required: true, store: false, verified_with, warning })
    }

    /// Rows 12 to 16.
    fn changed_key(&self, new: &Presented<'_>) -> Result<Trusted, Failure> {
        if !self.verify_master_pubkey_sign {
            let signed = new.pub_sig.is_some();
            return Err(if signed { Failure::UnexpectedPubSig } else { Failure::KeyChanged });
        }
        self.sides_agree(new)?;
        let verified_with = Some(self.verify(new)?);
        Ok(Trusted { token_required: false, store: true, verified_with, warning: None })
    }

    /// Rows 1 to 5, 17 to 19: there is no cached key to compare with, or we are not to compare.
    fn no_comparison(&self, known: &Known, new: &Presented<'_>) -> Result<Trusted, Failure> {
        let warning = self.sides_agree(new)?;
        if self.verify_master_pubkey_sign {
            let verified_with = Some(self.verify(new)?);
            let store = !matches!(known, Known::Key(cached) if cached == new.key);
            return Ok(Trusted { token_required: false, store, verified_with, warning });
        }
        match known {
            Known::Nothing => {
                Ok(Trusted { token_required: false, store: true, verified_with: None, warning })
            }
            Known::Unreadable => Err(Failure::CachedKeyUnreadable),
            // Row 19: open mode keeps the cached key, and what follows is checked with that one.
            Known::Key(cached) if cached != new.key => Err(Failure::KeyChanged),
            Known::Key(_) => {
                Ok(Trusted { token_required: false, store: false, verified_with: None, warning })
            }
        }
    }

    /// Salt wants both sides to have signing on, or both off.
    fn sides_agree(&self, new: &Presented<'_>) -> Result<Option<Warning>, Failure> {
        match (self.verify_master_pubkey_sign, new.pub_sig.is_some()) {
            (true, false) => Err(Failure::MissingPubSig),
            (false, true) if self.unexpected_signature == Mismatch::Fail => {
                Err(Failure::UnexpectedPubSig)
            }
            (false, true) => Ok(Some(Warning::UnexpectedPubSig)),
            _ => Ok(None),
        }
    }

    /// The name of the verification key whose signature over the presented key this is.
    fn verify(&self, new: &Presented<'_>) -> Result<String, Failure> {
        if self.verification_keys.is_empty() {
            return Err(Failure::NoVerificationKey);
        }
        let Some(Ok(text)) = new.pub_sig else { return Err(Failure::Malformed("pub_sig")) };
        let compact: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let signature = STANDARD.decode(compact).map_err(|_| Failure::Malformed("pub_sig"))?;
        self.verification_keys
            .iter()
            .find(|v| v.key.verify(new.sig_algo, new.pem.as_bytes(), &signature))
            .map(|v| v.name.clone())
            .ok_or(Failure::BadPubSig)
    }
}
