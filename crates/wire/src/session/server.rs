//! The master's half: opening and proving requests, sealing answers.

use std::fmt;
use std::io::{self, Read};
use std::sync::OnceLock;
use std::time::SystemTime;

use saltern_base::MinionId;
use saltern_base::time::epoch;
use saltern_crypto::{
    CryptoError, EncAlgo, PrivateKey, PublicKey, SealKey, SigAlgo, constant_time_eq,
};
use saltern_value::msgpack::{Encoding, begin_map, begin_raw, encode_into, encode_map};
use saltern_value::{Map, Value};

use crate::Verified;
use crate::auth::TOKEN_TEXT;
use crate::command::MinionCommand;
use crate::envelope::SealedRequest;
use crate::limits;
use crate::refused::{Reason, Refused};
use crate::reply;

/// A minion whose key is accepted. Keep one per minion: it remembers the token once it is proved.
pub struct AcceptedMinion {
    id: MinionId,
    key: PublicKey,
    token: OnceLock<Vec<u8>>,
}

/// The request of a signed-in minion.
#[derive(Clone, Debug)]
pub struct MinionRequest {
    /// The minion, proved.
    pub id: MinionId,
    /// What it wants.
    pub command: MinionCommand,
    /// Seals the answer.
    pub replier: Replier,
}

/// Seals the answers to one request.
#[derive(Clone, Debug)]
pub struct Replier {
    session: SealKey,
    nonce: Option<String>,
    enc_algo: EncAlgo,
    sig_algo: SigAlgo,
}

impl AcceptedMinion {
    /// The minion of that id with its accepted key.
    #[must_use]
    pub fn new(id: MinionId, key: PublicKey) -> Self {
        AcceptedMinion { id, key, token: OnceLock::new() }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &MinionId {
        &self.id
    }

    /// Its accepted key.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Whether `token` was made with the minion's private key. The token never changes, so the
    /// RSA step is done once.
    fn proves(&self, token: &[u8]) -> bool {
        if let Some(known) = self.token.get() {
            return constant_time_eq(known, token);
        }
        let proved = self.key.x931_recover(token).is_some_and(|t| constant_time_eq(&t, TOKEN_TEXT));
        if proved {
            // Another thread may have been first, with the same bytes.
            let _ = self.token.set(token.to_vec());
        }
        proved
    }
}

/// The token stands for the key, so it does not print.
impl fmt::Debug for AcceptedMinion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcceptedMinion").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Opens a sealed request and proves that it comes from the minion it names.
///
/// `minion` and `session` are those of `request.id`; `ttl` is `request_server_ttl` in seconds,
/// 0 for none.
///
/// # Errors
/// [`Refused`]. Its answer is sealed when the request was authentic but its fields were not right.
pub fn open(
    request: &SealedRequest,
    minion: &AcceptedMinion,
    session: &SealKey,
    ttl: u64,
    now: SystemTime,
) -> Result<Verified<MinionRequest>, Refused> {
    if request.id != minion.id {
        return Err(request.refuse_unknown());
    }
    let load =
        session.open_value(&request.load).map_err(|_| Refused::bad_load(Reason::NotAuthentic))?;
    let Value::Map(mut load) = load else {
        return Err(Refused::text("payload and load must be a dict", Reason::LoadNotAMap));
    };
    check_age(&load, ttl, now)?;
    if load.get_str("id") != Some(request.id.as_str()) {
        return Err(Refused::bad_load(Reason::IdMismatch));
    }
    let token = load.remove("tok");
    if !token.as_ref().and_then(Value::as_raw).is_some_and(|t| minion.proves(t)) {
        return Err(Refused::bad_load(Reason::BadToken));
    }
    let nonce = match load.remove("nonce") {
        None | Some(Value::Nil) => None,
        Some(Value::Str(nonce)) if nonce.len() <= limits::NONCE_LEN => Some(nonce),
        Some(_) => return Err(Refused::bad_load(Reason::BadNonce)),
    };
    let replier = replier(request, session, nonce)?;
    let Some(name) = load.get_str("cmd").map(str::to_owned) else {
        return Err(Refused::text("Some exception handling minion payload", Reason::NoCommand));
    };
    let command = MinionCommand::parse(&name, load)
        .map_err(|e| Refused { reply: replier.failed(), reason: Reason::Field(e) })?;
    Ok(Verified::new(MinionRequest { id: request.id.clone(), command, replier }))
}

/// A missing `ts` counts as expired where a ttl is set.
fn check_age(load: &Map, ttl: u64, now: SystemTime) -> Result<(), Refused> {
    if ttl == 0 {
        return Ok(());
    }
    let made = load.get("ts").and_then(Value::as_f64).filter(|t| *t >= 0.0);
    let age = made.map(|made| epoch(now).saturating_sub(made as u64));
    if age.is_some_and(|age| age <= ttl) {
        Ok(())
    } else {
        Err(Refused::bad_load(Reason::Expired(age)))
    }
}

fn replier(
    request: &SealedRequest,
    session: &SealKey,
    nonce: Option<String>,
) -> Result<Replier, Refused> {
    let enc_algo = match &request.enc_algo {
        None => EncAlgo::default(),
        Some(name) => EncAlgo::parse(name).ok_or_else(|| Refused::bad_load(Reason::Algorithm))?,
    };
    let sig_algo = match &request.sig_algo {
        None => SigAlgo::default(),
        Some(name) => SigAlgo::parse(name).ok_or_else(|| Refused::bad_load(Reason::Algorithm))?,
    };
    Ok(Replier { session: session.clone(), nonce, enc_algo, sig_algo })
}

impl MinionRequest {
    /// The nonce of the request, if it had one.
    #[must_use]
    pub fn nonce(&self) -> Option<&str> {
        self.replier.nonce.as_deref()
    }

    /// The refusal for a request that [`super::ReplayGuard`] calls repeated.
    #[must_use]
    pub fn refuse_repeated(&self) -> Refused {
        Refused::bad_load(Reason::Repeated)
    }
}

impl Replier {
    /// The answer with that value.
    ///
    /// When the system has no randomness left the answer is an unsealed empty text, which no
    /// minion takes for a result.
    #[must_use]
    pub fn value(&self, value: &Value) -> Vec<u8> {
        let answer = self.session.seal_answer(value, self.nonce.as_deref());
        answer.unwrap_or_else(|_| reply::text(""))
    }

    /// The answer to `_serve_file` with `length` bytes of that file, read while it is sealed: `{data,
    /// dest}`. At least [`SealKey::LONG`] bytes.
    ///
    /// # Errors
    /// When the file has fewer, or cannot be read.
    pub fn piece(
        &self,
        file: &mut impl Read,
        length: usize,
        dest: &str,
        more: &[(&str, Value)],
    ) -> io::Result<Vec<u8>> {
        let announced = u32::try_from(length).map_err(io::Error::other)?;
        let fields = u32::try_from(more.len() + 2).map_err(io::Error::other)?;
        let nonce = self.nonce.as_deref();
        let text = |out: &mut Vec<u8>, text| encode_into(out, &Value::from(text), Encoding::OldRaw);
        let mut answer = self.session.long_answer(length + dest.len(), nonce)?;
        answer.write(|out| {
            begin_map(out, fields);
            text(out, "data");
            begin_raw(out, announced);
        })?;
        answer.read(file, length)?;
        answer.write(|out| {
            text(out, "dest");
            text(out, dest);
            for (name, value) in more {
                text(out, name);
                encode_into(out, value, Encoding::OldRaw);
            }
        })?;
        Ok(answer.finish()?)
    }

    /// As [`Replier::value`], for a mapping.
    #[must_use]
    pub fn map(&self, map: &Map) -> Vec<u8> {
        wrapped(self.session.seal_map(map, self.nonce.as_deref()))
    }

    /// `{}`: the answer to an unknown command.
    #[must_use]
    pub fn unknown_command(&self) -> Vec<u8> {
        self.map(&Map::new())
    }

    /// `""`: the answer when a handler failed.
    #[must_use]
    pub fn failed(&self) -> Vec<u8> {
        self.value(&Value::from(""))
    }

    /// The answer to `_pillar`: encrypted to the minion's key and signed by the master, so that
    /// knowing the session key is not enough to forge it (wire-protocol §7.1).
    ///
    /// # Errors
    /// When OpenSSL fails.
    pub fn pillar(
        &self,
        minion: &PublicKey,
        master: &PrivateKey,
        pillar: &Map,
    ) -> Result<Vec<u8>, CryptoError> {
        let Some(nonce) = &self.nonce else {
            return Ok(reply::map(&Map::from([("error", "Nonce not included in request")])));
        };
        let one_time = SealKey::generate()?;
        let key = minion.encrypt(self.enc_algo, one_time.as_str().as_bytes())?;
        let data = encode_map(
            &Map::from([
                ("key", Value::Bytes(key.clone())),
                ("pillar", Value::Map(pillar.clone())),
                ("nonce", Value::from(nonce.as_str())),
            ]),
            Encoding::OldRaw,
        );
        let sig = master.sign(self.sig_algo, &data)?;
        let blob = one_time.seal_map(&Map::from([("data", data), ("sig", sig)]), None)?;
        Ok(reply::map(&Map::from([("key", key), ("pillar", blob)])))
    }
}

fn wrapped(sealed: Result<Vec<u8>, CryptoError>) -> Vec<u8> {
    sealed.map_or_else(|_| reply::text(""), |sealed| reply::value(&Value::Bytes(sealed)))
}
