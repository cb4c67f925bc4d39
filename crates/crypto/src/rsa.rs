//! RSA keys: reading and writing PEM, signatures, OAEP and the X9.31 form that Salt uses for
//! tokens and for the signature over the AES key (wire-protocol §4.6).

use std::fmt;
use std::sync::Arc;

use openssl::encrypt::{Decrypter, Encrypter};
use openssl::pkey::{Id, PKey, Private, Public};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{Signer, Verifier};
use openssl::symm::Cipher;

use crate::{CryptoError, EncAlgo, SigAlgo, clean_pem};

/// `RSA_X931_PADDING` of OpenSSL, which the Rust bindings do not name. With it OpenSSL itself
/// takes the smaller of s and n-s when signing, and undoes that when opening.
const X931: i32 = 5;

/// Accepted sizes of a modulus in bits. Below, a key protects nothing; above, a stranger's key
/// would cost us too much time.
const KEY_BITS: std::ops::RangeInclusive<u32> = 1024..=8192;

/// An RSA private key. Clones share it; it may be used from several threads at once.
#[derive(Clone)]
pub struct PrivateKey {
    key: PKey<Private>,
    public: PublicKey,
}

/// An RSA public key. Clones share it; it may be used from several threads at once.
#[derive(Clone)]
pub struct PublicKey {
    key: PKey<Public>,
    /// SPKI, without a newline at the end.
    pem: Arc<str>,
}

impl PrivateKey {
    /// Makes a key with a modulus of `bits` and the exponent 65537.
    ///
    /// # Errors
    /// [`CryptoError::KeySize`] outside of 2048 to 8192 bits, or when OpenSSL fails.
    pub fn generate(bits: u32) -> Result<Self, CryptoError> {
        if !(2048..=*KEY_BITS.end()).contains(&bits) {
            return Err(CryptoError::KeySize(bits));
        }
        Self::new(PKey::from_rsa(Rsa::generate(bits)?)?)
    }

    /// Reads PKCS#1 or PKCS#8, in clear, or encrypted in either way.
    ///
    /// # Errors
    /// [`CryptoError::PassphraseNeeded`], [`CryptoError::NotAKey`] (also for a wrong passphrase),
    /// [`CryptoError::NotRsa`] or [`CryptoError::KeySize`].
    pub fn from_pem(pem: &[u8], pass: Option<&str>) -> Result<Self, CryptoError> {
        // Without a callback OpenSSL would ask on the terminal.
        let key = PKey::private_key_from_pem_callback(pem, |buffer| {
            let pass = pass.unwrap_or_default().as_bytes();
            let n = pass.len().min(buffer.len());
            if let (Some(to), Some(from)) = (buffer.get_mut(..n), pass.get(..n)) {
                to.copy_from_slice(from);
            }
            Ok(n)
        });
        let key = key.map_err(|_| {
            let encrypted = pem.windows(9).any(|w| w == b"ENCRYPTED");
            if encrypted && pass.is_none_or(str::is_empty) {
                CryptoError::PassphraseNeeded
            } else {
                CryptoError::NotAKey
            }
        })?;
        Self::new(key)
    }

    fn new(key: PKey<Private>) -> Result<Self, CryptoError> {
        is_rsa(key.id())?;
        let rsa = key.rsa()?;
        let public = Rsa::from_public_components(rsa.n().to_owned()?, rsa.e().to_owned()?)?;
        Ok(PrivateKey { public: PublicKey::new(public)?, key })
    }

    /// The PEM text for a key file: PKCS#1, with a passphrase in the traditional encrypted form
    /// (`DEK-Info: AES-256-CBC`). An empty passphrase is none.
    ///
    /// # Errors
    /// When OpenSSL fails.
    pub fn to_pem(&self, pass: Option<&str>) -> Result<Vec<u8>, CryptoError> {
        let rsa = self.key.rsa()?;
        Ok(match pass {
            Some(pass) if !pass.is_empty() => {
                rsa.private_key_to_pem_passphrase(Cipher::aes_256_cbc(), pass.as_bytes())?
            }
            _ => rsa.private_key_to_pem()?,
        })
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a message.
    ///
    /// # Errors
    /// When OpenSSL fails.
    pub fn sign(&self, algo: SigAlgo, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut signer = Signer::new(algo.digest(), &self.key)?;
        Ok(signer.sign_oneshot_to_vec(message)?)
    }

    /// Decrypts what was encrypted to the public half.
    ///
    /// # Errors
    /// [`CryptoError::Decrypt`] for anything that was not.
    pub fn decrypt(&self, algo: EncAlgo, bytes: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut decrypter = Decrypter::new(&self.key)?;
        decrypter.set_rsa_padding(Padding::PKCS1_OAEP)?;
        decrypter.set_rsa_oaep_md(algo.digest())?;
        decrypter.set_rsa_mgf1_md(algo.digest())?;
        let decrypted = decrypter.decrypt_len(bytes).and_then(|len| {
            let mut clear = vec![0; len];
            let n = decrypter.decrypt(bytes, &mut clear)?;
            clear.truncate(n);
            Ok(clear)
        });
        decrypted.map_err(|_| CryptoError::Decrypt)
    }

    /// The X9.31 form of `data`: what Salt calls encrypting with the private key. The same data
    /// gives the same bytes each time.
    ///
    /// # Errors
    /// When `data` does not fit the key.
    pub fn x931_sign(&self, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let rsa = self.key.rsa()?;
        let mut out = vec![0; rsa.size() as usize];
        let n = rsa.private_encrypt(data, &mut out, Padding::from_raw(X931))?;
        out.truncate(n);
        Ok(out)
    }
}

impl PublicKey {
    /// Reads a public key in SPKI (`BEGIN PUBLIC KEY`) or PKCS#1 form, whatever its line ends.
    ///
    /// # Errors
    /// [`CryptoError::NotAKey`], [`CryptoError::NotRsa`] or [`CryptoError::KeySize`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, CryptoError> {
        let text = std::str::from_utf8(pem).map_err(|_| CryptoError::NotAKey)?;
        let clean = clean_pem(text);
        if let Some(key) = Self::usual(&clean) {
            return Ok(key);
        }
        match PKey::public_key_from_pem(clean.as_bytes()) {
            Ok(key) => is_rsa(key.id()).and_then(|()| Self::new(key.rsa()?)),
            Err(_) => {
                let rsa = Rsa::public_key_from_pem_pkcs1(clean.as_bytes());
                Self::new(rsa.map_err(|_| CryptoError::NotAKey)?)
            }
        }
    }

    /// Reads what nearly all keys are, RSA in SPKI as OpenSSL writes it: the reader for any kind of
    /// key asks one decoder after the other, and takes more than three times as long (31 us, not 9).
    fn usual(clean: &str) -> Option<Self> {
        let rsa = Rsa::public_key_from_pem(clean.as_bytes()).ok()?;
        Self::new(rsa).ok().filter(|key| *key.pem == *clean)
    }

    fn new(rsa: Rsa<Public>) -> Result<Self, CryptoError> {
        let bits = u32::try_from(rsa.n().num_bits()).unwrap_or(0);
        if !KEY_BITS.contains(&bits) {
            return Err(CryptoError::KeySize(bits));
        }
        let pem = String::from_utf8(rsa.public_key_to_pem()?).map_err(|_| CryptoError::NotAKey)?;
        Ok(PublicKey { key: PKey::from_rsa(rsa)?, pem: clean_pem(&pem).into() })
    }

    /// The PEM text for a key file: SPKI, with a newline at the end.
    #[must_use]
    pub fn to_pem(&self) -> String {
        format!("{}\n", self.pem)
    }

    /// The PEM text as it is sent: without a newline at the end (trap T6).
    #[must_use]
    pub fn wire_pem(&self) -> &str {
        &self.pem
    }

    /// Whether `signature` is this key's over `message`.
    #[must_use]
    pub fn verify(&self, algo: SigAlgo, message: &[u8], signature: &[u8]) -> bool {
        Verifier::new(algo.digest(), &self.key)
            .and_then(|mut v| v.verify_oneshot(signature, message))
            .unwrap_or(false)
    }

    /// Encrypts to this key; every call gives other bytes.
    ///
    /// # Errors
    /// When the message is too long for the key.
    pub fn encrypt(&self, algo: EncAlgo, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut encrypter = Encrypter::new(&self.key)?;
        encrypter.set_rsa_padding(Padding::PKCS1_OAEP)?;
        encrypter.set_rsa_oaep_md(algo.digest())?;
        encrypter.set_rsa_mgf1_md(algo.digest())?;
        let mut out = vec![0; encrypter.encrypt_len(message)?];
        let n = encrypter.encrypt(message, &mut out)?;
        out.truncate(n);
        Ok(out)
    }

    /// The data behind an X9.31 signature of this key; `None` when it is not one.
    #[must_use]
    pub fn x931_recover(&self, signature: &[u8]) -> Option<Vec<u8>> {
        let rsa = self.key.rsa().ok()?;
        let mut out = vec![0; rsa.size() as usize];
        if signature.len() != out.len() {
            return None;
        }
        let n = rsa.public_decrypt(signature, &mut out, Padding::from_raw(X931)).ok()?;
        out.truncate(n);
        Some(out)
    }

    /// Size of the modulus in bits.
    #[must_use]
    pub fn bits(&self) -> u32 {
        self.key.bits()
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.key.public_eq(&other.key)
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({} bits)", self.key.bits())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} bits)", self.key.bits())
    }
}

fn is_rsa(id: Id) -> Result<(), CryptoError> {
    if id == Id::RSA { Ok(()) } else { Err(CryptoError::NotRsa) }
}
