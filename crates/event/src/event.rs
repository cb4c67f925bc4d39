//! One event and its packed form: the tag, two newlines, the data as MessagePack.

use std::fmt;
use std::time::SystemTime;

use saltern_value::msgpack::{self, Encoding};
use saltern_value::{Map, Value};

use crate::Framing;
use crate::frame::frame_parts;

/// What stands in the place of a value that made an event too long.
pub const TRIMMED: &str = "VALUE_TRIMMED";

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The tag, for example `salt/auth`.
    pub tag: String,
    /// The data, `_stamp` included.
    pub data: Map,
}

impl Event {
    /// An event fired now: sets `_stamp` (replacing one that is there) as Salt 3006 writes it.
    #[must_use]
    pub fn new(tag: impl Into<String>, data: Map, now: SystemTime) -> Event {
        let mut data = data;
        data.insert("_stamp", saltern_base::time::stamp(now));
        Event { tag: tag.into(), data }
    }
}

/// Why bytes are not an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventError {
    /// No two newlines after the tag, or a tag that is not UTF-8.
    NoTag,
    /// The data is no MessagePack mapping.
    BadData,
    /// The frame around it is no `{head, body}` mapping.
    BadFrame,
    /// Longer than allowed.
    TooLong,
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EventError::NoTag => "the event has no tag",
            EventError::BadData => "the event's data is no mapping",
            EventError::BadFrame => "the frame is not an event's",
            EventError::TooLong => "the event is too long",
        })
    }
}

impl std::error::Error for EventError {}

/// Packs an event.
#[must_use]
pub fn pack(event: &Event) -> Vec<u8> {
    join(&event.tag, &msgpack::encode_map(&event.data, Encoding::Bin))
}

/// Packs an event in at most `max` bytes of data (`max_event_size`, 1 MiB by default) by replacing
/// its largest values by [`TRIMMED`].
#[must_use]
pub fn pack_trimmed(event: &Event, max: usize) -> Vec<u8> {
    join(&event.tag, &trimmed_data(event, max).0)
}

/// As [`pack_trimmed`], in a bare frame; and whether it is whole.
pub(crate) fn frame_trimmed(event: &Event, max: usize) -> (Vec<u8>, bool) {
    let (data, whole) = trimmed_data(event, max);
    (frame_parts(&[event.tag.as_bytes(), b"\n\n", &data], Framing::Bare), whole)
}

fn trimmed_data(event: &Event, max: usize) -> (Vec<u8>, bool) {
    let data = msgpack::encode_map(&event.data, Encoding::Bin);
    if data.len() <= max {
        return (data, true);
    }
    let mut size = data.len();
    let mut trimmed = event.data.clone();
    let replacement = Value::from(TRIMMED);
    let replacement_size = msgpack::encode(&replacement, Encoding::Bin).len();
    let mut values: Vec<(usize, &Value)> = event
        .data
        .iter()
        .filter(|(key, _)| key.as_str() != Some("_stamp"))
        .map(|(key, value)| (msgpack::encode(value, Encoding::Bin).len(), key))
        .collect();
    values.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    for (length, key) in values {
        if size <= max || length <= replacement_size {
            break;
        }
        if let Some(value) = trimmed.get_value_mut(key) {
            *value = replacement.clone();
            size = size - length + replacement_size;
        }
    }
    (msgpack::encode_map(&trimmed, Encoding::Bin), false)
}

/// Reads a packed event.
///
/// # Errors
/// When the bytes are no event.
pub fn unpack(bytes: &[u8]) -> Result<Event, EventError> {
    let (tag, data) = split(bytes).ok_or(EventError::NoTag)?;
    let data = msgpack::from_file(data).map_err(|_| EventError::BadData)?;
    let data = data.into_map().ok_or(EventError::BadData)?;
    Ok(Event { tag: tag.to_owned(), data })
}

/// Tag and data of a packed event, at the first two newlines.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n")?;
    let tag = std::str::from_utf8(bytes.get(..end)?).ok()?;
    Some((tag, bytes.get(end + 2..)?))
}

fn join(tag: &str, data: &[u8]) -> Vec<u8> {
    [tag.as_bytes(), b"\n\n", data].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(values: &[(&str, usize)]) -> Event {
        let data: Map = values.iter().map(|(key, n)| (*key, "x".repeat(*n))).collect();
        Event::new("salt/test", data, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn a_stamp_is_set_over_the_one_that_is_there() {
        let stamped = event(&[("_stamp", 3)]);
        assert_eq!(stamped.data.get_str("_stamp"), Some("1970-01-01T00:00:00.000000"));
        assert_eq!(unpack(&pack(&stamped)), Ok(stamped));
    }

    #[test]
    fn the_largest_values_give_way_first() {
        let long = event(&[("a", 500), ("b", 3000), ("c", 2000), ("d", 10)]);
        let short = unpack(&pack_trimmed(&long, 1000)).unwrap().data;
        assert_eq!(short.get_str("b"), Some(TRIMMED));
        assert_eq!(short.get_str("c"), Some(TRIMMED));
        assert_eq!(short.get_str("a").map(str::len), Some(500));
        assert_eq!(short.get_str("_stamp"), long.data.get_str("_stamp"));
        assert_eq!(pack_trimmed(&long, 10_000), pack(&long));
        // Where nothing can be done, nothing breaks.
        assert_eq!(unpack(&pack_trimmed(&event(&[("a", 5)]), 1)).unwrap(), event(&[("a", 5)]));
    }

    #[test]
    fn bytes_that_are_no_event() {
        assert_eq!(unpack(b"tag only"), Err(EventError::NoTag));
        assert_eq!(unpack(b"\xff\n\n\x80"), Err(EventError::NoTag));
        assert_eq!(unpack(b"tag\n\n"), Err(EventError::BadData));
        assert_eq!(unpack(b"tag\n\n\x90"), Err(EventError::BadData));
        assert_eq!(unpack(b"tag\n\n\x80").unwrap().tag, "tag");
        // Only the first two newlines part tag and data.
        assert_eq!(unpack(b"t\n\n\x81\xa1a\xa2\n\n").unwrap().data.get_str("a"), Some("\n\n"));
    }
}
