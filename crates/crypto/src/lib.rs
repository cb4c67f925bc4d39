//! Keys, seals, digests and fingerprints as Salt's protocol needs them, on top of OpenSSL.
//!
//! OpenSSL initialises itself at the first call, so a process that needs no key pays nothing.

mod algo;
mod digest;
mod error;
mod pem;
mod rsa;
mod seal;
mod sealing;

pub use algo::{EncAlgo, SigAlgo};
pub use digest::{HashType, Hasher};
pub use error::CryptoError;
pub use pem::{clean_pem, fingerprint, same_pem};
pub use rsa::{PrivateKey, PublicKey};
pub use seal::{SealKey, random_bytes, random_nonce};
pub use sealing::LongAnswer;

/// Compares without telling by its duration where the difference is; lengths are no secret.
#[must_use]
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && openssl::memcmp::eq(a, b)
}
