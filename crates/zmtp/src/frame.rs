//! Frames: a flags byte, a length of one or eight bytes, the body.

use crate::Error;

/// The longest frame head.
pub const HEAD_MAX: usize = 9;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// A decoded frame head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) more: bool,
    pub(crate) command: bool,
    /// As announced; not to be believed before it is compared with a limit.
    pub(crate) length: u64,
}

/// Reads a head from the beginning of `bytes`; `None` until it is complete. Returns it with its
/// length.
pub(crate) fn parse_head(bytes: &[u8]) -> Result<Option<(Head, usize)>, Error> {
    let Some(&flags) = bytes.first() else { return Ok(None) };
    if flags & !(MORE | LONG | COMMAND) != 0 {
        return Err(Error::Malformed("frame flags"));
    }
    let (more, command) = (flags & MORE != 0, flags & COMMAND != 0);
    if more && command {
        return Err(Error::Malformed("frame flags"));
    }
    if flags & LONG == 0 {
        return Ok(bytes.get(1).map(|n| (Head { more, command, length: u64::from(*n) }, 2)));
    }
    let Some(length) = bytes.get(1..9).and_then(|b| <[u8; 8]>::try_from(b).ok()) else {
        return Ok(None);
    };
    Ok(Some((Head { more, command, length: u64::from_be_bytes(length) }, 9)))
}

/// Appends the head of a message frame of `length` bytes.
pub fn frame_head(out: &mut Vec<u8>, length: usize, more: bool) {
    head(out, length, u8::from(more));
}

/// Appends a whole message.
pub fn encode_message(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for (i, part) in parts.iter().enumerate() {
        frame_head(out, part.len(), i + 1 < parts.len());
        out.extend_from_slice(part);
    }
}

/// Appends a command frame.
pub(crate) fn encode_command(out: &mut Vec<u8>, name: &str, body: &[u8]) {
    head(out, 1 + name.len() + body.len(), COMMAND);
    out.push(name.len() as u8);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(body);
}

fn head(out: &mut Vec<u8>, length: usize, flags: u8) {
    match u8::try_from(length) {
        Ok(short) => out.extend_from_slice(&[flags, short]),
        Err(_) => {
            out.push(flags | LONG);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_heads() {
        for length in [0usize, 1, 255, 256, 70_000] {
            let mut out = Vec::new();
            frame_head(&mut out, length, true);
            assert_eq!(out.len(), if length < 256 { 2 } else { 9 });
            for cut in 0..out.len() {
                assert_eq!(parse_head(&out[..cut]), Ok(None));
            }
            let head = Head { more: true, command: false, length: length as u64 };
            assert_eq!(parse_head(&out), Ok(Some((head, out.len()))));
        }
    }

    #[test]
    fn reserved_flags_and_split_commands_are_refused() {
        for flags in [8u8, 16, 0x80, 0xff, MORE | COMMAND] {
            assert_eq!(parse_head(&[flags]), Err(Error::Malformed("frame flags")), "{flags}");
        }
    }
}
