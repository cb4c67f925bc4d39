//! Frames on the bus sockets: `{"head": {}, "body": <event>}` in MessagePack, bare or behind a
//! four-byte big-endian length.

use saltern_value::Value;
use saltern_value::msgpack::{self, DecodeError, Limits, Raw};

use crate::EventError;

/// What every frame Salt writes begins with: a mapping of two, an empty head, the body's key.
const LEAD: &[u8] = b"\x82\xa4head\x80\xa4body";
/// No length begins like this: it would be over two gigabytes.
const BARE_FIRST: u8 = 0x82;
const BIN8: u8 = 0xc4;
const BIN16: u8 = 0xc5;
const BIN32: u8 = 0xc6;
/// Bytes a frame may have beside the event.
const FRAMING_MAX: usize = 1024;
const FRAME_LIMITS: Limits = Limits { depth: 4, items: 64 };

/// How a frame is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Back to back: what subscribers get, and what Salt 3006 pushes.
    Bare,
    /// Behind a four-byte big-endian length: what Salt 3008 pushes.
    Length,
}

/// Frames a packed event.
#[must_use]
pub fn frame(packed: &[u8], framing: Framing) -> Vec<u8> {
    frame_parts(&[packed], framing)
}

/// Frames a packed event that is the parts one after the other.
pub(crate) fn frame_parts(parts: &[&[u8]], framing: Framing) -> Vec<u8> {
    let length = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length + 24);
    if framing == Framing::Length {
        out.extend_from_slice(&[0; 4]);
    }
    out.extend_from_slice(LEAD);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) => out.extend_from_slice(&[BIN8, short]),
        (_, Ok(medium)) => {
            out.push(BIN16);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(BIN32);
            out.extend_from_slice(&len32(length).to_be_bytes());
        }
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    if framing == Framing::Length {
        let length = len32(out.len() - 4).to_be_bytes();
        out[..4].copy_from_slice(&length);
    }
    out
}

/// Takes a byte stream of frames of either form apart, deciding the form frame by frame.
#[derive(Debug)]
pub struct FrameReader {
    max: usize,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are consumed.
    start: usize,
}

impl FrameReader {
    /// A reader that refuses frames over `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> FrameReader {
        FrameReader { max, buffer: Vec::new(), start: 0 }
    }

    /// Adds bytes from the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame's body (a packed event), or `None` until more bytes are there.
    ///
    /// # Errors
    /// The stream is broken and cannot be read on.
    pub fn next_body(&mut self) -> Result<Option<Vec<u8>>, EventError> {
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        let found = match rest.first() {
            None => {
                // An idle connection holds no memory.
                (self.buffer, self.start) = (Vec::new(), 0);
                return Ok(None);
            }
            Some(&BARE_FIRST) => self.bare(rest)?,
            Some(_) => self.behind_length(rest)?,
        };
        match found {
            Found::Body(body, used) => {
                self.start += used;
                Ok(Some(body))
            }
            Found::Partial if rest.len() > self.max.saturating_add(FRAMING_MAX) => {
                Err(EventError::TooLong)
            }
            Found::Partial => Ok(None),
        }
    }

    fn bare(&self, rest: &[u8]) -> Result<Found, EventError> {
        // Every Salt writes this form, so its length is known before it is complete.
        if let Some(after) = rest.strip_prefix(LEAD) {
            let Some((length, head)) = bin_length(after)? else { return Ok(Found::Partial) };
            if length > self.max {
                return Err(EventError::TooLong);
            }
            return Ok(match after.get(head..head + length) {
                Some(body) => Found::Body(body.to_vec(), LEAD.len() + head + length),
                None => Found::Partial,
            });
        }
        match msgpack::decode_prefix(rest, Raw::Typed, FRAME_LIMITS) {
            Ok((frame, used)) => Ok(Found::Body(body_of(&frame)?, used)),
            Err(DecodeError::Truncated) => Ok(Found::Partial),
            Err(_) => Err(EventError::BadFrame),
        }
    }

    fn behind_length(&self, rest: &[u8]) -> Result<Found, EventError> {
        let Some(length) = rest.get(..4).and_then(|b| <[u8; 4]>::try_from(b).ok()) else {
            return Ok(Found::Partial);
        };
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > self.max.saturating_add(FRAMING_MAX) {
            return Err(EventError::TooLong);
        }
        let Some(frame) = rest.get(4..4 + length) else { return Ok(Found::Partial) };
        let decoded = msgpack::decode(frame, Raw::Typed, FRAME_LIMITS);
        let frame = decoded.map_err(|_| EventError::BadFrame)?;
        Ok(Found::Body(body_of(&frame)?, 4 + length))
    }
}

enum Found {
    /// The body and the bytes its frame took.
    Body(Vec<u8>, usize),
    /// Not complete.
    Partial,
}

fn body_of(frame: &Value) -> Result<Vec<u8>, EventError> {
    match frame.get("body") {
        Some(Value::Bytes(body)) => Ok(body.clone()),
        _ => Err(EventError::BadFrame),
    }
}

/// Length of a bin value and of its head; `None` until the head is complete.
fn bin_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, EventError> {
    let Some((&marker, rest)) = bytes.split_first() else { return Ok(None) };
    let width = match marker {
        BIN8 => 1,
        BIN16 => 2,
        BIN32 => 4,
        _ => return Err(EventError::BadFrame),
    };
    let Some(digits) = rest.get(..width) else { return Ok(None) };
    let length = digits.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
    Ok(Some((length, 1 + width)))
}

fn len32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        reader: &mut FrameReader,
        bytes: &[u8],
        step: usize,
    ) -> Result<Vec<Vec<u8>>, EventError> {
        let mut bodies = Vec::new();
        for piece in bytes.chunks(step) {
            reader.push(piece);
            while let Some(body) = reader.next_body()? {
                bodies.push(body);
            }
        }
        Ok(bodies)
    }

    #[test]
    fn both_forms_mixed_in_one_stream_in_pieces_of_any_size() {
        let bodies: Vec<Vec<u8>> =
            [0, 1, 200, 255, 256, 70_000].iter().map(|n| vec![b'x'; *n]).collect();
        let mut stream = Vec::new();
        for body in &bodies {
            stream.extend_from_slice(&frame(body, Framing::Bare));
            stream.extend_from_slice(&frame(body, Framing::Length));
        }
        // The same mapping in another order, with something in its head.
        stream.extend_from_slice(b"\x82\xa4body\xc4\x03abc\xa4head\x81\xa3mid\x01");
        for step in [1, 3, 1000, 1 << 20] {
            let read = read(&mut FrameReader::new(100_000), &stream, step).unwrap();
            assert_eq!(read.len(), 13);
            assert_eq!((&read[0], &read[10], &read[11]), (&bodies[0], &bodies[5], &bodies[5]));
            assert_eq!(read[12], b"abc");
        }
    }

    #[test]
    fn streams_that_are_none_end() {
        for (bytes, error) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], EventError::TooLong),
            (b"\x82\xa4head\x80\xa4body\xa3abc", EventError::BadFrame),
            (b"\x82\xa4head\x80\xa4body\xc6\x7f\xff\xff\xff", EventError::TooLong),
            (b"\x82\xc1", EventError::BadFrame),
            (b"\x00\x00\x00\x01\x80", EventError::BadFrame),
            (b"\x00\x10\x00\x00", EventError::TooLong),
        ] {
            let read = read(&mut FrameReader::new(1000), bytes, 5);
            assert_eq!(read, Err(error), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn noise_does_no_harm() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let body = vec![1; random.usize(..300)];
            let mut bytes = frame(&body, Framing::Bare);
            bytes.extend_from_slice(&frame(&body, Framing::Length));
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..bytes.len());
                bytes[at] = random.u8(..);
            }
            let mut reader = FrameReader::new(400);
            let _ = read(&mut reader, &bytes, random.usize(1..100));
            assert!(reader.buffer.len() <= bytes.len());
        }
    }
}
