//! What anybody who can connect may send: the exact error answers, and no way to the handlers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail loudly")]

mod common;

use common::with;
use saltern_crypto::SealKey;
use saltern_value::msgpack::{self, Encoding};
use saltern_value::{Map, Value};
use saltern_wire::command::{AuthFailed, ClearCommand, RootKeys};
use saltern_wire::envelope::{self, ClearRequest, Envelope};
use saltern_wire::{Reason, Refused, limits};

fn parse(value: &Value) -> Result<Envelope, Refused> {
    envelope::parse(&msgpack::encode(value, Encoding::OldRaw), limits::STRANGER)
}

fn map(members: &[(&str, Value)]) -> Value {
    members.iter().map(|(k, v)| (*k, v.clone())).collect()
}

fn clear(load: Value) -> Value {
    map(&[("enc", Value::from("clear")), ("load", load), ("version", Value::Int(3))])
}

fn reply(refused: &Refused) -> Value {
    msgpack::from_network(&refused.reply).unwrap()
}

fn clear_request(load: Map) -> ClearRequest {
    match envelope::parse(&envelope::clear_request(load), limits::LOCAL).unwrap() {
        Envelope::Clear(request) => request,
        Envelope::Sealed(_) => panic!("not clear"),
    }
}

#[test]
fn bodies_that_are_no_envelope() {
    let refused = envelope::parse(b"\xc1", limits::STRANGER).unwrap_err();
    assert_eq!(reply(&refused), map(&[("msg", Value::from("bad load"))]));
    let bad_load = Value::from("bad load");
    for value in [
        Value::Nil,
        Value::from("x"),
        Value::List(vec![]),
        map(&[]),
        map(&[("enc", Value::from("clear"))]),
        map(&[("load", Value::Map(Map::new()))]),
    ] {
        let refused = parse(&value).unwrap_err();
        assert_eq!((reply(&refused), refused.reason), (bad_load.clone(), Reason::NotAnEnvelope));
    }
}

#[test]
fn every_version_below_three_is_a_downgrade() {
    let with_version = |version: Value| {
        let load = Value::Map(Map::from([("cmd", "ping")]));
        parse(&map(&[("enc", Value::from("clear")), ("load", load), ("version", version)]))
    };
    let text = |t: &str| Value::from(t);
    for low in [
        Value::Int(0),
        Value::Int(2),
        Value::Int(-3),
        Value::Nil,
        Value::Bool(true),
        Value::Float(2.9),
        Value::Float(f64::NAN),
        text("2"),
        text("three"),
        Value::List(vec![]),
    ] {
        let refused = with_version(low.clone()).unwrap_err();
        assert!(matches!(refused.reason, Reason::Version(_)), "{low:?}");
        assert_eq!(reply(&refused), Value::from("bad load"));
    }
    for high in [Value::Int(3), Value::Int(4), text("3"), Value::Float(3.0)] {
        assert!(with_version(high).is_ok());
    }
    let none = map(&[("enc", Value::from("clear")), ("load", Value::Map(Map::new()))]);
    assert_eq!(parse(&none).unwrap_err().reason, Reason::Version(0));
}

#[test]
fn there_is_no_third_kind_of_protection() {
    for enc in ["", "Clear", "AES", "pub", "none", "aes ", "tls"] {
        let load = Map::from([("cmd", "_minion_event"), ("id", "minion1")]);
        let value = map(&[("enc", enc.into()), ("load", load.into()), ("version", Value::Int(3))]);
        assert_eq!(parse(&value).unwrap_err().reason, Reason::UnknownEnc, "{enc}");
    }
    for load in [Value::Map(Map::new()), Value::Nil, Value::Int(1)] {
        let value = map(&[
            ("enc", Value::from("aes")),
            ("load", load),
            ("version", Value::Int(3)),
            ("id", Value::from("minion1")),
        ]);
        assert_eq!(parse(&value).unwrap_err().reason, Reason::NotAuthentic);
    }
}

#[test]
fn ids_are_answered_in_salts_words() {
    let ask = |id: Value| parse(&clear(map(&[("cmd", Value::from("_auth")), ("id", id)])));
    for (id, words) in [
        (Value::from("a\0b"), "bad load: id contains a null byte"),
        (Value::Int(5), "bad load: id 5 is not a string"),
        (Value::Nil, "bad load: id None is not a string"),
        (Value::Bool(true), "bad load: id True is not a string"),
    ] {
        assert_eq!(reply(&ask(id).unwrap_err()), Value::from(words));
    }
    assert!(ask(Value::Bytes(vec![0xff])).is_err());
    let refused = parse(&clear(Value::from("x"))).unwrap_err();
    assert_eq!(reply(&refused), Value::from("payload and load must be a dict"));
    for id in [Value::from("../x"), Value::from("a/b"), Value::Int(5), Value::Nil] {
        let value = map(&[
            ("enc", Value::from("aes")),
            ("load", Value::from("x")),
            ("version", Value::Int(3)),
            ("id", id),
        ]);
        assert_eq!(reply(&parse(&value).unwrap_err()), Value::from("bad load"));
    }
}

#[test]
fn a_small_message_cannot_unfold_to_much() {
    let many = Value::List(vec![Value::Nil; 5000]);
    let value = clear(map(&[("cmd", Value::from("publish")), ("arg", many)]));
    let body = msgpack::encode(&value, Encoding::OldRaw);
    assert!(matches!(
        envelope::parse(&body, limits::STRANGER).unwrap_err().reason,
        Reason::Undecodable(_)
    ));
    assert!(envelope::parse(&body, limits::LOCAL).is_ok());
}

#[test]
fn only_the_clear_commands_exist_in_the_clear() {
    for name in [
        "_return",
        "_pillar",
        "_serve_file",
        "_prep_auth_info",
        "_send_pub",
        "wheel_async",
        "__class__",
        "get_method",
    ] {
        let request = clear_request(Map::from([("cmd", name)]));
        let command = ClearCommand::parse(request).unwrap();
        assert!(matches!(command, ClearCommand::Unknown(n) if n == name));
    }
    let refused = ClearCommand::parse(clear_request(Map::new())).unwrap_err();
    assert_eq!(reply(&refused), Value::Map(Map::new()));
    assert!(matches!(
        ClearCommand::parse(clear_request(Map::from([("cmd", "ping"), ("x", "y")]))),
        Ok(ClearCommand::Ping(load)) if load.len() == 2
    ));
}

/// The keys of root (who runs the master) and of a user with `publisher_acl`.
fn root_keys() -> (RootKeys, SealKey, SealKey) {
    let mut keys = RootKeys::new("root");
    let root = SealKey::generate().unwrap();
    let fred = SealKey::generate().unwrap();
    keys.insert("root", root.clone());
    keys.insert("fred", fred.clone());
    (keys, root, fred)
}

fn publish() -> Map {
    Map::from([
        ("cmd", Value::from("publish")),
        ("tgt", Value::from("*")),
        ("fun", Value::from("test.ping")),
        ("arg", Value::List(vec![])),
        ("tgt_type", Value::from("glob")),
        ("ret", Value::from("")),
        ("jid", Value::from("")),
    ])
}

fn verified_user(keys: &RootKeys, credentials: &[(&str, Value)]) -> Result<String, AuthFailed> {
    let request = clear_request(with(&publish(), credentials));
    let Ok(ClearCommand::Publish(publish)) = ClearCommand::parse(request) else {
        panic!("not a publish")
    };
    assert!(!format!("{publish:?}").contains('='), "keys do not print");
    let publish = publish.verify(keys)?;
    assert!(!publish.load.contains_key("key"));
    assert_eq!(publish.load.get_str("user"), Some(publish.user.as_str()));
    Ok(publish.user.clone())
}

#[test]
fn the_root_key_proves_who_publishes() {
    let (keys, root, fred) = root_keys();
    let text = |s: &str| Value::from(s);
    let by = |key: &SealKey, user: &str| {
        verified_user(&keys, &[("key", text(key.as_str())), ("user", text(user))])
    };
    assert_eq!(by(&root, "root").as_deref(), Ok("root"));
    assert_eq!(by(&root, "sudo_fred").as_deref(), Ok("sudo_fred"));
    assert_eq!(by(&fred, "fred").as_deref(), Ok("fred"));
    assert_eq!(by(&fred, "root"), Err(AuthFailed::Key));
    assert_eq!(by(&fred, "sudo_root"), Err(AuthFailed::Key));
    assert_eq!(by(&SealKey::generate().unwrap(), "root"), Err(AuthFailed::Key));
    assert_eq!(verified_user(&keys, &[]), Err(AuthFailed::Key));
    assert_eq!(verified_user(&keys, &[("key", Value::Nil)]), Err(AuthFailed::Key));
    let no_user = verified_user(&keys, &[("key", text(root.as_str()))]);
    assert_eq!(no_user.as_deref(), Ok("root"));
    let kwargs = |field: &str| map(&[(field, text("x"))]);
    assert_eq!(verified_user(&keys, &[("kwargs", kwargs("token"))]), Err(AuthFailed::Token));
    assert_eq!(verified_user(&keys, &[("kwargs", kwargs("eauth"))]), Err(AuthFailed::Eauth));
    assert_eq!(
        verified_user(&RootKeys::new("root"), &[("user", text("root"))]),
        Err(AuthFailed::Key)
    );
}

#[test]
fn publish_with_wrong_members_is_answered_in_salts_words() {
    for (member, value) in [
        ("fun", Value::Nil),
        ("fun", Value::Int(1)),
        ("fun", Value::List(vec![])),
        ("tgt", Value::Nil),
        ("arg", Value::from("x")),
        ("jid", Value::from("../../../../etc/passw")),
        ("jid", Value::from("x; id > /tmp/x #/..../")),
        ("kwargs", Value::Int(1)),
    ] {
        let request = clear_request(with(&publish(), &[(member, value)]));
        let refused = ClearCommand::parse(request).unwrap_err();
        assert_eq!(reply(&refused), Value::from("Some exception handling minion payload"));
    }
}

#[test]
fn runner_and_wheel_take_their_arguments_where_salt_has_them() {
    let (keys, root, _) = root_keys();
    let key = Value::from(root.as_str());
    let kwarg = map(&[("a", Value::Int(1))]);
    let load = Map::from([
        ("cmd", Value::from("runner")),
        ("fun", Value::from("jobs.list_jobs")),
        ("kwarg", kwarg),
        ("key", key.clone()),
        ("user", Value::from("root")),
    ]);
    let Ok(ClearCommand::Runner(runner)) = ClearCommand::parse(clear_request(load)) else {
        panic!("not a runner")
    };
    let runner = runner.verify(&keys).unwrap();
    assert_eq!(
        (runner.fun.as_str(), runner.kwarg.get("a")),
        ("jobs.list_jobs", Some(&Value::Int(1)))
    );
    let load = Map::from([
        ("cmd", Value::from("wheel")),
        ("fun", Value::from("key.accept")),
        ("match", Value::from("web*")),
        ("key", key),
    ]);
    let Ok(ClearCommand::Wheel(wheel)) = ClearCommand::parse(clear_request(load.clone())) else {
        panic!("not a wheel")
    };
    let wheel = wheel.verify(&keys).unwrap();
    assert_eq!(wheel.kwarg, Map::from([("match", "web*")]));
    let forged = with(&load, &[("key", Value::from("A".repeat(76)))]);
    let Ok(ClearCommand::Wheel(forged)) = ClearCommand::parse(clear_request(forged)) else {
        panic!("not a wheel")
    };
    let error = forged.verify(&keys).unwrap_err();
    assert_eq!(error.name(), "UserAuthenticationError");
    assert_eq!(error.to_string(), "Authentication failure of type \"user\" occurred");
}

#[test]
fn secrets_do_not_print() {
    let secret = "correct horse battery staple";
    let token = Value::Bytes(common::private("minion").x931_sign(b"salt").unwrap());
    let shown = format!("{token:?}");
    let start: String =
        shown.chars().filter(|c| c.is_ascii_digit() || *c == ',').take(12).collect();
    let plain = |shown: String| {
        let digits: String = shown.chars().filter(|c| c.is_ascii_digit() || *c == ',').collect();
        assert!(!shown.contains(secret) && !shown.contains("PRIVATE KEY"), "{shown}");
        assert!(!digits.contains(&start), "{shown}");
    };
    plain(format!("{:?}", common::identity()));
    for member in ["key", "password", "token"] {
        for cmd in ["publish", "mk_token", "get_token", "runner", "wheel"] {
            let load = with(&publish(), &[("cmd", cmd.into()), (member, secret.into())]);
            let request = clear_request(load);
            plain(format!("{request:?}"));
            plain(format!("{:?}", ClearCommand::parse(request).unwrap()));
        }
    }
}
