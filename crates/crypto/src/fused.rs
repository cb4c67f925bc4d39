//! AES-192-CBC and the SHA-256 of its HMAC in one pass, for messages that are large (pieces of
//! files). Each of the two is a chain in which every instruction waits for the one before, so that
//! a core that does one after the other is idle half of the time; here the rounds of both are
//! mixed, the hash one step of 64 bytes behind. That takes hardly longer than the slower of them.
//!
//! Only instructions of the processor made for it (AES-NI, SHA) are used, whose time does not
//! depend on the data. Where it has none, OpenSSL does the one after the other.

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_aesenc_si128, _mm_aesenclast_si128, _mm_aeskeygenassist_si128,
    _mm_alignr_epi8, _mm_blend_epi16, _mm_cvtsi128_si32, _mm_loadu_si128, _mm_set_epi32,
    _mm_set_epi64x, _mm_setzero_si128, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32,
    _mm_sha256rnds2_epu32, _mm_shuffle_epi8, _mm_shuffle_epi32, _mm_storeu_si128, _mm_xor_si128,
};
use std::hint::black_box;

const BLOCK: usize = 16;
/// What SHA-256 takes at a time: four blocks of AES.
const STEP: usize = 64;
const ROUNDS: usize = 12;

/// The first 32 bits of the fractional parts of the square roots of the first 8 primes.
const START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// Those of the cube roots of the first 64 primes.
#[rustfmt::skip]
const K: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

/// Encrypts all of `message` behind its first block, which is the IV, in place; its length is a
/// multiple of 16. Returns the SHA-256 of `prefix` and then the encrypted message. `None`, with
/// nothing done, when this processor lacks the instructions.
pub(crate) fn encrypt_and_hash(
    key: &[u8; 24],
    prefix: &[u8; STEP],
    message: &mut [u8],
) -> Option<[u8; 32]> {
    let able = is_x86_feature_detected!("aes")
        && is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("sse4.1");
    // Safety: the processor has what the function is compiled for; it needs nothing else.
    #[allow(unsafe_code)]
    able.then(|| unsafe { run(key, prefix, message) })
}

#[target_feature(enable = "aes,sha,sse4.1")]
fn run(key: &[u8; 24], prefix: &[u8; STEP], message: &mut [u8]) -> [u8; 32] {
    let mut keys = expand(key);
    let length = STEP + message.len();
    let mut hash = Hash::new();
    hash.step(&loaded(prefix));
    let (steps, rest) = message.as_chunks_mut::<STEP>();
    let mut chain = _mm_setzero_si128();
    // What is encrypted and not hashed yet.
    let mut waits: Option<[__m128i; 4]> = None;
    for step in steps {
        waits = Some(match waits {
            None => first(&keys, &mut chain, step),
            Some(before) => both(&keys, &mut chain, step, &mut hash, &before),
        });
    }
    if let Some(before) = waits {
        hash.step(&before);
    }
    // The IV is in here if the message is shorter than a step.
    let skip = usize::from(waits.is_none());
    let (blocks, _) = rest.as_chunks_mut::<BLOCK>();
    for (number, block) in blocks.iter_mut().enumerate() {
        if number >= skip {
            chain = encrypt(&keys, chain, load(block));
            store(block, chain);
        } else {
            chain = load(block);
        }
    }
    keys.fill(_mm_setzero_si128());
    black_box(&keys);
    hash.finish(rest, length)
}

/// The first step: the IV and three blocks.
#[target_feature(enable = "aes,sha,sse4.1")]
#[inline]
fn first(keys: &[__m128i; 13], chain: &mut __m128i, step: &mut [u8; STEP]) -> [__m128i; 4] {
    let (blocks, _) = step.as_chunks_mut::<BLOCK>();
    for (number, block) in blocks.iter_mut().enumerate() {
        *chain = match number {
            0 => load(block),
            _ => encrypt(keys, *chain, load(block)),
        };
        store(block, *chain);
    }
    loaded(step)
}

/// Encrypts a step and hashes the one before: three rounds of AES beside four of SHA-256.
#[target_feature(enable = "aes,sha,sse4.1")]
#[inline]
fn both(
    keys: &[__m128i; 13],
    chain: &mut __m128i,
    step: &mut [u8; STEP],
    hash: &mut Hash,
    before: &[__m128i; 4],
) -> [__m128i; 4] {
    let mut words = swapped(before);
    let (abef, cdgh) = (hash.abef, hash.cdgh);
    let mut made = [_mm_setzero_si128(); 4];
    let (blocks, _) = step.as_chunks_mut::<BLOCK>();
    // Written out for each block: only with numbers that the compiler knows all of it stays in
    // registers.
    macro_rules! block {
        ($number:literal) => {
            let mut state = _mm_xor_si128(_mm_xor_si128(load(&blocks[$number]), *chain), keys[0]);
            state = aes_rounds(state, [keys[1], keys[2], keys[3]]);
            hash.rounds(&mut words, 4 * $number);
            state = aes_rounds(state, [keys[4], keys[5], keys[6]]);
            hash.rounds(&mut words, 4 * $number + 1);
            state = aes_rounds(state, [keys[7], keys[8], keys[9]]);
            hash.rounds(&mut words, 4 * $number + 2);
            state = _mm_aesenc_si128(_mm_aesenc_si128(state, keys[10]), keys[11]);
            state = _mm_aesenclast_si128(state, keys[ROUNDS]);
            hash.rounds(&mut words, 4 * $number + 3);
            *chain = state;
            made[$number] = state;
            store(&mut blocks[$number], state);
        };
    }
    block!(0);
    block!(1);
    block!(2);
    block!(3);
    hash.add(abef, cdgh);
    made
}

#[target_feature(enable = "aes,sha,sse4.1")]
#[inline]
fn aes_rounds(state: __m128i, [a, b, c]: [__m128i; 3]) -> __m128i {
    _mm_aesenc_si128(_mm_aesenc_si128(_mm_aesenc_si128(state, a), b), c)
}

/// One block of CBC.
#[target_feature(enable = "aes,sha,sse4.1")]
#[inline]
fn encrypt(keys: &[__m128i; 13], chain: __m128i, plain: __m128i) -> __m128i {
    let mut state = _mm_xor_si128(_mm_xor_si128(plain, chain), keys[0]);
    for key in &keys[1..ROUNDS] {
        state = _mm_aesenc_si128(state, *key);
    }
    _mm_aesenclast_si128(state, keys[ROUNDS])
}

/// The round keys (FIPS 197, 5.2).
#[target_feature(enable = "aes,sha,sse4.1")]
fn expand(key: &[u8; 24]) -> [__m128i; 13] {
    const WORDS: usize = 6;
    let mut words = [0u32; 4 * (ROUNDS + 1)];
    let (given, _) = key.as_chunks::<4>();
    for (word, bytes) in words.iter_mut().zip(given) {
        *word = u32::from_le_bytes(*bytes);
    }
    let mut constant = 1;
    for i in WORDS..words.len() {
        let mut last = words[i - 1];
        if i % WORDS == 0 {
            // The table of the cipher without one in memory, whose use could be timed.
            let table = _mm_aeskeygenassist_si128::<0>(_mm_set_epi32(0, 0, last as i32, 0));
            last = (_mm_cvtsi128_si32(table) as u32).rotate_right(8) ^ constant;
            constant <<= 1;
        }
        words[i] = words[i - WORDS] ^ last;
    }
    let mut keys = [_mm_setzero_si128(); 13];
    let (rounds, _) = words.as_chunks::<4>();
    for (key, [a, b, c, d]) in keys.iter_mut().zip(rounds) {
        *key = _mm_set_epi32(*d as i32, *c as i32, *b as i32, *a as i32);
    }
    words.fill(0);
    black_box(&words);
    keys
}

/// A SHA-256 under way (FIPS 180-4), its eight words in the order that the instructions want.
struct Hash {
    abef: __m128i,
    cdgh: __m128i,
}

impl Hash {
    #[target_feature(enable = "aes,sha,sse4.1")]
    fn new() -> Self {
        let [a, b, c, d, e, f, g, h] = START.map(u32::cast_signed);
        Hash { abef: _mm_set_epi32(a, b, e, f), cdgh: _mm_set_epi32(c, d, g, h) }
    }

    #[target_feature(enable = "aes,sha,sse4.1")]
    #[inline]
    fn step(&mut self, blocks: &[__m128i; 4]) {
        let mut words = swapped(blocks);
        let (abef, cdgh) = (self.abef, self.cdgh);
        for four in 0..16 {
            self.rounds(&mut words, four);
        }
        self.add(abef, cdgh);
    }

    /// The four rounds of that number. `words` are the last sixteen of the schedule, of which the
    /// oldest are replaced by the next.
    #[target_feature(enable = "aes,sha,sse4.1")]
    #[inline]
    fn rounds(&mut self, words: &mut [__m128i; 4], four: usize) {
        let now = four % 4;
        if four >= 4 {
            let [one, two, before] = [(now + 1) % 4, (now + 2) % 4, (now + 3) % 4];
            let sum = _mm_sha256msg1_epu32(words[now], words[one]);
            let shifted = _mm_alignr_epi8::<4>(words[before], words[two]);
            words[now] = _mm_sha256msg2_epu32(_mm_add_epi32(sum, shifted), words[before]);
        }
        let [a, b, c, d] = [K[4 * four], K[4 * four + 1], K[4 * four + 2], K[4 * four + 3]];
        let constants = _mm_set_epi32(d as i32, c as i32, b as i32, a as i32);
        let low = _mm_add_epi32(words[now], constants);
        self.cdgh = _mm_sha256rnds2_epu32(self.cdgh, self.abef, low);
        let high = _mm_shuffle_epi32::<0x0e>(low);
        self.abef = _mm_sha256rnds2_epu32(self.abef, self.cdgh, high);
    }

    #[target_feature(enable = "aes,sha,sse4.1")]
    #[inline]
    fn add(&mut self, abef: __m128i, cdgh: __m128i) {
        self.abef = _mm_add_epi32(self.abef, abef);
        self.cdgh = _mm_add_epi32(self.cdgh, cdgh);
    }

    /// The digest of what came before and of `rest`, less than a step; `length` bytes in all.
    #[target_feature(enable = "aes,sha,sse4.1")]
    fn finish(mut self, rest: &[u8], length: usize) -> [u8; 32] {
        let mut padded = [0u8; 2 * STEP];
        let end = if rest.len() < STEP - 8 { STEP } else { 2 * STEP };
        let bits = (length as u64 * 8).to_be_bytes();
        let tail = rest.iter().chain([&0x80]);
        padded.iter_mut().zip(tail).for_each(|(to, from)| *to = *from);
        padded.iter_mut().take(end).rev().zip(bits.iter().rev()).for_each(|(to, b)| *to = *b);
        let (steps, _) = padded.as_chunks::<STEP>();
        for step in steps.iter().take(end / STEP) {
            self.step(&loaded(step));
        }
        let abef = _mm_shuffle_epi32::<0x1b>(self.abef);
        let cdgh = _mm_shuffle_epi32::<0xb1>(self.cdgh);
        let words = [_mm_blend_epi16::<0xf0>(abef, cdgh), _mm_alignr_epi8::<8>(cdgh, abef)];
        let mut digest = [0; 32];
        let (halves, _) = digest.as_chunks_mut::<BLOCK>();
        halves.iter_mut().zip(words).for_each(|(half, words)| store(half, big_endian(words)));
        digest
    }
}

#[target_feature(enable = "aes,sha,sse4.1")]
#[inline]
fn big_endian(words: __m128i) -> __m128i {
    let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    _mm_shuffle_epi8(words, order)
}

#[target_feature(enable = "aes,sha,sse4.1")]
#[inline]
fn swapped(blocks: &[__m128i; 4]) -> [__m128i; 4] {
    let [a, b, c, d] = *blocks;
    [big_endian(a), big_endian(b), big_endian(c), big_endian(d)]
}

#[target_feature(enable = "aes,sha,sse4.1")]
#[inline]
fn loaded(step: &[u8; STEP]) -> [__m128i; 4] {
    let mut all = [_mm_setzero_si128(); 4];
    let (blocks, _) = step.as_chunks::<BLOCK>();
    all.iter_mut().zip(blocks).for_each(|(to, block)| *to = load(block));
    all
}

#[target_feature(enable = "sse2")]
#[inline]
fn load(block: &[u8; BLOCK]) -> __m128i {
    // Safety: reads 16 bytes, which are there; they need no alignment.
    #[allow(unsafe_code)]
    unsafe {
        _mm_loadu_si128(block.as_ptr().cast())
    }
}

#[target_feature(enable = "sse2")]
#[inline]
fn store(block: &mut [u8; BLOCK], value: __m128i) {
    // Safety: writes 16 bytes, which are there and ours; they need no alignment.
    #[allow(unsafe_code)]
    unsafe {
        _mm_storeu_si128(block.as_mut_ptr().cast(), value);
    }
}

#[cfg(test)]
mod tests {
    use openssl::sha::Sha256;
    use openssl::symm::{Cipher, Crypter, Mode};

    use super::*;

    #[test]
    fn it_does_what_openssl_does_for_every_length() {
        let key: [u8; 24] = std::array::from_fn(|n| (n * 37 + 11) as u8);
        let prefix: [u8; STEP] = std::array::from_fn(|n| (n * 5 + 3) as u8);
        for blocks in (1..40).chain([256, 4097]) {
            let mut message: Vec<u8> = (0..blocks * BLOCK).map(|n| (n * 7 % 251) as u8).collect();
            let (iv, plain) = message.split_at(BLOCK);
            let mut expected = vec![0; message.len()];
            let mut crypter =
                Crypter::new(Cipher::aes_192_cbc(), Mode::Encrypt, &key, Some(iv)).unwrap();
            crypter.pad(false);
            crypter.update(plain, &mut expected).unwrap();
            expected.truncate(plain.len());
            let expected = [iv, &expected].concat();
            let mut hash = Sha256::new();
            hash.update(&prefix);
            hash.update(&expected);
            // A processor without the instructions has nothing to compare.
            let Some(digest) = encrypt_and_hash(&key, &prefix, &mut message) else { return };
            assert_eq!(message, expected, "{blocks} blocks");
            assert_eq!(digest, hash.finish(), "{blocks} blocks");
        }
    }
}
