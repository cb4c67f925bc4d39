//! Answers of live masters of both Salt versions. The nonce and the token of the recorded requests
//! are put in place, which is why these tests stand inside of the module.

use saltern_base::{MinionId, hex};
use saltern_crypto::{EncAlgo, PrivateKey, SealKey, SigAlgo};
use serde_json::Value as Json;

use super::*;

fn vectors(file: &str) -> Json {
    let path = format!("{}/../../tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn private(name: &str) -> PrivateKey {
    let keys = vectors("keys.json");
    PrivateKey::from_pem(keys[name]["private_pem"].as_str().unwrap().as_bytes(), None).unwrap()
}

fn text<'a>(json: &'a Json, key: &str) -> &'a str {
    json[key].as_str().unwrap()
}

/// The sign-in that sent the recorded request.
fn recorded(exchange: &Json, known: Known) -> SignIn {
    let id = MinionId::parse("minion1").unwrap();
    let identity =
        Identity::new(id, private("minion"), EncAlgo::OaepSha1, SigAlgo::Pkcs1v15Sha1).unwrap();
    let request = hex::decode(text(exchange, "request_hex")).unwrap();
    let request = msgpack::from_network(&request).unwrap();
    let nonce = request.get("load").unwrap().get("nonce").unwrap().as_str().unwrap().to_owned();
    let token = exchange["minion_token"].as_str().map(|t| SealKey::parse(t).unwrap());
    SignIn { identity, known, nonce, token }
}

fn finish(exchange: &Json, known: Known) -> Result<Outcome, SignInError> {
    let reply = hex::decode(text(exchange, "reply_hex")).unwrap();
    recorded(exchange, known).finish(&Trust::default(), &reply)
}

fn each_version(test: impl Fn(&Json)) {
    let live = vectors("live.json");
    for version in ["3006.24", "3008.2"] {
        test(&live["versions"][version]);
    }
}

fn master() -> Known {
    Known::Key(private("master").public().clone())
}

#[test]
fn pending_and_denied_are_understood() {
    each_version(|v| {
        for known in [Known::Nothing, master()] {
            let pending = finish(&v["auth_pending"], known.clone());
            assert!(matches!(pending, Ok(Outcome::Pending)));
            let denied = finish(&v["auth_denied_key_mismatch"], known);
            assert!(matches!(denied, Ok(Outcome::Rejected)));
        }
        let other = Known::Key(private("master_sign").public().clone());
        let error = finish(&v["auth_pending"], other).unwrap_err();
        assert_eq!(error.failure, Failure::BadSignature);
    });
}

#[test]
fn bad_algorithms_are_understood() {
    each_version(|v| {
        let error = finish(&v["auth_bad_sig_algo"], Known::Nothing).unwrap_err();
        assert_eq!(error.failure, Failure::BadSigAlgo);
        let error = finish(&v["auth_bad_enc_algo"], Known::Nothing).unwrap_err();
        assert_eq!(error.failure, Failure::BadEncAlgo);
    });
}

#[test]
fn acceptance_gives_the_recorded_keys() {
    each_version(|v| {
        let first = &v["auth_accept_first"];
        let Ok(Outcome::Accepted(got)) = finish(first, Known::Nothing) else {
            panic!("not accepted")
        };
        assert_eq!(got.aes.as_str(), text(first, "aes_key_string"));
        assert_eq!(got.session.as_str(), text(first, "session_key_string"));
        assert_eq!(&got.master_key, private("master").public());
        assert_eq!(
            u64::from(got.publish_port),
            first["signed_load"]["publish_port"].as_u64().unwrap()
        );
        assert_eq!(got.store_master_key.as_deref(), first["signed_load"]["pub_key"].as_str());
        assert!(!got.signature_verified);
        let Ok(Outcome::Accepted(again)) = finish(&v["auth_accept_with_token"], master()) else {
            panic!("not accepted")
        };
        assert_eq!((again.aes, again.session), (got.aes, got.session));
        assert_eq!(again.store_master_key, None);
    });
}

#[test]
fn an_answer_to_another_request_is_refused() {
    each_version(|v| {
        for known in [Known::Nothing, master()] {
            let mut sign_in = recorded(&v["auth_pending"], known);
            sign_in.nonce = "0".repeat(32);
            let reply = hex::decode(text(&v["auth_pending"], "reply_hex")).unwrap();
            let error = sign_in.finish(&Trust::default(), &reply).unwrap_err();
            assert_eq!(error.failure, Failure::WrongNonce);
        }
    });
}

#[test]
fn a_token_that_does_not_come_back_is_refused() {
    each_version(|v| {
        let mut sign_in = recorded(&v["auth_accept_with_token"], master());
        sign_in.token = Some(SealKey::generate().unwrap());
        let reply = hex::decode(text(&v["auth_accept_with_token"], "reply_hex")).unwrap();
        let error = sign_in.finish(&Trust::default(), &reply).unwrap_err();
        assert_eq!(error.failure, Failure::BadToken);
    });
}
