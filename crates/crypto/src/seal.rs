//! Sealed messages: AES-192-CBC, then HMAC-SHA256 over all of it, with Salt's framing of the
//! content (wire-protocol §5, where Salt calls it Crypticle).

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use openssl::cipher::Cipher;
use openssl::cipher_ctx::CipherCtx;
use openssl::sha::Sha256;
use saltern_base::hex;
use saltern_value::msgpack::{self, Encoding};
use saltern_value::{Map, Value};

use crate::sealing::{LONG_HEAD, LongAnswer, Sealing};
use crate::{CryptoError, constant_time_eq};

const AES_LEN: usize = 24;
pub(crate) const MAC_LEN: usize = 32;
pub(crate) const BLOCK: usize = 16;
const NONCE_LEN: usize = 32;
const HMAC_BLOCK: usize = 64;
/// What every content starts with; a left-over of the time when Salt used Python's pickle.
const PREFIX: &[u8] = b"pickle::";

/// The secret behind sealed messages: the shared AES key, a session key or a one-time key.
/// Clones share it, it never prints, and it is overwritten when the last clone goes.
#[derive(Clone)]
pub struct SealKey(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) aes: [u8; AES_LEN],
    mac: [u8; MAC_LEN],
    text: Vec<u8>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.aes.fill(0);
        self.mac.fill(0);
        self.text.fill(0);
        // Without a reader the compiler may drop the writes above.
        black_box((&self.aes, &self.mac, &self.text));
    }
}

impl SealKey {
    /// Length of the key as text.
    pub const TEXT_LEN: usize = 76;

    /// A fresh random key.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> Result<Self, CryptoError> {
        let mut bytes = [0u8; AES_LEN + MAC_LEN];
        random_bytes(&mut bytes)?;
        let key = Self::from_bytes(&bytes);
        bytes.fill(0);
        black_box(&bytes);
        key
    }

    /// Reads the key as text; whitespace around it (a file's newline) does not count.
    ///
    /// # Errors
    /// [`CryptoError::BadSealKey`].
    pub fn parse(text: &str) -> Result<Self, CryptoError> {
        let mut bytes = STANDARD.decode(text.trim()).map_err(|_| CryptoError::BadSealKey)?;
        let key = Self::from_bytes(&bytes);
        bytes.fill(0);
        black_box(&bytes);
        key
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, CryptoError> {
        let (aes, mac) = bytes.split_first_chunk().ok_or(CryptoError::BadSealKey)?;
        let mac = mac.try_into().map_err(|_| CryptoError::BadSealKey)?;
        let text = STANDARD.encode(bytes).into_bytes();
        Ok(SealKey(Arc::new(Inner { aes: *aes, mac, text })))
    }

    /// The key as text, 76 characters: a secret.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Base64 is ASCII; the fallback is unreachable.
        std::str::from_utf8(&self.0.text).unwrap_or_default()
    }

    /// Seals bytes as they are.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut out = Vec::with_capacity(plain.len() + 2 * BLOCK + MAC_LEN);
        out.resize(BLOCK, 0);
        out.extend_from_slice(plain);
        self.finish(out, 0)
    }

    /// Opens a sealed message: checks the HMAC in constant time, decrypts, checks the padding.
    ///
    /// # Errors
    /// [`CryptoError::NotAuthentic`] or [`CryptoError::NotAMessage`].
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let (signed, mac) =
            sealed.split_last_chunk::<MAC_LEN>().ok_or(CryptoError::NotAuthentic)?;
        if !constant_time_eq(&self.hmac(signed), mac) {
            return Err(CryptoError::NotAuthentic);
        }
        let (iv, cipher) = signed.split_first_chunk::<BLOCK>().ok_or(CryptoError::NotAMessage)?;
        if cipher.is_empty() || cipher.len() % BLOCK != 0 {
            return Err(CryptoError::NotAMessage);
        }
        let mut ctx = CipherCtx::new()?;
        ctx.decrypt_init(Some(Cipher::aes_192_cbc()), Some(&self.0.aes), Some(iv))?;
        ctx.set_padding(false);
        let mut plain = Vec::with_capacity(cipher.len() + BLOCK);
        ctx.cipher_update_vec(cipher, &mut plain)?;
        let pad = usize::from(plain.last().copied().unwrap_or(0));
        let len = plain.len().checked_sub(pad).filter(|_| (1..=BLOCK).contains(&pad));
        let len = len.ok_or(CryptoError::NotAMessage)?;
        if plain.iter().skip(len).any(|b| usize::from(*b) != pad) {
            return Err(CryptoError::NotAMessage);
        }
        plain.truncate(len);
        Ok(plain)
    }

    /// Seals a value in Salt's framing; a reply carries the nonce of its request.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn seal_value(&self, value: &Value, nonce: Option<&str>) -> Result<Vec<u8>, CryptoError> {
        let mut out = frame(nonce, value.as_map().map_or(0, room_for));
        msgpack::encode_into(&mut out, value, Encoding::OldRaw);
        self.finish(out, 0)
    }

    /// As [`SealKey::seal_value`], as MessagePack bytes (old raw), which is how answers travel. A
    /// large one is made where it is, without a copy.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn seal_answer(&self, value: &Value, nonce: Option<&str>) -> Result<Vec<u8>, CryptoError> {
        let room = value.as_map().map_or(0, room_for);
        if room < Self::LONG {
            let sealed = self.seal_value(value, nonce)?;
            return Ok(msgpack::encode(&Value::Bytes(sealed), Encoding::OldRaw));
        }
        let mut answer = self.long_answer(room, nonce)?;
        answer.write(|out| msgpack::encode_into(out, value, Encoding::OldRaw))?;
        answer.finish()
    }

    /// A message of so many bytes and more may be written as a [`LongAnswer`].
    pub const LONG: usize = 1 << 16;

    /// Begins an answer of at least [`SealKey::LONG`] bytes, which is sealed while it is written;
    /// `content` is about what it will have.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn long_answer(
        &self,
        content: usize,
        nonce: Option<&str>,
    ) -> Result<LongAnswer, CryptoError> {
        let mut out = Vec::with_capacity(256 + content);
        out.resize(LONG_HEAD, 0);
        frame_into(&mut out, nonce);
        let mut iv = [0u8; BLOCK];
        random_bytes(&mut iv)?;
        Ok(LongAnswer(Sealing::begin(self, out, LONG_HEAD, &iv)?))
    }

    /// As [`SealKey::seal_value`], for a mapping.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn seal_map(&self, map: &Map, nonce: Option<&str>) -> Result<Vec<u8>, CryptoError> {
        let mut out = frame(nonce, room_for(map));
        msgpack::encode_map_into(&mut out, map, Encoding::OldRaw);
        self.finish(out, 0)
    }

    /// Opens a sealed value without a nonce: a request, a publication, a pillar.
    ///
    /// # Errors
    /// As [`SealKey::open`], and [`CryptoError::Payload`].
    pub fn open_value(&self, sealed: &[u8]) -> Result<Value, CryptoError> {
        let plain = self.open(sealed)?;
        let content = plain.strip_prefix(PREFIX).ok_or(CryptoError::NotAMessage)?;
        msgpack::from_network(content).map_err(CryptoError::Payload)
    }

    /// Opens a sealed reply, which must answer the request with that nonce.
    ///
    /// # Errors
    /// As [`SealKey::open_value`], and [`CryptoError::WrongNonce`].
    pub fn open_reply(&self, sealed: &[u8], nonce: &str) -> Result<Value, CryptoError> {
        let plain = self.open(sealed)?;
        let content = plain.strip_prefix(PREFIX).ok_or(CryptoError::NotAMessage)?;
        let (found, content) =
            content.split_at_checked(NONCE_LEN).ok_or(CryptoError::WrongNonce)?;
        if !constant_time_eq(found, nonce.as_bytes()) {
            return Err(CryptoError::WrongNonce);
        }
        msgpack::from_network(content).map_err(CryptoError::Payload)
    }

    /// Pads, encrypts and signs in place what stands in `out` behind `before` bytes of somebody
    /// else and the room for the IV.
    fn finish(&self, mut out: Vec<u8>, before: usize) -> Result<Vec<u8>, CryptoError> {
        let mut iv = [0u8; BLOCK];
        random_bytes(&mut iv)?;
        self.finish_with_iv(&mut out, before, &iv)?;
        Ok(out)
    }

    fn finish_with_iv(
        &self,
        out: &mut Vec<u8>,
        before: usize,
        iv: &[u8; BLOCK],
    ) -> Result<(), CryptoError> {
        *out = Sealing::begin(self, std::mem::take(out), before, iv)?.finish()?;
        Ok(())
    }

    /// HMAC-SHA256 (RFC 2104) of `message`; written out because it then needs no OpenSSL object
    /// per key, of which a master holds one per minion.
    fn hmac(&self, message: &[u8]) -> [u8; MAC_LEN] {
        let mut inner = self.inner_hash();
        inner.update(message);
        self.hmac_of(&inner.finish())
    }

    pub(crate) fn inner_hash(&self) -> Sha256 {
        let mut inner = Sha256::new();
        inner.update(&self.hmac_block(0x36));
        inner
    }

    /// The HMAC of the message whose inner digest that is.
    pub(crate) fn hmac_of(&self, inner: &[u8; MAC_LEN]) -> [u8; MAC_LEN] {
        let mut outer = Sha256::new();
        outer.update(&self.hmac_block(0x5c));
        outer.update(inner);
        outer.finish()
    }

    fn hmac_block(&self, mask: u8) -> [u8; HMAC_BLOCK] {
        let mut block = [mask; HMAC_BLOCK];
        block.iter_mut().zip(self.0.mac).for_each(|(b, k)| *b ^= k);
        block
    }
}

impl PartialEq for SealKey {
    fn eq(&self, other: &Self) -> bool {
        constant_time_eq(&self.0.text, &other.0.text)
    }
}

impl Eq for SealKey {}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(...)")
    }
}

/// What the large members of a message take (a piece of a file): room made at once saves moving
/// them when padding and HMAC need some more.
fn room_for(map: &Map) -> usize {
    map.values().filter_map(Value::as_raw).map(<[u8]>::len).sum()
}

/// Room for the IV, the prefix and the nonce, and for `content`.
fn frame(nonce: Option<&str>, content: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + content);
    frame_into(&mut out, nonce);
    out
}

fn frame_into(out: &mut Vec<u8>, nonce: Option<&str>) {
    out.resize(out.len() + BLOCK, 0);
    out.extend_from_slice(PREFIX);
    out.extend_from_slice(nonce.unwrap_or_default().as_bytes());
}

/// Fills `buffer` from OpenSSL's generator.
///
/// # Errors
/// When the system has no randomness.
pub fn random_bytes(buffer: &mut [u8]) -> Result<(), CryptoError> {
    Ok(openssl::rand::rand_bytes(buffer)?)
}

/// A fresh nonce as requests carry it: 32 hexadecimal digits.
///
/// # Errors
/// When the system has no randomness.
pub fn random_nonce() -> Result<String, CryptoError> {
    let mut bytes = [0u8; NONCE_LEN / 2];
    random_bytes(&mut bytes)?;
    Ok(hex::encode(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sealing::{PART, READ};

    #[test]
    fn a_fixed_iv_gives_salts_bytes() {
        let text = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc=";
        let key = SealKey::parse(text).unwrap();
        let iv = std::array::from_fn(|i| 0xa0 + i as u8);
        let mut out = frame(None, 0);
        let value = Value::Map(Map::from([("cmd", "ping"), ("id", "minion1")]));
        msgpack::encode_into(&mut out, &value, Encoding::OldRaw);
        key.finish_with_iv(&mut out, 0, &iv).unwrap();
        assert_eq!(
            hex::encode(&out),
            "a0a1a2a3a4a5a6a7a8a9aaabacadaeafe58e5086839debf9866b5bf98f64aff34f19497a0edcb464bc01fa\
             77c090ba9c8d996d9051161eeec045e1f9cde5c2569d5411cdfc5fa42c641d91de52291182"
        );
    }

    #[test]
    fn an_answer_is_the_sealed_value_as_bytes() {
        let key = SealKey::generate().unwrap();
        let nonce = "n".repeat(NONCE_LEN);
        for length in [20, 3900, 4100, 65_300, 65_535, 65_536, 70_000, 1 << 20] {
            let value = Value::Map(Map::from([("data", Value::Bytes(vec![0xf1; length]))]));
            let answer = key.seal_answer(&value, Some(&nonce)).unwrap();
            let outer = msgpack::from_network(&answer).unwrap();
            assert_eq!(msgpack::encode(&outer, Encoding::OldRaw), answer, "{length}");
            assert_eq!(key.open_reply(outer.as_raw().unwrap(), &nonce).unwrap(), value);
        }
    }

    #[test]
    fn an_answer_that_is_read_while_it_is_sealed_is_the_same() {
        let key = SealKey::generate().unwrap();
        let nonce = "n".repeat(NONCE_LEN);
        for length in [SealKey::LONG, READ * 2 - 1, READ * 3 + 17, 1 << 20] {
            let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let mut answer = key.long_answer(length, Some(&nonce)).unwrap();
            answer.write(|out| msgpack::begin_raw(out, length as u32)).unwrap();
            answer.read(&mut bytes.as_slice(), length).unwrap();
            let answer = answer.finish().unwrap();
            let outer = msgpack::from_network(&answer).unwrap();
            assert_eq!(msgpack::encode(&outer, Encoding::OldRaw), answer, "{length}");
            let opened = key.open_reply(outer.as_raw().unwrap(), &nonce).unwrap();
            assert!(opened.as_raw() == Some(bytes.as_slice()), "{length}");
        }
        let mut cut = key.long_answer(1 << 20, None).unwrap();
        assert!(cut.read(&mut [0; 70_000].as_slice(), 1 << 20).is_err());
        let mut short = key.long_answer(10, None).unwrap();
        short.write(|out| out.push(0xc0)).unwrap();
        assert_eq!(short.finish(), Err(CryptoError::NotAMessage));
    }

    #[test]
    fn messages_of_several_parts_are_opened_as_a_whole() {
        let key = SealKey::parse(&STANDARD.encode([7; AES_LEN + MAC_LEN])).unwrap();
        let around = |n: usize| n - BLOCK - 1..=n + BLOCK + 1;
        let lengths = (0..2 * BLOCK).chain(around(PART)).chain(around(2 * PART)).chain([1 << 20]);
        for length in lengths {
            let plain: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            assert!(key.open(&key.seal(&plain).unwrap()).unwrap() == plain, "{length}");
        }
    }

    #[test]
    fn padding_that_is_not_salts_is_refused() {
        let key = SealKey::generate().unwrap();
        for last in [[1u8, 0], [1, 17], [3, 2]] {
            // A full block, whose end is what a reader takes for padding once the block of
            // honest padding behind it is gone.
            let mut plain = vec![7u8; 14];
            plain.extend(last);
            let sealed = key.seal(&plain).unwrap();
            assert_eq!(key.open(&sealed).unwrap(), plain);
            // Without that block and signed again it is authentic, but badly padded.
            let mut cut = sealed[..2 * BLOCK].to_vec();
            let mac = key.hmac(&cut);
            cut.extend_from_slice(&mac);
            assert_eq!(key.open(&cut), Err(CryptoError::NotAMessage), "{last:?}");
        }
    }
}
