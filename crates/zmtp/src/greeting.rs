//! The 64 bytes both sides send first.

use crate::Error;

/// Length of a greeting.
pub const GREETING_LEN: usize = 64;

const MECHANISM: std::ops::Range<usize> = 12..32;

/// Our greeting: version 3.1, NULL, no server role (NULL knows none).
pub(crate) fn encode(out: &mut Vec<u8>) {
    let mut bytes = [0u8; GREETING_LEN];
    bytes[0] = 0xff;
    bytes[9] = 0x7f;
    bytes[10] = 3;
    bytes[11] = 1;
    bytes[12..16].copy_from_slice(b"NULL");
    out.extend_from_slice(&bytes);
}

/// Judges the beginning of a greeting, so that garbage is refused at its first wrong byte. With
/// all 64 bytes there, returns the peer's minor version.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<u8>, Error> {
    let wrong = |at: usize, ok: fn(u8) -> bool| bytes.get(at).is_some_and(|b| !ok(*b));
    if wrong(0, |b| b == 0xff) || wrong(9, |b| b & 1 == 1) {
        return Err(Error::NotZmtp);
    }
    if let Some(&major) = bytes.get(10)
        && major < 3
    {
        return Err(Error::OldVersion(major));
    }
    let Some(mechanism) = bytes.get(MECHANISM) else { return Ok(None) };
    if mechanism.strip_prefix(b"NULL").is_none_or(|rest| rest.iter().any(|b| *b != 0)) {
        return Err(Error::Mechanism);
    }
    if bytes.len() < GREETING_LEN {
        return Ok(None);
    }
    // A later major version promises to talk 3.1 to us.
    let minor = if bytes[10] > 3 { 1 } else { bytes[11].min(1) };
    Ok(Some(minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out);
        out
    }

    #[test]
    fn our_own_greeting_is_read_when_complete() {
        let ours = ours();
        assert_eq!(ours.len(), GREETING_LEN);
        for cut in 0..GREETING_LEN {
            assert_eq!(parse(&ours[..cut]), Ok(None), "{cut} bytes");
        }
        assert_eq!(parse(&ours), Ok(Some(1)));
    }

    #[test]
    fn garbage_is_refused_at_the_first_wrong_byte() {
        assert_eq!(parse(b"G"), Err(Error::NotZmtp));
        assert_eq!(parse(&[0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7e]), Err(Error::NotZmtp));
        let mut old = ours();
        old[10] = 1;
        assert_eq!(parse(&old[..11]), Err(Error::OldVersion(1)));
        let mut curve = ours();
        curve[12..17].copy_from_slice(b"CURVE");
        assert_eq!(parse(&curve), Err(Error::Mechanism));
        let mut longer = ours();
        longer[16] = b'X';
        assert_eq!(parse(&longer), Err(Error::Mechanism));
    }

    #[test]
    fn version_3_0_is_told_apart() {
        let mut zero = ours();
        zero[11] = 0;
        assert_eq!(parse(&zero), Ok(Some(0)));
    }
}
