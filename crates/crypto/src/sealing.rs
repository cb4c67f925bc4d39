//! Sealing in place, part after part, while a message is written.

use std::fmt;
use std::io::{self, Read};

use openssl::cipher::Cipher;
use openssl::cipher_ctx::CipherCtx;
use openssl::sha::Sha256;

use crate::seal::{BLOCK, MAC_LEN};
use crate::{CryptoError, SealKey};

/// As much is encrypted and then hashed at a time: it is still in the processor's first cache.
pub(crate) const PART: usize = 16 << 10;
/// As much is read at a time.
pub(crate) const READ: usize = 32 << 10;
/// What MessagePack has in front of a sealed message of 64 KiB and more.
pub(crate) const LONG_HEAD: usize = 5;

/// A message that is sealed in place, part after part.
pub(crate) struct Sealing {
    key: SealKey,
    out: Vec<u8>,
    /// What stands before is sealed, or somebody else's.
    done: usize,
    before: usize,
    cipher: CipherCtx,
    hash: Sha256,
}

impl Sealing {
    /// Of what stands in `out` behind `before` bytes of somebody else and the room for the IV.
    pub(crate) fn begin(
        key: &SealKey,
        mut out: Vec<u8>,
        before: usize,
        iv: &[u8; BLOCK],
    ) -> Result<Self, CryptoError> {
        let done = before + BLOCK;
        out.get_mut(before..done).ok_or(CryptoError::NotAMessage)?.copy_from_slice(iv);
        let mut hash = key.inner_hash();
        hash.update(iv);
        let mut cipher = CipherCtx::new()?;
        cipher.encrypt_init(Some(Cipher::aes_192_cbc()), Some(&key.0.aes), Some(iv))?;
        cipher.set_padding(false);
        Ok(Sealing { key: key.clone(), out, done, before, cipher, hash })
    }

    /// Encrypts and hashes all whole blocks that have been written.
    fn advance(&mut self) -> Result<(), CryptoError> {
        let end = self.out.len();
        // OpenSSL asks for room for a block behind its input.
        self.out.resize(end + BLOCK, 0);
        let whole = end - (end - self.done) % BLOCK;
        while self.done < whole {
            let length = PART.min(whole - self.done);
            let room = self.done..self.done + length + BLOCK;
            let part = self.out.get_mut(room).ok_or(CryptoError::NotAMessage)?;
            self.cipher.cipher_update_inplace(part, length)?;
            self.hash.update(part.get(..length).unwrap_or_default());
            self.done += length;
        }
        self.out.truncate(end);
        Ok(())
    }

    /// Pads, seals the rest and puts the HMAC behind it.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>, CryptoError> {
        let pad = BLOCK - (self.out.len() - self.before) % BLOCK;
        let end = self.out.len() + pad;
        // Once, with the room that the last part needs.
        self.out.reserve(pad + MAC_LEN);
        self.out.resize(end, pad as u8);
        self.advance()?;
        let mac = self.key.hmac_of(&self.hash.finish());
        self.out.extend_from_slice(&mac);
        Ok(self.out)
    }
}

/// A large answer that is sealed while it is written: each part while it is still in the
/// processor's cache, and without a copy.
pub struct LongAnswer(pub(crate) Sealing);

impl LongAnswer {
    /// Puts something behind what was written.
    ///
    /// # Errors
    /// When OpenSSL fails.
    pub fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), CryptoError> {
        write(&mut self.0.out);
        self.0.advance()
    }

    /// Reads that many bytes.
    ///
    /// # Errors
    /// When there are fewer, and what the reader says.
    pub fn read(&mut self, from: &mut impl Read, length: usize) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            let at = self.0.out.len();
            let part = left.min(READ);
            self.0.out.resize(at + part, 0);
            from.read_exact(self.0.out.get_mut(at..).unwrap_or_default())?;
            self.0.advance()?;
            left -= part;
        }
        Ok(())
    }

    /// The answer as MessagePack bytes.
    ///
    /// # Errors
    /// When it is shorter than [`SealKey::LONG`] or larger than a message may be.
    pub fn finish(self) -> Result<Vec<u8>, CryptoError> {
        let mut out = self.0.finish()?;
        let length = u32::try_from(out.len() - LONG_HEAD).map_err(|_| CryptoError::NotAMessage)?;
        if (length as usize) < SealKey::LONG {
            return Err(CryptoError::NotAMessage);
        }
        if let Some((kind, bytes)) = out.get_mut(..LONG_HEAD).and_then(<[u8]>::split_first_mut) {
            *kind = 0xdb;
            bytes.copy_from_slice(&length.to_be_bytes());
        }
        Ok(out)
    }
}

impl fmt::Debug for LongAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LongAnswer(...)")
    }
}
