//! The outer mapping of a request, from anybody who can connect (wire-protocol §3).

use std::fmt;

use saltern_base::MinionId;
use saltern_value::msgpack::{self, Raw};
use saltern_value::{Map, Value};

use crate::limits::{Limits, PROTOCOL_VERSION};
use crate::refused::{Reason, Refused};
use crate::reply;

/// A request by how it is protected. There is no third kind (trap T1).
#[derive(Clone, Debug)]
pub enum Envelope {
    /// `enc: clear`: sign-in, ping, and the tools of the master's host.
    Clear(ClearRequest),
    /// `enc: aes`: everything a signed-in minion sends.
    Sealed(SealedRequest),
}

/// An unprotected request; [`crate::command::ClearCommand::parse`] reads it further. It may hold
/// the root key or a password, so its content does not print.
#[derive(Clone)]
pub struct ClearRequest {
    /// What it says.
    pub load: Map,
}

/// A sealed request. Nothing in it is to be believed before [`crate::session::server::open`].
#[derive(Clone, Debug)]
pub struct SealedRequest {
    /// The minion it claims to come from: look up the accepted key of that id first, and answer
    /// [`SealedRequest::refuse_unknown`] without touching anything when there is none (trap T2).
    pub id: MinionId,
    pub(crate) load: Vec<u8>,
    pub(crate) enc_algo: Option<String>,
    pub(crate) sig_algo: Option<String>,
}

impl fmt::Debug for ClearRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClearRequest").field("cmd", &self.load.get("cmd")).finish_non_exhaustive()
    }
}

impl SealedRequest {
    /// The refusal for an id without an accepted key.
    #[must_use]
    pub fn refuse_unknown(&self) -> Refused {
        Refused::bad_load(Reason::NotAuthentic)
    }
}

/// The body of a clear request: `_auth`, `ping`, and what the tools send.
#[must_use]
pub fn clear_request(load: Map) -> Vec<u8> {
    reply::map(&Map::from([
        ("enc", Value::from("clear")),
        ("load", Value::Map(load)),
        ("version", Value::Int(PROTOCOL_VERSION)),
    ]))
}

/// Reads the body of a request.
///
/// # Errors
/// [`Refused`] with the answer Salt gives to such a body.
pub fn parse(body: &[u8], limits: Limits) -> Result<Envelope, Refused> {
    let value = msgpack::decode(body, Raw::Network, limits).map_err(|e| Refused {
        reply: reply::map(&Map::from([("msg", "bad load")])),
        reason: Reason::Undecodable(e),
    })?;
    let mut outer = value.into_map().ok_or_else(|| Refused::bad_load(Reason::NotAnEnvelope))?;
    let (Some(enc), Some(load)) = (outer.remove("enc"), outer.remove("load")) else {
        return Err(Refused::bad_load(Reason::NotAnEnvelope));
    };
    let version = version(outer.get("version"));
    if version < PROTOCOL_VERSION {
        return Err(Refused::bad_load(Reason::Version(version)));
    }
    match enc.as_str() {
        Some("clear") => clear(load).map(Envelope::Clear),
        Some("aes") => sealed(load, &outer).map(Envelope::Sealed),
        _ => Err(Refused::bad_load(Reason::UnknownEnc)),
    }
}

/// Python's `int(...)` of the field, where what it refuses is version 0.
fn version(value: Option<&Value>) -> i64 {
    match value {
        Some(Value::Int(v)) => *v,
        Some(Value::Float(v)) => *v as i64,
        Some(Value::Str(s)) => s.trim().parse().unwrap_or(0),
        _ => 0,
    }
}

fn clear(load: Value) -> Result<ClearRequest, Refused> {
    let Value::Map(load) = load else {
        return Err(Refused::text("payload and load must be a dict", Reason::LoadNotAMap));
    };
    match load.get("id") {
        None => {}
        Some(Value::Str(id)) if id.contains('\0') => {
            let reason = Reason::InvalidId(saltern_base::id::InvalidId::ForbiddenCharacter);
            return Err(Refused::text("bad load: id contains a null byte", reason));
        }
        Some(Value::Str(_)) => {}
        Some(other) => {
            let words = format!("bad load: id {} is not a string", shown(other));
            return Err(Refused::text(&words, Reason::IdNotText));
        }
    }
    Ok(ClearRequest { load })
}

fn sealed(load: Value, outer: &Map) -> Result<SealedRequest, Refused> {
    let load = match load {
        Value::Bytes(bytes) => bytes,
        Value::Str(text) => text.into_bytes(),
        _ => return Err(Refused::bad_load(Reason::NotAuthentic)),
    };
    let id = outer.get_str("id").ok_or_else(|| Refused::bad_load(Reason::IdNotText))?;
    let id = MinionId::parse(id).map_err(|e| Refused::bad_load(Reason::InvalidId(e)))?;
    let algorithm = |key| outer.get_str(key).map(str::to_owned);
    Ok(SealedRequest { id, load, enc_algo: algorithm("enc_algo"), sig_algo: algorithm("sig_algo") })
}

/// A small value as Python prints it; a stranger gets no long echo.
fn shown(value: &Value) -> String {
    match value {
        Value::Nil => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Int(i) => i.to_string(),
        Value::Float(f) => f.to_string(),
        other => format!("of type {}", other.type_name()),
    }
}
