//! The decisions of a minion about a master's key, row by row, against answers made by the
//! master's half.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail loudly")]

mod common;

use common::{Master, auth_request, identity, private, with};
use saltern_crypto::{HashType, PrivateKey, SigAlgo, fingerprint};
use saltern_value::msgpack::{self, Encoding};
use saltern_value::{Map, Value};
use saltern_wire::auth::client::{
    CachedKey, Credentials, Failure, Mismatch, Outcome, Severity, SignIn, SignInError, Trust,
    VerificationKey, Warning,
};
use saltern_wire::auth::server::pub_sig;

/// One row: what the minion has and wants, and what the master sends.
struct Case {
    cached: CachedKey,
    trust: Trust,
    pub_sig: Option<String>,
}

/// The master that answers; its identity key is another one than the signing key.
const MASTER: &str = "master";
const SIGNING: &str = "master_sign";
/// Any other key: for a changed master or a wrong signing key.
const OTHER: &str = "minion";

fn cached(key: &str) -> CachedKey {
    CachedKey::Text(private(key).public().wire_pem().to_owned())
}

fn signed_by(key: &str) -> Option<String> {
    let sig = pub_sig(&private(key), SigAlgo::default(), private(MASTER).public());
    Some(sig.unwrap())
}

fn verifying(always: bool) -> Trust {
    Trust {
        verify_master_pubkey_sign: true,
        always_verify_signature: always,
        verification_keys: vec![key_named("master_sign.pub", SIGNING)],
        ..Trust::default()
    }
}

fn key_named(name: &str, key: &str) -> VerificationKey {
    VerificationKey { name: name.to_owned(), key: private(key).public().clone() }
}

fn run(case: &Case) -> Result<Box<Credentials>, SignInError> {
    let master = Master::new(MASTER);
    let (sign_in, body) = SignIn::begin(&identity(), &case.cached, None).unwrap();
    let reply = master.accept(&auth_request(&body), case.pub_sig.as_deref());
    match sign_in.finish(&case.trust, &reply)? {
        Outcome::Accepted(credentials) => Ok(credentials),
        other => panic!("{other:?}"),
    }
}

fn accepts(cached: CachedKey, trust: Trust, pub_sig: Option<String>) -> Credentials {
    *run(&Case { cached, trust, pub_sig }).unwrap()
}

fn fails(cached: CachedKey, trust: Trust, pub_sig: Option<String>) -> Failure {
    run(&Case { cached, trust, pub_sig }).unwrap_err().failure
}

#[test]
fn rows_1_to_5_nothing_cached() {
    let absent = CachedKey::Absent;
    for cached in [absent.clone(), CachedKey::Text(" \n".to_owned())] {
        let got = accepts(cached, Trust::default(), None);
        assert_eq!(got.store_master_key.as_deref(), Some(private(MASTER).public().wire_pem()));
        assert!(!got.signature_verified);
    }
    let got = fails(absent.clone(), Trust::default(), signed_by(SIGNING));
    assert_eq!(got, Failure::UnexpectedPubSig);
    for always in [false, true] {
        assert_eq!(fails(absent.clone(), verifying(always), None), Failure::MissingPubSig);
        let got = accepts(absent.clone(), verifying(always), signed_by(SIGNING));
        assert!(got.signature_verified && got.store_master_key.is_some());
        assert_eq!(got.verified_with.as_deref(), Some("master_sign.pub"));
        let got = fails(absent.clone(), verifying(always), signed_by(OTHER));
        assert_eq!(got, Failure::BadPubSig);
        let no_key = Trust { verification_keys: Vec::new(), ..verifying(always) };
        let got = fails(absent.clone(), no_key, signed_by(SIGNING));
        assert_eq!(got, Failure::NoVerificationKey);
    }
}

#[test]
fn rows_6_to_11_the_cached_key() {
    let same = || cached(MASTER);
    let got = accepts(same(), Trust::default(), None);
    assert_eq!((got.store_master_key, got.signature_verified), (None, false));
    assert_eq!(fails(same(), Trust::default(), signed_by(SIGNING)), Failure::UnexpectedPubSig);
    for always in [false, true] {
        assert_eq!(fails(same(), verifying(always), None), Failure::MissingPubSig);
        let got = accepts(same(), verifying(always), signed_by(SIGNING));
        assert_eq!((got.store_master_key, got.signature_verified), (None, true));
        // Row 9: Salt does not look at the signature here; we do.
        assert_eq!(fails(same(), verifying(always), signed_by(OTHER)), Failure::BadPubSig);
    }
}

#[test]
fn rows_12_to_16_another_key() {
    let other = || cached(OTHER);
    assert_eq!(fails(other(), Trust::default(), None), Failure::KeyChanged);
    assert_eq!(fails(other(), Trust::default(), signed_by(SIGNING)), Failure::UnexpectedPubSig);
    for always in [false, true] {
        assert_eq!(fails(other(), verifying(always), None), Failure::MissingPubSig);
        let got = accepts(other(), verifying(always), signed_by(SIGNING));
        assert_eq!(got.store_master_key.as_deref(), Some(private(MASTER).public().wire_pem()));
        assert!(got.signature_verified);
        assert_eq!(fails(other(), verifying(always), signed_by(OTHER)), Failure::BadPubSig);
    }
}

#[test]
fn rows_17_and_18_a_cached_key_that_cannot_be_read() {
    for unreadable in [CachedKey::Unreadable, CachedKey::Text("no key".to_owned())] {
        let got = fails(unreadable.clone(), Trust::default(), None);
        assert_eq!(got, Failure::CachedKeyUnreadable);
        let got = accepts(unreadable, verifying(false), signed_by(SIGNING));
        assert!(got.store_master_key.is_some());
    }
}

#[test]
fn row_19_open_mode_keeps_the_cached_key() {
    let open = || Trust { open_mode: true, ..Trust::default() };
    assert!(accepts(CachedKey::Absent, open(), None).store_master_key.is_some());
    assert_eq!(accepts(cached(MASTER), open(), None).store_master_key, None);
    assert_eq!(fails(cached(OTHER), open(), None), Failure::KeyChanged);
    let open_verifying = || Trust { open_mode: true, ..verifying(false) };
    let got = accepts(cached(OTHER), open_verifying(), signed_by(SIGNING));
    assert!(got.store_master_key.is_some());
    assert_eq!(fails(cached(OTHER), open_verifying(), signed_by(OTHER)), Failure::BadPubSig);
}

#[test]
fn row_20_signatures_that_are_none_fail_and_do_not_hang() {
    let huge = "A".repeat(40_000);
    for bad in ["", "!", "AAA", "AAAA", "====", &huge] {
        for cached in [CachedKey::Absent, cached(MASTER), cached(OTHER), CachedKey::Unreadable] {
            let got = fails(cached, verifying(true), Some(bad.to_owned()));
            assert!(matches!(got, Failure::BadPubSig | Failure::Malformed(_)), "{bad}: {got}");
        }
    }
}

#[test]
fn row_21_a_wrong_finger_is_a_hard_failure() {
    let pem = private(MASTER).public().to_pem();
    let right = fingerprint(&pem, HashType::Sha256);
    let wrong = fingerprint(&private(OTHER).public().to_pem(), HashType::Sha256);
    let with = |finger: &str| Trust { master_finger: Some(finger.to_owned()), ..Trust::default() };
    for cached in [CachedKey::Absent, cached(MASTER)] {
        accepts(cached.clone(), with(&right), None);
        let case = Case { cached, trust: with(&wrong), pub_sig: None };
        let error = run(&case).unwrap_err();
        assert_eq!(error.severity(), Severity::Hard);
        let (expected, found) = (wrong.clone(), right.clone());
        assert_eq!(error.failure, Failure::WrongFinger { expected, found });
    }
}

#[test]
fn the_tolerant_switch_warns_in_rows_2_and_7_only() {
    let warn = || Trust { unexpected_signature: Mismatch::Warn, ..Trust::default() };
    for cached in [CachedKey::Absent, cached(MASTER)] {
        let got = accepts(cached, warn(), signed_by(SIGNING));
        assert_eq!(got.warnings, [Warning::UnexpectedPubSig]);
        assert!(!got.signature_verified);
    }
    assert_eq!(fails(cached(OTHER), warn(), signed_by(SIGNING)), Failure::UnexpectedPubSig);
}

#[test]
fn signing_keys_roll_over_and_master_keys_are_revoked() {
    let both = Trust {
        verification_keys: vec![key_named("old.pub", OTHER), key_named("new.pub", SIGNING)],
        ..verifying(true)
    };
    let got = accepts(cached(OTHER), both.clone(), signed_by(SIGNING));
    assert_eq!(got.verified_with.as_deref(), Some("new.pub"));
    let finger = fingerprint(private(MASTER).public().wire_pem(), HashType::Sha256);
    let revoked = Trust { revoked: vec![finger.to_uppercase()], ..both };
    for known in [cached(OTHER), cached(MASTER), CachedKey::Absent] {
        let got = fails(known, revoked.clone(), signed_by(SIGNING));
        assert_eq!(got, Failure::Revoked(finger.clone()));
    }
}

#[test]
fn a_signature_of_another_masters_key_does_not_vouch_for_this_one() {
    let of_other = pub_sig(&private(SIGNING), SigAlgo::default(), private(OTHER).public());
    let got = fails(cached(OTHER), verifying(false), Some(of_other.unwrap()));
    assert_eq!(got, Failure::BadPubSig);
}

/// An accepted answer with parts of it changed, signed by `key` again or with the old signature.
fn tampered(
    cached: &CachedKey,
    trust: &Trust,
    resign: Option<&PrivateKey>,
    change: impl FnOnce(&mut Map),
) -> Failure {
    let (sign_in, body) = SignIn::begin(&identity(), cached, None).unwrap();
    let sig = trust.verify_master_pubkey_sign.then(|| signed_by(SIGNING)).flatten();
    let reply = Master::new(MASTER).accept(&auth_request(&body), sig.as_deref());
    let outer = msgpack::from_network(&reply).unwrap().into_map().unwrap();
    let inner = outer.get("load").unwrap().as_raw().unwrap();
    let mut inner = msgpack::from_network(inner).unwrap().into_map().unwrap();
    change(&mut inner);
    let load = msgpack::encode_map(&inner, Encoding::OldRaw);
    let mut outer = with(&outer, &[("load", Value::Bytes(load.clone()))]);
    if let Some(key) = resign {
        outer.insert("sig", key.sign(SigAlgo::default(), &load).unwrap());
    }
    let reply = msgpack::encode_map(&outer, Encoding::OldRaw);
    sign_in.finish(trust, &reply).unwrap_err().failure
}

#[test]
fn a_verified_key_with_a_bad_outer_signature_is_not_given_out_to_be_stored() {
    // N-5: real pub_key and pub_sig, replayed by somebody without the master's private key.
    let got = tampered(&cached(OTHER), &verifying(false), Some(&private(OTHER)), |_| {});
    assert_eq!(got, Failure::BadSignature);
    let got = tampered(&CachedKey::Absent, &Trust::default(), None, |inner| {
        inner.insert("publish_port", 4444);
    });
    assert_eq!(got, Failure::BadSignature);
}

#[test]
fn members_missing_or_of_the_wrong_type_fail() {
    let master = private(MASTER);
    let trust = Trust::default();
    for (member, failure) in [
        ("aes", Failure::BadAesKey),
        ("sig", Failure::BadAesKey),
        ("session", Failure::BadSessionKey),
        ("token", Failure::BadToken),
        ("nonce", Failure::WrongNonce),
        ("publish_port", Failure::Malformed("publish_port")),
    ] {
        let got = tampered(&cached(MASTER), &trust, Some(&master), |m| drop(m.remove(member)));
        assert_eq!(got, failure, "{member}");
        for wrong in [Value::Nil, Value::Int(-5), Value::from("x"), Value::Map(Map::new())] {
            let got = tampered(&cached(MASTER), &trust, Some(&master), |m| {
                m.insert(member, wrong.clone());
            });
            assert_eq!(got, failure, "{member} {wrong:?}");
        }
    }
    for wrong in [Value::Nil, Value::Int(1), Value::from("x"), Value::from("A".repeat(30_000))] {
        let got = tampered(&CachedKey::Absent, &trust, Some(&master), |m| {
            m.insert("pub_key", wrong.clone());
        });
        assert_eq!(got, Failure::Malformed("pub_key"));
        let got = tampered(&CachedKey::Absent, &verifying(true), Some(&master), |m| {
            m.insert("pub_sig", Value::Int(7));
        });
        assert_eq!(got, Failure::Malformed("pub_sig"));
    }
}

#[test]
fn an_aes_key_that_the_master_did_not_sign_fails() {
    let other = Master::new(MASTER);
    let (_, body) = SignIn::begin(&identity(), &CachedKey::Absent, None).unwrap();
    let foreign = msgpack::from_network(&other.accept(&auth_request(&body), None)).unwrap();
    let foreign = foreign.get("load").unwrap().as_raw().unwrap().to_vec();
    let foreign = msgpack::from_network(&foreign).unwrap();
    let got = tampered(&CachedKey::Absent, &Trust::default(), Some(&private(MASTER)), |inner| {
        inner.insert("aes", foreign.get("aes").unwrap().clone());
    });
    assert_eq!(got, Failure::BadAesKey);
}
