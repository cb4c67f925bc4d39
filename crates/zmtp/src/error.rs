//! Why a connection cannot go on.

use std::fmt;

/// Why a connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The first bytes are no ZMTP greeting (HTTP, TLS, noise).
    NotZmtp,
    /// ZMTP, but older than 3.0.
    OldVersion(u8),
    /// Another security mechanism than NULL.
    Mechanism,
    /// A frame, command or metadata that breaks the rules.
    Malformed(&'static str),
    /// Over a bound of [`crate::Limits`].
    TooLong(&'static str),
    /// The peer's socket type cannot talk to ours.
    WrongType(String),
    /// The peer sent an ERROR command, with this reason.
    Refused(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotZmtp => f.write_str("the peer does not speak ZMTP"),
            Error::OldVersion(major) => write!(f, "the peer speaks ZMTP {major}, 3 is needed"),
            Error::Mechanism => f.write_str("the peer asks for a security mechanism (NULL only)"),
            Error::Malformed(what) => write!(f, "malformed {what}"),
            Error::TooLong(what) => write!(f, "too long: {what}"),
            Error::WrongType(kind) => write!(f, "a {kind} socket cannot talk to this one"),
            Error::Refused(why) => write!(f, "the peer refused: {why}"),
        }
    }
}

impl std::error::Error for Error {}
