//! The minion's half.

use std::fmt;

use saltern_base::{Jid, MinionId};
use saltern_crypto::{CryptoError, HashType, PublicKey, SealKey, SigAlgo};
use saltern_value::msgpack::{self, Raw};
use saltern_value::{Map, Value};

use crate::auth::client::Credentials;
use crate::{Verified, limits, topic};

/// What to ask of the master's signature on a publication. The AES key alone proves little: every
/// minion of the master has it (CVE-2017-7893).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignaturePolicy {
    /// As a stock minion without `sign_pub_messages`: none.
    Ignore,
    /// A signature that is there must be right; unsigned publications are taken.
    WhenPresent,
    /// Unsigned publications are dropped (`sign_pub_messages`).
    #[default]
    Required,
}

/// Opens the publications of one master.
#[derive(Debug)]
pub struct Opener {
    topic: String,
    aes: SealKey,
    master: PublicKey,
    policy: SignaturePolicy,
    last_serial: Option<i64>,
    /// The AES key before, and the highest serial taken under it, until a publication under the
    /// present one has come: they come in the order in which they were sealed.
    former: Option<(SealKey, Option<i64>)>,
}

/// A job for somebody; whether for this minion is for the matchers to say.
#[derive(Clone, Debug, PartialEq)]
pub struct Publication {
    /// Job id.
    pub jid: Jid,
    /// Function, or a list of them.
    pub fun: Value,
    /// Arguments.
    pub arg: Vec<Value>,
    /// Target.
    pub tgt: Value,
    /// How to read the target.
    pub tgt_type: String,
    /// Returners, comma separated.
    pub ret: String,
    /// Who published it.
    pub user: String,
    /// All of it, without `serial`.
    pub map: Map,
}

/// Why a publication gives no job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// Not sealed with the AES key we have: sign in again, [`Opener::rekey`], and open the same
    /// bytes once more.
    NeedsReauth,
    /// Not to be honoured.
    Dropped(Dropped),
}

/// Why a publication is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Its topic is another minion's.
    OtherTopic,
    /// It is no publication; which part.
    Malformed(&'static str),
    /// It is not signed.
    Unsigned,
    /// It is not signed by the master we signed in at.
    BadSignature,
    /// Its serial was seen before: a replay.
    OldSerial,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dropped::OtherTopic => f.write_str("its topic is another minion's"),
            Dropped::Malformed(part) => write!(f, "it is malformed ({part})"),
            Dropped::Unsigned => f.write_str(
                "it is not signed; set sign_pub_messages on the master (or off on this minion)",
            ),
            Dropped::BadSignature => f.write_str("it is not signed by our master"),
            Dropped::OldSerial => f.write_str("its serial was seen before"),
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::NeedsReauth => f.write_str("the AES key of publications has changed"),
            OpenError::Dropped(why) => write!(f, "the publication is dropped: {why}"),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<Dropped> for OpenError {
    fn from(why: Dropped) -> Self {
        OpenError::Dropped(why)
    }
}

impl Opener {
    /// Opens publications of the master that gave these credentials.
    #[must_use]
    pub fn new(id: &MinionId, credentials: &Credentials, policy: SignaturePolicy) -> Self {
        Opener {
            topic: topic::of_minion(id.as_str()),
            aes: credentials.aes.clone(),
            master: credentials.master_key.clone(),
            policy,
            last_serial: None,
            former: credentials.former.clone().map(|key| (key, None)),
        }
    }

    /// Takes over the keys of another sign-in at the same master. The same AES key keeps its
    /// serial: else signing in again would open the way for a replay.
    pub fn rekey(&mut self, credentials: &Credentials) {
        if self.aes != credentials.aes {
            let own = std::mem::replace(&mut self.aes, credentials.aes.clone());
            let serial = self.last_serial.take();
            let former = credentials.former.clone();
            self.former = former.map(|key| if key == own { (own, serial) } else { (key, None) });
        }
        self.master = credentials.master_key.clone();
    }

    /// A name for the AES key, by which what was taken under it can be remembered. It says nothing
    /// about the key itself.
    #[must_use]
    pub fn key_mark(&self) -> String {
        let mut digest = HashType::Sha256.hex_digest(self.aes.as_str().as_bytes());
        digest.truncate(16);
        digest
    }

    /// The highest serial taken under this AES key.
    #[must_use]
    pub fn serial(&self) -> Option<i64> {
        self.last_serial
    }

    /// Takes no publication up to that serial: they were taken before, maybe by a former run of
    /// this program (CVE-2022-22936). Masters count anew only under a new AES key.
    pub fn resume_after(&mut self, serial: Option<i64>) {
        self.last_serial = self.last_serial.max(serial);
    }

    /// The topics to subscribe to when `zmq_filtering` is on.
    #[must_use]
    pub fn topics(&self) -> [&str; 2] {
        [topic::BROADCAST, &self.topic]
    }

    /// The payload of a message: its only frame, or the second one behind a topic of ours.
    ///
    /// # Errors
    /// [`Dropped`].
    pub fn payload<'a, F: AsRef<[u8]>>(&self, frames: &'a [F]) -> Result<&'a [u8], Dropped> {
        match frames {
            [payload] => Ok(payload.as_ref()),
            [topic, payload] => {
                let topic = topic.as_ref();
                if self.topics().iter().any(|t| t.as_bytes() == topic) {
                    Ok(payload.as_ref())
                } else {
                    Err(Dropped::OtherTopic)
                }
            }
            _ => Err(Dropped::Malformed("number of frames")),
        }
    }

    /// Opens a publication.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&mut self, payload: &[u8]) -> Result<Verified<Publication>, OpenError> {
        let outer = msgpack::decode(payload, Raw::Network, limits::STRANGER)
            .map_err(|_| Dropped::Malformed("no MessagePack"))?;
        let outer = outer.into_map().ok_or(Dropped::Malformed("no mapping"))?;
        if outer.get_str("enc") != Some("aes") {
            return Err(Dropped::Malformed("enc").into());
        }
        let load = outer.get("load").and_then(Value::as_raw).ok_or(Dropped::Malformed("load"))?;
        // The seal first: a key that has changed shows there, and signing in again also brings
        // the master's key with which the signature is then checked.
        let (job, is_former) = self.unseal(load)?;
        self.check_signature(&outer, load)?;
        let mut map = job.into_map().ok_or(Dropped::Malformed("the sealed job"))?;
        let serial = match map.remove("serial") {
            // Clusters of 3008 send none.
            None | Some(Value::Nil) => None,
            Some(Value::Int(serial)) => Some(serial),
            Some(_) => return Err(Dropped::Malformed("serial").into()),
        };
        let last = match &mut self.former {
            Some((_, last)) if is_former => last,
            _ => &mut self.last_serial,
        };
        if serial.zip(*last).is_some_and(|(serial, last)| serial <= last) {
            return Err(Dropped::OldSerial.into());
        }
        let publication = Publication::parse(map)?;
        *last = serial.or(*last);
        if !is_former {
            self.former = None;
        }
        Ok(Verified::new(publication))
    }

    /// What is sealed in it, and whether with the former key.
    fn unseal(&self, load: &[u8]) -> Result<(Value, bool), OpenError> {
        let malformed = |_| OpenError::from(Dropped::Malformed("the sealed job"));
        match (self.aes.open_value(load), &self.former) {
            (Err(CryptoError::NotAuthentic), Some((former, _))) => match former.open_value(load) {
                Err(CryptoError::NotAuthentic) => Err(OpenError::NeedsReauth),
                opened => Ok((opened.map_err(malformed)?, true)),
            },
            (Err(CryptoError::NotAuthentic), None) => Err(OpenError::NeedsReauth),
            (opened, _) => Ok((opened.map_err(malformed)?, false)),
        }
    }

    fn check_signature(&self, outer: &Map, load: &[u8]) -> Result<(), Dropped> {
        let sig = match (self.policy, outer.get("sig")) {
            (SignaturePolicy::Ignore, _) | (SignaturePolicy::WhenPresent, None) => return Ok(()),
            (SignaturePolicy::Required, None) => return Err(Dropped::Unsigned),
            (_, Some(sig)) => sig.as_raw().ok_or(Dropped::Malformed("sig"))?,
        };
        let algo = match outer.get("sig_algo") {
            None => SigAlgo::default(),
            Some(name) => {
                name.as_str().and_then(SigAlgo::parse).ok_or(Dropped::Malformed("sig_algo"))?
            }
        };
        if self.master.verify(algo, load, sig) { Ok(()) } else { Err(Dropped::BadSignature) }
    }
}

impl Publication {
    fn parse(map: Map) -> Result<Self, Dropped> {
        let fun = map.get("fun").ok_or(Dropped::Malformed("fun"))?;
        let named = match fun {
            Value::Str(_) => true,
            Value::List(funs) => funs.iter().all(|f| f.as_str().is_some()),
            _ => false,
        };
        if !named {
            return Err(Dropped::Malformed("fun"));
        }
        let jid = map.get_str("jid").and_then(|jid| Jid::parse(jid).ok());
        let text = |field, default: &str| map.get_str(field).unwrap_or(default).to_owned();
        Ok(Publication {
            jid: jid.ok_or(Dropped::Malformed("jid"))?,
            fun: fun.clone(),
            arg: map.get("arg").and_then(Value::as_list).ok_or(Dropped::Malformed("arg"))?.to_vec(),
            tgt: map.get("tgt").cloned().ok_or(Dropped::Malformed("tgt"))?,
            tgt_type: text("tgt_type", "glob"),
            ret: text("ret", ""),
            user: text("user", ""),
            map,
        })
    }
}
