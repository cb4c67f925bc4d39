//! Grains are read, chosen by, and kept in the grains file.

use std::sync::Arc;

use saltern_value::pyrepr::repr;

use super::*;
use crate::testing::{TestHost, run_on};

fn host() -> Arc<TestHost> {
    let mut host = TestHost::new();
    host.grains = yaml::load(
        "{os: Ubuntu, os_family: Debian, roles: [web], app: {port: 80, tags: [a, b]}, id: m1}",
    )
    .unwrap()
    .into_map()
    .unwrap();
    Arc::new(host)
}

fn shown(host: &Arc<TestHost>, fun: &str, args: &[&str]) -> String {
    repr(&run_on(host, fun, args).value)
}

#[test]
fn grains_are_found() {
    let h = host();
    assert_eq!(shown(&h, "grains.get", &["app:port"]), "80");
    assert_eq!(shown(&h, "grains.get", &["app/port", "delimiter=/"]), "80");
    assert_eq!(shown(&h, "grains.get", &["nope"]), "''");
    assert_eq!(shown(&h, "grains.get", &["nope", "default=5"]), "5");
    assert_eq!(shown(&h, "grains.item", &["os", "nope"]), "{'os': 'Ubuntu', 'nope': ''}");
    assert_eq!(shown(&h, "grains.item", &["id", "sanitize=True"]), "{'id': 'MINION.DOMAINNAME'}");
    assert_eq!(shown(&h, "grains.ls", &[]), "['app', 'id', 'os', 'os_family', 'roles']");
    assert_eq!(shown(&h, "grains.has_value", &["app:nope"]), "False");
    assert_eq!(shown(&h, "grains.equals", &["app:port", "80"]), "True");
}

#[test]
fn filter_by_chooses_and_merges() {
    let h = host();
    let table = "{Deb*: {a: 1, m: {x: 1}}, default: {a: 2}, base: {b: 3, m: {y: 2}}}";
    assert_eq!(shown(&h, "grains.filter_by", &[table]), "{'a': 1, 'm': {'x': 1}}");
    assert_eq!(
        shown(&h, "grains.filter_by", &[table, "base=base", "merge={c: 4}"]),
        "{'b': 3, 'm': {'y': 2, 'x': 1}, 'a': 1, 'c': 4}"
    );
    assert_eq!(shown(&h, "grains.filter_by", &[table, "grain=nope"]), "{'a': 2}");
    assert_eq!(shown(&h, "grains.filter_by", &["{X: 1}"]), "None");
    assert_eq!(shown(&h, "grains.filter_by", &["{web: 1}", "grain=roles"]), "1");
}

#[test]
fn values_are_kept_in_the_grains_file() {
    let h = host();
    let file = h.dir.join("conf/grains");
    assert_eq!(shown(&h, "grains.setval", &["a", "[1, 2]"]), "{'a': [1, 2]}");
    assert_eq!(shown(&h, "grains.append", &["roles", "db"]), "{'roles': ['web', 'db']}");
    let kept = yaml::load(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(repr(&kept), "{'a': [1, 2], 'roles': ['web', 'db']}");
    assert!(h.refreshed.lock().unwrap().contains(&Refresh::Grains));
    run_on(&h, "grains.delkey", &["a", "force=True"]);
    run_on(&h, "grains.setvals", &["{b: 1, c: null}"]);
    let kept = yaml::load(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(kept.get("c"), Some(&Value::Nil));
    assert!(kept.get("b").is_some());
    std::fs::write(&file, "a: [").unwrap();
    assert!(shown(&h, "grains.setval", &["x", "1"]).contains("Unable to read existing grains"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "a: [", "not overwritten");
}

#[test]
fn set_respects_what_is_there() {
    let h = host();
    let already = shown(&h, "grains.set", &["app:port", "80"]);
    assert_eq!(already, "{'comment': 'Grain is already set', 'changes': {}, 'result': True}");
    assert!(shown(&h, "grains.set", &["roles", "x"]).contains("exists but is a dict or a list"));
    assert_eq!(
        shown(&h, "grains.set", &["app:port", "81"]),
        "{'comment': '', 'changes': {'app': {'port': 81, 'tags': ['a', 'b']}}, 'result': True}"
    );
    assert!(shown(&h, "grains.set", &["os:x", "1"]).contains("which is different"));
    assert!(shown(&h, "grains.remove", &["app:tags", "a"]).contains("'tags': ['b']"));
    assert_eq!(
        shown(&h, "grains.remove", &["roles", "x"]),
        "'The val x was not in the list roles'"
    );
}
