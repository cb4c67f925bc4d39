//! The minion data cache over restarts, clearing and damage.

use std::fs;

use super::*;
use crate::testing::{Scratch, id, mode};

fn map(n: i64) -> Map {
    Map::from([("os", Value::from("Test")), ("n", Value::Int(n))])
}

#[test]
fn grains_and_pillar_outlive_a_restart() {
    let dir = Scratch::new();
    let cache = DataCache::open(dir.path()).unwrap();
    cache.store(&id("web"), &map(1), Some(&map(2))).unwrap();
    cache.store(&id("db"), &map(3), None).unwrap();
    cache.store(&id("web"), &map(4), None).unwrap();
    drop(cache);
    let cache = DataCache::open(dir.path()).unwrap();
    assert_eq!(cache.ids(), ["db", "web"]);
    assert_eq!(cache.grains("web"), Some(map(4)));
    assert_eq!(cache.pillar("web").unwrap(), Some(map(2)), "kept when none was given");
    assert_eq!(cache.pillar("db").unwrap(), None);
    assert_eq!(mode(&dir.path().join("minions.sqlite")), 0o600);
    cache.clear_grains(&id("web")).unwrap();
    assert!(!cache.has_grains("web"));
    cache.store(&id("web"), &map(4), Some(&map(2))).unwrap();
    assert_eq!(cache.grains("web"), Some(map(4)));
    cache.clear_pillar(&id("web")).unwrap();
    assert_eq!(cache.pillar("web").unwrap(), None);
    cache.clear_grains(&id("db")).unwrap();
    assert_eq!(cache.ids(), ["web"]);
    cache.remove(&id("web")).unwrap();
    assert!(cache.ids().is_empty());
    assert!(cache.grains("web").is_none());
}

#[test]
fn the_mine_is_added_to_replaced_and_flushed() {
    let dir = Scratch::new();
    let cache = DataCache::open(dir.path()).unwrap();
    let web = id("web");
    assert!(!cache.mine_flush(&web).unwrap());
    cache.mine_update(&web, Map::from([("a.b", 1), ("c.d", 2)]), false).unwrap();
    cache.mine_update(&web, Map::from([("c.d", 3)]), false).unwrap();
    assert_eq!(cache.mine("web").unwrap(), Some(Map::from([("a.b", 1), ("c.d", 3)])));
    cache.mine_update(&web, Map::from([("e.f", 4)]), true).unwrap();
    assert_eq!(cache.mine("web").unwrap(), Some(Map::from([("e.f", 4)])));
    assert_eq!(cache.mine_get("web", "e.f").unwrap(), Some(Value::Int(4)));
    assert!(cache.mine_delete(&web, "e.f").unwrap());
    assert!(!cache.mine_delete(&web, "e.f").unwrap());
    assert_eq!(cache.mine("web").unwrap(), None);
    cache.mine_update(&web, Map::from([("a.b", 1)]), false).unwrap();
    assert!(cache.mine_flush(&web).unwrap());
}

#[test]
fn a_hostile_id_is_only_a_text() {
    let dir = Scratch::new();
    let cache = DataCache::open(dir.path()).unwrap();
    assert!(cache.grains("../../etc/passwd").is_none());
    assert!(cache.pillar("x'; DROP TABLE data; --").unwrap().is_none());
    assert_eq!(cache.mine("../x").unwrap(), None);
    cache.store(&id("web"), &map(1), None).unwrap();
    assert_eq!(cache.ids(), ["web"]);
}

#[test]
fn damage_while_running_keeps_the_grains() {
    let dir = Scratch::new();
    let cache = DataCache::open(dir.path()).unwrap();
    for n in 0..300 {
        cache.store(&id(&format!("m{n}")), &map(n), Some(&map(n))).unwrap();
    }
    drop(cache);
    let path = dir.path().join("minions.sqlite");
    let mut bytes = fs::read(&path).unwrap();
    // The table's leaves stay readable by row; the index that finds a minion is garbage.
    let db = Connection::open(&path).unwrap();
    let root: usize = db
        .query_row(
            "SELECT rootpage FROM sqlite_schema WHERE name LIKE 'sqlite_autoindex_data%'",
            [],
            |r| r.get::<_, i64>(0),
        )
        .unwrap() as usize;
    drop(db);
    bytes[(root - 1) * 4096..root * 4096].fill(0xa5);
    bytes.resize(17 << 20, 0);
    fs::write(&path, bytes).unwrap();
    let cache = DataCache::open(dir.path()).unwrap();
    cache.store(&id("m7"), &map(1000), Some(&map(1))).unwrap();
    assert_eq!(cache.grains("m7"), Some(map(1000)));
    assert_eq!(cache.pillar("m7").unwrap(), Some(map(1)));
    let again = DataCache::open(dir.path()).unwrap();
    assert_eq!(again.ids().len(), 300);
    assert_eq!(again.grains("m8"), Some(map(8)));
}
