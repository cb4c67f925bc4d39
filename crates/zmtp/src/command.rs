//! Commands: READY, ERROR, SUBSCRIBE, CANCEL, PING, PONG.

use crate::connection::{Peer, SocketType};
use crate::error::Error;
use crate::frame::encode_command;

/// Bytes a PING may carry for its PONG to bring back (RFC 37).
pub const PING_CONTEXT_MAX: usize = 16;

const IDENTITY_MAX: usize = 255;

/// A command from the peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    Ready(&'a [u8]),
    Error(String),
    Subscribe(&'a [u8]),
    Cancel(&'a [u8]),
    /// The context to send back.
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    /// RFC 37 tells us to ignore what we do not know.
    Unknown,
}

/// Takes the body of a command frame apart.
pub(crate) fn parse(frame: &[u8]) -> Result<Command<'_>, Error> {
    let (name, body) = short(frame).ok_or(Error::Malformed("command"))?;
    Ok(match name {
        b"" => return Err(Error::Malformed("command")),
        b"READY" => Command::Ready(body),
        b"ERROR" => {
            let (reason, _) = short(body).ok_or(Error::Malformed("ERROR command"))?;
            Command::Error(String::from_utf8_lossy(reason).into_owned())
        }
        b"SUBSCRIBE" => Command::Subscribe(body),
        b"CANCEL" => Command::Cancel(body),
        b"PING" => {
            // Two bytes of time to live come first. We do not need them: what a peer says about
            // its own patience changes nothing for us.
            let context = body.get(2..).ok_or(Error::Malformed("PING command"))?;
            if context.len() > PING_CONTEXT_MAX {
                return Err(Error::TooLong("PING context"));
            }
            Command::Ping(context)
        }
        b"PONG" => Command::Pong(body),
        _ => Command::Unknown,
    })
}

/// Reads READY's metadata.
pub(crate) fn parse_ready(mut metadata: &[u8], minor: u8) -> Result<Peer, Error> {
    const BAD: Error = Error::Malformed("metadata");
    let (mut socket_type, mut identity) = (None, Vec::new());
    while !metadata.is_empty() {
        let (name, rest) = short(metadata).ok_or(BAD)?;
        let length = rest.get(..4).and_then(|b| <[u8; 4]>::try_from(b).ok()).ok_or(BAD)?;
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| BAD)?;
        let value = rest.get(4..).and_then(|r| r.get(..length)).ok_or(BAD)?;
        metadata = rest.get(4 + length..).ok_or(BAD)?;
        if name.is_empty() {
            return Err(BAD);
        }
        if name.eq_ignore_ascii_case(b"Socket-Type") {
            socket_type = Some(value);
        } else if name.eq_ignore_ascii_case(b"Identity") {
            if value.len() > IDENTITY_MAX {
                return Err(Error::TooLong("identity"));
            }
            identity = value.to_vec();
        }
    }
    let name = socket_type.ok_or(Error::Malformed("metadata without a socket type"))?;
    let socket_type = SocketType::parse(name).ok_or_else(|| {
        let name = name.get(..name.len().min(16)).unwrap_or_default();
        Error::WrongType(name.escape_ascii().to_string())
    })?;
    Ok(Peer { socket_type, identity, minor })
}

/// Our READY.
pub(crate) fn encode_ready(out: &mut Vec<u8>, socket_type: SocketType, identity: &[u8]) {
    let mut body = Vec::with_capacity(64);
    property(&mut body, "Socket-Type", socket_type.name().as_bytes());
    if !identity.is_empty() {
        property(&mut body, "Identity", &identity[..identity.len().min(IDENTITY_MAX)]);
    }
    encode_command(out, "READY", &body);
}

/// An ERROR; allowed during the handshake only.
pub(crate) fn encode_error(out: &mut Vec<u8>, reason: &str) {
    let reason = reason.as_bytes();
    let reason = &reason[..reason.len().min(255)];
    let mut body = vec![reason.len() as u8];
    body.extend_from_slice(reason);
    encode_command(out, "ERROR", &body);
}

/// Appends a PING. `ttl` is how long the peer may wait for our next traffic, in tenths of a
/// second, 0 for no word about it. At most [`PING_CONTEXT_MAX`] bytes of `context` are sent.
pub fn encode_ping(out: &mut Vec<u8>, ttl: u16, context: &[u8]) {
    let mut body = ttl.to_be_bytes().to_vec();
    body.extend_from_slice(&context[..context.len().min(PING_CONTEXT_MAX)]);
    encode_command(out, "PING", &body);
}

/// The answer to a PING.
pub(crate) fn encode_pong(out: &mut Vec<u8>, context: &[u8]) {
    encode_command(out, "PONG", context);
}

fn property(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.push(name.len() as u8);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(&(value.len() as u32).to_be_bytes());
    out.extend_from_slice(value);
}

/// A value behind one byte of length, and the rest.
fn short(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(f: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        f(&mut out);
        out.split_off(2)
    }

    #[test]
    fn ready_carries_type_and_identity() {
        let frame = body(|out| encode_ready(out, SocketType::Sub, b"web1"));
        let Ok(Command::Ready(metadata)) = parse(&frame) else { panic!("not READY") };
        let peer = parse_ready(metadata, 1).unwrap();
        assert_eq!((peer.socket_type, &peer.identity[..]), (SocketType::Sub, &b"web1"[..]));
    }

    #[test]
    fn metadata_that_lies_about_its_lengths_is_refused() {
        for bad in [
            &b"\x0bSocket-Type\x00\x00\x00\x09REQ"[..],
            b"\x0bSocket-Type\xff\xff\xff\xffREQ",
            b"\x0bSocket-Type\x00\x00",
            b"\xffSocket-Type\x00\x00\x00\x03REQ",
            b"\x00\x00\x00\x00\x03REQ",
            b"\x08Identity\x00\x00\x00\x01a",
        ] {
            assert!(matches!(parse_ready(bad, 1), Err(Error::Malformed(_))), "{bad:?}");
        }
        let named = b"\x0bSocket-Type\x00\x00\x00\x04JUNK";
        assert_eq!(parse_ready(named, 1), Err(Error::WrongType("JUNK".into())));
    }

    #[test]
    fn names_of_properties_have_no_case() {
        let peer = parse_ready(b"\x0bsocket-TYPE\x00\x00\x00\x03REQ", 0).unwrap();
        assert_eq!(peer.socket_type, SocketType::Req);
    }

    #[test]
    fn pings_bring_their_context() {
        let frame = body(|out| encode_ping(out, 300, b"abc"));
        assert_eq!(parse(&frame), Ok(Command::Ping(b"abc")));
        assert_eq!(parse(b"\x04PING\x00"), Err(Error::Malformed("PING command")));
        let long = [&b"\x04PING\x00\x00"[..], &[7; 17]].concat();
        assert_eq!(parse(&long), Err(Error::TooLong("PING context")));
    }

    #[test]
    fn an_error_brings_its_reason_and_unknown_commands_are_left_alone() {
        let frame = body(|out| encode_error(out, "go away"));
        assert_eq!(parse(&frame), Ok(Command::Error("go away".into())));
        assert_eq!(parse(b"\x04JOIN\x01x"), Ok(Command::Unknown));
        assert_eq!(parse(b""), Err(Error::Malformed("command")));
        assert_eq!(parse(b"\x09SUB"), Err(Error::Malformed("command")));
    }
}
