//! The `_auth` handshake (wire-protocol §4): the master's decision and answers, and the minion's
//! checks of them (failover §7).

pub mod client;
pub mod server;

use std::fmt;
use std::sync::Arc;

use saltern_base::MinionId;
use saltern_crypto::{
    CryptoError, EncAlgo, HashType, PrivateKey, PublicKey, SealKey, SigAlgo, fingerprint,
};

/// What the token that accompanies each request of a minion says (wire-protocol §4.6).
pub(crate) const TOKEN_TEXT: &[u8] = b"salt";

/// The key under which Saltern's masters and minions tell each other more than Salt's do. Others
/// do not look at it.
pub(crate) const SALTERN: &str = "saltern";

/// Most verification keys a minion tells of.
pub(crate) const VERIFY_MAX: usize = 16;

/// How minions and masters of ours name a verification key to each other: the SHA-256 fingerprint,
/// whatever `hash_type` either has.
#[must_use]
pub fn finger_on_wire(key: &PublicKey) -> String {
    fingerprint(key.wire_pem(), HashType::Sha256)
}

/// Who a minion is: its id, its key and the algorithms it asks for. Clones share it.
#[derive(Clone)]
pub struct Identity(Arc<IdentityInner>);

struct IdentityInner {
    id: MinionId,
    key: PrivateKey,
    enc_algo: EncAlgo,
    sig_algo: SigAlgo,
    token: Vec<u8>,
}

impl Identity {
    /// Puts an identity together; makes the token, which is one signature.
    ///
    /// # Errors
    /// When OpenSSL fails.
    pub fn new(
        id: MinionId,
        key: PrivateKey,
        enc_algo: EncAlgo,
        sig_algo: SigAlgo,
    ) -> Result<Self, CryptoError> {
        let token = key.x931_sign(TOKEN_TEXT)?;
        Ok(Identity(Arc::new(IdentityInner { id, key, enc_algo, sig_algo, token })))
    }

    /// The same key under another id, as simulated minions share keys.
    #[must_use]
    pub fn renamed(&self, id: MinionId) -> Self {
        let IdentityInner { key, enc_algo, sig_algo, token, .. } = &*self.0;
        let (key, token) = (key.clone(), token.clone());
        Identity(Arc::new(IdentityInner {
            id,
            key,
            enc_algo: *enc_algo,
            sig_algo: *sig_algo,
            token,
        }))
    }

    /// The minion's id.
    #[must_use]
    pub fn id(&self) -> &MinionId {
        &self.0.id
    }

    /// The minion's private key.
    #[must_use]
    pub fn key(&self) -> &PrivateKey {
        &self.0.key
    }

    /// `encryption_algorithm`.
    #[must_use]
    pub fn enc_algo(&self) -> EncAlgo {
        self.0.enc_algo
    }

    /// `signing_algorithm`.
    #[must_use]
    pub fn sig_algo(&self) -> SigAlgo {
        self.0.sig_algo
    }

    pub(crate) fn token(&self) -> &[u8] {
        &self.0.token
    }
}

/// The token stands for the key, so it does not print.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("id", &self.0.id).finish_non_exhaustive()
    }
}

/// What the master signs in X9.31 form to vouch for the shared AES key (wire-protocol §4.3):
/// the digits of the digest of the key's text, not of its bytes (trap T8).
pub(crate) fn aes_digest(aes: &SealKey) -> String {
    HashType::Sha256.hex_digest(aes.as_str().as_bytes())
}
