//! MessagePack as Salt writes it, in its two encodings (wire-protocol §1).
//!
//! Reading is liberal: both encodings are read alike, text that is not UTF-8 becomes bytes.
//! Nothing is reserved on the word of the peer, and depth and item count are bounded, so a short
//! hostile message can take neither stack nor memory.

use std::fmt;

use rmp::{Marker, decode as rd, encode as wr};

use crate::{Map, Value};

/// How text and bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Network payloads, sealed messages and signed blobs: one raw family, no `str8`
    /// (`use_bin_type=False`).
    OldRaw,
    /// Events and files: text and bytes apart (`use_bin_type=True`).
    Bin,
}

/// How raw values are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raw {
    /// From the network: any raw or bin value that is valid UTF-8 is text.
    Network,
    /// From events and files: the text family is text (bytes when not UTF-8), the bin family bytes.
    Typed,
}

/// Bounds on what one message may unfold to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Nesting of lists and mappings.
    pub depth: usize,
    /// Values in the whole message, mapping keys included.
    pub items: usize,
}

impl Limits {
    /// For peers that have proved who they are, and for our own files.
    pub const TRUSTED: Limits = Limits { depth: 200, items: 20_000_000 };
    /// For anybody who can open a connection.
    pub const STRANGER: Limits = Limits { depth: 16, items: 4096 };
}

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The message ends before its last value.
    Truncated,
    /// There is something behind the message.
    Trailing,
    /// Nested deeper than allowed.
    TooDeep,
    /// More values than allowed.
    TooManyItems,
    /// A byte that starts no value.
    Invalid,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DecodeError::Truncated => "the message is cut short",
            DecodeError::Trailing => "there are bytes behind the message",
            DecodeError::TooDeep => "the message is nested too deeply",
            DecodeError::TooManyItems => "the message has too many values",
            DecodeError::Invalid => "the bytes are no MessagePack",
        })
    }
}

impl std::error::Error for DecodeError {}

/// Writes a value.
#[must_use]
pub fn encode(value: &Value, encoding: Encoding) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    encode_into(&mut out, value, encoding);
    out
}

/// Writes a value behind what is already in `out`.
pub fn encode_into(out: &mut Vec<u8>, value: &Value, encoding: Encoding) {
    // Writing to a Vec cannot fail, so the results below carry no information.
    match value {
        Value::Nil => out.push(0xc0),
        Value::Bool(b) => out.push(if *b { 0xc3 } else { 0xc2 }),
        Value::Int(i) => drop(wr::write_sint(out, *i)),
        Value::Big(s) => match s.parse::<u64>() {
            Ok(u) => drop(wr::write_uint(out, u)),
            Err(_) => encode_text(out, s.as_bytes(), encoding),
        },
        Value::Float(f) => drop(wr::write_f64(out, *f)),
        Value::Str(s) => encode_text(out, s.as_bytes(), encoding),
        Value::Bytes(b) => match encoding {
            Encoding::OldRaw => encode_text(out, b, encoding),
            Encoding::Bin => drop(wr::write_bin(out, b)),
        },
        Value::List(l) => {
            drop(wr::write_array_len(out, len32(l.len())));
            for item in l {
                encode_into(out, item, encoding);
            }
        }
        Value::Map(m) => encode_map_into(out, m, encoding),
    }
}

/// Writes a mapping without first moving it into a [`Value`].
#[must_use]
pub fn encode_map(map: &Map, encoding: Encoding) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    encode_map_into(&mut out, map, encoding);
    out
}

/// Writes a mapping behind what is already in `out`.
pub fn encode_map_into(out: &mut Vec<u8>, map: &Map, encoding: Encoding) {
    drop(wr::write_map_len(out, len32(map.len())));
    for (k, v) in map {
        encode_into(out, k, encoding);
        encode_into(out, v, encoding);
    }
}

/// Begins a mapping of `count` pairs, which the caller writes behind it.
pub fn begin_map(out: &mut Vec<u8>, count: u32) {
    drop(wr::write_map_len(out, count));
}

/// Begins raw bytes of that length (at least 256, [`Encoding::OldRaw`]), which the caller writes
/// behind it.
pub fn begin_raw(out: &mut Vec<u8>, length: u32) {
    drop(wr::write_str_len(out, length));
}

fn encode_text(out: &mut Vec<u8>, text: &[u8], encoding: Encoding) {
    if encoding == Encoding::OldRaw && (32..256).contains(&text.len()) {
        out.extend_from_slice(&[0xda, 0, text.len() as u8]);
    } else {
        drop(wr::write_str_len(out, len32(text.len())));
    }
    out.extend_from_slice(text);
}

fn len32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Reads one message that fills `bytes`.
///
/// # Errors
/// When the bytes are no message, are not all of it, or unfold beyond `limits`.
pub fn decode(bytes: &[u8], raw: Raw, limits: Limits) -> Result<Value, DecodeError> {
    let (value, used) = decode_prefix(bytes, raw, limits)?;
    if used == bytes.len() { Ok(value) } else { Err(DecodeError::Trailing) }
}

/// Reads the first message in `bytes`; returns it with its length in bytes.
///
/// # Errors
/// As [`decode`]; [`DecodeError::Truncated`] means that more bytes may complete it.
pub fn decode_prefix(
    bytes: &[u8],
    raw: Raw,
    limits: Limits,
) -> Result<(Value, usize), DecodeError> {
    let mut reader = Reader { rest: bytes, raw, items: limits.items };
    let value = reader.value(limits.depth)?;
    Ok((value, bytes.len() - reader.rest.len()))
}

/// A message from the network, from a peer that has proved who it is.
///
/// # Errors
/// As [`decode`].
pub fn from_network(bytes: &[u8]) -> Result<Value, DecodeError> {
    decode(bytes, Raw::Network, Limits::TRUSTED)
}

/// A message from an event or a file.
///
/// # Errors
/// As [`decode`].
pub fn from_file(bytes: &[u8]) -> Result<Value, DecodeError> {
    decode(bytes, Raw::Typed, Limits::TRUSTED)
}

/// The members of a packed map (from a file) whose keys are among `keys`, and those whose keys are
/// no text. The others are passed over without being unpacked, which is many times faster.
///
/// # Errors
/// As [`decode`], and when it is no map.
pub fn pick(bytes: &[u8], keys: &[&str]) -> Result<Map, DecodeError> {
    let limits = Limits::TRUSTED;
    let mut reader = Reader { rest: bytes, raw: Raw::Typed, items: limits.items };
    let marker = rd::read_marker(&mut reader.rest).map_err(|_| DecodeError::Truncated)?;
    let members = match marker {
        Marker::FixMap(n) => usize::from(n),
        Marker::Map16 | Marker::Map32 => reader.length(marker)?,
        _ => return Err(DecodeError::Invalid),
    };
    let mut map = Map::new();
    for _ in 0..members {
        let mut peek = reader.rest;
        let text = match rd::read_marker(&mut peek).map_err(|_| DecodeError::Truncated)? {
            Marker::FixStr(n) => peek.get(..usize::from(n)),
            Marker::Str8 => peek.split_first().and_then(|(n, rest)| rest.get(..usize::from(*n))),
            _ => None,
        };
        if text.is_some_and(|text| keys.iter().all(|key| key.as_bytes() != text)) {
            reader.pass()?;
            reader.pass()?;
        } else {
            let key = reader.value(limits.depth)?;
            let value = reader.value(limits.depth)?;
            map.insert(key, value);
        }
    }
    Ok(map)
}

struct Reader<'a> {
    rest: &'a [u8],
    raw: Raw,
    items: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, DecodeError> {
        self.items = self.items.checked_sub(1).ok_or(DecodeError::TooManyItems)?;
        let marker = rd::read_marker(&mut self.rest).map_err(|_| DecodeError::Truncated)?;
        Ok(match marker {
            Marker::Null => Value::Nil,
            Marker::True => Value::Bool(true),
            Marker::False => Value::Bool(false),
            Marker::FixPos(i) => Value::from(i),
            Marker::FixNeg(i) => Value::from(i),
            Marker::U8 => Value::from(self.array::<1>()?[0]),
            Marker::U16 => Value::from(u16::from_be_bytes(self.array()?)),
            Marker::U32 => Value::from(u32::from_be_bytes(self.array()?)),
            Marker::U64 => Value::from(u64::from_be_bytes(self.array()?)),
            Marker::I8 => Value::from(i8::from_be_bytes(self.array()?)),
            Marker::I16 => Value::from(i16::from_be_bytes(self.array()?)),
            Marker::I32 => Value::from(i32::from_be_bytes(self.array()?)),
            Marker::I64 => Value::from(i64::from_be_bytes(self.array()?)),
            Marker::F32 => Value::Float(f64::from(f32::from_be_bytes(self.array()?))),
            Marker::F64 => Value::Float(f64::from_be_bytes(self.array()?)),
            Marker::FixStr(n) => self.text(usize::from(n))?,
            Marker::Str8 | Marker::Str16 | Marker::Str32 => {
                let n = self.length(marker)?;
                self.text(n)?
            }
            Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => {
                let n = self.length(marker)?;
                self.binary(n)?
            }
            Marker::FixArray(n) => self.list(usize::from(n), depth)?,
            Marker::Array16 | Marker::Array32 => {
                let n = self.length(marker)?;
                self.list(n, depth)?
            }
            Marker::FixMap(n) => self.map(usize::from(n), depth)?,
            Marker::Map16 | Marker::Map32 => {
                let n = self.length(marker)?;
                self.map(n, depth)?
            }
            Marker::FixExt1 => self.ext(1, depth)?,
            Marker::FixExt2 => self.ext(2, depth)?,
            Marker::FixExt4 => self.ext(4, depth)?,
            Marker::FixExt8 => self.ext(8, depth)?,
            Marker::FixExt16 => self.ext(16, depth)?,
            Marker::Ext8 | Marker::Ext16 | Marker::Ext32 => {
                let n = self.length(marker)?;
                self.ext(n, depth)?
            }
            Marker::Reserved => return Err(DecodeError::Invalid),
        })
    }

    /// Passes over one message.
    fn pass(&mut self) -> Result<(), DecodeError> {
        let mut left: usize = 1;
        while let Some(others) = left.checked_sub(1) {
            let marker = rd::read_marker(&mut self.rest).map_err(|_| DecodeError::Truncated)?;
            let (bytes, items) = match marker {
                Marker::FixStr(n) => (usize::from(n), 0),
                Marker::FixArray(n) => (0, usize::from(n)),
                Marker::FixMap(n) => (0, usize::from(n) * 2),
                Marker::Array16 | Marker::Array32 => (0, self.length(marker)?),
                Marker::Map16 | Marker::Map32 => (0, self.length(marker)?.saturating_mul(2)),
                Marker::Str8 | Marker::Str16 | Marker::Str32 => (self.length(marker)?, 0),
                Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => (self.length(marker)?, 0),
                Marker::Ext8 | Marker::Ext16 | Marker::Ext32 => (1 + self.length(marker)?, 0),
                Marker::FixExt1 => (2, 0),
                Marker::FixExt2 => (3, 0),
                Marker::FixExt4 => (5, 0),
                Marker::FixExt8 => (9, 0),
                Marker::FixExt16 => (17, 0),
                Marker::U8 | Marker::I8 => (1, 0),
                Marker::U16 | Marker::I16 => (2, 0),
                Marker::U32 | Marker::I32 | Marker::F32 => (4, 0),
                Marker::U64 | Marker::I64 | Marker::F64 => (8, 0),
                Marker::Null | Marker::True | Marker::False => (0, 0),
                Marker::FixPos(_) | Marker::FixNeg(_) => (0, 0),
                Marker::Reserved => return Err(DecodeError::Invalid),
            };
            self.bytes(bytes)?;
            self.items = self.items.checked_sub(1).ok_or(DecodeError::TooManyItems)?;
            left = others.saturating_add(items);
        }
        Ok(())
    }

    fn length(&mut self, marker: Marker) -> Result<usize, DecodeError> {
        Ok(match marker {
            Marker::Str8 | Marker::Bin8 | Marker::Ext8 => usize::from(self.array::<1>()?[0]),
            Marker::Str16 | Marker::Bin16 | Marker::Ext16 | Marker::Array16 | Marker::Map16 => {
                usize::from(u16::from_be_bytes(self.array()?))
            }
            _ => u32::from_be_bytes(self.array()?) as usize,
        })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = tail;
        Ok(*head)
    }

    fn bytes(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self.rest.split_at_checked(n).ok_or(DecodeError::Truncated)?;
        self.rest = tail;
        Ok(head)
    }

    fn text(&mut self, n: usize) -> Result<Value, DecodeError> {
        Ok(text_or_bytes(self.bytes(n)?))
    }

    fn binary(&mut self, n: usize) -> Result<Value, DecodeError> {
        let bytes = self.bytes(n)?;
        Ok(match self.raw {
            Raw::Network => text_or_bytes(bytes),
            Raw::Typed => Value::Bytes(bytes.to_vec()),
        })
    }

    fn list(&mut self, n: usize, depth: usize) -> Result<Value, DecodeError> {
        let depth = depth.checked_sub(1).ok_or(DecodeError::TooDeep)?;
        let mut list = Vec::with_capacity(n.min(self.rest.len()).min(1024));
        for _ in 0..n {
            list.push(self.value(depth)?);
        }
        Ok(Value::List(list))
    }

    fn map(&mut self, n: usize, depth: usize) -> Result<Value, DecodeError> {
        let depth = depth.checked_sub(1).ok_or(DecodeError::TooDeep)?;
        let mut map = Map::new();
        for _ in 0..n {
            let key = self.value(depth)?;
            let value = self.value(depth)?;
            map.insert(key, value);
        }
        Ok(Value::Map(map))
    }

    /// Salt's own extension types: 78 is a point in time, 79 a named constant.
    fn ext(&mut self, n: usize, depth: usize) -> Result<Value, DecodeError> {
        let code = self.array::<1>()?[0];
        let bytes = self.bytes(n)?;
        Ok(match code {
            78 => Value::Str(printed_time(&String::from_utf8_lossy(bytes))),
            79 => {
                let depth = depth.checked_sub(1).ok_or(DecodeError::TooDeep)?;
                let mut inner = Reader { rest: bytes, raw: self.raw, items: self.items };
                match inner.value(depth)? {
                    Value::List(l) if l.len() == 2 => l.into_iter().nth(1).unwrap_or_default(),
                    other => other,
                }
            }
            _ => Value::Bytes(bytes.to_vec()),
        })
    }
}

fn text_or_bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::Str(text.to_owned()),
        Err(_) => Value::Bytes(bytes.to_vec()),
    }
}

/// `20260102T03:04:05.000678` as Python prints such a time: `2026-01-02 03:04:05.000678`.
fn printed_time(compact: &str) -> String {
    match (compact.get(0..4), compact.get(4..6), compact.get(6..8), compact.get(9..)) {
        (Some(y), Some(m), Some(d), Some(time)) => {
            format!("{y}-{m}-{d} {}", time.strip_suffix(".000000").unwrap_or(time))
        }
        _ => compact.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_members_are_picked_from_a_packed_map() {
        let long = "x".repeat(70_000);
        let list = Value::List((0..300).map(Value::from).collect());
        let mut map = Map::from([
            ("os", Value::from("Debian")),
            ("list", list),
            ("long", long.as_str().into()),
            ("float", Value::Float(1.5)),
            ("negative", Value::from(-70_000)),
            ("bytes", Value::Bytes(vec![0xff; 300])),
            ("inner", Value::Map(Map::from([("os", "other"), ("b", "c")]))),
            ("last", Value::Bool(true)),
        ]);
        map.insert(Value::Int(7), "number");
        let packed = encode_map(&map, Encoding::Bin);
        let picked = pick(&packed, &["os", "last", "none"]).unwrap();
        assert_eq!(picked.len(), 3);
        assert_eq!(picked.get_str("os"), Some("Debian"));
        assert_eq!(picked.get("last"), Some(&Value::Bool(true)));
        for key in ["list", "long", "float", "negative", "bytes", "inner"] {
            assert_eq!(pick(&packed, &[key]).unwrap().get(key), map.get(key), "{key}");
        }
        for cut in 0..200 {
            assert!(pick(&packed[..cut], &["os"]).is_err());
        }
        assert!(pick(b"\x90", &[]).is_err());
    }

    fn hex(value: &Value, encoding: Encoding) -> String {
        encode(value, encoding).iter().map(|b| format!("{b:02x}")).collect()
    }

    fn nested_lists(levels: usize) -> Vec<u8> {
        let mut bytes = vec![0x91; levels];
        bytes.push(0xc0);
        bytes
    }

    #[test]
    fn the_two_encodings_differ_where_salt_differs() {
        let text = Value::from("a".repeat(32));
        assert!(hex(&text, Encoding::OldRaw).starts_with("da0020"));
        assert!(hex(&text, Encoding::Bin).starts_with("d920"));
        let bytes = Value::Bytes(vec![0xff, 0xfe, 0]);
        assert_eq!(hex(&bytes, Encoding::OldRaw), "a3fffe00");
        assert_eq!(hex(&bytes, Encoding::Bin), "c403fffe00");
    }

    #[test]
    fn integers_beyond_64_bit_become_text() {
        assert_eq!(hex(&Value::from(1i128 << 63), Encoding::Bin), "cf8000000000000000");
        assert_eq!(
            hex(&Value::from(1i128 << 64), Encoding::OldRaw),
            "b43138343436373434303733373039353531363136"
        );
    }

    #[test]
    fn hostile_lengths_and_depths_are_refused() {
        assert_eq!(from_network(&[0xdd, 0x7f, 0xff, 0xff, 0xff]), Err(DecodeError::Truncated));
        assert_eq!(from_network(&nested_lists(100_000)), Err(DecodeError::TooDeep));
        assert_eq!(
            decode(&nested_lists(17), Raw::Network, Limits::STRANGER),
            Err(DecodeError::TooDeep)
        );
        assert_eq!(from_network(&[0xc0, 0xc0]), Err(DecodeError::Trailing));
        assert_eq!(from_network(&[0xc1]), Err(DecodeError::Invalid));
        let many = [&[0xdc, 0x20, 0x00][..], &[0xc0; 0x2000]].concat();
        assert_eq!(decode(&many, Raw::Network, Limits::STRANGER), Err(DecodeError::TooManyItems));
    }

    #[test]
    fn times_read_as_python_prints_them() {
        let mut bytes = vec![0xc7, 0x18, 0x4e];
        bytes.extend_from_slice(b"20260102T03:04:05.000678");
        assert_eq!(from_file(&bytes), Ok(Value::from("2026-01-02 03:04:05.000678")));
    }

    #[test]
    fn raw_values_read_by_where_they_come_from() {
        let bin = [0xc4, 3, b'a', b'b', b'c'];
        assert_eq!(from_network(&bin), Ok(Value::from("abc")));
        assert_eq!(from_file(&bin), Ok(Value::Bytes(b"abc".to_vec())));
        assert_eq!(from_file(&[0xa1, 0xff]), Ok(Value::Bytes(vec![0xff])));
    }
}
