//! What signed-in minions ask for at start and at work.

mod common;

use std::fs;

use common::{Minion, Rig, await_event};
use saltern_master::Refusal;
use saltern_value::{Map, Value};

#[tokio::test(flavor = "multi_thread")]
async fn files_are_served_from_the_roots_only() {
    let rig = Rig::start("");
    fs::write(rig.root.join("srv/salt/hello.txt"), "hello").unwrap();
    fs::write(rig.root.join("srv/secret"), "secret").unwrap();
    let web = Minion::accepted(&rig, "web1").await;
    let file = |cmd, path| [("cmd", cmd), ("path", path), ("saltenv", "base")];
    let found = web.ask(&rig, &file("_file_find", "hello.txt")).await;
    assert_eq!(found.get("rel"), Some(&"hello.txt".into()));
    let hash = web.ask(&rig, &file("_file_hash", "hello.txt")).await;
    assert_eq!(hash.get("hash_type"), Some(&"sha256".into()));
    let mut piece = Map::from(file("_serve_file", "hello.txt"));
    piece.insert("loc", 0);
    let served = web.call(&rig, piece).await.unwrap();
    assert_eq!(served.get("data").and_then(Value::as_raw), Some(b"hello".as_slice()));
    let list = web.ask(&rig, &[("cmd", "_file_list"), ("saltenv", "base")]).await;
    assert_eq!(list, Value::List(vec!["hello.txt".into()]));
    for path in ["../secret", "/etc/passwd", "a/../../secret", "\0"] {
        let found = web.ask(&rig, &file("_file_find", path)).await;
        assert_eq!(found.get("path"), Some(&"".into()), "{path}");
        assert_eq!(web.ask(&rig, &file("_file_hash", path)).await, Value::from(""), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn options_and_tops() {
    let rig = Rig::start("");
    let web = Minion::accepted(&rig, "web1").await;
    let options = web.ask(&rig, &[("cmd", "_master_opts")]).await;
    let keys: Vec<_> = options.as_map().unwrap().keys().filter_map(Value::as_str).collect();
    assert_eq!(keys.len(), 16, "{keys:?}");
    assert_eq!(options.get("file_roots").and_then(|r| r.get("base")), Some(&Value::List(vec![])));
    assert_eq!(options.get("renderer"), Some(&"jinja|yaml".into()));
    assert_eq!(web.ask(&rig, &[("cmd", "_master_tops")]).await, Value::Map(Map::new()));
    assert_eq!(web.ask(&rig, &[("cmd", "_ext_nodes")]).await, Value::Map(Map::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn pillar_is_compiled_kept_and_announced() {
    let rig = Rig::start("");
    fs::write(rig.root.join("srv/pillar/top.sls"), "base:\n  'web*':\n    - web\n").unwrap();
    fs::write(rig.root.join("srv/pillar/web.sls"), "port: 80\n").unwrap();
    let web = Minion::accepted(&rig, "web1").await;
    let mut events = rig.events("minion/refresh/");
    let pillar = web.pillar(&rig, Map::from([("os", "Debian")])).await;
    assert_eq!(pillar, Map::from([("port", 80)]));
    await_event(&mut events, "minion/refresh/web1").await;
    let (grains, _) = rig.run("cache.grains", vec!["*".into()], Map::new()).await;
    assert_eq!(grains.get("web1").and_then(|g| g.get("os")), Some(&"Debian".into()));
    let (kept, _) = rig.run("cache.pillar", vec![], Map::new()).await;
    assert_eq!(kept.get("web1"), Some(&Value::Map(pillar)));
}

#[tokio::test(flavor = "multi_thread")]
async fn returns_are_kept_and_announced_once_however_often_they_come() {
    let rig = Rig::start("");
    let web = Minion::accepted(&rig, "web1").await;
    let mut events = rig.events("salt/job/");
    let jid = "20260102030405000678";
    let tag = format!("salt/job/{jid}/ret/web1");
    for value in [1, 2] {
        // A minion that did not hear the first answer sends it again, and must hear the same.
        let answer = web.call(&rig, Minion::ret(jid, "test.arg", value)).await.unwrap();
        assert_eq!(answer, Value::Nil);
    }
    let data = await_event(&mut events, &tag).await;
    assert_eq!(data.get("return"), Some(&Value::from(1)));
    assert_eq!(data.get_str("cmd"), Some("_return"));
    assert!(!data.contains_key("tok") && !data.contains_key("nonce"));
    let next = "20260102030405000679";
    web.call(&rig, Minion::ret(next, "test.arg", 3)).await.unwrap();
    let after = events.next().await.unwrap();
    assert!(after.tag.contains(next), "the second one is not announced: {}", after.tag);
    let (found, _) = rig.run("jobs.lookup_jid", vec![jid.into()], Map::new()).await;
    assert_eq!(found, Value::from_iter([("web1", 1)]), "the first one stays");
    let (job, _) = rig.run("jobs.list_job", vec![jid.into()], Map::new()).await;
    assert_eq!(job.get("Function"), Some(&"test.arg".into()));
    assert_eq!(job.get("StartTime"), Some(&"2026, Jan 02 03:04:05.000678".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minions_own_job_gets_its_id_here() {
    let rig = Rig::start("");
    let web = Minion::accepted(&rig, "web1").await;
    let mut events = rig.events("salt/job/");
    web.call(&rig, Minion::ret("req", "test.ping", true)).await.unwrap();
    let event = events.next().await.unwrap();
    let jid = event.data.get_str("jid").unwrap();
    assert_eq!(jid.len(), 20);
    let (jobs, _) = rig.run("jobs.list_jobs", vec![], Map::new()).await;
    assert_eq!(jobs.get(jid).and_then(|j| j.get("Target")), Some(&"web1".into()));
    for bad in ["", "x", "../../../../etc/passw", "2026010203040500067"] {
        let answer = web.call(&rig, Minion::ret(bad, "test.ping", true)).await.unwrap();
        assert_eq!(answer, Value::from(""), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_returns_arrive_whole() {
    let rig = Rig::start("");
    let web = Minion::accepted(&rig, "web1").await;
    let big = "x".repeat(5 << 20);
    let jid = "20260102030405000678";
    web.call(&rig, Minion::ret(jid, "cmd.run", big.as_str())).await.unwrap();
    let (job, _) = rig.run("jobs.exit_success", vec![jid.into()], Map::new()).await;
    assert_eq!(job, Value::from_iter([("web1", true)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_minions_may_not_look_like_the_masters() {
    let rig = Rig::start("");
    let web = Minion::accepted(&rig, "web1").await;
    let mut events = rig.events("");
    let reserved = [
        "salt/job/20260102030405000678/new",
        "salt/job/20260102030405000678/ret/db1",
        "salt/key",
        "salt/minion/db1/start",
        "salt/cluster/x",
        "20260102030405000678",
    ];
    for tag in reserved {
        web.ask(&rig, &[("cmd", "_minion_event"), ("tag", tag), ("data", "x")]).await;
        let event = Value::from_iter([("tag", Value::from(tag)), ("data", Value::Map(Map::new()))]);
        let mut load = Map::from([("cmd", "_minion_event")]);
        load.insert("events", Value::List(vec![event]));
        web.call(&rig, load).await.unwrap();
    }
    assert!(events.try_next().is_none());
    assert_eq!(rig.refused(Refusal::ReservedTag), 12);

    let start = [("cmd", "_minion_event"), ("tag", "salt/minion/web1/start"), ("data", "up")];
    assert_eq!(web.ask(&rig, &start).await, Value::Nil);
    let data = await_event(&mut events, "salt/minion/web1/start").await;
    assert_eq!((data.get_str("data"), data.get_str("id")), (Some("up"), Some("web1")));
    assert!(!data.contains_key("tok") && !data.contains_key("nonce"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mine_keeps_its_access_lists() {
    let rig = Rig::start("");
    let web = Minion::accepted(&rig, "web1").await;
    let db = Minion::accepted(&rig, "db1").await;
    let secret = Value::from_iter([
        ("__data__", Value::from("hush")),
        ("__saltmine_acl__", 1.into()),
        ("allow_tgt", "db*".into()),
        ("allow_tgt_type", "glob".into()),
    ]);
    let mut load = Map::from([("cmd", "_mine")]);
    load.insert("data", Map::from([("open", Value::from(1)), ("secret", secret)]));
    assert_eq!(web.call(&rig, load).await.unwrap(), Value::Bool(true));
    let get = |fun| [("cmd", "_mine_get"), ("tgt", "*"), ("fun", fun)];
    assert_eq!(db.ask(&rig, &get("secret")).await, Value::from_iter([("web1", "hush")]));
    assert_eq!(web.ask(&rig, &get("secret")).await, Value::Map(Map::new()));
    let both = web.ask(&rig, &get("open,secret")).await;
    assert_eq!(both, Value::from_iter([("open", Map::from([("web1", 1)]))]));
    assert_eq!(web.ask(&rig, &[("cmd", "_mine_delete"), ("fun", "open")]).await, Value::Bool(true));
    assert_eq!(web.ask(&rig, &get("open")).await, Value::Map(Map::new()));
    assert_eq!(web.ask(&rig, &[("cmd", "_mine_flush")]).await, Value::Bool(true));
    assert_eq!(web.ask(&rig, &[("cmd", "_mine_flush")]).await, Value::Bool(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn pushed_files_need_the_option() {
    let rig = Rig::start("");
    let web = Minion::accepted(&rig, "web1").await;
    let push = |parts: &[&str]| {
        let mut load = Map::from([("cmd", "_file_recv"), ("data", "text")]);
        load.insert("path", Value::List(parts.iter().map(|p| Value::from(*p)).collect()));
        load.insert("loc", 0);
        load
    };
    assert_eq!(web.call(&rig, push(&["a"])).await.unwrap(), Value::Bool(false));
    let rig = Rig::start("file_recv: True");
    let web = Minion::accepted(&rig, "web1").await;
    assert_eq!(web.call(&rig, push(&["dir", "a"])).await.unwrap(), Value::Bool(true));
    let place = rig.cachedir().join("minions/web1/files/dir/a");
    assert_eq!(fs::read_to_string(place).unwrap(), "text");
    for bad in [&["..", "x"][..], &["/etc/x"], &["a", "../../../x"]] {
        assert_eq!(web.call(&rig, push(bad)).await.unwrap(), Value::Bool(false), "{bad:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minion_may_give_up_its_key() {
    let rig = Rig::start("");
    let web = Minion::accepted(&rig, "web1").await;
    let mut events = rig.events("key");
    assert_eq!(web.ask(&rig, &[("cmd", "revoke_auth")]).await, Value::Bool(true));
    assert!(!rig.pki().join("minions/web1").exists());
    assert!(!rig.cachedir().join("sessions/web1").exists());
    await_event(&mut events, "key").await;

    let rig = Rig::start("allow_minion_key_revoke: False");
    let web = Minion::accepted(&rig, "web1").await;
    assert_eq!(web.ask(&rig, &[("cmd", "revoke_auth")]).await, Value::Bool(false));
    assert!(rig.pki().join("minions/web1").exists());
}
