//! Why a request is not served, with the exact answer Salt gives (wire-protocol §3.3).

use std::fmt;

use saltern_base::id::InvalidId;
use saltern_value::msgpack::DecodeError;

use crate::command::FieldError;
use crate::reply;

/// A request that is not served: what to answer and what to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The bytes to answer with.
    pub reply: Vec<u8>,
    /// What was wrong.
    pub reason: Reason,
}

/// What was wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The body is no MessagePack, or unfolds to too much.
    Undecodable(DecodeError),
    /// The body is no mapping with `enc` and `load`.
    NotAnEnvelope,
    /// A protocol version below the one spoken.
    Version(i64),
    /// `enc` is neither `clear` nor `aes` (trap T1).
    UnknownEnc,
    /// The load is no mapping.
    LoadNotAMap,
    /// `id` is not text.
    IdNotText,
    /// `id` cannot be a minion's.
    InvalidId(InvalidId),
    /// The load was not sealed with the session key of the minion it names.
    NotAuthentic,
    /// `ts` is older than `request_server_ttl` allows, or missing; age in seconds.
    Expired(Option<u64>),
    /// The sealed id is another one than the outer id.
    IdMismatch,
    /// The token is missing or not made with the minion's key.
    BadToken,
    /// `nonce` is not text or too long.
    BadNonce,
    /// `enc_algo` or `sig_algo` names no algorithm we have.
    Algorithm,
    /// The request was served before.
    Repeated,
    /// There is no `cmd`.
    NoCommand,
    /// A field of the command is missing or of the wrong type.
    Field(FieldError),
}

impl Refused {
    /// Refused with the answer that makes a minion sign in again.
    pub(crate) fn bad_load(reason: Reason) -> Self {
        Refused { reply: reply::text("bad load"), reason }
    }

    pub(crate) fn text(text: &str, reason: Reason) -> Self {
        Refused { reply: reply::text(text), reason }
    }
}

impl Reason {
    /// One word for counters.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Reason::Undecodable(_) => "undecodable",
            Reason::NotAnEnvelope => "not_an_envelope",
            Reason::Version(_) => "version",
            Reason::UnknownEnc => "unknown_enc",
            Reason::LoadNotAMap => "load_not_a_map",
            Reason::IdNotText => "id_not_text",
            Reason::InvalidId(_) => "invalid_id",
            Reason::NotAuthentic => "not_authentic",
            Reason::Expired(_) => "expired",
            Reason::IdMismatch => "id_mismatch",
            Reason::BadToken => "bad_token",
            Reason::BadNonce => "bad_nonce",
            Reason::Algorithm => "algorithm",
            Reason::Repeated => "repeated",
            Reason::NoCommand => "no_command",
            Reason::Field(_) => "field",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Undecodable(e) => write!(f, "{e}"),
            Reason::NotAnEnvelope => f.write_str("no mapping with enc and load"),
            Reason::Version(v) => write!(f, "protocol version {v} is too old"),
            Reason::UnknownEnc => f.write_str("enc is neither clear nor aes"),
            Reason::LoadNotAMap => f.write_str("the load is no mapping"),
            Reason::IdNotText => f.write_str("the id is not text"),
            Reason::InvalidId(e) => write!(f, "{e}"),
            Reason::NotAuthentic => {
                f.write_str("not sealed with the session key of the minion it names")
            }
            Reason::Expired(Some(age)) => write!(f, "made {age} seconds ago"),
            Reason::Expired(None) => f.write_str("has no time stamp"),
            Reason::IdMismatch => f.write_str("the sealed id is not the outer id"),
            Reason::BadToken => f.write_str("the token is not of the minion's key"),
            Reason::BadNonce => f.write_str("the nonce is not usable"),
            Reason::Algorithm => f.write_str("asks for an unknown algorithm"),
            Reason::Repeated => f.write_str("was served before"),
            Reason::NoCommand => f.write_str("no cmd"),
            Reason::Field(e) => write!(f, "{e}"),
        }
    }
}
