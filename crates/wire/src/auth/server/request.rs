//! The load of a `_auth` request, checked before anything is looked up or written.

use std::fmt;

use saltern_base::MinionId;
use saltern_base::id::InvalidId;
use saltern_crypto::{CryptoError, EncAlgo, PrivateKey, PublicKey, SigAlgo};
use saltern_value::{Map, Value};

use super::notice::Asker;
use super::replies;
use crate::limits;
use crate::reply;

/// A well-formed request to sign in. Nobody has vouched for anything in it.
#[derive(Clone, Debug)]
pub struct AuthRequest {
    /// The id asked for.
    pub id: MinionId,
    /// To be echoed.
    pub nonce: String,
    /// How the minion wants keys encrypted to it.
    pub enc_algo: EncAlgo,
    /// How the minion wants answers signed.
    pub sig_algo: SigAlgo,
    /// The minion's key as text in the form to store: written anew, so that nothing but a key
    /// gets into files and terminals; without a newline at the end.
    pub pub_pem: String,
    /// The minion's key.
    pub key: PublicKey,
    /// The proof asked of a master whose key the minion has: encrypted to that key.
    pub token: Option<Vec<u8>>,
    /// Grain names and values offered for `autosign_grains_dir`.
    pub autosign_grains: Map,
    /// What a minion of ours adds.
    pub asker: Option<Asker>,
}

/// A sign-in that is answered without looking at any key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthRefused {
    /// `sig_algo` names none we have: answered unsigned.
    BadSigAlgo,
    /// `enc_algo` names none we have: answered unsigned. Salt notices this only when it uses the
    /// algorithm; we answer the same before a key is stored.
    BadEncAlgo,
    /// The id cannot be a minion's: answered as rejected.
    InvalidId(InvalidId, Ticket),
    /// The public key is none: answered as rejected.
    BadKey(CryptoError, Ticket),
    /// A field is missing or of the wrong type: answered `bad load`.
    Malformed(&'static str),
}

/// What a signed answer needs of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub(super) nonce: String,
    pub(super) sig_algo: SigAlgo,
}

impl AuthRequest {
    /// Reads the load of a clear `_auth` request.
    ///
    /// # Errors
    /// [`AuthRefused`], which knows its answer.
    pub fn parse(load: &Map) -> Result<Self, AuthRefused> {
        Self::parse_knowing(load, |_| None)
    }

    /// As [`AuthRequest::parse`]. Most minions come with the key that is `known` for their id:
    /// that one is not parsed again, which costs as much as encrypting to it.
    ///
    /// # Errors
    /// As [`AuthRequest::parse`].
    pub fn parse_knowing(
        load: &Map,
        known: impl FnOnce(&MinionId) -> Option<PublicKey>,
    ) -> Result<Self, AuthRefused> {
        let sig_algo = named(load, "sig_algo", SigAlgo::parse).ok_or(AuthRefused::BadSigAlgo)?;
        let enc_algo = named(load, "enc_algo", EncAlgo::parse).ok_or(AuthRefused::BadEncAlgo)?;
        let nonce = load.get_str("nonce").ok_or(AuthRefused::Malformed("nonce"))?;
        if nonce.is_empty() || nonce.len() > limits::NONCE_LEN {
            return Err(AuthRefused::Malformed("nonce"));
        }
        let ticket = Ticket { nonce: nonce.to_owned(), sig_algo };
        let id = load.get_str("id").ok_or(AuthRefused::Malformed("id"))?;
        let id = MinionId::parse(id).map_err(|e| AuthRefused::InvalidId(e, ticket.clone()))?;
        let text = load.get_str("pub").ok_or(AuthRefused::Malformed("pub"))?;
        if text.len() > limits::PEM_LEN {
            return Err(AuthRefused::BadKey(CryptoError::NotAKey, ticket));
        }
        let key = match known(&id).filter(|key| key.wire_pem() == text.trim_end()) {
            Some(key) => key,
            None => PublicKey::from_pem(text.as_bytes())
                .map_err(|e| AuthRefused::BadKey(e, ticket.clone()))?,
        };
        let token = match load.get("token") {
            None | Some(Value::Nil) => None,
            Some(t) => Some(t.as_raw().ok_or(AuthRefused::Malformed("token"))?.to_vec()),
        };
        let autosign_grains =
            load.get("autosign_grains").and_then(Value::as_map).cloned().unwrap_or_default();
        let pub_pem = key.wire_pem().to_owned();
        Ok(AuthRequest {
            id,
            nonce: ticket.nonce,
            enc_algo,
            sig_algo,
            pub_pem,
            key,
            token,
            autosign_grains,
            asker: Asker::parse(load),
        })
    }

    pub(super) fn ticket(&self) -> Ticket {
        Ticket { nonce: self.nonce.clone(), sig_algo: self.sig_algo }
    }
}

impl AuthRefused {
    /// The answer, signed where Salt signs it.
    ///
    /// # Errors
    /// When OpenSSL fails.
    pub fn reply(&self, master: &PrivateKey) -> Result<Vec<u8>, CryptoError> {
        match self {
            AuthRefused::BadSigAlgo => Ok(replies::unsigned("bad sig algo")),
            AuthRefused::BadEncAlgo => Ok(replies::unsigned("bad enc algo")),
            AuthRefused::InvalidId(_, ticket) | AuthRefused::BadKey(_, ticket) => {
                replies::ret(master, ticket, Value::Bool(false))
            }
            AuthRefused::Malformed(_) => Ok(reply::text("bad load")),
        }
    }
}

impl fmt::Display for AuthRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AuthRefused::BadSigAlgo => f.write_str("it asks for an unknown signing_algorithm"),
            AuthRefused::BadEncAlgo => f.write_str("it asks for an unknown encryption_algorithm"),
            AuthRefused::InvalidId(e, _) => write!(f, "{e}"),
            AuthRefused::BadKey(e, _) => write!(f, "its public key: {e}"),
            AuthRefused::Malformed(field) => write!(f, "its field {field} is missing or unusable"),
        }
    }
}

/// The algorithm a field names; Salt's default when the field is missing.
fn named<A: Default>(load: &Map, field: &str, parse: fn(&str) -> Option<A>) -> Option<A> {
    match load.get(field) {
        None => Some(A::default()),
        Some(value) => value.as_str().and_then(parse),
    }
}
