//! The master's keys while it runs: its identity, what it signs that identity with, and the AES
//! key all minions share.

pub(crate) mod autosign;
pub(crate) mod signing;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

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
    shared: Mutex<Shared>,
}

/// The AES key, and the one before with the moment at which it was replaced.
struct Shared {
    key: Arc<SharedKey>,
    former: Option<(Instant, Arc<SharedKey>)>,
}

/// Minions of ours are given the former key for so long: publications sealed with it may wait for
/// their sign-ins, which are spread over 10 s and may wait here as long again.
const FORMER: Duration = Duration::from_secs(60);

impl Keys {
    /// Puts the keys together and makes the first AES key.
    ///
    /// # Errors
    /// When OpenSSL fails.
    pub(crate) fn new(
        identity: MasterKeys,
        signature: Option<SignatureSource>,
    ) -> Result<Self, CryptoError> {
        let shared = Mutex::new(Shared { key: fresh(&identity.private)?, former: None });
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
        Arc::clone(&lock(&self.shared).key)
    }

    /// The AES key and the one before, if that was replaced a moment ago.
    pub(crate) fn shared_and_former(&self) -> (Arc<SharedKey>, Option<Arc<SharedKey>>) {
        let shared = lock(&self.shared);
        let former = shared.former.as_ref().filter(|(at, _)| at.elapsed() < FORMER);
        (Arc::clone(&shared.key), former.map(|(_, key)| Arc::clone(key)))
    }

    /// Replaces the AES key.
    ///
    /// # Errors
    /// When OpenSSL fails; the former key stays.
    pub(crate) fn rotate(&self) -> Result<Arc<SharedKey>, CryptoError> {
        let fresh = fresh(&self.identity.private)?;
        let mut shared = lock(&self.shared);
        let former = std::mem::replace(&mut shared.key, Arc::clone(&fresh));
        shared.former = Some((Instant::now(), former));
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
