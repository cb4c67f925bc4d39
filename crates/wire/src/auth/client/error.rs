//! Why a sign-in failed, and what that means for the choice of the next master (failover §4.5).

use std::fmt;

use saltern_crypto::CryptoError;

/// How a failure counts against a master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The master is not the one it should be, or cannot work with this minion.
    Hard,
    /// It may work the next time.
    Soft,
}

/// A failed sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInError {
    /// What failed.
    pub failure: Failure,
    /// The keys and files it is about, where there are some; else empty.
    pub detail: String,
}

/// What failed. The numbers are the rows of failover §7.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The answer is not what `_auth` answers; which part (row 20).
    Malformed(&'static str),
    /// The master answered with an error word, such as `bad load`.
    Refused(String),
    /// The master does not know the signing algorithm.
    BadSigAlgo,
    /// The master does not know the encryption algorithm.
    BadEncAlgo,
    /// The answer is not signed although it must be (CVE-2022-22935).
    Unsigned,
    /// The answer is not signed with the key it should be signed with.
    BadSignature,
    /// The answer belongs to another request.
    WrongNonce,
    /// The master's key is not the cached one, and nothing vouches for the new one (12).
    KeyChanged,
    /// The master signs its key, but this minion does not verify (2, 7, 13).
    UnexpectedPubSig,
    /// This minion verifies, but the master does not sign its key (3, 8, 14).
    MissingPubSig,
    /// No verification key could be read (5, 16).
    NoVerificationKey,
    /// The signature over the master's key is by none of the verification keys (5, 11, 16).
    BadPubSig,
    /// The master's key is on the list of revoked ones; its fingerprint.
    Revoked(String),
    /// The master's key does not have the fingerprint of `master_finger` (21).
    WrongFinger {
        /// The option.
        expected: String,
        /// The key's.
        found: String,
    },
    /// The cached key cannot be read, and nothing vouches for the master's (17).
    CachedKeyUnreadable,
    /// The AES key is missing, not encrypted to this minion, or not signed by the master.
    BadAesKey,
    /// The session key is missing or not encrypted to this minion.
    BadSessionKey,
    /// The token did not come back: the other side does not have the master's private key.
    BadToken,
    /// A step of ours failed.
    Crypto(CryptoError),
}

impl SignInError {
    /// How it counts.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self.failure {
            Failure::Refused(_) | Failure::Crypto(_) | Failure::WrongNonce => Severity::Soft,
            _ => Severity::Hard,
        }
    }
}

impl From<Failure> for SignInError {
    fn from(failure: Failure) -> Self {
        SignInError { failure, detail: String::new() }
    }
}

impl From<CryptoError> for Failure {
    fn from(error: CryptoError) -> Self {
        Failure::Crypto(error)
    }
}

impl fmt::Display for SignInError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.failure.fmt(f)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}

impl std::error::Error for SignInError {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Failure::Malformed(part) => {
                return write!(f, "the master's answer is malformed ({part})");
            }
            Failure::Refused(word) => return write!(f, "the master refused the request: {word}"),
            Failure::BadSigAlgo => {
                "the master does not know our signing_algorithm; set one it knows"
            }
            Failure::BadEncAlgo => {
                "the master does not know our encryption_algorithm; set one it knows"
            }
            Failure::Unsigned => "the master's answer is not signed, so it is not believed",
            Failure::BadSignature => {
                "the master's answer is not signed with the key we have for it"
            }
            Failure::WrongNonce => "the master's answer belongs to another request",
            Failure::KeyChanged => {
                "the master key has changed, the master could have been subverted; if the change is \
                 intended, remove the file of the known key here"
            }
            Failure::UnexpectedPubSig => {
                "the master signs its key, but verify_master_pubkey_sign is off here; copy \
                 master_sign.pub from the master into the pki directory and set \
                 verify_master_pubkey_sign to True, or master_pubkey_sign_policy to warn"
            }
            Failure::MissingPubSig => {
                "verify_master_pubkey_sign is on, but the master does not sign its key; set \
                 master_sign_pubkey there"
            }
            Failure::NoVerificationKey => {
                "verify_master_pubkey_sign is on, but the verification key cannot be read; copy \
                 master_sign.pub from the master into the pki directory"
            }
            Failure::BadPubSig => {
                "Failed to verify signature of public key: the master's pub_sig does not fit the \
                 verification key (master_sign.pub) here"
            }
            Failure::Revoked(finger) => {
                return write!(f, "the master's key is revoked ({finger})");
            }
            Failure::WrongFinger { expected, found } => {
                return write!(
                    f,
                    "the master's key has the fingerprint {found}, but master_finger is {expected}"
                );
            }
            Failure::CachedKeyUnreadable => {
                "the cached master key cannot be read; remove the file to trust the master anew"
            }
            Failure::BadAesKey => "the AES key is not encrypted to us or not signed by the master",
            Failure::BadSessionKey => "the session key is missing or not encrypted to us",
            Failure::BadToken => "the master did not prove that it has its private key",
            Failure::Crypto(e) => return write!(f, "{e}"),
        };
        f.write_str(words)
    }
}
