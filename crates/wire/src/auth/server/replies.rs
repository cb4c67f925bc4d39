//! The answers to `_auth` (wire-protocol §4.2, §4.3).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use saltern_crypto::{CryptoError, PrivateKey, PublicKey, SealKey, SigAlgo};
use saltern_value::msgpack::{Encoding, encode_map};
use saltern_value::{Map, Value};

use super::notice::{Notice, Refusal};
use super::request::{AuthRequest, Ticket};
use crate::auth::{SALTERN, aes_digest};
use crate::reply;

/// The AES key all minions of a master share, with the master's signature over it, which is made
/// once per rotation and not once per sign-in.
#[derive(Clone, Debug)]
pub struct SharedKey {
    key: SealKey,
    signature: Vec<u8>,
}

impl SharedKey {
    /// Signs a key.
    ///
    /// # Errors
    /// When OpenSSL fails.
    pub fn new(master: &PrivateKey, key: SealKey) -> Result<Self, CryptoError> {
        let signature = master.x931_sign(aes_digest(&key).as_bytes())?;
        Ok(SharedKey { key, signature })
    }

    /// The key itself.
    #[must_use]
    pub fn key(&self) -> &SealKey {
        &self.key
    }
}

/// What an accepted minion is given.
#[derive(Clone, Copy, Debug)]
pub struct Grant<'a> {
    /// The port of publications.
    pub publish_port: u16,
    /// With `master_sign_pubkey`: [`pub_sig`] for the algorithm of the request, or the content of
    /// the precomputed file.
    pub pub_sig: Option<&'a str>,
    /// The AES key of publications.
    pub shared: &'a SharedKey,
    /// For a minion of ours: the one before, if that was replaced a moment ago. A publication sealed
    /// with it may be why the minion comes.
    pub former: Option<&'a SealKey>,
    /// The key of the minion's own requests.
    pub session: &'a SealKey,
    /// What a master of ours adds; real masters have none.
    pub notice: Option<&'a Notice>,
}

/// The answer to a minion whose key is accepted.
///
/// # Errors
/// When OpenSSL fails, e.g. because the minion's key is too short for the algorithm.
pub fn accepted(
    request: &AuthRequest,
    master: &PrivateKey,
    grant: Grant<'_>,
) -> Result<Vec<u8>, CryptoError> {
    let to_minion = |secret: &[u8]| request.key.encrypt(request.enc_algo, secret);
    let mut inner = Map::from([
        ("enc", Value::from("pub")),
        ("pub_key", Value::from(master.public().wire_pem())),
        ("publish_port", Value::from(grant.publish_port)),
    ]);
    if let Some(pub_sig) = grant.pub_sig {
        inner.insert("pub_sig", pub_sig);
    }
    // A token that cannot be opened was made for another master's key; Salt leaves it out too.
    let token = request.token.as_ref().and_then(|t| master.decrypt(request.enc_algo, t).ok());
    if let Some(echo) = token.and_then(|token| to_minion(&token).ok()) {
        inner.insert("token", echo);
    }
    inner.insert("aes", to_minion(grant.shared.key.as_str().as_bytes())?);
    inner.insert("session", to_minion(grant.session.as_str().as_bytes())?);
    inner.insert("sig", grant.shared.signature.clone());
    if let Some(notice) = grant.notice {
        let mut notice = notice.to_map(None);
        if let Some(former) = grant.former {
            notice.insert("former", to_minion(former.as_str().as_bytes())?);
        }
        inner.insert(SALTERN, notice);
    }
    signed(master, &request.ticket(), inner)
}

/// The answer to a minion that is not taken.
///
/// # Errors
/// When OpenSSL fails.
pub fn refused(
    request: &AuthRequest,
    master: &PrivateKey,
    refusal: &Refusal,
    notice: Option<&Notice>,
) -> Result<Vec<u8>, CryptoError> {
    let mut inner = Map::from([("ret", refusal.why.ret())]);
    if let Some(notice) = notice {
        inner.insert(SALTERN, notice.to_map(Some(refusal)));
    }
    signed(master, &request.ticket(), inner)
}

/// The `pub_sig` of an accepted answer: the signing key's signature over the master key exactly
/// as it is sent, in base64 with the newline Salt has there (trap T21).
///
/// # Errors
/// When OpenSSL fails.
pub fn pub_sig(
    signing: &PrivateKey,
    algo: SigAlgo,
    master: &PublicKey,
) -> Result<String, CryptoError> {
    let signature = signing.sign(algo, master.wire_pem().as_bytes())?;
    Ok(STANDARD.encode(signature) + "\n")
}

/// `{"enc": "clear", "load": {"ret": ...}}`: the two answers Salt leaves unsigned.
pub(super) fn unsigned(ret: &str) -> Vec<u8> {
    reply::clear(Value::Map(Map::from([("ret", ret)])))
}

pub(super) fn ret(
    master: &PrivateKey,
    ticket: &Ticket,
    ret: Value,
) -> Result<Vec<u8>, CryptoError> {
    signed(master, ticket, Map::from([("ret", ret)]))
}

fn signed(master: &PrivateKey, ticket: &Ticket, mut inner: Map) -> Result<Vec<u8>, CryptoError> {
    inner.insert("nonce", ticket.nonce.as_str());
    let load = encode_map(&inner, Encoding::OldRaw);
    let sig = master.sign(ticket.sig_algo, &load)?;
    let outer = [("enc", Value::from("clear")), ("load", load.into()), ("sig", sig.into())];
    Ok(reply::map(&Map::from(outer)))
}
