//! Returns on their way through a master: acknowledged when they are kept, announced once, refused
//! from who is no minion any more.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use common::{Minion, Rig};
use saltern_master::Refusal;
use saltern_value::{Map, Value};

fn jid(n: usize) -> String {
    format!("20260102030405{n:06}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_kept_and_announced_once() {
    const RETURNS: usize = 300;
    let rig = Arc::new(Rig::start(""));
    let web = Arc::new(Minion::accepted(&rig, "web1").await);
    let mut events = rig.events("salt/job/");
    for round in 0..2 {
        let sending: Vec<_> = (0..RETURNS)
            .map(|n| {
                let (rig, web) = (Arc::clone(&rig), Arc::clone(&web));
                tokio::spawn(async move {
                    // Some are large enough to be more than one commit.
                    let size = if n % 30 == 0 { 300_000 } else { 500 };
                    let load = Minion::ret(&jid(n), "test.echo", "x".repeat(size));
                    web.call(&rig, load).await.unwrap()
                })
            })
            .collect();
        for sent in sending {
            assert_eq!(sent.await.unwrap(), Value::Nil, "round {round}");
        }
    }
    // What is acknowledged is there, and was told once: the second round told nobody anything.
    let mut told = BTreeSet::new();
    while let Some(event) = events.try_next() {
        assert!(told.insert(event.tag.clone()), "{} was told twice", event.tag);
    }
    assert_eq!(told.len(), RETURNS);
    for n in [0, 1, RETURNS - 1] {
        let (kept, _) = rig.run("jobs.lookup_jid", vec![jid(n).into()], Map::new()).await;
        assert!(kept.get("web1").and_then(Value::as_str).is_some_and(|text| text.len() >= 500));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minion_whose_key_was_deleted_returns_nothing() {
    let rig = Rig::start("");
    let web = Minion::accepted(&rig, "web1").await;
    let load = || Minion::ret(&jid(1), "test.ping", true);
    assert_eq!(web.call(&rig, load()).await.unwrap(), Value::Nil);
    fs::remove_file(rig.pki().join("minions/web1")).unwrap();
    let before = rig.refused(Refusal::NotDecryptable);
    assert!(web.call(&rig, Minion::ret(&jid(2), "test.ping", true)).await.is_err());
    assert_eq!(rig.refused(Refusal::NotDecryptable), before + 1);
    let (kept, _) = rig.run("jobs.lookup_jid", vec![jid(2).into()], Map::new()).await;
    assert_eq!(kept, Value::Map(Map::new()));
}
