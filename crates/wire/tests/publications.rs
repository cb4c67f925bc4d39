//! Publications between our master's half and our minion's half.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail loudly")]

mod common;

use common::{Master, credentials, private, with};
use saltern_base::{Jid, MinionId};
use saltern_crypto::{PrivateKey, SealKey, SigAlgo};
use saltern_value::msgpack::{self, Encoding};
use saltern_value::{Map, Value};
use saltern_wire::auth::client::Credentials;
use saltern_wire::publish::{Dropped, Job, OpenError, Opener, Sealer, SignaturePolicy};
use saltern_wire::topic;

fn job(micros: u32) -> Job {
    let jid = Jid::parse(&format!("20260102030405{micros:06}")).unwrap();
    let (fun, tgt) = (Value::from("test.ping"), Value::from("*"));
    Job::new(fun, vec![], tgt, "glob", jid, "root")
}

fn id() -> MinionId {
    MinionId::parse("minion1").unwrap()
}

fn opener(credentials: &Credentials, policy: SignaturePolicy) -> Opener {
    Opener::new(&id(), credentials, policy)
}

fn sealer(master: &Master) -> Sealer {
    let signer = (master.key.clone(), SigAlgo::default());
    Sealer::new(master.shared.key().clone(), Some(signer))
}

/// A publication made by somebody who holds the AES key, as every minion does.
fn by_hand(aes: &SealKey, load: &Map, signer: Option<&PrivateKey>) -> Vec<u8> {
    let load = aes.seal_map(load, None).unwrap();
    let mut outer = Map::from([("enc", Value::from("aes"))]);
    if let Some(key) = signer {
        outer.insert("sig_algo", "PKCS1v15-SHA1");
        outer.insert("sig", key.sign(SigAlgo::default(), &load).unwrap());
    }
    outer.insert("load", load);
    msgpack::encode_map(&outer, Encoding::OldRaw)
}

#[test]
fn serials_grow_and_a_replay_is_dropped() {
    let master = Master::new("master");
    let mut sealer = sealer(&master);
    let mut opener = opener(&master.credentials(), SignaturePolicy::Required);
    let first = sealer.seal(&job(1)).unwrap();
    let second = sealer.seal(&job(2)).unwrap();
    let third = sealer.seal(&job(3)).unwrap();
    assert_eq!(opener.open(&first).unwrap().jid, job(1).jid);
    assert_eq!(opener.open(&third).unwrap().jid, job(3).jid);
    for old in [&first, &second, &third] {
        assert_eq!(opener.open(old).unwrap_err(), Dropped::OldSerial.into());
    }
    opener.rekey(&master.credentials());
    assert_eq!(opener.open(&third).unwrap_err(), Dropped::OldSerial.into());
}

#[test]
fn a_rotation_needs_a_new_sign_in_and_loses_no_job() {
    let master = Master::new("master");
    let mut sealer = sealer(&master);
    let mut opener = opener(&master.credentials(), SignaturePolicy::Required);
    for n in 0..5 {
        opener.open(&sealer.seal(&job(n)).unwrap()).unwrap();
    }
    let fresh = SealKey::generate().unwrap();
    sealer.rotate(fresh.clone());
    let after = sealer.seal(&job(9)).unwrap();
    assert_eq!(opener.open(&after).unwrap_err(), OpenError::NeedsReauth);
    opener.rekey(&credentials(&master.key, fresh, master.session.clone()));
    assert_eq!(opener.open(&after).unwrap().jid, job(9).jid);
}

/// The keys of a sign-in after the key has been replaced by `aes`.
fn replaced(master: &Master, aes: &SealKey, former: &SealKey) -> Credentials {
    let credentials = credentials(&master.key, aes.clone(), master.session.clone());
    Credentials { former: Some(former.clone()), ..credentials }
}

#[test]
fn two_rotations_at_once_lose_no_job_between_them() {
    let master = Master::new("master");
    let mut sealer = sealer(&master);
    let mut opener = opener(&master.credentials(), SignaturePolicy::Required);
    let before = sealer.seal(&job(0)).unwrap();
    opener.open(&before).unwrap();
    let [second, third] = [(); 2].map(|()| SealKey::generate().unwrap());
    sealer.rotate(second.clone());
    let between: Vec<_> = (1..4).map(|n| sealer.seal(&job(n)).unwrap()).collect();
    sealer.rotate(third.clone());
    let after = sealer.seal(&job(9)).unwrap();
    assert_eq!(opener.open(&between[0]).unwrap_err(), OpenError::NeedsReauth);
    opener.rekey(&replaced(&master, &third, &second));
    assert_eq!(opener.open(&between[0]).unwrap().jid, job(1).jid);
    assert_eq!(opener.open(&between[2]).unwrap().jid, job(3).jid);
    for old in [&between[0], &between[1], &between[2]] {
        assert_eq!(opener.open(old).unwrap_err(), Dropped::OldSerial.into());
    }
    assert_eq!(opener.open(&before).unwrap_err(), OpenError::NeedsReauth, "older than both");
    assert_eq!(opener.open(&after).unwrap().jid, job(9).jid);
    assert_eq!(opener.open(&between[1]).unwrap_err(), OpenError::NeedsReauth, "its time is over");
}

#[test]
fn the_former_key_opens_no_way_for_a_replay_or_a_forgery() {
    let master = Master::new("master");
    let mut sealer = sealer(&master);
    let mut opener = opener(&master.credentials(), SignaturePolicy::Required);
    let taken = sealer.seal(&job(1)).unwrap();
    opener.open(&taken).unwrap();
    // Our own key is the former one now: what was taken under it stays taken.
    let fresh = SealKey::generate().unwrap();
    opener.rekey(&replaced(&master, &fresh, master.shared.key()));
    assert_eq!(opener.open(&taken).unwrap_err(), Dropped::OldSerial.into());
    // Who was shut out has it, but cannot sign.
    let load = with(&job(2).to_map(), &[("serial", Value::Int(7))]);
    let forged = by_hand(master.shared.key(), &load, Some(&private("minion")));
    assert_eq!(opener.open(&forged).unwrap_err(), Dropped::BadSignature.into());
    let late = sealer.seal(&job(3)).unwrap();
    assert_eq!(opener.open(&late).unwrap().jid, job(3).jid);
}

#[test]
fn another_minion_with_the_aes_key_is_not_the_master() {
    let master = Master::new("master");
    let aes = master.shared.key();
    let load = with(&job(1).to_map(), &[("serial", Value::Int(1))]);
    let unsigned = by_hand(aes, &load, None);
    let forged = by_hand(aes, &load, Some(&private("minion")));
    let open = |policy, payload: &[u8]| {
        opener(&master.credentials(), policy).open(payload).map(|p| p.jid.clone())
    };
    let jid = Ok(job(1).jid);
    assert_eq!(open(SignaturePolicy::Required, &unsigned), Err(Dropped::Unsigned.into()));
    assert_eq!(open(SignaturePolicy::Required, &forged), Err(Dropped::BadSignature.into()));
    assert_eq!(open(SignaturePolicy::WhenPresent, &unsigned), jid);
    assert_eq!(open(SignaturePolicy::WhenPresent, &forged), Err(Dropped::BadSignature.into()));
    assert_eq!(open(SignaturePolicy::Ignore, &forged), jid);
    let without = Sealer::new(aes.clone(), None).seal(&job(1)).unwrap();
    assert_eq!(open(SignaturePolicy::WhenPresent, &without), jid);
    assert_eq!(open(SignaturePolicy::Required, &without), Err(Dropped::Unsigned.into()));
}

#[test]
fn a_forgery_does_not_use_up_a_serial() {
    let master = Master::new("master");
    let mut opener = opener(&master.credentials(), SignaturePolicy::Required);
    let load = with(&job(1).to_map(), &[("serial", Value::Int(i64::MAX))]);
    assert!(opener.open(&by_hand(master.shared.key(), &load, Some(&private("minion")))).is_err());
    assert!(opener.open(&sealer(&master).seal(&job(2)).unwrap()).is_ok());
}

#[test]
fn publications_without_serial_or_with_lists_of_functions_are_taken() {
    let master = Master::new("master");
    let mut opener = opener(&master.credentials(), SignaturePolicy::Required);
    let funs = Value::List(vec![Value::from("test.ping"), Value::from("test.version")]);
    let load = with(&job(1).to_map(), &[("fun", funs.clone())]);
    let payload = by_hand(master.shared.key(), &load, Some(&master.key));
    assert_eq!(opener.open(&payload).unwrap().fun, funs);
    assert!(opener.open(&payload).is_ok(), "a cluster sends no serial");
}

#[test]
fn what_is_no_job_is_dropped() {
    let master = Master::new("master");
    let mut opener = opener(&master.credentials(), SignaturePolicy::Required);
    for (member, wrong) in [
        ("fun", Value::Int(1)),
        ("fun", Value::List(vec![Value::Nil])),
        ("arg", Value::from("x")),
        ("jid", Value::from("../x")),
        ("jid", Value::Int(2026)),
        ("serial", Value::from("1")),
    ] {
        let load = with(&job(1).to_map(), &[(member, wrong)]);
        let payload = by_hand(master.shared.key(), &load, Some(&master.key));
        let error = opener.open(&payload).unwrap_err();
        assert!(matches!(error, OpenError::Dropped(Dropped::Malformed(_))), "{member}");
    }
    for member in ["fun", "arg", "tgt", "jid"] {
        let mut load = job(1).to_map();
        load.remove(member);
        let payload = by_hand(master.shared.key(), &load, Some(&master.key));
        assert_eq!(opener.open(&payload).unwrap_err(), Dropped::Malformed(member).into());
    }
    let mut clear = Map::from([("enc", Value::from("clear"))]);
    clear.insert("load", job(1).to_map());
    let payload = msgpack::encode_map(&clear, Encoding::OldRaw);
    assert_eq!(opener.open(&payload).unwrap_err(), Dropped::Malformed("enc").into());
    assert!(opener.open(b"\xc1").is_err() && opener.open(b"").is_err());
}

#[test]
fn messages_have_one_frame_or_a_topic_of_ours_and_one() {
    let master = Master::new("master");
    let opener = opener(&master.credentials(), SignaturePolicy::Required);
    let payload = &b"payload"[..];
    assert_eq!(opener.payload(&[payload]), Ok(payload));
    for ours in opener.topics() {
        assert_eq!(opener.payload(&[ours.as_bytes(), payload]), Ok(payload));
    }
    let other = topic::of_minion("minion2");
    assert_eq!(opener.payload(&[other.as_bytes(), payload]), Err(Dropped::OtherTopic));
    for frames in [&[][..], &[payload, payload, payload]] {
        assert!(matches!(opener.payload(frames), Err(Dropped::Malformed(_))));
    }
    assert!(topic::is_addressed("list") && !topic::is_addressed("compound"));
}

#[test]
fn options_of_publish_that_are_not_set_are_not_sent() {
    let kwargs = Map::from([
        ("delimiter", Value::from(":")),
        ("metadata", Value::Map(Map::new())),
        ("ret_config", Value::from("rc")),
        ("show_jid", Value::Bool(true)),
    ]);
    let map = job(1).with_kwargs(&kwargs).to_map();
    let keys: Vec<_> = map.keys().filter_map(Value::as_str).collect();
    assert_eq!(keys, ["fun", "arg", "tgt", "jid", "ret", "tgt_type", "ret_config", "user"]);
}
