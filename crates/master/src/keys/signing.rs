//! What the master signs its key with. During a roll-over of the signing pair there are two
//! generations, and each minion gets a signature that it can check: our minions say which keys
//! they hold, of others the operator says it (`salt-key --rotate-master-sign`). The files are
//! looked at anew, so a roll-over needs no restart.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use saltern_base::MinionId;
use saltern_crypto::{CryptoError, PrivateKey, PublicKey, SigAlgo};
use saltern_store::holdings::{self, Holding, Source};
use saltern_store::pki::{SigningFiles, SigningStamp};
use saltern_wire::auth::finger_on_wire;
use saltern_wire::auth::server::{AuthRequest, pub_sig};

use super::lock;

/// The generations of the signing pair in a running master.
pub(crate) struct Signing {
    files: SigningFiles,
    cachedir: PathBuf,
    current: Mutex<Current>,
    /// What each minion said last, so that only changes are written.
    said: Mutex<HashMap<MinionId, Holding>>,
}

struct Current {
    /// The active pair first, then the next or the former one.
    keys: Vec<SigningKey>,
    stamp: Option<SigningStamp>,
}

struct SigningKey {
    private: PrivateKey,
    finger: String,
    /// Signatures never change: made once per algorithm.
    made: Vec<(SigAlgo, Arc<str>)>,
}

impl Signing {
    /// `active` was just read or made; what lies beside it is read with the first sign-in.
    pub(crate) fn new(files: SigningFiles, active: PrivateKey, cachedir: &Path) -> Self {
        let keys = vec![SigningKey::new(active)];
        Signing {
            files,
            cachedir: cachedir.to_owned(),
            current: Mutex::new(Current { keys, stamp: None }),
            said: Mutex::default(),
        }
    }

    /// The signature over the master's key `public` that this minion can check; the active pair's
    /// when nothing is known of it.
    ///
    /// # Errors
    /// When OpenSSL fails.
    pub(crate) fn sign(
        &self,
        public: &PublicKey,
        request: &AuthRequest,
    ) -> Result<Arc<str>, CryptoError> {
        self.refresh(&mut lock(&self.current));
        let held = self.held(request);
        let mut current = lock(&self.current);
        let fits = |key: &SigningKey| held.iter().any(|f| f.eq_ignore_ascii_case(&key.finger));
        let chosen = current.keys.iter().position(fits).unwrap_or(0);
        let key = current.keys.get_mut(chosen).ok_or(CryptoError::NotAKey)?;
        let algo = request.sig_algo;
        if let Some((_, made)) = key.made.iter().find(|(known, _)| *known == algo) {
            return Ok(Arc::clone(made));
        }
        let made: Arc<str> = pub_sig(&key.private, algo, public)?.into();
        key.made.push((algo, Arc::clone(&made)));
        Ok(made)
    }

    /// Reads the files again when they have changed; what cannot be read changes nothing.
    fn refresh(&self, current: &mut Current) {
        let stamp = match self.files.stamp() {
            Ok(stamp) if current.stamp != Some(stamp) => stamp,
            Ok(_) => return,
            Err(error) => return log::error!("The signing keys cannot be looked at: {error}"),
        };
        // Also after a failure: said once for each state of the files.
        let first = current.stamp.replace(stamp).is_none();
        match self.files.read() {
            Ok(found) => {
                let keys = [Some(found.active), found.next, found.old];
                let keys: Vec<_> = keys.into_iter().flatten().map(SigningKey::new).collect();
                if !first || keys.len() > 1 {
                    let fingers: Vec<&str> = keys.iter().map(|key| key.finger.as_str()).collect();
                    log::info!("Signing keys, the active one first: {}", fingers.join(", "));
                }
                current.keys = keys;
            }
            Err(error) => log::error!("The signing keys stay as they were: {error}"),
        }
    }

    /// The fingerprints of the keys this minion can check signatures with.
    fn held(&self, request: &AuthRequest) -> Vec<String> {
        let Some(asker) = &request.asker else { return self.told(&request.id) };
        let fingers = asker.verify.clone().unwrap_or_default();
        let source = match &asker.verify {
            Some(keys) if keys.is_empty() => Source::MinionWithoutKey,
            _ => Source::Minion,
        };
        let holding = Holding { source, fingers: fingers.clone() };
        let repeated = lock(&self.said).get(&request.id) == Some(&holding);
        if !repeated {
            self.remember(&request.id, holding);
        }
        fingers
    }

    fn remember(&self, id: &MinionId, holding: Holding) {
        let known = holdings::read(&self.cachedir, id).ok().flatten();
        let written = match known.as_ref() == Some(&holding) {
            true => Ok(()),
            false => holdings::write(&self.cachedir, id, &holding),
        };
        match written {
            Ok(()) => drop(lock(&self.said).insert(id.clone(), holding)),
            Err(error) => log::warn!("The verification keys of {id} are not remembered: {error}"),
        }
    }

    /// Of a minion that does not say it: what the operator says.
    fn told(&self, id: &MinionId) -> Vec<String> {
        if lock(&self.current).keys.len() < 2 {
            return Vec::new();
        }
        match holdings::read(&self.cachedir, id) {
            Ok(Some(Holding { source: Source::Operator, fingers })) => fingers,
            Ok(_) => Vec::new(),
            Err(error) => {
                log::warn!("What is known of the keys of {id} cannot be read: {error}");
                Vec::new()
            }
        }
    }
}

impl SigningKey {
    fn new(private: PrivateKey) -> Self {
        let finger = finger_on_wire(private.public());
        SigningKey { private, finger, made: Vec::new() }
    }
}
