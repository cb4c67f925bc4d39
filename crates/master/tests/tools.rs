//! What the tools of the master's host do with the root key: publish jobs, run runners, call the
//! wheel; and what the master does by itself.

mod common;

use std::fs;

use common::{Minion, PATIENCE, Rig, await_event, await_present};
use saltern_config::load_master;
use saltern_crypto::SealKey;
use saltern_master::{Master, StartError};
use saltern_value::{Map, Value};
use saltern_wire::auth::client::Outcome;
use saltern_wire::publish::OpenError;
use saltern_wire::topic;

fn job(tgt: impl Into<Value>, tgt_type: &str) -> Map {
    Map::from([
        ("cmd", Value::from("publish")),
        ("tgt", tgt.into()),
        ("tgt_type", tgt_type.into()),
        ("fun", "test.ping".into()),
        ("arg", Value::List(Vec::new())),
        ("ret", "".into()),
        ("jid", "".into()),
    ])
}

fn minions(answer: &Value) -> Value {
    answer.get("load").and_then(|l| l.get("minions")).cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_out_and_comes_back() {
    let rig = Rig::start("");
    let web = Minion::accepted(&rig, "web1").await;
    let mut listener = web.subscribe(&rig).await;
    await_present(&rig, &["web1"]).await;
    let mut events = rig.events("salt/job/");
    let answer = rig.tool(job("*", "glob")).await;
    let jid = answer.get("load").and_then(|l| l.get("jid")).and_then(Value::as_str).unwrap();
    assert_eq!(minions(&answer), Value::List(vec!["web1".into()]));
    let new = await_event(&mut events, &format!("salt/job/{jid}/new")).await;
    assert_eq!((new.get_str("fun"), new.get_str("user")), (Some("test.ping"), Some("root")));
    let publication = listener.next().await;
    assert_eq!(publication.jid.as_str(), jid);
    web.call(&rig, Minion::ret(jid, "test.ping", true)).await.unwrap();
    await_event(&mut events, &format!("salt/job/{jid}/ret/web1")).await;
    let (found, _) = rig.run("jobs.lookup_jid", vec![jid.into()], Map::new()).await;
    assert_eq!(found, Value::from_iter([("web1", true)]));
    let (last, _) = rig.run("jobs.last_run", vec![], Map::from([("function", "test.*")])).await;
    assert!(last.get(jid).is_some());
    let kept = rig.run("jobs.list_job", vec![jid.into()], Map::new()).await.0;
    assert!(!format!("{kept:?}").contains(&rig.root_key()), "the key is not kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn serials_grow_however_many_publish() {
    let rig = Rig::start("");
    let web = Minion::accepted(&rig, "web1").await;
    let mut listener = web.subscribe(&rig).await;
    await_present(&rig, &["web1"]).await;
    let jobs = (0..40).map(|_| rig.tool(job("*", "glob")));
    let answers: Vec<Value> = {
        let mut answers = Vec::new();
        let mut waiting: Vec<_> = jobs.map(Box::pin).collect();
        for job in &mut waiting {
            answers.push(job.await);
        }
        answers
    };
    assert_eq!(answers.len(), 40);
    for _ in 0..40 {
        listener.next().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_mean_who_is_accepted() {
    let rig = Rig::start("nodegroups:\n  webs: 'web*'\n");
    let web = Minion::accepted(&rig, "web1").await;
    Minion::accepted(&rig, "db1").await;
    web.pillar(&rig, Map::from([("os", "Debian"), ("ipv4", "x")])).await;
    let list = |ids: &[&str]| Value::List(ids.iter().map(|id| Value::from(*id)).collect());
    for (tgt, tgt_type, expected) in [
        ("web*", "glob", &["web1"][..]),
        ("web1,ghost", "list", &["web1"]),
        ("d.1", "pcre", &["db1"]),
        // Of db1 nothing is known, so it may be meant.
        ("os:Debian", "grain", &["db1", "web1"]),
        ("os:Arch", "grain", &["db1"]),
        ("web* or db1", "compound", &["db1", "web1"]),
        ("* and not db1", "compound", &["web1"]),
        ("webs", "nodegroup", &["web1"]),
        ("N@webs", "compound", &["web1"]),
    ] {
        let answer = rig.tool(job(tgt, tgt_type)).await;
        assert_eq!(minions(&answer), list(expected), "{tgt_type} {tgt}");
    }
    let answer = rig.tool(job("web1,ghost", "list")).await;
    assert_eq!(answer.get("load").and_then(|l| l.get("missing")), Some(&list(&["ghost"])));
    for (tgt, tgt_type) in [("nobody", "glob"), ("(", "pcre"), ("x", "range"), ("x", "no_such")] {
        let answer = rig.tool(job(tgt, tgt_type)).await;
        let error = answer.get("load").and_then(|l| l.get("error")).and_then(Value::as_str);
        let words = format!("Master could not resolve minions for target {tgt}");
        assert_eq!(error, Some(words.as_str()), "{tgt_type}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_filtering_each_minion_has_its_topic() {
    let rig = Rig::start("zmq_filtering: True");
    let web = Minion::accepted(&rig, "web1").await;
    let mut listener = web.subscribe(&rig).await;
    await_present(&rig, &["web1"]).await;
    rig.tool(job("*", "glob")).await;
    assert_eq!(listener.frames().await[0], topic::of_minion("web1").into_bytes());
    rig.tool(job("web1", "compound")).await;
    assert_eq!(listener.frames().await[0], topic::BROADCAST.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn other_users_need_publisher_acl() {
    let acl = "publisher_acl:\n  bob:\n    - 'test.*'\n    - 'db*':\n      - cmd.run\n\
               publisher_acl_blacklist:\n  modules: [test.fib]\n";
    let rig = Rig::start(acl);
    Minion::accepted(&rig, "web1").await;
    Minion::accepted(&rig, "db1").await;
    let key = fs::read_to_string(rig.cachedir().join(".bob_key")).unwrap();
    for (fun, tgt, allowed) in [
        ("test.ping", "*", true),
        ("cmd.run", "*", false),
        ("cmd.run", "db1", true),
        ("cmd.run", "web1", false),
        ("test.fib", "db1", false),
        ("saltutil.find_job", "*", true),
    ] {
        let mut load = job(tgt, "glob");
        load.insert("fun", fun);
        load.insert("user", "bob");
        load.insert("key", key.as_str());
        let answer = rig.clear(load).await;
        assert_eq!(answer.get("error").is_none(), allowed, "{fun} {tgt}: {answer:?}");
    }
    // Other ways to name web1 among the targets do not help (CVE-2022-22941).
    let list = |ids: &[&str]| Value::List(ids.iter().map(|id| Value::from(*id)).collect());
    for (tgt, kind, allowed) in [
        (list(&["db1"]), "list", true),
        (list(&["db1", "web1"]), "list", false),
        ("db1,web1".into(), "list", false),
        ("db1 or web1".into(), "compound", false),
        ("db* or L@web1".into(), "compound", false),
        ("not nobody".into(), "compound", false),
        (".*".into(), "pcre", false),
    ] {
        let mut load = job(tgt.clone(), kind);
        load.insert("fun", "cmd.run");
        load.insert("user", "bob");
        load.insert("key", key.as_str());
        let answer = rig.clear(load).await;
        assert_eq!(answer.get("error").is_none(), allowed, "{tgt:?} {kind}: {answer:?}");
    }
    let mut runner = Map::from([("cmd", "runner"), ("fun", "test.arg"), ("user", "bob")]);
    runner.insert("key", key.as_str());
    assert!(rig.clear(runner.clone()).await.get("error").is_some());
    runner.insert("user", "root");
    assert!(rig.clear(runner).await.get("error").is_some(), "bob's key is not root's");
}

#[tokio::test(flavor = "multi_thread")]
async fn runners_say_what_was_wrong() {
    let rig = Rig::start("");
    let (value, success) =
        rig.run("test.arg", vec!["a".into()], Map::from([("b", 1), ("__x", 2)])).await;
    assert_eq!(value.get("args"), Some(&Value::List(vec!["a".into()])));
    assert!(success);
    let (value, success) = rig.run("no.such", vec![], Map::new()).await;
    assert_eq!((value, success), ("'no.such' is not available.".into(), false));
    let (value, success) = rig.run("jobs.lookup_jid", vec![], Map::new()).await;
    assert!(value.as_str().unwrap().contains("missing 1 required positional argument: 'jid'"));
    assert!(!success);
    let (value, _) = rig.run("jobs.list_job", vec!["../../x".into()], Map::new()).await;
    assert!(value.get("Error").is_some());
    let (jobs, _) = rig.run("jobs.list_jobs", vec![], Map::new()).await;
    let functions: Vec<_> = jobs.as_map().unwrap().values().map(|j| j.get("Function")).collect();
    assert!(functions.contains(&Some(&"runner.test.arg".into())), "{functions:?}");
    let (docs, _) = rig.run("doc.runner", vec![], Map::new()).await;
    assert!(docs.as_map().unwrap().len() > 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_asks_the_minions() {
    let rig = Rig::start("");
    let web = Minion::accepted(&rig, "web1").await;
    Minion::accepted(&rig, "db1").await;
    let mut listener = web.subscribe(&rig).await;
    await_present(&rig, &["web1"]).await;
    let answering = async {
        loop {
            let publication = listener.next().await;
            if publication.fun.as_str() == Some("test.ping") {
                let ret = Minion::ret(publication.jid.as_str(), "test.ping", true);
                web.call(&rig, ret).await.unwrap();
            }
        }
    };
    // Time for web1 to answer on a slow machine; db1 never does.
    let patient = Map::from([("timeout", 5), ("gather_job_timeout", 3)]);
    let (status, _) = tokio::select! {
        status = rig.run("manage.status", vec![], patient) => status,
        () = answering => unreachable!("it answers for ever"),
    };
    let list = |id: &str| Value::List(vec![id.into()]);
    assert_eq!(status, Value::from_iter([("up", list("web1")), ("down", list("db1"))]));
    let (absent, _) = rig.run("manage.not_present", vec![], Map::new()).await;
    assert_eq!(absent, list("db1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wheel_changes_keys_and_the_aes_key_with_them() {
    let rig = Rig::start("");
    let mut web = Minion::new("web1");
    web.sign_in(&rig).await;
    let wheel =
        |fun: &str, glob: &str| Map::from([("cmd", "wheel"), ("fun", fun), ("match", glob)]);
    let answer = rig.tool(wheel("key.accept", "web*")).await;
    let result = answer.get("data").and_then(|d| d.get("return")).cloned().unwrap();
    assert_eq!(result, Value::from_iter([("minions", vec!["web1".to_owned()])]));
    assert!(matches!(web.sign_in(&rig).await, Outcome::Accepted(_)));
    let answer = rig.tool(wheel("key.list", "accepted")).await;
    assert!(format!("{answer:?}").contains("web1"));

    let other = Minion::accepted(&rig, "db1").await;
    let mut listener = other.subscribe(&rig).await;
    await_present(&rig, &["db1"]).await;
    let mut events = rig.events("");
    rig.tool(wheel("key.delete", "web1")).await;
    await_event(&mut events, "salt/key").await;
    let rotated = await_event(&mut events, "key").await;
    assert_eq!(rotated.get("rotate_aes_key"), Some(&Value::Bool(true)));
    assert!(web.call(&rig, Map::from([("cmd", "_file_envs")])).await.is_err());
    // What the deleted minion knows no longer opens what is published.
    rig.tool(job("*", "glob")).await;
    let frames = listener.frames().await;
    assert_eq!(listener.opener.open(&frames[0]), Err(OpenError::NeedsReauth));
    let mut other = other;
    assert!(matches!(other.sign_in(&rig).await, Outcome::Accepted(_)));
    listener.opener.rekey(other.credentials.as_ref().unwrap());
    assert!(listener.opener.open(&frames[0]).is_ok(), "no job is lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_file_and_a_pushed_event_rotate_too() {
    let rig = Rig::start("");
    let web = Minion::accepted(&rig, "web1").await;
    let mut events = rig.events("key");
    fs::remove_file(rig.pki().join("minions/web1")).unwrap();
    saltern_store::dropfile::request(&rig.cachedir(), "m1_master").unwrap();
    let pull = rig.root.join("var/run/salt/master/master_event_pull.ipc");
    let data = Map::from([("act", "delete"), ("id", "web1")]);
    let framing = saltern_event::Framing::Bare;
    saltern_event::client::push(&pull, "salt/key", data, framing, PATIENCE).await.unwrap();
    await_event(&mut events, "key").await;
    assert!(!rig.cachedir().join(".dfn").exists());
    assert!(!rig.cachedir().join("sessions/web1").exists());
    drop(web);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_outlive_the_master_and_its_aes_key_does_not() {
    let mut rig = Rig::start("");
    let web = Minion::accepted(&rig, "web1").await;
    web.call(&rig, Minion::ret("20260102030405000678", "test.ping", true)).await.unwrap();
    let key = rig.root_key();
    let sock_dir = rig.root.join("var/run/salt/master");
    assert!(sock_dir.join("publish_pull.ipc").exists() && sock_dir.join("workers.ipc").exists());
    rig.end().await;
    assert!(!sock_dir.join("publish_pull.ipc").exists());
    rig.begin();
    assert_ne!(rig.root_key(), key, "a new root key per start");
    assert!(web.call(&rig, Map::from([("cmd", "_file_envs")])).await.is_ok());
    let (found, _) =
        rig.run("jobs.lookup_jid", vec!["20260102030405000678".into()], Map::new()).await;
    assert_eq!(found, Value::from_iter([("web1", true)]));
    let aes = |minion: &Minion| -> SealKey { minion.credentials.as_ref().unwrap().aes.clone() };
    let before = aes(&web);
    let mut web = web;
    web.sign_in(&rig).await;
    assert_ne!(aes(&web), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_cannot_start_says_why() {
    let rig = Rig::start("");
    let port = rig.master().request_address().port();
    let config = rig.root.join("etc/master");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("ret_port: 0", &format!("ret_port: {port}"))).unwrap();
    let key = rig.root_key();
    let error = Master::start(load_master(&rig.root.join("etc")).unwrap()).err().unwrap();
    assert!(matches!(error, StartError::Listen { option: "ret_port", .. }), "{error}");
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
    assert_eq!(rig.root_key(), key, "the running master is not disturbed");

    let rig = Rig::start("");
    let config = rig.root.join("etc/master");
    let with = fs::read_to_string(&config).unwrap()
        + "master_sign_pubkey: True\nmaster_use_pubkey_signature: True\n";
    fs::write(&config, with).unwrap();
    let error = Master::start(load_master(&rig.root.join("etc")).unwrap()).err().unwrap();
    assert!(error.to_string().contains("master_pubkey_signature"), "{error}");
}
