//! What must not work: every row of the list of known flaws that touches the master, against a
//! real one. After each the service is unaffected and nothing was written.

mod common;

use std::io::Write;
use std::net::TcpStream;
use std::time::SystemTime;

use common::{Minion, Rig, kept};
use saltern_crypto::SealKey;
use saltern_master::Refusal;
use saltern_value::{Map, Value};
use saltern_wire::auth::client::Outcome;
use saltern_wire::session::client::OpenError;

/// Everything a peer can name, and what Salt has had in reach of the network.
const COMMANDS: &[&str] = &[
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
    "_ext_nodes",
    "_file_recv",
    "revoke_auth",
    "minion_pub",
    "minion_publish",
    "pub_ret",
    "minion_runner",
    "_register_resources",
    "verify_minion",
    "_prep_auth_info",
    "_prep_pub",
    "_send_pub",
    "_send_ssh_pub",
    "_prep_jid",
    "connect",
    "destroy",
    "run_func",
    "get_method",
    "__init__",
    "__setup_fileserver",
];

fn bad_load() -> Value {
    "bad load".into()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_of_minions_answers_strangers() {
    let rig = Rig::start("");
    let minion = Minion::accepted(&rig, "web1").await;
    let before = kept(&rig);
    for command in COMMANDS {
        let load = Map::from([("cmd", *command), ("id", "web1"), ("path", "top.sls")]);
        let answer = rig.clear(load.clone()).await;
        assert_eq!(answer, Value::Map(Map::new()), "clear {command}");
        for enc in ["", "pub", "AES", "none", "clear ", "tls"] {
            let outer = Map::from([
                ("enc", Value::from(enc)),
                ("load", Value::Map(load.clone())),
                ("version", 3.into()),
                ("id", "web1".into()),
            ]);
            assert_eq!(rig.send_map(outer).await, bad_load(), "{enc:?} {command}");
        }
    }
    assert_eq!(kept(&rig), before);
    assert!(rig.refused(Refusal::UnknownEncryption) >= COMMANDS.len() as u64);
    assert_eq!(minion.ask(&rig, &[("cmd", "_file_envs")]).await, Value::List(vec!["base".into()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_without_the_key_get_nothing() {
    let rig = Rig::start("");
    Minion::accepted(&rig, "web1").await;
    let mut events = rig.events("");
    let wrong = SealKey::generate().unwrap();
    for key in [None, Some(""), Some("x"), Some(wrong.as_str())] {
        for (command, error) in [
            ("publish", "AuthenticationError"),
            ("runner", "UserAuthenticationError"),
            ("wheel", "UserAuthenticationError"),
        ] {
            let mut load =
                Map::from([("cmd", command), ("fun", "test.ping"), ("tgt", "*"), ("user", "root")]);
            if let Some(key) = key {
                load.insert("key", key);
            }
            let answer = rig.clear(load).await;
            let name = answer.get("error").and_then(|e| e.get("name"));
            assert_eq!(name, Some(&error.into()), "{command} {key:?}: {answer:?}");
        }
    }
    for extra in [("token", "0"), ("eauth", "pam")] {
        let load = Map::from([("cmd", "runner"), ("fun", "test.arg"), extra]);
        assert!(rig.clear(load).await.get("error").is_some());
    }
    let mk_token = Map::from([("cmd", "mk_token"), ("eauth", "pam"), ("username", "root")]);
    assert_eq!(rig.clear(mk_token).await, Value::from(""));
    let get_token = Map::from([("cmd", "get_token"), ("token", "../../etc/passwd")]);
    assert_eq!(rig.clear(get_token).await, Value::Map(Map::new()));
    assert_eq!(rig.clear(Map::from([("cmd", "get_token")])).await, Value::Bool(false));
    assert!(events.try_next().is_none(), "nothing was announced");
    let ping = Map::from([("cmd", "ping"), ("x", "y")]);
    assert_eq!(rig.clear(ping.clone()).await, Value::Map(ping));
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_ids_tokens_and_sessions_are_refused_on_every_command() {
    let rig = Rig::start("");
    let web = Minion::accepted(&rig, "web1").await;
    let db = Minion::accepted(&rig, "db1").await;
    let before = kept(&rig);
    let web_session = web.credentials.as_ref().unwrap().session.clone();
    let db_session = db.credentials.as_ref().unwrap().session.clone();
    let shared = web.credentials.as_ref().unwrap().aes.clone();
    let nonce = "0123456789abcdef0123456789abcdef";
    for command in COMMANDS {
        let load = |id: &str, token: Option<Vec<u8>>| {
            let mut load = Map::from([
                ("cmd", Value::from(*command)),
                ("id", id.into()),
                ("nonce", nonce.into()),
                ("jid", "20260102030405000678".into()),
                ("grains", Value::Map(Map::new())),
                ("tag", "x/y".into()),
            ]);
            if let Some(token) = token {
                load.insert("tok", token);
            }
            load
        };
        let forged = [
            // Another minion's id inside, its own outside, and the reverse.
            web.forge("web1", &web_session, &load("db1", Some(web.token()))),
            web.forge("db1", &web_session, &load("db1", Some(web.token()))),
            web.forge("db1", &web_session, &load("web1", Some(web.token()))),
            // The right id with another minion's token, with none, with a broken one.
            web.forge("web1", &web_session, &load("web1", Some(db.token()))),
            web.forge("web1", &web_session, &load("web1", None)),
            web.forge("web1", &web_session, &load("web1", Some(vec![0; 256]))),
            // Another minion's session, and the key all minions share.
            web.forge("web1", &db_session, &load("web1", Some(web.token()))),
            web.forge("web1", &shared, &load("web1", Some(web.token()))),
        ];
        for (number, outer) in forged.into_iter().enumerate() {
            assert_eq!(rig.send_map(outer).await, bad_load(), "{command} forged {number}");
        }
    }
    assert_eq!(kept(&rig), before);
    assert!(rig.refused(Refusal::NotVerified) > 0 && rig.refused(Refusal::NotDecryptable) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_protocol_versions_are_refused() {
    let rig = Rig::start("");
    let web = Minion::accepted(&rig, "web1").await;
    let shared = web.credentials.as_ref().unwrap().aes.clone();
    let load = Map::from([("cmd", "_file_envs"), ("id", "web1")]);
    let versions: [Option<Value>; 7] = [
        None,
        Some(0.into()),
        Some(1.into()),
        Some(2.into()),
        Some((-3).into()),
        Some("three".into()),
        Some(Value::Nil),
    ];
    for version in versions {
        for key in [&shared, &web.credentials.as_ref().unwrap().session] {
            let mut outer = web.forge("web1", key, &load);
            outer.remove("version");
            if let Some(version) = &version {
                outer.insert("version", version.clone());
            }
            assert_eq!(rig.send_map(outer).await, bad_load(), "{version:?}");
        }
        let mut clear = Map::from([
            ("enc", Value::from("clear")),
            ("load", Value::from_iter([("cmd", "ping")])),
        ]);
        if let Some(version) = version {
            clear.insert("version", version);
        }
        assert_eq!(rig.send_map(clear).await, bad_load());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_ids_leave_no_trace() {
    let rig = Rig::start("");
    let mut stranger = Minion::new("stranger");
    let before = kept(&rig);
    let key = SealKey::generate().unwrap();
    let load = Map::from([("cmd", "_return"), ("id", "stranger")]);
    for id in ["stranger", "../stranger", "a/b", "a\0b", "", ".", &"x".repeat(300)] {
        assert_eq!(rig.send_map(stranger.forge(id, &key, &load)).await, bad_load(), "{id:?}");
    }
    let mut outer = stranger.forge("x", &key, &load);
    outer.insert("id", 5);
    assert_eq!(rig.send_map(outer).await, bad_load());
    assert_eq!(kept(&rig), before, "trap T2");
    // A pending minion is no more than a stranger.
    assert!(matches!(stranger.sign_in(&rig).await, Outcome::Pending));
    assert_eq!(rig.send_map(stranger.forge("stranger", &key, &load)).await, bad_load());
    assert!(!rig.cachedir().join("sessions/stranger").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_requests_are_refused() {
    let rig = Rig::start("");
    let web = Minion::accepted(&rig, "web1").await;
    let mut events = rig.events("my/");
    let session = web.session();
    let load = Map::from([("cmd", "_minion_event"), ("tag", "my/event"), ("data", "x")]);
    let sealed = session.seal(load, SystemTime::now()).unwrap();
    assert_eq!(session.open(&sealed.nonce, &rig.send(sealed.body.clone()).await), Ok(Value::Nil));
    common::await_event(&mut events, "my/event").await;
    for _ in 0..3 {
        let answer = rig.send(sealed.body.clone()).await;
        assert_eq!(session.open(&sealed.nonce, &answer), Err(OpenError::NeedsAuth));
    }
    assert!(events.try_next().is_none());
    assert_eq!(rig.refused(Refusal::Replayed), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_requests_are_refused_where_a_ttl_is_set() {
    let rig = Rig::start("request_server_ttl: 30");
    let web = Minion::accepted(&rig, "web1").await;
    let session = web.session();
    let load = Map::from([("cmd", "_file_envs")]);
    let then = SystemTime::now() - std::time::Duration::from_secs(60);
    let sealed = session.seal(load.clone(), then).unwrap();
    let answer = rig.send(sealed.body).await;
    assert_eq!(session.open(&sealed.nonce, &answer), Err(OpenError::NeedsAuth));
    assert!(web.call(&rig, load).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_garbage_does_not_hurt_the_service() {
    let rig = Rig::start("");
    let web = Minion::accepted(&rig, "web1").await;
    let before = kept(&rig);
    let pieces: [&[u8]; 6] =
        [b"", b"\xc1", b"\x93\x01", &[0xff; 40], b"\xdf\xff\xff\xff\xff", b"\xa3enc"];
    for round in 0..200 {
        for piece in pieces {
            let answer = rig.send(piece.to_vec()).await;
            assert!(!answer.is_empty(), "{round}");
        }
    }
    for _ in 0..50 {
        let mut raw = TcpStream::connect(rig.master().request_address()).unwrap();
        raw.write_all(&[0x41; 4096]).unwrap();
        let mut half = TcpStream::connect(rig.master().publish_address()).unwrap();
        half.write_all(b"\xff\x00\x00").unwrap();
        drop(raw);
    }
    assert!(rig.refused(Refusal::BadEnvelope) >= 1000);
    assert_eq!(web.ask(&rig, &[("cmd", "_file_envs")]).await, Value::List(vec!["base".into()]));
    assert_eq!(kept(&rig), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_commands_of_minions_are_answered_with_nothing() {
    let rig = Rig::start("");
    let web = Minion::accepted(&rig, "web1").await;
    for command in ["nope", "__init__", "verify_minion", "_prep_pub"] {
        assert_eq!(web.ask(&rig, &[("cmd", command)]).await, Value::Map(Map::new()));
    }
    assert_eq!(rig.refused(Refusal::UnknownCommand), 4);
    // Known commands with fields that cannot be read.
    let mut load = Map::from([("cmd", "_serve_file")]);
    load.insert("path", 7);
    assert_eq!(web.call(&rig, load).await.unwrap(), Value::from(""));
    for (command, answer) in
        [("minion_runner", Value::Map(Map::new())), ("minion_pub", Value::Map(Map::new()))]
    {
        let mut load = Map::from([("cmd", command), ("fun", "test.ping"), ("tgt", "*")]);
        load.insert("arg", Value::List(Vec::new()));
        assert_eq!(web.call(&rig, load).await.unwrap(), answer, "{command}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_key_is_useless_at_once() {
    let rig = Rig::start("");
    let web = Minion::accepted(&rig, "web1").await;
    let other = Minion::accepted(&rig, "db1").await;
    assert!(web.call(&rig, Map::from([("cmd", "_file_envs")])).await.is_ok());
    // As another process does it, without a word to the master.
    std::fs::remove_file(rig.pki().join("minions/web1")).unwrap();
    let refused = web.call(&rig, Map::from([("cmd", "_file_envs")])).await;
    assert_eq!(refused, Err(OpenError::NeedsAuth));
    assert!(other.call(&rig, Map::from([("cmd", "_file_envs")])).await.is_ok());
}
