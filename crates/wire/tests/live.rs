//! Every exchange recorded between a client and live masters of both Salt versions, read and made
//! again from either side.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail loudly")]

mod common;

use std::time::{Duration, SystemTime};

use common::{
    Master, VERSIONS, auth_request, bytes, credentials, identity, private, text, value, vectors,
};
use saltern_base::{Jid, MinionId};
use saltern_crypto::{EncAlgo, SealKey, SigAlgo};
use saltern_value::msgpack;
use saltern_value::{Map, Value};
use saltern_wire::auth::server::{AuthRefused, AuthRequest, Why, pub_sig, refused};
use saltern_wire::command::{ClearCommand, MinionCommand, ReturnJid};
use saltern_wire::envelope::{self, Envelope, SealedRequest};
use saltern_wire::limits;
use saltern_wire::publish::{Job, Opener, Sealer, SignaturePolicy};
use saltern_wire::session::client::ClientSession;
use saltern_wire::session::server::{AcceptedMinion, open};
use saltern_wire::{Reason, Verified, topic};
use serde_json::Value as Json;

/// The aes exchanges that Salt answers with a sealed value.
const SEALED: [&str; 5] = ["file_envs", "file_hash", "serve_file", "return", "minion_start_event"];

fn sealed(exchange: &Json) -> SealedRequest {
    let body = bytes(exchange, "request_hex");
    let Envelope::Sealed(request) = envelope::parse(&body, limits::STRANGER).unwrap() else {
        panic!("not sealed")
    };
    request
}

fn minion() -> AcceptedMinion {
    AcceptedMinion::new(MinionId::parse("minion1").unwrap(), private("minion").public().clone())
}

fn session_key(version: &Json) -> SealKey {
    SealKey::parse(text(&version["auth_accept_first"], "session_key_string")).unwrap()
}

fn client(version: &Json) -> ClientSession {
    let aes = SealKey::parse(text(&version["auth_accept_first"], "aes_key_string")).unwrap();
    ClientSession::new(&identity(), &credentials(&private("master"), aes, session_key(version)))
}

fn each_version(test: impl Fn(&Json)) {
    let live = vectors("live.json");
    for version in VERSIONS {
        test(&live["versions"][version]);
    }
}

#[test]
fn sign_ins_are_read_and_answered_with_the_same_bytes() {
    each_version(|v| {
        let master = private("master");
        let first = auth_request(&bytes(&v["auth_pending"], "request_hex"));
        assert_eq!(first.id.as_str(), "minion1");
        assert_eq!(&first.key, private("minion").public());
        assert_eq!(first.pub_pem, private("minion").public().wire_pem());
        assert_eq!((first.enc_algo, first.sig_algo), (EncAlgo::OaepSha1, SigAlgo::Pkcs1v15Sha1));
        assert_eq!(
            refused(&first, &master, &Why::Pending.into(), None).unwrap(),
            bytes(&v["auth_pending"], "reply_hex")
        );
        let denied = &v["auth_denied_key_mismatch"];
        let request = auth_request(&bytes(denied, "request_hex"));
        assert_eq!(
            refused(&request, &master, &Why::Denied.into(), None).unwrap(),
            bytes(denied, "reply_hex")
        );
        let with_token = &v["auth_accept_with_token"];
        let token = auth_request(&bytes(with_token, "request_hex")).token.unwrap();
        let token = master.decrypt(EncAlgo::OaepSha1, &token).unwrap();
        assert_eq!(token, text(with_token, "minion_token").as_bytes());
    });
}

#[test]
fn unknown_algorithms_are_answered_with_the_same_bytes() {
    each_version(|v| {
        for (name, refused) in [
            ("auth_bad_sig_algo", AuthRefused::BadSigAlgo),
            ("auth_bad_enc_algo", AuthRefused::BadEncAlgo),
        ] {
            let body = bytes(&v[name], "request_hex");
            let Envelope::Clear(clear) = envelope::parse(&body, limits::STRANGER).unwrap() else {
                panic!("not clear")
            };
            let ClearCommand::Auth(load) = ClearCommand::parse(clear).unwrap() else {
                panic!("not _auth")
            };
            let found = AuthRequest::parse(&load).unwrap_err();
            assert_eq!(found, refused);
            assert_eq!(found.reply(&private("master")).unwrap(), bytes(&v[name], "reply_hex"));
        }
    });
}

#[test]
fn an_accepted_answer_has_salts_members_in_salts_order() {
    each_version(|v| {
        for name in ["auth_accept_first", "auth_accept_with_token"] {
            let theirs: Vec<String> =
                v[name]["signed_load"].as_object().unwrap().keys().cloned().collect();
            let ours =
                Master::new("master").accept(&auth_request(&bytes(&v[name], "request_hex")), None);
            let ours = msgpack::from_network(&ours).unwrap();
            let load = ours.get("load").unwrap().as_raw().unwrap();
            let inner = msgpack::from_network(load).unwrap().into_map().unwrap();
            let ours: Vec<_> = inner.keys().map(|k| k.as_str().unwrap()).collect();
            assert_eq!(ours, theirs);
            let reply = &v[name]["signed_load"];
            assert_eq!(inner.get_str("pub_key"), Some(text(reply, "pub_key")));
            assert_eq!(inner.get_str("nonce"), Some(text(reply, "nonce")));
        }
    });
}

#[test]
fn the_signature_over_the_master_key_is_salts() {
    let rsa = vectors("rsa.json");
    let line = text(&rsa["master_pub_sig"], "pub_sig_base64_line");
    let ours = pub_sig(&private("master_sign"), SigAlgo::Pkcs1v15Sha1, private("master").public());
    assert_eq!(ours.unwrap(), format!("{}\n", line.trim_end()));
}

#[test]
fn sealed_requests_open_to_what_was_sent() {
    each_version(|v| {
        let (minion, session) = (minion(), session_key(v));
        for name in SEALED.into_iter().chain(["pillar"]) {
            let exchange = &v[name];
            let request = sealed(exchange);
            let now = SystemTime::UNIX_EPOCH
                + Duration::from_secs(exchange["request_load"]["ts"].as_u64().unwrap() + 5);
            let opened = open(&request, &minion, &session, 10, now).unwrap();
            assert_eq!(opened.id.as_str(), "minion1");
            assert_eq!(opened.nonce(), Some(text(&exchange["request_load"], "nonce")));
            assert_eq!(opened.command.name(), text(&exchange["request_load"], "cmd"));
            let late = now + Duration::from_secs(100);
            let refused = open(&request, &minion, &session, 10, late).unwrap_err();
            assert_eq!(refused.reason, Reason::Expired(Some(105)));
        }
        let refused =
            open(&sealed(&v["bad_token"]), &minion, &session, 0, SystemTime::now()).unwrap_err();
        assert_eq!(refused.reason, Reason::BadToken);
        assert_eq!(refused.reply, bytes(&v["bad_token"], "reply_hex"));
    });
}

#[test]
fn a_return_and_an_event_carry_their_whole_load() {
    each_version(|v| {
        let command = |name: &str| {
            open(&sealed(&v[name]), &minion(), &session_key(v), 0, SystemTime::now())
                .map(Verified::into_inner)
                .unwrap()
                .command
        };
        let without_secrets = |name: &str| {
            let mut load = value(&v[name]["request_load"]).into_map().unwrap();
            load.remove("tok");
            load.remove("nonce");
            load
        };
        let MinionCommand::Return(ret) = command("return") else { panic!("not a return") };
        assert_eq!(ret.jid, ReturnJid::Job(Jid::parse("20260102030405000678").unwrap()));
        assert_eq!((ret.fun(), ret.value()), ("test.ping", &Value::Bool(true)));
        assert_eq!(ret.load, without_secrets("return"));
        let MinionCommand::MinionEvent(event) = command("minion_start_event") else {
            panic!("not an event")
        };
        assert_eq!(event.pretag, None);
        let saltern_wire::command::Event::Single { tag, load } = event.events else {
            panic!("not a single event")
        };
        assert_eq!(tag, "salt/minion/minion1/start");
        assert_eq!(load, without_secrets("minion_start_event"));
    });
}

#[test]
fn answers_open_to_what_was_answered_and_seal_to_the_same_plaintext() {
    each_version(|v| {
        let (client, session) = (client(v), session_key(v));
        for name in SEALED {
            let exchange = &v[name];
            let nonce = text(&exchange["request_load"], "nonce");
            let reply = bytes(exchange, "reply_hex");
            let theirs = client.open(nonce, &reply).unwrap();
            assert_eq!(theirs, value(&exchange["reply"]), "{name}");
            let opened = open(&sealed(exchange), &minion(), &session, 0, SystemTime::now());
            let ours = opened.unwrap().replier.value(&theirs);
            let plain = |reply: &[u8]| {
                session.open(msgpack::from_network(reply).unwrap().as_raw().unwrap()).unwrap()
            };
            assert_eq!(plain(&ours), plain(&reply), "{name}");
        }
        let nonce = text(&v["bad_token"]["request_load"], "nonce");
        assert!(client.open(nonce, &bytes(&v["bad_token"], "reply_hex")).is_err());
    });
}

#[test]
fn pillars_open_and_are_answered_in_the_same_form() {
    each_version(|v| {
        let exchange = &v["pillar"];
        let nonce = text(&exchange["request_load"], "nonce");
        let theirs = client(v).open_pillar(nonce, &bytes(exchange, "reply_hex")).unwrap();
        assert_eq!(Value::Map(theirs.clone()), value(&exchange["signed_data"]["pillar"]));
        let request =
            open(&sealed(exchange), &minion(), &session_key(v), 0, SystemTime::now()).unwrap();
        let MinionCommand::Pillar(pillar) = &request.command else { panic!("not a pillar") };
        assert_eq!(pillar.grains, Map::from([("os", "Test")]));
        assert_eq!((pillar.saltenv.as_deref(), pillar.ver.as_str()), (None, "2"));
        let ours = request
            .replier
            .pillar(private("minion").public(), &private("master"), &theirs)
            .unwrap();
        assert_eq!(client(v).open_pillar(nonce, &ours), Ok(theirs));
    });
}

#[test]
fn publications_open_and_seal_to_the_same_plaintext() {
    each_version(|v| {
        let aes = SealKey::parse(text(&v["publish_simple"], "aes_key_string")).unwrap();
        let held = credentials(&private("master"), aes.clone(), aes.clone());
        let id = MinionId::parse("minion1").unwrap();
        let mut opener = Opener::new(&id, &held, SignaturePolicy::Required);
        let signer = Some((private("master"), SigAlgo::default()));
        let mut sealer = Sealer::new(aes.clone(), signer);
        for name in ["publish_simple", "publish_full"] {
            let exchange = &v[name];
            let frames: Vec<Vec<u8>> = exchange["frames_hex"]
                .as_array()
                .unwrap()
                .iter()
                .map(|f| saltern_base::hex::decode(f.as_str().unwrap()).unwrap())
                .collect();
            let payload = opener.payload(&frames).unwrap();
            let opened = opener.open(payload).unwrap();
            let mut load = value(&exchange["load"]).into_map().unwrap();
            load.remove("serial");
            assert_eq!(opened.map, load);
            let asked = value(&exchange["clear_request_load"]).into_map().unwrap();
            let kwargs = asked.get("kwargs").and_then(Value::as_map).cloned().unwrap_or_default();
            let mut job = Job::new(
                opened.fun.clone(),
                opened.arg.clone(),
                opened.tgt.clone(),
                &opened.tgt_type,
                opened.jid.clone(),
                &opened.user,
            )
            .with_kwargs(&kwargs);
            job.ret = opened.ret.clone();
            job.to = asked.get("to").cloned();
            if load.get("start_event").is_none() {
                job.start_event = None;
            }
            let ours = sealer.seal(&job).unwrap();
            let outer = msgpack::from_network(&ours).unwrap().into_map().unwrap();
            let keys: Vec<_> = outer.keys().map(|k| k.as_str().unwrap()).collect();
            assert_eq!(Json::from(keys), exchange["outer_keys"]);
            let plain = aes.open(outer.get("load").unwrap().as_raw().unwrap()).unwrap();
            assert_eq!(plain, bytes(exchange, "load_plain_hex"), "{name}");
        }
    });
}

#[test]
fn topics_are_salts() {
    let jid = vectors("jid.json");
    for (id, digest) in jid["topic"].as_object().unwrap() {
        assert_eq!(topic::of_minion(id), digest.as_str().unwrap());
    }
    for case in jid["cases"].as_array().unwrap() {
        let parsed = Jid::parse(text(case, "jid"));
        assert_eq!(parsed.is_ok(), case["is_jid"].as_bool().unwrap());
        assert_eq!(parsed.unwrap().start_time(), text(case, "start_time"));
        let digest = saltern_crypto::HashType::Sha256.hex_digest(text(case, "jid").as_bytes());
        assert!(text(case, "dir_sha256").replace('/', "").ends_with(&digest));
    }
    for not in jid["not_jids"].as_array().unwrap() {
        assert!(Jid::parse(not.as_str().unwrap()).is_err());
    }
}

#[test]
fn frames_of_the_tcp_transport_are_bin_messages_with_the_envelope_inside() {
    let frames = &vectors("tcp_frames.json")["frames"];
    for (name, frame) in frames.as_object().unwrap() {
        let frame = saltern_base::hex::decode(frame.as_str().unwrap()).unwrap();
        let map = msgpack::from_file(&frame).unwrap().into_map().unwrap();
        assert_eq!(msgpack::encode_map(&map, msgpack::Encoding::Bin), frame, "{name}");
        assert!(map.contains_key("head") && map.contains_key("body"), "{name}");
    }
}
