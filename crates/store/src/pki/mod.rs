//! Salt's pki directory (wire-protocol §10.3): the master's own key pairs and one file per minion
//! key, whose directory is its state.

mod directory;
mod master_key;
mod rollover;
mod roster;
mod signature;
#[cfg(test)]
mod tests;

pub use directory::{
    AcceptedKey, KeyList, KeyRecord, KeyState, KeyStateCounts, Pki, autosign_stub_used,
};
pub use master_key::{MasterKeys, gen_keys, open_master, open_master_sign, read_signature_file};
pub use rollover::{Generations, SigningFiles, SigningStamp};
pub use signature::{
    GenSignature, SignatureOutcome, gen_signature, sign_public_key, signature_holds,
};
