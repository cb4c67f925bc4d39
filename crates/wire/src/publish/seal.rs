//! The master's half.

use saltern_crypto::{CryptoError, PrivateKey, SealKey, SigAlgo};
use saltern_value::msgpack::{Encoding, encode_map};
use saltern_value::{Map, Value};

use super::job::Job;

/// Seals publications, one after the other: `&mut self` keeps the serial strictly growing, as
/// minions drop anything else (trap T11).
#[derive(Debug)]
pub struct Sealer {
    aes: SealKey,
    serial: i64,
    signer: Option<(PrivateKey, SigAlgo)>,
}

impl Sealer {
    /// Starts with an AES key. `signer` is the master's key and `publish_signing_algorithm`;
    /// `None` when `sign_pub_messages` is off.
    #[must_use]
    pub fn new(aes: SealKey, signer: Option<(PrivateKey, SigAlgo)>) -> Self {
        Sealer { aes, serial: 0, signer }
    }

    /// Goes on with a new AES key; the serial starts anew.
    pub fn rotate(&mut self, aes: SealKey) {
        self.aes = aes;
        self.serial = 0;
    }

    /// The bytes to publish for a job.
    ///
    /// # Errors
    /// When OpenSSL fails; the serial is then used up.
    pub fn seal(&mut self, job: &Job) -> Result<Vec<u8>, CryptoError> {
        self.serial += 1;
        let mut map = job.to_map();
        map.insert("serial", self.serial);
        let load = self.aes.seal_map(&map, None)?;
        let signature = match &self.signer {
            Some((key, algo)) => Some((algo.name(), key.sign(*algo, &load)?)),
            None => None,
        };
        let mut outer = Map::from([("enc", Value::from("aes")), ("load", Value::Bytes(load))]);
        if let Some((algo, sig)) = signature {
            outer.insert("sig_algo", algo);
            outer.insert("sig", sig);
        }
        Ok(encode_map(&outer, Encoding::OldRaw))
    }
}
