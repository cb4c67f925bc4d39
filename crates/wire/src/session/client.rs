//! The minion's half: sealing requests, opening answers.

use std::fmt;
use std::time::SystemTime;

use saltern_base::time::epoch;
use saltern_crypto::{CryptoError, PublicKey, SealKey, constant_time_eq, random_nonce};
use saltern_value::msgpack::{self, Encoding, Raw};
use saltern_value::{Map, Value};

use crate::auth::Identity;
use crate::auth::client::Credentials;
use crate::limits::PROTOCOL_VERSION;
use crate::reply;

/// What a minion needs to talk to one master. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ClientSession {
    identity: Identity,
    session: SealKey,
    master: PublicKey,
}

/// A request ready to send.
#[derive(Clone, Debug)]
pub struct SealedLoad {
    /// The bytes to send.
    pub body: Vec<u8>,
    /// What the answer must carry.
    pub nonce: String,
}

/// Why an answer gives no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The answer is not sealed with our session key, e.g. `bad load`: sign in again, then send
    /// the request once more, sealed anew.
    NeedsAuth,
    /// The answer belongs to another request. Do not repeat.
    WrongNonce,
    /// The pillar is not signed by our master, or not for us (CVE-2022-22934).
    BadSignature,
    /// The answer is no answer; which part. Do not repeat.
    Malformed(&'static str),
    /// The master says that it cannot serve this.
    Refused(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::NeedsAuth => f.write_str("the master does not know our session key"),
            OpenError::WrongNonce => f.write_str("the master's answer is to another request"),
            OpenError::BadSignature => f.write_str("the pillar is not signed by our master"),
            OpenError::Malformed(part) => write!(f, "the master's answer is malformed ({part})"),
            OpenError::Refused(words) => write!(f, "the master refused: {words}"),
        }
    }
}

impl std::error::Error for OpenError {}

impl ClientSession {
    /// The session that a sign-in has given.
    #[must_use]
    pub fn new(identity: &Identity, credentials: &Credentials) -> Self {
        ClientSession {
            identity: identity.clone(),
            session: credentials.session.clone(),
            master: credentials.master_key.clone(),
        }
    }

    /// Seals a request: `load` has `cmd` and its fields; the envelope's fields are added, `id`
    /// replaced. The same load is sealed anew, with another nonce, for each try.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn seal(&self, load: Map, now: SystemTime) -> Result<SealedLoad, CryptoError> {
        self.seal_with(load, now, false)
    }

    /// As [`ClientSession::seal`], signed with the minion's key (`minion_sign_messages`) in the way
    /// masters from 3006.26 on look at: over the load as it arrives there, without the fields
    /// that the envelope alone needs.
    ///
    /// # Errors
    /// When OpenSSL fails.
    pub fn seal_signed(&self, load: Map, now: SystemTime) -> Result<SealedLoad, CryptoError> {
        self.seal_with(load, now, true)
    }

    fn seal_with(
        &self,
        mut load: Map,
        now: SystemTime,
        sign: bool,
    ) -> Result<SealedLoad, CryptoError> {
        let nonce = random_nonce()?;
        let id = self.identity.id().as_str();
        load.insert("nonce", nonce.as_str());
        load.insert("ts", epoch(now));
        load.insert("tok", self.identity.token());
        load.insert("id", id);
        if sign {
            load.insert("sig", self.signature(&load)?);
        }
        let sealed = self.session.seal_map(&load, None)?;
        let body = reply::map(&Map::from([
            ("enc", Value::from("aes")),
            ("load", Value::Bytes(sealed)),
            ("version", Value::Int(PROTOCOL_VERSION)),
            ("id", Value::from(id)),
            ("enc_algo", Value::from(self.identity.enc_algo().name())),
            ("sig_algo", Value::from(self.identity.sig_algo().name())),
        ]));
        Ok(SealedLoad { body, nonce })
    }

    fn signature(&self, load: &Map) -> Result<Vec<u8>, CryptoError> {
        let mut signed = load.clone();
        signed.remove("nonce");
        signed.remove("tok");
        // What the master serializes again is what it has read: text is text there even where it
        // was bytes here.
        let sent = msgpack::encode_map(&signed, Encoding::OldRaw);
        let seen = msgpack::from_network(&sent).ok().and_then(Value::into_map).unwrap_or(signed);
        let bytes = msgpack::encode_map(&seen, Encoding::Bin);
        self.identity.key().sign(self.identity.sig_algo(), &bytes)
    }

    /// Opens the answer to any request but `_pillar`.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&self, nonce: &str, answer: &[u8]) -> Result<Value, OpenError> {
        // A piece of a file is opened where it is: a copy takes as long as decrypting it.
        if let Some(sealed) = long_bytes(answer) {
            return self.open_sealed(nonce, sealed);
        }
        let value = msgpack::decode(answer, Raw::Network, msgpack::Limits::STRANGER)
            .map_err(|_| OpenError::Malformed("no MessagePack"))?;
        // Salt passes an empty answer on as it is. To believe one would let anybody on the way
        // acknowledge a return for the master, so here it means that the session is not good.
        let sealed = value.as_raw().ok_or(OpenError::NeedsAuth)?;
        self.open_sealed(nonce, sealed)
    }

    fn open_sealed(&self, nonce: &str, sealed: &[u8]) -> Result<Value, OpenError> {
        self.session.open_reply(sealed, nonce).map_err(|e| match e {
            CryptoError::WrongNonce => OpenError::WrongNonce,
            CryptoError::Payload(_) => OpenError::Malformed("the sealed value"),
            _ => OpenError::NeedsAuth,
        })
    }

    /// Opens the answer to `_pillar` (wire-protocol §7.1).
    ///
    /// # Errors
    /// [`OpenError`]; an answer without a pillar means [`OpenError::NeedsAuth`].
    pub fn open_pillar(&self, nonce: &str, answer: &[u8]) -> Result<Map, OpenError> {
        let outer = msgpack::decode(answer, Raw::Network, msgpack::Limits::STRANGER)
            .map_err(|_| OpenError::Malformed("no MessagePack"))?;
        let Value::Map(outer) = outer else { return Err(OpenError::NeedsAuth) };
        let (Some(key), Some(blob)) =
            (outer.get("key").and_then(Value::as_raw), outer.get("pillar").and_then(Value::as_raw))
        else {
            return Err(match outer.get_str("error") {
                Some(words) => OpenError::Refused(words.chars().take(200).collect()),
                None => OpenError::NeedsAuth,
            });
        };
        let one_time = self.one_time_key(key).ok_or(OpenError::NeedsAuth)?;
        let signed = one_time.open_value(blob).map_err(|_| OpenError::BadSignature)?;
        let data = signed.get("data").and_then(Value::as_raw).ok_or(OpenError::BadSignature)?;
        let sig = signed.get("sig").and_then(Value::as_raw).ok_or(OpenError::BadSignature)?;
        if !self.master.verify(self.identity.sig_algo(), data, sig) {
            return Err(OpenError::BadSignature);
        }
        let data = msgpack::from_network(data).ok().and_then(Value::into_map);
        let mut data = data.ok_or(OpenError::Malformed("the signed pillar"))?;
        // The key is signed too: else a signed pillar could be sealed again for somebody else.
        let inner = data.get("key").and_then(Value::as_raw).unwrap_or_default();
        if !constant_time_eq(inner, key) {
            return Err(OpenError::BadSignature);
        }
        let found = data.get("nonce").and_then(Value::as_raw).unwrap_or_default();
        if !constant_time_eq(found, nonce.as_bytes()) {
            return Err(OpenError::WrongNonce);
        }
        match data.remove("pillar") {
            Some(Value::Map(pillar)) => Ok(pillar),
            Some(Value::Nil | Value::Bool(false)) => Ok(Map::new()),
            _ => Err(OpenError::Malformed("pillar")),
        }
    }

    fn one_time_key(&self, sealed: &[u8]) -> Option<SealKey> {
        let text = self.identity.key().decrypt(self.identity.enc_algo(), sealed).ok()?;
        SealKey::parse(std::str::from_utf8(&text).ok()?).ok()
    }
}

/// What is in MessagePack bytes (or text, in Salt's old form) of 64 KiB and more that are all of
/// `message`.
fn long_bytes(message: &[u8]) -> Option<&[u8]> {
    let (head, bytes) = message.split_first_chunk::<5>()?;
    let [0xc6 | 0xdb, length @ ..] = *head else { return None };
    (usize::try_from(u32::from_be_bytes(length)) == Ok(bytes.len())).then_some(bytes)
}
