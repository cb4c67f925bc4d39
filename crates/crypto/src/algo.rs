//! The algorithm pairs both Salt versions know, under the names they use on the wire.

use std::fmt;

use openssl::hash::MessageDigest;

/// How signatures are made (`signing_algorithm`, `publish_signing_algorithm`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SigAlgo {
    /// `PKCS1v15-SHA1`, Salt's default.
    #[default]
    Pkcs1v15Sha1,
    /// `PKCS1v15-SHA224`.
    Pkcs1v15Sha224,
}

/// How keys are encrypted to a peer (`encryption_algorithm`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EncAlgo {
    /// `OAEP-SHA1`, Salt's default.
    #[default]
    OaepSha1,
    /// `OAEP-SHA224`.
    OaepSha224,
}

impl SigAlgo {
    /// Every algorithm, for messages that list them.
    pub const ALL: [SigAlgo; 2] = [SigAlgo::Pkcs1v15Sha1, SigAlgo::Pkcs1v15Sha224];

    /// The algorithm of that name; names are case-sensitive, as in Salt.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name() == name)
    }

    /// Its name in options and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            SigAlgo::Pkcs1v15Sha1 => "PKCS1v15-SHA1",
            SigAlgo::Pkcs1v15Sha224 => "PKCS1v15-SHA224",
        }
    }

    pub(crate) fn digest(self) -> MessageDigest {
        match self {
            SigAlgo::Pkcs1v15Sha1 => MessageDigest::sha1(),
            SigAlgo::Pkcs1v15Sha224 => MessageDigest::sha224(),
        }
    }
}

impl EncAlgo {
    /// Every algorithm, for messages that list them.
    pub const ALL: [EncAlgo; 2] = [EncAlgo::OaepSha1, EncAlgo::OaepSha224];

    /// The algorithm of that name; names are case-sensitive, as in Salt.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name() == name)
    }

    /// Its name in options and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            EncAlgo::OaepSha1 => "OAEP-SHA1",
            EncAlgo::OaepSha224 => "OAEP-SHA224",
        }
    }

    /// The digest of both OAEP and its mask function.
    pub(crate) fn digest(self) -> MessageDigest {
        match self {
            EncAlgo::OaepSha1 => MessageDigest::sha1(),
            EncAlgo::OaepSha224 => MessageDigest::sha224(),
        }
    }
}

impl fmt::Display for SigAlgo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for EncAlgo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
