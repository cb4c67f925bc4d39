//! The master's keys while it runs: its identity, what it signs that identity with, and the AES
//! key all minions share.

pub(crate) mod autosign;
pub(crate) mod signing;

use std::sync::{Arc, Mutex};

use saltern_crypto::{CryptoError, PrivateKey, PublicKey, SealKey};
use saltern_store::pki::MasterKeys;
use saltern_wire::auth::server::{AuthRequest, SharedKey};

use self::signing::Signing;
use crate::context::lock;

/// How accepted minions get `pub_sig` (failover.md §6).
pub(crate) enum SignatureSource {
    /// Signed with the signing pair, with the digest the minion asks for.
    Signed(Box<Signing>),
    /// The text of the signature file.
    File(String),
}

/// The keys of a running master.
pub(crate) struct Keys {
    identity: MasterKeys,
    signature: Option<SignatureSource>,
    shared: Mutex<Arc<SharedKey>>,
}

impl Keys {
    /// Puts the keys together and makes the first AES key.
    ///
    /// # Errors
    /// When OpenSSL fails.
    pub(crate) fn new(
        identity: MasterKeys,
        signature: Option<SignatureSource>,
    ) -> Result<Self, CryptoError> {
        let shared = Mutex::new(fresh(&identity.private)?);
        Ok(Keys { identity, signature, shared })
    }

    /// The master's private key.
    pub(crate) fn private(&self) -> &PrivateKey {
        &self.identity.private
    }

    /// The master's public key.
    pub(crate) fn public(&self) -> &PublicKey {
        &self.identity.public
    }

    /// The AES key of publications, with the master's signature over it.
    pub(crate) fn shared(&self) -> Arc<SharedKey> {
        Arc::clone(&lock(&self.shared))
    }

    /// Replaces the AES key.
    ///
    /// # Errors
    /// When OpenSSL fails; the former key stays.
    pub(crate) fn rotate(&self) -> Result<Arc<SharedKey>, CryptoError> {
        let fresh = fresh(&self.identity.private)?;
        *lock(&self.shared) = Arc::clone(&fresh);
        Ok(fresh)
    }

    /// The signature over this master's key that an accepted minion gets (`master_sign_pubkey`);
    /// nothing when the option is off. May compute a signature.
    ///
    /// # Errors
    /// When OpenSSL fails.
    pub(crate) fn pub_sig(&self, request: &AuthRequest) -> Result<Option<Arc<str>>, CryptoError> {
        match &self.signature {
            None => Ok(None),
            Some(SignatureSource::File(text)) => Ok(Some(text.as_str().into())),
            Some(SignatureSource::Signed(signing)) => {
                signing.sign(self.public(), request).map(Some)
            }
        }
    }
}

fn fresh(master: &PrivateKey) -> Result<Arc<SharedKey>, CryptoError> {
    Ok(Arc::new(SharedKey::new(master, SealKey::generate()?)?))
}
