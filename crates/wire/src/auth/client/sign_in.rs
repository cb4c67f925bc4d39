//! One try to sign in: the request, and the checks of its answer in an order in which nothing is
//! given back to be stored before all of them have passed.

use std::time::Duration;

use saltern_crypto::{CryptoError, PublicKey, SealKey, clean_pem, constant_time_eq, random_nonce};
use saltern_value::msgpack::{self, Raw};
use saltern_value::{Map, Value};

use super::error::{Failure, SignInError};
use super::hints::Hints;
use super::trust::{Known, Presented, Trust, Warning};
use crate::auth::{Identity, SALTERN, aes_digest};
use crate::{envelope, limits};

/// The file with the key of a master seen before (`minion_master.pub`), as the minion found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CachedKey {
    /// No file.
    Absent,
    /// Its text.
    Text(String),
    /// There, but it cannot be read as text.
    Unreadable,
}

/// A sign-in under way: made with its request, used up by the answer.
#[derive(Debug)]
pub struct SignIn {
    identity: Identity,
    known: Known,
    nonce: String,
    token: Option<SealKey>,
}

/// What the master said, and proved to have said where it can be proved.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Signed in.
    Accepted(Box<Credentials>),
    /// The operator has not accepted our key yet.
    Pending,
    /// The operator has rejected our key, or another key is on record for our id.
    Rejected,
    /// As before, from a master that tells the two apart: another key is on record for our id.
    Denied,
    /// The master has as many minions as it wants.
    Full,
    /// It has too many sign-ins to look at now.
    Busy {
        /// When to come again.
        retry_after: Duration,
    },
    /// It is being emptied.
    Draining {
        /// When to ask again.
        retry_after: Duration,
        /// The master it sends us to.
        to: Option<String>,
    },
}

/// When to come again where the master did not say.
const COME_AGAIN: Duration = Duration::from_secs(5);

/// What a signed-in minion works with.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The key of publications.
    pub aes: SealKey,
    /// The one before, from a Saltern master that replaced it a moment ago.
    pub former: Option<SealKey>,
    /// The key of our requests.
    pub session: SealKey,
    /// The master's key.
    pub master_key: PublicKey,
    /// Where the master publishes.
    pub publish_port: u16,
    /// Text to write into the file of the cached key; `None` when what is there is right.
    pub store_master_key: Option<String>,
    /// Whether a verification key vouched for the master's key.
    pub signature_verified: bool,
    /// Name of that verification key.
    pub verified_with: Option<String>,
    /// What a Saltern master adds.
    pub hints: Hints,
    /// To be logged.
    pub warnings: Vec<Warning>,
}

impl CachedKey {
    /// A file of nothing but whitespace counts as none.
    fn known(&self) -> Known {
        match self {
            CachedKey::Absent => Known::Nothing,
            CachedKey::Text(text) if text.trim().is_empty() => Known::Nothing,
            CachedKey::Text(text) => {
                PublicKey::from_pem(text.as_bytes()).map_or(Known::Unreadable, Known::Key)
            }
            CachedKey::Unreadable => Known::Unreadable,
        }
    }
}

impl SignIn {
    /// Starts; returns the bytes to send. `autosign_grains` is the option's names with the values
    /// of these grains, when the option is set.
    ///
    /// # Errors
    /// When OpenSSL fails.
    pub fn begin(
        identity: &Identity,
        cached: &CachedKey,
        autosign_grains: Option<&Map>,
    ) -> Result<(Self, Vec<u8>), CryptoError> {
        Self::begin_as(identity, cached, autosign_grains, false, &Trust::default())
    }

    /// As [`SignIn::begin`]; `standby` tells a Saltern master that we only want to be ready to
    /// come, and are served elsewhere; `trust` which signatures we can check.
    ///
    /// # Errors
    /// When OpenSSL fails.
    pub fn begin_as(
        identity: &Identity,
        cached: &CachedKey,
        autosign_grains: Option<&Map>,
        standby: bool,
        trust: &Trust,
    ) -> Result<(Self, Vec<u8>), CryptoError> {
        let known = cached.known();
        let nonce = random_nonce()?;
        let mut load = Map::from([
            ("cmd", "_auth"),
            ("id", identity.id().as_str()),
            ("nonce", &nonce),
            ("enc_algo", identity.enc_algo().name()),
            ("sig_algo", identity.sig_algo().name()),
        ]);
        load.insert(SALTERN, Hints::asked(standby, trust));
        if let Some(grains) = autosign_grains {
            load.insert("autosign_grains", grains.clone());
        }
        let mut token = None;
        if let Known::Key(master) = &known {
            let secret = SealKey::generate()?;
            // A cached key too short for the algorithm cannot take a token; the answer then
            // fails for want of one.
            if let Ok(sealed) = master.encrypt(identity.enc_algo(), secret.as_str().as_bytes()) {
                load.insert("token", sealed);
            }
            token = Some(secret);
        }
        load.insert("pub", identity.key().public().wire_pem());
        let body = envelope::clear_request(load);
        Ok((SignIn { identity: identity.clone(), known, nonce, token }, body))
    }

    /// Checks the answer.
    ///
    /// # Errors
    /// [`SignInError`] for everything that is not a proper answer to this request by a master to
    /// be trusted. Nothing of such an answer may be used.
    pub fn finish(self, trust: &Trust, answer: &[u8]) -> Result<Outcome, SignInError> {
        let (load, sig) = unwrap(answer)?;
        let inner = msgpack::decode(&load, Raw::Network, limits::STRANGER).ok();
        let inner = inner.and_then(Value::into_map).ok_or(Failure::Malformed("the signed load"))?;
        if inner.contains_key("pub_key") {
            Ok(Outcome::Accepted(Box::new(self.accepted(trust, &inner, &load, &sig)?)))
        } else {
            // A refusal by a revoked key is anybody's.
            if let Known::Key(key) = &self.known
                && trust.is_revoked(key)
            {
                return Err(trust.explain(Failure::Revoked(trust.finger(key)), &self.known, None));
            }
            self.not_accepted(&inner, &load, &sig)
                .map_err(|e| trust.explain(e.failure, &self.known, None))
        }
    }

    /// Pending, rejected or full: with a key known beforehand, only that key's signature counts,
    /// so nobody on the way can turn the minion away (CVE-2022-22935).
    fn not_accepted(&self, inner: &Map, load: &[u8], sig: &[u8]) -> Result<Outcome, SignInError> {
        match &self.known {
            Known::Key(master) => self.check_signed(master, inner, load, sig)?,
            Known::Unreadable => return Err(Failure::CachedKeyUnreadable.into()),
            Known::Nothing => self.check_nonce(inner)?,
        }
        let hints = Hints::of(inner);
        let retry_after = hints.retry_after.unwrap_or(COME_AGAIN);
        match (inner.get("ret"), hints.why.as_deref()) {
            (Some(Value::Bool(true)), _) => Ok(Outcome::Pending),
            (Some(Value::Bool(false)), Some("denied")) => Ok(Outcome::Denied),
            (Some(Value::Bool(false)), _) => Ok(Outcome::Rejected),
            (Some(Value::Str(word)), why) if word == "full" => Ok(match why {
                Some("busy") => Outcome::Busy { retry_after },
                Some("draining") => Outcome::Draining { retry_after, to: hints.to },
                _ => Outcome::Full,
            }),
            _ => Err(Failure::Malformed("ret").into()),
        }
    }

    fn accepted(
        &self,
        trust: &Trust,
        inner: &Map,
        load: &[u8],
        sig: &[u8],
    ) -> Result<Credentials, SignInError> {
        let pem = inner.get_str("pub_key").filter(|pem| pem.len() <= limits::PEM_LEN);
        let key = pem.and_then(|pem| Some((pem, PublicKey::from_pem(pem.as_bytes()).ok()?)));
        let (pem, master) = key.ok_or(Failure::Malformed("pub_key"))?;
        self.checked(trust, inner, (load, sig), pem, &master)
            .map_err(|failure| trust.explain(failure, &self.known, Some(&master)))
    }

    /// Whether the key is to be trusted, and the rest of the answer is that key's.
    fn checked(
        &self,
        trust: &Trust,
        inner: &Map,
        (load, sig): (&[u8], &[u8]),
        pem: &str,
        master: &PublicKey,
    ) -> Result<Credentials, Failure> {
        let presented = Presented {
            pem,
            key: master,
            pub_sig: inner.get("pub_sig").map(|v| v.as_str().ok_or(())),
            sig_algo: self.identity.sig_algo(),
        };
        let trusted = trust.judge(&self.known, &presented)?;
        self.check_signed(master, inner, load, sig)?;
        let aes = self.aes_key(master, inner)?;
        if trusted.token_required {
            self.check_token(inner)?;
        }
        let session = self.secret(inner, "session").ok_or(Failure::BadSessionKey)?;
        let publish_port = inner.get("publish_port").and_then(Value::as_int);
        let publish_port = publish_port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0);
        let added = inner.get(SALTERN).and_then(Value::as_map);
        Ok(Credentials {
            aes,
            former: added.and_then(|added| self.secret(added, "former")),
            session,
            publish_port: publish_port.ok_or(Failure::Malformed("publish_port"))?,
            store_master_key: trusted.store.then(|| clean_pem(pem)),
            signature_verified: trusted.verified_with.is_some(),
            verified_with: trusted.verified_with,
            hints: Hints::of(inner),
            warnings: trusted.warning.into_iter().collect(),
            master_key: master.clone(),
        })
    }

    fn check_signed(
        &self,
        master: &PublicKey,
        inner: &Map,
        load: &[u8],
        sig: &[u8],
    ) -> Result<(), Failure> {
        if !master.verify(self.identity.sig_algo(), load, sig) {
            return Err(Failure::BadSignature);
        }
        self.check_nonce(inner)
    }

    fn check_nonce(&self, inner: &Map) -> Result<(), Failure> {
        let found = inner.get("nonce").and_then(Value::as_raw).unwrap_or_default();
        if constant_time_eq(found, self.nonce.as_bytes()) {
            Ok(())
        } else {
            Err(Failure::WrongNonce)
        }
    }

    fn aes_key(&self, master: &PublicKey, inner: &Map) -> Result<SealKey, Failure> {
        let aes = self.secret(inner, "aes").ok_or(Failure::BadAesKey)?;
        let sig = inner.get("sig").and_then(Value::as_raw).ok_or(Failure::BadAesKey)?;
        let digest = master.x931_recover(sig).ok_or(Failure::BadAesKey)?;
        if constant_time_eq(&digest, aes_digest(&aes).as_bytes()) {
            Ok(aes)
        } else {
            Err(Failure::BadAesKey)
        }
    }

    fn check_token(&self, inner: &Map) -> Result<(), Failure> {
        let ours = self.token.as_ref().ok_or(Failure::BadToken)?;
        let echo = self.secret(inner, "token").ok_or(Failure::BadToken)?;
        if *ours == echo { Ok(()) } else { Err(Failure::BadToken) }
    }

    fn secret(&self, inner: &Map, field: &str) -> Option<SealKey> {
        let sealed = inner.get(field)?.as_raw()?;
        let text = self.identity.key().decrypt(self.identity.enc_algo(), sealed).ok()?;
        SealKey::parse(std::str::from_utf8(&text).ok()?).ok()
    }
}

/// The signed bytes of an answer and the signature over them.
fn unwrap(answer: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Failure> {
    if answer.len() > limits::AUTH_REPLY_LEN {
        return Err(Failure::Malformed("its length"));
    }
    let outer = msgpack::decode(answer, Raw::Network, limits::STRANGER)
        .map_err(|_| Failure::Malformed("no MessagePack"))?;
    let mut outer = match outer {
        Value::Map(outer) => outer,
        Value::Str(word) => return Err(Failure::Refused(word.chars().take(80).collect())),
        _ => return Err(Failure::Malformed("no mapping")),
    };
    match outer.remove("load") {
        Some(Value::Map(load)) => Err(match load.get_str("ret") {
            Some("bad sig algo") => Failure::BadSigAlgo,
            Some("bad enc algo") => Failure::BadEncAlgo,
            // A master of a 3008 cluster that has not joined yet.
            _ if load.contains_key("cluster_retry") => {
                Failure::Refused("the cluster is not ready".to_owned())
            }
            _ => Failure::Unsigned,
        }),
        Some(load) => {
            let load = raw(load).ok_or(Failure::Malformed("load"))?;
            let sig = outer.remove("sig").ok_or(Failure::Unsigned)?;
            Ok((load, raw(sig).ok_or(Failure::Malformed("sig"))?))
        }
        None => Err(match outer.get_str("msg").or_else(|| outer.get_str("error")) {
            Some(word) => Failure::Refused(word.chars().take(80).collect()),
            None => Failure::Malformed("no load"),
        }),
    }
}

fn raw(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::Bytes(bytes) => Some(bytes),
        Value::Str(text) => Some(text.into_bytes()),
        _ => None,
    }
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
