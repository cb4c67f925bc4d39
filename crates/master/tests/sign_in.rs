//! Signing in at a real master: every state of a key, every way to be accepted without a human.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::{Minion, Rig, await_event};
use saltern_crypto::PublicKey;
use saltern_value::{Map, Value};
use saltern_wire::auth::client::{Outcome, VerificationKey};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_waits_until_the_operator_accepts_it() {
    let rig = Rig::start("");
    let mut events = rig.events("salt/auth");
    let mut minion = Minion::new("web1");
    assert!(matches!(minion.sign_in(&rig).await, Outcome::Pending));
    let event = await_event(&mut events, "salt/auth").await;
    assert_eq!(event.get_str("act"), Some("pend"));
    assert_eq!(event.get_str("id"), Some("web1"));
    let stored = fs::read_to_string(rig.pki().join("minions_pre/web1")).unwrap();
    assert!(!stored.ends_with('\n'), "the key is kept as it was sent");
    assert!(matches!(minion.sign_in(&rig).await, Outcome::Pending));

    rig.accept("web1");
    assert!(matches!(minion.sign_in(&rig).await, Outcome::Accepted(_)));
    let session = rig.cachedir().join("sessions/web1");
    assert_eq!(fs::metadata(session).unwrap().permissions().mode() & 0o777, 0o600);
    // Again, with a token now that the master's key is known.
    assert!(matches!(minion.sign_in(&rig).await, Outcome::Accepted(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_for_a_known_id_is_denied() {
    let rig = Rig::start("");
    let mut first = Minion::new("web1");
    let mut second = Minion::new("web1");
    first.sign_in(&rig).await;
    assert!(matches!(second.sign_in(&rig).await, Outcome::Denied));
    assert!(rig.pki().join("minions_denied/web1").exists());
    assert!(matches!(first.sign_in(&rig).await, Outcome::Pending), "the first one is not hurt");
    rig.accept("web1");
    assert!(matches!(first.sign_in(&rig).await, Outcome::Accepted(_)));
    assert!(matches!(second.sign_in(&rig).await, Outcome::Denied));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_key_stays_out() {
    let rig = Rig::start("auto_accept: True");
    let mut minion = Minion::new("web1");
    assert!(matches!(minion.sign_in(&rig).await, Outcome::Accepted(_)));
    let from = rig.pki().join("minions/web1");
    fs::rename(from, rig.pki().join("minions_rejected/web1")).unwrap();
    assert!(matches!(minion.sign_in(&rig).await, Outcome::Rejected));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_stubs_and_grains_accept_and_reject() {
    let rig = Rig::start(
        "autosign_file: /etc/autosign.conf\nautoreject_file: /etc/autoreject.conf\n\
         autosign_grains_dir: /etc/autosign_grains",
    );
    let place = |name: &str, text: &str| {
        // The options may or may not be below root_dir; the master's own words decide.
        let path = rig.root.join("etc").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    };
    place("autosign.conf", "web*\n");
    place("autoreject.conf", "bad*\nwebbad\n");
    place("autosign_grains/role", "db\n");
    fs::write(rig.pki().join("minions_autosign/stub1"), "").unwrap();

    assert!(matches!(Minion::new("web1").sign_in(&rig).await, Outcome::Accepted(_)));
    assert!(matches!(Minion::new("webbad").sign_in(&rig).await, Outcome::Rejected));
    assert!(matches!(Minion::new("bad1").sign_in(&rig).await, Outcome::Rejected));
    assert!(rig.pki().join("minions_rejected/bad1").exists());
    assert!(matches!(Minion::new("stub1").sign_in(&rig).await, Outcome::Accepted(_)));
    assert!(!rig.pki().join("minions_autosign/stub1").exists(), "a stub is good once");
    let grains = Map::from([("role", "db")]);
    let mut by_grain = Minion::new("other");
    assert!(matches!(by_grain.sign_in_with(&rig, Some(&grains)).await, Outcome::Accepted(_)));
    assert!(matches!(Minion::new("nobody").sign_in(&rig).await, Outcome::Pending));
}

#[tokio::test(flavor = "multi_thread")]
async fn open_mode_takes_any_key() {
    let rig = Rig::start("open_mode: True");
    assert!(matches!(Minion::new("web1").sign_in(&rig).await, Outcome::Accepted(_)));
    assert!(matches!(Minion::new("web1").sign_in(&rig).await, Outcome::Accepted(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_master_sends_new_minions_on() {
    let rig = Rig::start("auto_accept: True\nmax_minions: 1");
    let mut first = Minion::new("web1");
    assert!(matches!(first.sign_in(&rig).await, Outcome::Accepted(_)));
    let _connected = first.subscribe(&rig).await;
    common::await_present(&rig, &["web1"]).await;
    assert!(matches!(Minion::new("web2").sign_in(&rig).await, Outcome::Full));
    assert!(matches!(first.sign_in(&rig).await, Outcome::Accepted(_)), "who is in stays in");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_masters_key_is_signed_for_those_who_verify() {
    let rig = Rig::start("auto_accept: True\nmaster_sign_pubkey: True");
    let pem = rig.pki().join("master_sign.pem");
    assert_eq!(fs::metadata(pem).unwrap().permissions().mode() & 0o777, 0o400);
    let public = fs::read(rig.pki().join("master_sign.pub")).unwrap();
    let mut minion = Minion::new("web1");
    minion.trust.verify_master_pubkey_sign = true;
    minion.trust.verification_keys = vec![VerificationKey {
        name: "master_sign.pub".to_owned(),
        key: PublicKey::from_pem(&public).unwrap(),
    }];
    let Outcome::Accepted(credentials) = minion.sign_in(&rig).await else { panic!("not accepted") };
    assert!(credentials.signature_verified);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_algorithms_and_broken_requests_are_answered_as_salt_does() {
    let rig = Rig::start("");
    let bad = Map::from([("cmd", "_auth"), ("id", "a"), ("sig_algo", "PKCS1v15-MD5")]);
    let answer = rig.clear(bad).await;
    assert_eq!(answer.get("load").and_then(|l| l.get("ret")), Some(&"bad sig algo".into()));
    let answer = rig.clear(Map::from([("cmd", "_auth"), ("id", "a")])).await;
    assert_eq!(answer, Value::from("bad load"));
    for id in ["../x", "a/b", "a\\b", ".hidden"] {
        let mut minion = Minion::new("fine");
        let key = minion.key.public().wire_pem().to_owned();
        let load = Map::from([
            ("cmd", "_auth"),
            ("id", id),
            ("pub", key.as_str()),
            ("nonce", "0123456789abcdef0123456789abcdef"),
        ]);
        let answer = rig.clear(load).await;
        assert!(answer.get("sig").is_some(), "{id}: {answer:?}");
        assert!(matches!(minion.sign_in(&rig).await, Outcome::Pending));
        fs::remove_file(rig.pki().join("minions_pre/fine")).unwrap();
    }
    assert_eq!(fs::read_dir(rig.pki().join("minions_pre")).unwrap().count(), 0);
}
