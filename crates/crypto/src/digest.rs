//! Digests by Salt's names (`hash_type`), of bytes in memory and of streams.

use std::io::{self, Read};

use openssl::hash::{Hasher as OpenSslHasher, MessageDigest};
use openssl::sha::{Sha1, Sha224, Sha256, Sha384, Sha512};
use saltern_base::hex;

/// A digest algorithm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HashType {
    /// `md5`
    Md5,
    /// `sha1`
    Sha1,
    /// `sha224`
    Sha224,
    /// `sha256`, Salt's default.
    #[default]
    Sha256,
    /// `sha384`
    Sha384,
    /// `sha512`
    Sha512,
}

/// A digest being computed piece by piece.
pub struct Hasher(Inner);

enum Inner {
    /// `None` when OpenSSL has no MD5 (FIPS builds; ours is not one).
    Md5(Option<OpenSslHasher>),
    Sha1(Sha1),
    Sha224(Sha224),
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl HashType {
    /// Every algorithm, weakest first.
    pub const ALL: [HashType; 6] = [
        HashType::Md5,
        HashType::Sha1,
        HashType::Sha224,
        HashType::Sha256,
        HashType::Sha384,
        HashType::Sha512,
    ];

    /// The algorithm of that name, in either case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|h| h.name().eq_ignore_ascii_case(name))
    }

    /// The algorithm whose hexadecimal digest has this many digits.
    #[must_use]
    pub fn of_hex_len(digits: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|h| h.hex_len() == digits)
    }

    /// Its name in options and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            HashType::Md5 => "md5",
            HashType::Sha1 => "sha1",
            HashType::Sha224 => "sha224",
            HashType::Sha256 => "sha256",
            HashType::Sha384 => "sha384",
            HashType::Sha512 => "sha512",
        }
    }

    /// Digits of a digest.
    #[must_use]
    pub fn hex_len(self) -> usize {
        match self {
            HashType::Md5 => 32,
            HashType::Sha1 => 40,
            HashType::Sha224 => 56,
            HashType::Sha256 => 64,
            HashType::Sha384 => 96,
            HashType::Sha512 => 128,
        }
    }

    /// The digest of `bytes` in lower-case hexadecimal.
    #[must_use]
    pub fn hex_digest(self, bytes: &[u8]) -> String {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.finish_hex()
    }

    /// Starts a digest of a stream.
    #[must_use]
    pub fn hasher(self) -> Hasher {
        Hasher(match self {
            HashType::Md5 => Inner::Md5(OpenSslHasher::new(MessageDigest::md5()).ok()),
            HashType::Sha1 => Inner::Sha1(Sha1::new()),
            HashType::Sha224 => Inner::Sha224(Sha224::new()),
            HashType::Sha256 => Inner::Sha256(Sha256::new()),
            HashType::Sha384 => Inner::Sha384(Sha384::new()),
            HashType::Sha512 => Inner::Sha512(Sha512::new()),
        })
    }

    /// The digest of everything `reader` gives, through a buffer of 64 KiB.
    ///
    /// # Errors
    /// What reading gives.
    pub fn hex_digest_of(self, mut reader: impl Read) -> io::Result<String> {
        let mut hasher = self.hasher();
        let mut buffer = vec![0u8; 64 * 1024];
        loop {
            let n = match reader.read(&mut buffer) {
                Ok(0) => return Ok(hasher.finish_hex()),
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            hasher.update(buffer.get(..n).unwrap_or_default());
        }
    }
}

impl Hasher {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Inner::Md5(h) => {
                if h.as_mut().is_some_and(|hasher| hasher.update(bytes).is_err()) {
                    *h = None;
                }
            }
            Inner::Sha1(h) => h.update(bytes),
            Inner::Sha224(h) => h.update(bytes),
            Inner::Sha256(h) => h.update(bytes),
            Inner::Sha384(h) => h.update(bytes),
            Inner::Sha512(h) => h.update(bytes),
        }
    }

    /// The digest in lower-case hexadecimal; empty, and so equal to no digest, if OpenSSL has no
    /// MD5.
    #[must_use]
    pub fn finish_hex(self) -> String {
        match self.0 {
            Inner::Md5(h) => {
                h.and_then(|mut h| h.finish().ok()).map(|d| hex::encode(&d)).unwrap_or_default()
            }
            Inner::Sha1(h) => hex::encode(&h.finish()),
            Inner::Sha224(h) => hex::encode(&h.finish()),
            Inner::Sha256(h) => hex::encode(&h.finish()),
            Inner::Sha384(h) => hex::encode(&h.finish()),
            Inner::Sha512(h) => hex::encode(&h.finish()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_abc_are_the_published_ones() {
        for (name, digest) in [
            ("md5", "900150983cd24fb0d6963f7d28e17f72"),
            ("sha1", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            ("sha224", "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
            ("sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ] {
            let hash = HashType::parse(name).unwrap();
            assert_eq!(hash.hex_digest(b"abc"), digest);
            assert_eq!(HashType::of_hex_len(digest.len()), Some(hash));
            assert_eq!(hash.hex_digest_of(&b"abc"[..]).unwrap(), digest);
        }
        for hash in HashType::ALL {
            assert_eq!(hash.hex_digest(b"").len(), hash.hex_len());
        }
        assert_eq!(HashType::parse("crc32"), None);
    }
}
