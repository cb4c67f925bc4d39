//! Our minion's half against our master's half: sign-in in every outcome, requests, rotation.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail loudly")]

mod common;

use std::time::{Duration, Instant, SystemTime};

use common::{Master, auth_request, identity, identity_with, private, with};
use saltern_base::MinionId;
use saltern_crypto::{EncAlgo, SealKey, SigAlgo};
use saltern_value::msgpack::{self, Encoding};
use saltern_value::{Map, Value};
use saltern_wire::auth::client::{CachedKey, Credentials, Failure, Outcome, SignIn, Trust};
use saltern_wire::auth::server::{
    AuthRefused, AuthRequest, Grant, Notice, Refusal, SharedKey, Why, accepted, pub_sig, refused,
};
use saltern_wire::command::{Event, MineFun, MinionCommand, ReturnJid};
use saltern_wire::envelope::{self, Envelope, SealedRequest};
use saltern_wire::limits;
use saltern_wire::session::client::{ClientSession, OpenError};
use saltern_wire::session::server::{AcceptedMinion, MinionRequest, open};
use saltern_wire::session::{Replay, ReplayGuard};
use saltern_wire::{Reason, Refused, Verified};

fn sign_in(master: &Master, cached: &CachedKey) -> Box<Credentials> {
    let (sign_in, body) = SignIn::begin(&identity(), cached, None).unwrap();
    let reply = master.accept(&auth_request(&body), None);
    match sign_in.finish(&Trust::default(), &reply).unwrap() {
        Outcome::Accepted(credentials) => credentials,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_minion_of_ours_is_given_the_former_key_for_itself_alone() {
    let (master, former) = (Master::new("master"), SealKey::generate().unwrap());
    let (sign_in, body) = SignIn::begin(&identity(), &CachedKey::Absent, None).unwrap();
    let request = auth_request(&body);
    let grant = Grant {
        publish_port: 4505,
        pub_sig: None,
        shared: &master.shared,
        former: Some(&former),
        session: &master.session,
        notice: Some(&Notice::default()),
    };
    let reply = accepted(&request, &master.key, grant).unwrap();
    let text = former.as_str().as_bytes();
    assert!(!reply.windows(text.len()).any(|window| window == text), "nobody else reads it");
    match sign_in.finish(&Trust::default(), &reply).unwrap() {
        Outcome::Accepted(credentials) => assert_eq!(credentials.former, Some(former)),
        other => panic!("{other:?}"),
    }
    assert_eq!(self::sign_in(&master, &CachedKey::Absent).former, None);
}

fn accepted_minion() -> AcceptedMinion {
    AcceptedMinion::new(MinionId::parse("minion1").unwrap(), private("minion").public().clone())
}

fn sealed(body: &[u8]) -> SealedRequest {
    match envelope::parse(body, limits::STRANGER).unwrap() {
        Envelope::Sealed(request) => request,
        Envelope::Clear(_) => panic!("not sealed"),
    }
}

fn serve(master: &Master, body: &[u8]) -> Result<Verified<MinionRequest>, Refused> {
    open(&sealed(body), &accepted_minion(), &master.session, 0, SystemTime::now())
}

/// A request made by hand: sealed with the session key, with whatever members the test wants.
fn by_hand(master: &Master, load: &Map) -> Vec<u8> {
    let load = master.session.seal_map(load, None).unwrap();
    let outer = Map::from([
        ("enc", Value::from("aes")),
        ("load", Value::Bytes(load)),
        ("version", Value::Int(3)),
        ("id", Value::from("minion1")),
    ]);
    msgpack::encode_map(&outer, Encoding::OldRaw)
}

fn honest(cmd: &str) -> Map {
    Map::from([
        ("cmd", Value::from(cmd)),
        ("id", Value::from("minion1")),
        ("nonce", Value::from("n".repeat(32))),
        ("tok", Value::Bytes(private("minion").x931_sign(b"salt").unwrap())),
        ("ts", Value::from(saltern_base::time::epoch(SystemTime::now()))),
    ])
}

#[test]
fn every_algorithm_pair_signs_in() {
    let master = Master::new("master");
    for enc in EncAlgo::ALL {
        for sig in SigAlgo::ALL {
            for cached in [CachedKey::Absent, master.cached()] {
                let identity = identity_with(enc, sig);
                let (sign_in, body) = SignIn::begin(&identity, &cached, None).unwrap();
                let request = auth_request(&body);
                assert_eq!((request.enc_algo, request.sig_algo), (enc, sig));
                assert_eq!(request.token.is_some(), cached != CachedKey::Absent);
                let reply = master.accept(&request, None);
                let Outcome::Accepted(got) = sign_in.finish(&Trust::default(), &reply).unwrap()
                else {
                    panic!("not accepted")
                };
                assert_eq!((&got.aes, &got.session), (master.shared.key(), &master.session));
                assert_eq!(got.publish_port, 4505);
            }
        }
    }
}

#[test]
fn refusals_are_told_apart() {
    let master = Master::new("master");
    let notice = Notice { version: "1", time: 1.0, minions: 2, ..Notice::default() };
    for cached in [CachedKey::Absent, master.cached()] {
        let answer = |refusal: &Refusal, notice: Option<&Notice>| {
            let (sign_in, body) = SignIn::begin(&identity(), &cached, None).unwrap();
            let reply = refused(&auth_request(&body), &master.key, refusal, notice).unwrap();
            sign_in.finish(&Trust::default(), &reply).unwrap()
        };
        for notice in [None, Some(&notice)] {
            assert!(matches!(answer(&Why::Pending.into(), notice), Outcome::Pending));
            assert!(matches!(answer(&Why::Rejected.into(), notice), Outcome::Rejected));
            assert!(matches!(answer(&Why::Full.into(), notice), Outcome::Full));
        }
        assert!(matches!(answer(&Why::Denied.into(), Some(&notice)), Outcome::Denied));
        let later = Duration::from_millis(2500);
        let busy = Refusal { why: Why::Busy, retry_after: later, to: None };
        let Outcome::Busy { retry_after } = answer(&busy, Some(&notice)) else { panic!() };
        assert_eq!(retry_after, later);
        let draining = Refusal { why: Why::Draining, to: Some("m2".into()), ..busy };
        let Outcome::Draining { retry_after, to } = answer(&draining, Some(&notice)) else {
            panic!()
        };
        assert_eq!((retry_after, to.as_deref()), (later, Some("m2")));
        assert!(matches!(answer(&draining, None), Outcome::Full), "what stock minions see");
    }
}

#[test]
fn forged_refusals_are_not_believed() {
    let master = Master::new("master");
    let forger = private("master_sign");
    for why in [Why::Pending, Why::Rejected, Why::Full] {
        let (sign_in, body) = SignIn::begin(&identity(), &master.cached(), None).unwrap();
        let reply = refused(&auth_request(&body), &forger, &why.into(), None).unwrap();
        let error = sign_in.finish(&Trust::default(), &reply).unwrap_err();
        assert_eq!(error.failure, Failure::BadSignature);
    }
    for ret in [Value::Bool(true), Value::Bool(false), Value::from("full")] {
        let load = Value::Map(Map::from([("ret", ret)]));
        let as_bytes = Value::Bytes(msgpack::encode(&load, Encoding::OldRaw));
        for (load, cached) in [(&load, CachedKey::Absent), (&as_bytes, master.cached())] {
            let (sign_in, _) = SignIn::begin(&identity(), &cached, None).unwrap();
            let error =
                sign_in.finish(&Trust::default(), &saltern_wire::reply::clear(load.clone()));
            assert_eq!(error.unwrap_err().failure, Failure::Unsigned);
        }
    }
}

#[test]
fn answers_that_are_none_fail_at_once() {
    let finish = |reply: &[u8]| {
        let (sign_in, _) = SignIn::begin(&identity(), &CachedKey::Absent, None).unwrap();
        sign_in.finish(&Trust::default(), reply).unwrap_err().failure
    };
    let refused = Failure::Refused("bad load".to_owned());
    assert_eq!(finish(&saltern_wire::reply::text("bad load")), refused);
    let error = Map::from([("error", "Routing error")]);
    assert!(matches!(finish(&saltern_wire::reply::map(&error)), Failure::Refused(_)));
    for reply in [&b""[..], &[0xc1], &[0x80], &[0xc0], &vec![0xa5; 100_000], &[0x91; 64]] {
        assert!(matches!(finish(reply), Failure::Malformed(_)), "{reply:?}");
    }
}

#[test]
fn a_verified_switch_to_a_master_with_another_key() {
    let second = Master::new("master_sign");
    let signing = private("minion");
    let trust = Trust {
        verify_master_pubkey_sign: true,
        verification_keys: vec![saltern_wire::auth::client::VerificationKey {
            name: "master_sign.pub".to_owned(),
            key: signing.public().clone(),
        }],
        ..Trust::default()
    };
    let first = Master::new("master");
    let (sign_in, body) = SignIn::begin(&identity(), &first.cached(), None).unwrap();
    let sig = pub_sig(&signing, SigAlgo::default(), second.key.public()).unwrap();
    let reply = second.accept(&auth_request(&body), Some(&sig));
    let Outcome::Accepted(got) = sign_in.finish(&trust, &reply).unwrap() else {
        panic!("not accepted")
    };
    assert_eq!(got.store_master_key.as_deref(), Some(second.key.public().wire_pem()));
}

#[test]
fn sign_in_requests_with_wrong_members_are_refused_before_anything_else() {
    let (_, body) = SignIn::begin(&identity(), &CachedKey::Absent, None).unwrap();
    let load = msgpack::from_network(&body).unwrap().get("load").unwrap().clone();
    let load = load.into_map().unwrap();
    let refused = |member: &str, value: Value| {
        AuthRequest::parse(&with(&load, &[(member, value)])).unwrap_err()
    };
    assert_eq!(refused("sig_algo", Value::from("PKCS1v15-MD5")), AuthRefused::BadSigAlgo);
    assert_eq!(refused("enc_algo", Value::Int(3)), AuthRefused::BadEncAlgo);
    for id in ["../x", "a/b", "a\\b", "", "..", ".x", &"x".repeat(300)] {
        let refused = refused("id", Value::from(id));
        assert!(matches!(refused, AuthRefused::InvalidId(..)), "{id}");
        let reply = refused.reply(&private("master")).unwrap();
        let reply = msgpack::from_network(&reply).unwrap();
        let inner = msgpack::from_network(reply.get("load").unwrap().as_raw().unwrap()).unwrap();
        assert_eq!(inner.get("ret"), Some(&Value::Bool(false)));
    }
    for key in ["", "x", &"A".repeat(100_000)] {
        assert!(matches!(refused("pub", Value::from(key)), AuthRefused::BadKey(..)));
    }
    for (member, value) in [
        ("nonce", Value::Int(1)),
        ("nonce", Value::from("x".repeat(65))),
        ("nonce", Value::from("")),
        ("pub", Value::Nil),
        ("token", Value::Int(1)),
    ] {
        let refused = refused(member, value);
        assert!(matches!(refused, AuthRefused::Malformed(_)), "{member}");
        assert_eq!(refused.reply(&private("master")).unwrap(), b"\xa8bad load");
    }
}

#[test]
fn requests_and_answers_go_round() {
    let master = Master::new("master");
    let session = ClientSession::new(&identity(), &sign_in(&master, &CachedKey::Absent));
    let big = Value::from("x".repeat(5_000_000));
    let load = Map::from([
        ("cmd", Value::from("_return")),
        ("jid", Value::from("req")),
        ("return", big.clone()),
        ("id", Value::from("somebody-else")),
    ]);
    let request = session.seal(load, SystemTime::now()).unwrap();
    let served = serve(&master, &request.body).unwrap();
    assert_eq!(served.id.as_str(), "minion1");
    let MinionCommand::Return(ret) = &served.command else { panic!("not a return") };
    assert_eq!((&ret.jid, ret.value()), (&ReturnJid::Allocate, &big));
    for value in [Value::Nil, Value::Bool(false), Value::from(""), big] {
        let reply = served.replier.value(&value);
        assert_eq!(session.open(&request.nonce, &reply), Ok(value));
    }
    assert_eq!(
        session.open(&request.nonce, &served.replier.unknown_command()),
        Ok(Value::Map(Map::new()))
    );
    let other = session.seal(Map::from([("cmd", "_file_envs")]), SystemTime::now()).unwrap();
    assert_ne!(other.nonce, request.nonce);
    assert_eq!(session.open(&other.nonce, &served.replier.failed()), Err(OpenError::WrongNonce));
}

#[test]
fn unsealed_answers_send_the_minion_to_sign_in_again() {
    let master = Master::new("master");
    let session = ClientSession::new(&identity(), &master.credentials());
    let nonce = "0".repeat(32);
    for value in [
        Value::from("bad load"),
        Value::from(""),
        Value::Nil,
        Value::Bool(true),
        Value::Map(Map::new()),
        Value::Bytes(vec![0xff; 200]),
    ] {
        let reply = saltern_wire::reply::value(&value);
        assert_eq!(session.open(&nonce, &reply), Err(OpenError::NeedsAuth));
        assert_eq!(session.open_pillar(&nonce, &reply), Err(OpenError::NeedsAuth));
    }
    assert!(matches!(session.open(&nonce, b""), Err(OpenError::Malformed(_))));
    let error = saltern_wire::reply::map(&Map::from([("error", "bad load")]));
    assert!(matches!(session.open_pillar(&nonce, &error), Err(OpenError::Refused(_))));
}

#[test]
fn every_check_of_a_sealed_request() {
    let master = Master::new("master");
    let reason = |load: &Map| serve(&master, &by_hand(&master, load)).unwrap_err();
    let good = honest("_file_envs");
    assert!(serve(&master, &by_hand(&master, &good)).is_ok());
    let bad_load = b"\xa8bad load";
    for (members, expected) in [
        (("id", Value::from("minion2")), Reason::IdMismatch),
        (("id", Value::Int(1)), Reason::IdMismatch),
        (("tok", Value::Nil), Reason::BadToken),
        (("tok", Value::Bytes(vec![1; 256])), Reason::BadToken),
        (("tok", private("master").x931_sign(b"salt").unwrap().into()), Reason::BadToken),
        (("tok", private("minion").x931_sign(b"pepper").unwrap().into()), Reason::BadToken),
        (("nonce", Value::Int(1)), Reason::BadNonce),
        (("nonce", Value::from("x".repeat(65))), Reason::BadNonce),
    ] {
        let refused = reason(&with(&good, &[members]));
        assert_eq!(refused.reason, expected);
        assert_eq!(refused.reply, bad_load);
    }
    let mut no_command = good.clone();
    no_command.remove("cmd");
    assert_eq!(reason(&no_command).reason, Reason::NoCommand);
    let mut no_nonce = good.clone();
    no_nonce.remove("nonce");
    let served = serve(&master, &by_hand(&master, &no_nonce)).unwrap();
    let reply = msgpack::from_network(&served.replier.value(&Value::Nil)).unwrap();
    assert_eq!(master.session.open_value(reply.as_raw().unwrap()), Ok(Value::Nil));
}

#[test]
fn another_minions_session_or_the_shared_key_opens_nothing() {
    let master = Master::new("master");
    let body = by_hand(&master, &honest("_file_envs"));
    let minion = accepted_minion();
    for key in [SealKey::generate().unwrap(), master.shared.key().clone()] {
        let refused = open(&sealed(&body), &minion, &key, 0, SystemTime::now()).unwrap_err();
        assert_eq!(refused.reason, Reason::NotAuthentic);
    }
    let key = private("minion").public().clone();
    let other = AcceptedMinion::new(MinionId::parse("minion2").unwrap(), key);
    assert!(open(&sealed(&body), &other, &master.session, 0, SystemTime::now()).is_err());
}

#[test]
fn a_token_once_proved_does_not_open_the_door_for_another() {
    let master = Master::new("master");
    let minion = accepted_minion();
    let serve = |load: &Map| {
        let body = by_hand(&master, load);
        open(&sealed(&body), &minion, &master.session, 0, SystemTime::now()).is_ok()
    };
    assert!(serve(&honest("_file_envs")));
    assert!(serve(&honest("_file_envs")));
    assert!(!serve(&with(&honest("_file_envs"), &[("tok", Value::Bytes(vec![0; 256]))])));
}

#[test]
fn the_age_of_a_request_counts_only_where_asked_for() {
    let master = Master::new("master");
    let now = SystemTime::now();
    let open_at = |load: &Map, ttl| {
        let body = by_hand(&master, load);
        open(&sealed(&body), &accepted_minion(), &master.session, ttl, now).is_ok()
    };
    let at = |seconds: u64| {
        let ts = saltern_base::time::epoch(now) - seconds;
        with(&honest("_file_envs"), &[("ts", Value::from(ts))])
    };
    assert!(open_at(&at(1000), 0) && open_at(&at(10), 10) && !open_at(&at(11), 10));
    for missing in [Value::Nil, Value::from("x"), Value::Float(f64::NAN), Value::Int(-1)] {
        assert!(!open_at(&with(&honest("_file_envs"), &[("ts", missing)]), 10));
    }
}

#[test]
fn commands_are_read_into_their_types() {
    let master = Master::new("master");
    let read = |cmd: &str, members: &[(&str, Value)]| {
        let body = by_hand(&master, &with(&honest(cmd), members));
        serve(&master, &body).map(|r| r.into_inner().command)
    };
    let text = Value::from;
    let Ok(MinionCommand::ServeFile(serve)) =
        read("_serve_file", &[("path", text("a")), ("loc", Value::Int(7)), ("gzip", Value::Nil)])
    else {
        panic!("not a file")
    };
    assert_eq!((serve.loc, serve.gzip, serve.file.saltenv.as_str()), (7, None, "base"));
    let Ok(MinionCommand::MineGet(get)) =
        read("_mine_get", &[("tgt", text("*")), ("fun", text("a,b")), ("expr_form", text("pcre"))])
    else {
        panic!("not mine")
    };
    assert_eq!(get.fun, MineFun::Many(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(get.tgt_type, "pcre");
    let event = Value::Map(Map::from([("tag", "t"), ("data", "d")]));
    let Ok(MinionCommand::MinionEvent(events)) =
        read("_minion_event", &[("events", Value::List(vec![event])), ("pretag", text("p"))])
    else {
        panic!("no event")
    };
    assert_eq!(events.pretag.as_deref(), Some("p"));
    assert_eq!(events.events, Event::Many(vec![("t".to_owned(), text("d"))]));
    let tops = read("_ext_nodes", &[]).unwrap();
    assert_eq!(tops.name(), "_master_tops");
    for name in ["verify_minion", "__init__", "run_func", "_auth", "publish"] {
        assert_eq!(read(name, &[]).unwrap(), MinionCommand::Unknown(name.to_owned()));
    }
}

#[test]
fn members_of_the_wrong_type_are_answered_sealed() {
    let master = Master::new("master");
    let session = ClientSession::new(&identity(), &master.credentials());
    let wrong = Value::List(vec![Value::Map(Map::new())]);
    for (cmd, member) in [
        ("_return", "jid"),
        ("_pillar", "grains"),
        ("_minion_event", "events"),
        ("_minion_event", "tag"),
        ("_mine", "data"),
        ("_mine_get", "fun"),
        ("_mine_delete", "fun"),
        ("_file_find", "path"),
        ("_file_hash", "saltenv"),
        ("_serve_file", "loc"),
        ("_serve_file", "gzip"),
        ("_file_list", "prefix"),
        ("_master_tops", "opts"),
        ("_file_recv", "path"),
        ("_file_recv", "data"),
        ("minion_pub", "fun"),
        ("pub_ret", "jid"),
        ("minion_runner", "fun"),
    ] {
        let load = with(&honest(cmd), &[(member, wrong.clone())]);
        let refused = serve(&master, &by_hand(&master, &load)).unwrap_err();
        let Reason::Field(error) = refused.reason else { panic!("{cmd}: {}", refused.reason) };
        assert_eq!(error.command, cmd);
        assert_eq!(session.open(&"n".repeat(32), &refused.reply), Ok(Value::from("")));
    }
    let path = with(&honest("_return"), &[("jid", Value::from("../../../../etc/passw"))]);
    assert!(serve(&master, &by_hand(&master, &path)).is_err());
}

#[test]
fn a_pillar_is_believed_only_from_our_master_and_for_us() {
    let master = Master::new("master");
    let session = ClientSession::new(&identity(), &master.credentials());
    let request = Map::from([("cmd", Value::from("_pillar")), ("grains", Value::Map(Map::new()))]);
    let request = session.seal(request, SystemTime::now()).unwrap();
    let served = serve(&master, &request.body).unwrap();
    let pillar = Map::from([("secret", "x".repeat(1_000_000))]);
    let minion = private("minion");
    let good = served.replier.pillar(minion.public(), &master.key, &pillar).unwrap();
    assert_eq!(session.open_pillar(&request.nonce, &good), Ok(pillar.clone()));
    assert_eq!(session.open_pillar(&"0".repeat(32), &good), Err(OpenError::WrongNonce));
    let forged = served.replier.pillar(minion.public(), &private("master_sign"), &pillar).unwrap();
    assert_eq!(session.open_pillar(&request.nonce, &forged), Err(OpenError::BadSignature));
    let for_other = served.replier.pillar(private("master").public(), &master.key, &pillar);
    let for_other = session.open_pillar(&request.nonce, &for_other.unwrap());
    assert_eq!(for_other, Err(OpenError::NeedsAuth));
    // A signed pillar sealed again with another one-time key: the signed key tells.
    let outer = msgpack::from_network(&good).unwrap().into_map().unwrap();
    let key = minion.decrypt(EncAlgo::OaepSha1, outer.get("key").unwrap().as_raw().unwrap());
    let key = SealKey::parse(std::str::from_utf8(&key.unwrap()).unwrap()).unwrap();
    let signed = key.open_value(outer.get("pillar").unwrap().as_raw().unwrap()).unwrap();
    let again = SealKey::generate().unwrap();
    let resealed = saltern_wire::reply::map(&Map::from([
        ("key", minion.public().encrypt(EncAlgo::OaepSha1, again.as_str().as_bytes()).unwrap()),
        ("pillar", again.seal_value(&signed, None).unwrap()),
    ]));
    assert_eq!(session.open_pillar(&request.nonce, &resealed), Err(OpenError::BadSignature));
}

#[test]
fn a_recorded_request_changes_nothing_a_second_time() {
    let master = Master::new("master");
    let session = ClientSession::new(&identity(), &master.credentials());
    let mut guard = ReplayGuard::new(Duration::from_secs(100), 3);
    let start = Instant::now();
    let request = |load: &Map| {
        let body = session.seal(load.clone(), SystemTime::now()).unwrap().body;
        serve(&master, &body).unwrap()
    };
    let ret = Map::from([("cmd", "_return"), ("jid", "req")]);
    let first = request(&ret);
    let Replay::Noted(mark) = guard.check(&first, start) else { panic!("not noted") };
    assert_eq!(guard.check(&first, start), Replay::Repeated);
    let noted = |replay| matches!(replay, Replay::Noted(_));
    assert!(noted(guard.check(&request(&ret), start)), "a retry is sealed anew");
    let pillar = Map::from([("cmd", Value::from("_pillar")), ("grains", Value::Map(Map::new()))]);
    let pillar = request(&pillar);
    assert_eq!(guard.check(&pillar, start), Replay::First);
    assert_eq!(guard.check(&pillar, start), Replay::First, "repeated as the same bytes by Salt");
    for _ in 0..10 {
        assert!(noted(guard.check(&request(&ret), start)));
    }
    assert_eq!(guard.len(), 3);
    let last = request(&ret);
    assert!(noted(guard.check(&last, start)));
    assert!(noted(guard.check(&last, start + Duration::from_secs(101))));
    // What a former run has noted is known, as long as its session may be.
    let mut next = ReplayGuard::new(Duration::from_secs(100), 3);
    next.restore(mark, Duration::from_secs(99), start);
    assert_eq!(next.check(&first, start), Replay::Repeated);
    let mut next = ReplayGuard::new(Duration::from_secs(100), 3);
    next.restore(mark, Duration::from_secs(101), start);
    assert!(next.is_empty() && noted(next.check(&first, start)));
    assert_eq!(first.refuse_repeated().reply, b"\xa8bad load");
}

#[test]
fn after_a_rotation_the_new_key_comes_with_the_next_sign_in() {
    let mut master = Master::new("master");
    let before = sign_in(&master, &CachedKey::Absent);
    master.shared = SharedKey::new(&master.key, SealKey::generate().unwrap()).unwrap();
    let after = sign_in(&master, &master.cached());
    assert_ne!(before.aes, after.aes);
    assert_eq!(before.session, after.session);
    master.session = SealKey::generate().unwrap();
    let stale = ClientSession::new(&identity(), &after);
    let request = stale.seal(Map::from([("cmd", "_file_envs")]), SystemTime::now()).unwrap();
    let refused = serve(&master, &request.body).unwrap_err();
    assert_eq!(stale.open(&request.nonce, &refused.reply), Err(OpenError::NeedsAuth));
}
