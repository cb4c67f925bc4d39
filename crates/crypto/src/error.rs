//! What can go wrong with keys and sealed messages, in words that name the way out.

use std::fmt;

use saltern_value::msgpack::DecodeError;

/// Why a cryptographic step failed. Never carries key material.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CryptoError {
    /// The private key is encrypted and no passphrase was given.
    PassphraseNeeded,
    /// The text holds no key that can be read (wrong passphrase included).
    NotAKey,
    /// The key is not an RSA key.
    NotRsa,
    /// The key's modulus has this many bits, which is outside of what is accepted.
    KeySize(u32),
    /// The bytes were not encrypted to this key with this algorithm.
    Decrypt,
    /// The text is no 76-character key of sealed messages.
    BadSealKey,
    /// The sealed message is too short, altered, or made with another key.
    NotAuthentic,
    /// The message is authentic, but its padding or prefix is not Salt's.
    NotAMessage,
    /// The message answers another request.
    WrongNonce,
    /// The message is authentic, but what is inside is no MessagePack.
    Payload(DecodeError),
    /// OpenSSL refused; its own words.
    OpenSsl(String),
}

impl fmt::Display for CryptoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CryptoError::PassphraseNeeded => {
                f.write_str("the private key is encrypted; set its passphrase (key_pass)")
            }
            CryptoError::NotAKey => {
                f.write_str("not a readable PEM key; check the file and its passphrase")
            }
            CryptoError::NotRsa => f.write_str("not an RSA key; only RSA keys are used"),
            CryptoError::KeySize(bits) => {
                write!(f, "a key of {bits} bits is not accepted; use 2048 to 8192 bits")
            }
            CryptoError::Decrypt => f.write_str("the bytes were not encrypted to this key"),
            CryptoError::BadSealKey => f.write_str("not a 76-character message key"),
            CryptoError::NotAuthentic => {
                f.write_str("the message was altered or made with another key")
            }
            CryptoError::NotAMessage => f.write_str("the sealed message has no Salt content"),
            CryptoError::WrongNonce => f.write_str("the message answers another request"),
            CryptoError::Payload(e) => write!(f, "the sealed message cannot be decoded: {e}"),
            CryptoError::OpenSsl(words) => write!(f, "OpenSSL failed: {words}"),
        }
    }
}

impl std::error::Error for CryptoError {}

impl From<openssl::error::ErrorStack> for CryptoError {
    fn from(stack: openssl::error::ErrorStack) -> Self {
        CryptoError::OpenSsl(stack.to_string())
    }
}

impl From<CryptoError> for std::io::Error {
    fn from(error: CryptoError) -> Self {
        std::io::Error::other(error)
    }
}
