//! The master's keys while it runs: its identity, what it signs that identity with, and the AES
//! key all minions share.

pub(crate) mod autosign;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use saltern_crypto::{CryptoError, PrivateKey, PublicKey, SealKey, SigAlgo};
use saltern_store::pki::MasterKeys;
use saltern_wire::auth::server::{SharedKey, pub_sig};

/// How accepted minions get `pub_sig` (failover.md §6).
pub(crate) enum SignatureSource {
    /// Signed with this pair, with the digest the minion asks for.
    Signed(MasterKeys),
    /// The text of the signature file.
    File(String),
}

/// The keys of a running master.
pub(crate) struct Keys {
    identity: MasterKeys,
    signature: Option<SignatureSource>,
    /// `pub_sig` never changes while the master runs: made once per algorithm.
    pub_sigs: Mutex<Vec<(SigAlgo, Arc<str>)>>,
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
        Ok(Keys { identity, signature, pub_sigs: Mutex::default(), shared })
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

    /// The signature over this master's key that accepted minions get (`master_sign_pubkey`);
    /// nothing when the option is off. May compute a signature.
    ///
    /// # Errors
    /// When OpenSSL fails.
    pub(crate) fn pub_sig(&self, algo: SigAlgo) -> Result<Option<Arc<str>>, CryptoError> {
        let signing = match &self.signature {
            None => return Ok(None),
            Some(SignatureSource::File(text)) => return Ok(Some(text.as_str().into())),
            Some(SignatureSource::Signed(signing)) => signing,
        };
        let known = lock(&self.pub_sigs).iter().find(|(a, _)| *a == algo).map(|(_, s)| s.clone());
        if known.is_some() {
            return Ok(known);
        }
        let made: Arc<str> = pub_sig(&signing.private, algo, self.public())?.into();
        lock(&self.pub_sigs).push((algo, Arc::clone(&made)));
        Ok(Some(made))
    }
}

fn fresh(master: &PrivateKey) -> Result<Arc<SharedKey>, CryptoError> {
    Ok(Arc::new(SharedKey::new(master, SealKey::generate()?)?))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
