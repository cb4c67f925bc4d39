//! A minion's name, checked once. It becomes a file name, a log field and part of event tags, so
//! nothing else may be treated as one (wire-protocol trap T20).

use std::fmt;

/// A valid minion id. Only [`MinionId::parse`] makes one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MinionId(String);

/// Why a text is no minion id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidId {
    /// No character at all.
    Empty,
    /// More than 255 bytes, so no file can have this name.
    TooLong,
    /// A path separator, a NUL or another control character.
    ForbiddenCharacter,
    /// `.`, `..` or a leading dot: hidden and special file names.
    LeadingDot,
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InvalidId::Empty => "the id is empty",
            InvalidId::TooLong => "the id is longer than 255 bytes",
            InvalidId::ForbiddenCharacter => "the id has a path separator or control character",
            InvalidId::LeadingDot => "the id starts with a dot",
        })
    }
}

impl std::error::Error for InvalidId {}

impl MinionId {
    /// Longest id in bytes: the longest file name of common file systems.
    pub const MAX_LEN: usize = 255;

    /// Checks a text that claims to be a minion id.
    ///
    /// # Errors
    /// [`InvalidId`] when it could leave its directory or cannot name a file.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        if text.is_empty() {
            return Err(InvalidId::Empty);
        }
        if text.len() > Self::MAX_LEN {
            return Err(InvalidId::TooLong);
        }
        if text.chars().any(|c| c == '/' || c == '\\' || c.is_control()) {
            return Err(InvalidId::ForbiddenCharacter);
        }
        if text.starts_with('.') {
            return Err(InvalidId::LeadingDot);
        }
        Ok(MinionId(text.to_owned()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MinionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for MinionId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_leave_their_directory_are_refused() {
        for bad in ["", ".", "..", "../x", "a/b", "a\\b", "a\0b", "a\nb", ".x"] {
            assert!(MinionId::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(MinionId::parse(&"x".repeat(256)), Err(InvalidId::TooLong));
        assert!(MinionId::parse("web-1.example.org").is_ok());
        assert!(MinionId::parse("gerät 1").is_ok());
    }
}
