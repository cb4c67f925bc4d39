//! Answers that travel unsealed: error words, and results of clear commands (wire-protocol §8).

use saltern_value::msgpack::{Encoding, encode, encode_map};
use saltern_value::{Map, Value};

/// A bare value.
#[must_use]
pub fn value(value: &Value) -> Vec<u8> {
    encode(value, Encoding::OldRaw)
}

/// A bare mapping.
#[must_use]
pub fn map(map: &Map) -> Vec<u8> {
    encode_map(map, Encoding::OldRaw)
}

/// A bare text, such as `bad load`.
#[must_use]
pub fn text(text: &str) -> Vec<u8> {
    value(&Value::from(text))
}

/// `{}`: the answer to a clear command that does not exist.
#[must_use]
pub fn unknown_command() -> Vec<u8> {
    map(&Map::new())
}

/// `{"enc": "clear", "load": ...}`: the answer to `publish`.
#[must_use]
pub fn clear(load: Value) -> Vec<u8> {
    map(&Map::from([("enc", Value::from("clear")), ("load", load)]))
}

/// `{"error": {"name": ..., "message": ...}}`.
#[must_use]
pub fn error(name: &str, message: &str) -> Vec<u8> {
    let inner = Map::from([("name", name), ("message", message)]);
    map(&Map::from([("error", inner)]))
}
