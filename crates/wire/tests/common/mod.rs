//! The vectors recorded from real Salt, and a master and a minion made of their keys.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of this")]

use saltern_base::{MinionId, hex};
use saltern_crypto::{EncAlgo, PrivateKey, SealKey, SigAlgo};
use saltern_value::{Map, Value};
use saltern_wire::auth::Identity;
use saltern_wire::auth::client::{CachedKey, Credentials};
use saltern_wire::auth::server::{AuthRequest, Grant, SharedKey, accepted};
use saltern_wire::command::ClearCommand;
use saltern_wire::envelope::{self, Envelope};
use saltern_wire::limits;
use serde_json::Value as Json;

pub const VERSIONS: [&str; 2] = ["3006.24", "3008.2"];

pub fn vectors(file: &str) -> Json {
    let path = format!("{}/../../tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub fn text<'a>(json: &'a Json, key: &str) -> &'a str {
    json[key].as_str().unwrap_or_else(|| panic!("no text {key}"))
}

pub fn bytes(json: &Json, key: &str) -> Vec<u8> {
    hex::decode(text(json, key)).unwrap()
}

pub fn private(name: &str) -> PrivateKey {
    PrivateKey::from_pem(text(&vectors("keys.json")[name], "private_pem").as_bytes(), None).unwrap()
}

pub fn identity() -> Identity {
    identity_with(EncAlgo::default(), SigAlgo::default())
}

pub fn identity_with(enc: EncAlgo, sig: SigAlgo) -> Identity {
    Identity::new(MinionId::parse("minion1").unwrap(), private("minion"), enc, sig).unwrap()
}

/// A JSON value of the vectors as a value of ours; `{"hex": ...}` stands for bytes.
pub fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Nil,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => Value::Int(n.as_i64().unwrap()),
        Json::String(s) => Value::from(s.as_str()),
        Json::Array(list) => Value::List(list.iter().map(value).collect()),
        Json::Object(map) if map.len() == 1 && map.contains_key("hex") => {
            Value::Bytes(bytes(json, "hex"))
        }
        Json::Object(map) => map.iter().map(|(k, v)| (k.as_str(), value(v))).collect(),
    }
}

/// What a request's body says, for a master.
pub fn auth_request(body: &[u8]) -> AuthRequest {
    let Envelope::Clear(request) = envelope::parse(body, limits::STRANGER).unwrap() else {
        panic!("not clear")
    };
    let ClearCommand::Auth(load) = ClearCommand::parse(request).unwrap() else {
        panic!("not _auth")
    };
    AuthRequest::parse(&load).unwrap()
}

/// A master: its keys, without any store.
pub struct Master {
    pub key: PrivateKey,
    pub shared: SharedKey,
    pub session: SealKey,
}

impl Master {
    pub fn new(key: &str) -> Self {
        let key = private(key);
        let shared = SharedKey::new(&key, SealKey::generate().unwrap()).unwrap();
        Master { key, shared, session: SealKey::generate().unwrap() }
    }

    pub fn accept(&self, request: &AuthRequest, pub_sig: Option<&str>) -> Vec<u8> {
        let (shared, session) = (&self.shared, &self.session);
        let grant =
            Grant { publish_port: 4505, pub_sig, shared, former: None, session, notice: None };
        accepted(request, &self.key, grant).unwrap()
    }

    pub fn cached(&self) -> CachedKey {
        CachedKey::Text(self.key.public().wire_pem().to_owned())
    }

    /// What a minion holds after signing in.
    pub fn credentials(&self) -> Credentials {
        credentials(&self.key, self.shared.key().clone(), self.session.clone())
    }
}

pub fn credentials(master: &PrivateKey, aes: SealKey, session: SealKey) -> Credentials {
    Credentials {
        aes,
        former: None,
        session,
        master_key: master.public().clone(),
        publish_port: 4505,
        store_master_key: None,
        signature_verified: false,
        verified_with: None,
        hints: saltern_wire::auth::client::Hints::default(),
        warnings: Vec::new(),
    }
}

/// `map` with members replaced.
pub fn with(map: &Map, members: &[(&str, Value)]) -> Map {
    let mut map = map.clone();
    for (key, value) in members {
        map.insert(*key, value.clone());
    }
    map
}
