//! Messages with random damage into every entry point: errors are fine, panics are not. The seed
//! is fixed, so a failure repeats.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail loudly")]

mod common;

use std::time::{Duration, Instant, SystemTime};

use common::{Master, VERSIONS, bytes, identity, private, text, value, vectors};
use saltern_base::MinionId;
use saltern_crypto::{HashType, PrivateKey, PublicKey, SealKey, SigAlgo, clean_pem, fingerprint};
use saltern_value::msgpack::{self, Encoding};
use saltern_value::{Map, Value};
use saltern_wire::auth::client::{CachedKey, SignIn, Trust, VerificationKey};
use saltern_wire::auth::server::AuthRequest;
use saltern_wire::command::ClearCommand;
use saltern_wire::envelope::{self, Envelope};
use saltern_wire::limits;
use saltern_wire::publish::{Opener, SignaturePolicy};
use saltern_wire::session::ReplayGuard;
use saltern_wire::session::client::ClientSession;
use saltern_wire::session::server::{AcceptedMinion, open};

/// Marsaglia's xorshift: enough for damage.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }

    /// `bytes` with a few bytes changed, cut, doubled, or replaced by telling values.
    fn damage(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        for _ in 0..=self.next(4) {
            let at = self.next(out.len());
            match self.next(6) {
                _ if out.is_empty() => out.push(self.next(256) as u8),
                0 => out[at] = self.next(256) as u8,
                1 => out[at] ^= 1 << self.next(8),
                2 => out.truncate(at),
                3 => out[at] = [0x00, 0x7f, 0x80, 0xc0, 0xc1, 0xdb, 0xdd, 0xdf, 0xff][self.next(9)],
                4 => {
                    let end = (at + self.next(40)).min(out.len());
                    let part = out[at..end].to_vec();
                    out.extend(part);
                }
                _ => drop(out.remove(at)),
            }
        }
        out
    }

    /// `map` with a member dropped or turned into something of another type.
    fn deform(&mut self, map: &Map) -> Map {
        let mut map = map.clone();
        for _ in 0..=self.next(3) {
            let Some(key) = map.keys().nth(self.next(map.len())).cloned() else { break };
            if self.next(5) == 0 {
                map.remove_value(&key);
            } else {
                let wrong = self.odd_value(2);
                map.insert(key, wrong);
            }
        }
        map
    }

    fn odd_value(&mut self, depth: usize) -> Value {
        match self.next(if depth == 0 { 8 } else { 10 }) {
            0 => Value::Nil,
            1 => Value::Bool(true),
            2 => Value::Int([0, -1, i64::MIN, i64::MAX][self.next(4)]),
            3 => Value::Float([f64::NAN, f64::INFINITY, -0.5][self.next(3)]),
            4 => Value::from(["", "..", "a\0b", "req", "∞", "salt://x"][self.next(6)]),
            5 => Value::Bytes(vec![0xff; self.next(300)]),
            6 => Value::from("x".repeat(self.next(5000))),
            7 => Value::Big("18446744073709551615".into()),
            8 => Value::List((0..self.next(3)).map(|_| self.odd_value(depth - 1)).collect()),
            _ => Value::Map(Map::from([("k", self.odd_value(depth - 1))])),
        }
    }
}

const ROUNDS: usize = 300;

/// Bodies of requests of every kind, as recorded and as tools send them.
fn requests() -> Vec<Vec<u8>> {
    let live = vectors("live.json");
    let mut bodies = Vec::new();
    for version in VERSIONS {
        for exchange in live["versions"][version].as_object().unwrap().values() {
            if exchange["request_hex"].is_string() {
                bodies.push(bytes(exchange, "request_hex"));
            } else {
                let load = value(&exchange["clear_request_load"]).into_map().unwrap();
                bodies.push(envelope::clear_request(load));
            }
        }
    }
    for cmd in ["runner", "wheel", "ping"] {
        let load = Map::from([("cmd", cmd), ("fun", "jobs.active"), ("key", "x")]);
        bodies.push(envelope::clear_request(load));
    }
    bodies
}

fn feed_master(body: &[u8], minion: &AcceptedMinion, session: &SealKey) {
    match envelope::parse(body, limits::STRANGER) {
        Ok(Envelope::Clear(clear)) => match ClearCommand::parse(clear) {
            Ok(ClearCommand::Auth(load)) => {
                if let Err(refused) = AuthRequest::parse(&load) {
                    assert!(!refused.to_string().is_empty());
                }
            }
            Ok(_) => {}
            Err(refused) => assert!(!refused.reply.is_empty()),
        },
        Ok(Envelope::Sealed(sealed)) => {
            drop(open(&sealed, minion, session, 0, SystemTime::UNIX_EPOCH));
        }
        Err(refused) => assert!(!refused.reply.is_empty() && !refused.reason.kind().is_empty()),
    }
}

#[test]
fn damaged_requests() {
    let mut random = Random(0x5eed);
    let session = SealKey::generate().unwrap();
    let minion = AcceptedMinion::new(
        MinionId::parse("minion1").unwrap(),
        private("minion").public().clone(),
    );
    for body in requests() {
        for _ in 0..ROUNDS {
            feed_master(&random.damage(&body), &minion, &session);
        }
    }
}

#[test]
fn sealed_requests_with_wrong_members() {
    let mut random = Random(0xc0ffee);
    let master = Master::new("master");
    let minion = AcceptedMinion::new(
        MinionId::parse("minion1").unwrap(),
        private("minion").public().clone(),
    );
    let mut guard = ReplayGuard::default();
    let token = private("minion").x931_sign(b"salt").unwrap();
    for cmd in [
        "_return",
        "_syndic_return",
        "_pillar",
        "_minion_event",
        "_mine",
        "_mine_get",
        "_mine_delete",
        "_mine_flush",
        "_file_find",
        "_file_hash",
        "_file_hash_and_stat",
        "_serve_file",
        "_file_list",
        "_file_list_emptydirs",
        "_dir_list",
        "_symlink_list",
        "_file_envs",
        "_saltern_notice",
        "_master_opts",
        "_master_tops",
        "_file_recv",
        "revoke_auth",
        "minion_pub",
        "pub_ret",
        "minion_publish",
        "minion_runner",
        "_register_resources",
        "nothing",
    ] {
        let load: Map = [
            "jid", "fun", "arg", "tgt", "path", "saltenv", "loc", "data", "grains", "tag",
            "events", "pretag", "clear", "prefix", "opts", "size", "return", "tgt_type",
        ]
        .iter()
        .map(|field| (*field, Value::from("20260102030405000678")))
        .collect();
        for _ in 0..ROUNDS {
            let mut load = random.deform(&load);
            if random.next(3) > 0 {
                load.insert("cmd", cmd);
                load.insert("id", "minion1");
                load.insert("tok", token.clone());
                load.insert("nonce", "0".repeat(32));
                load = if random.next(2) == 0 { load } else { random.deform(&load) };
            }
            let plain = msgpack::encode_map(&load, Encoding::OldRaw);
            let plain = if random.next(3) == 0 { random.damage(&plain) } else { plain };
            let sealed = master.session.seal(&[&b"pickle::"[..], &plain].concat()).unwrap();
            let outer = Map::from([
                ("enc", Value::from("aes")),
                ("load", Value::Bytes(sealed)),
                ("version", Value::Int(3)),
                ("id", Value::from("minion1")),
            ]);
            let body = msgpack::encode_map(&outer, Encoding::OldRaw);
            let Ok(Envelope::Sealed(request)) = envelope::parse(&body, limits::STRANGER) else {
                panic!("an honest envelope")
            };
            match open(&request, &minion, &master.session, 0, SystemTime::UNIX_EPOCH) {
                Ok(request) => {
                    guard.check(&request, Instant::now() + Duration::from_secs(1));
                    assert!(!request.command.name().is_empty() || cmd != "nothing");
                }
                Err(refused) => assert!(!refused.reason.to_string().is_empty()),
            }
        }
    }
}

#[test]
fn damaged_answers_to_a_sign_in() {
    let mut random = Random(0xbad);
    let live = vectors("live.json");
    let trust = Trust {
        verify_master_pubkey_sign: true,
        verification_keys: vec![VerificationKey {
            name: "k".to_owned(),
            key: private("master_sign").public().clone(),
        }],
        ..Trust::default()
    };
    let identity = identity();
    for version in VERSIONS {
        for name in ["auth_pending", "auth_accept_first", "auth_bad_sig_algo"] {
            let reply = bytes(&live["versions"][version][name], "reply_hex");
            for _ in 0..ROUNDS {
                let (first, _) = SignIn::begin(&identity, &CachedKey::Absent, None).unwrap();
                let (second, _) = SignIn::begin(&identity, &CachedKey::Absent, None).unwrap();
                let damaged = random.damage(&reply);
                assert!(first.finish(&Trust::default(), &damaged).is_err());
                assert!(second.finish(&trust, &damaged).is_err());
            }
        }
    }
}

#[test]
fn signed_answers_with_wrong_members() {
    let mut random = Random(0xf00d);
    let master = Master::new("master");
    let identity = identity();
    for _ in 0..ROUNDS {
        let cached = [CachedKey::Absent, master.cached()][random.next(2)].clone();
        let (sign_in, body) = SignIn::begin(&identity, &cached, None).unwrap();
        let reply = master.accept(&common::auth_request(&body), None);
        let outer = msgpack::from_network(&reply).unwrap().into_map().unwrap();
        let inner = msgpack::from_network(outer.get("load").unwrap().as_raw().unwrap()).unwrap();
        let inner = random.deform(&inner.into_map().unwrap());
        let load = msgpack::encode_map(&inner, Encoding::OldRaw);
        let sig = master.key.sign(SigAlgo::default(), &load).unwrap();
        let reply =
            Map::from([("enc", Value::from("clear")), ("load", load.into()), ("sig", sig.into())]);
        let reply = msgpack::encode_map(&reply, Encoding::OldRaw);
        if let Err(error) = sign_in.finish(&Trust::default(), &reply) {
            assert!(!error.to_string().is_empty());
        }
    }
}

#[test]
fn damaged_answers_and_publications() {
    let mut random = Random(0xfeed);
    let live = vectors("live.json");
    for version in VERSIONS {
        let v = &live["versions"][version];
        let key = |name: &str| SealKey::parse(text(&v["auth_accept_first"], name)).unwrap();
        let (aes, session) = (key("aes_key_string"), key("session_key_string"));
        let held = common::credentials(&private("master"), aes.clone(), session.clone());
        let client = ClientSession::new(&identity(), &held);
        let id = MinionId::parse("minion1").unwrap();
        let mut opener = Opener::new(&id, &held, SignaturePolicy::Ignore);
        let frame = saltern_base::hex::decode(v["publish_full"]["frames_hex"][0].as_str().unwrap());
        let (frame, job) = (frame.unwrap(), bytes(&v["publish_full"], "load_plain_hex"));
        for _ in 0..ROUNDS {
            for name in ["file_hash", "pillar"] {
                let reply = random.damage(&bytes(&v[name], "reply_hex"));
                let nonce = text(&v[name]["request_load"], "nonce");
                drop(client.open(nonce, &reply));
                drop(client.open_pillar(nonce, &reply));
                let sealed = session.seal(&random.damage(&reply)).unwrap();
                drop(client.open(nonce, &saltern_wire::reply::value(&Value::Bytes(sealed))));
            }
            drop(opener.open(&random.damage(&frame)));
            let load = aes.seal(&random.damage(&job)).unwrap();
            let outer = Map::from([("enc", Value::from("aes")), ("load", Value::Bytes(load))]);
            drop(opener.open(&msgpack::encode_map(&outer, Encoding::OldRaw)));
        }
    }
}

#[test]
fn damaged_keys() {
    let mut random = Random(0xabba);
    let public = private("minion").public().to_pem();
    let secret = private("minion").to_pem(None).unwrap();
    let locked = private("minion").to_pem(Some("x")).unwrap();
    let seal = SealKey::generate().unwrap().as_str().to_owned();
    for _ in 0..ROUNDS {
        drop(PublicKey::from_pem(&random.damage(public.as_bytes())));
        drop(PrivateKey::from_pem(&random.damage(&secret), None));
        drop(PrivateKey::from_pem(&random.damage(&locked), Some("x")));
        let pem = String::from_utf8_lossy(&random.damage(public.as_bytes())).into_owned();
        assert!(!fingerprint(&pem, HashType::Sha256).is_empty());
        assert!(clean_pem(&pem).len() <= pem.len());
        drop(SealKey::parse(&String::from_utf8_lossy(&random.damage(seal.as_bytes()))));
    }
}
