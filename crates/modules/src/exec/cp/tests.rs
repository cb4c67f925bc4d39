//! Files on their way, with a master in memory and without one.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use saltern_crypto::HashType;
use saltern_value::pyrepr::repr;
use saltern_value::{Map, Value};

use super::client::{Url, inside};
use crate::call::Call;
use crate::testing::{TestHost, run_call, run_on};

fn hash(text: &str) -> Value {
    let hsum = HashType::Sha256.hex_digest(text.as_bytes());
    Value::from_iter([("hsum", hsum.as_str()), ("hash_type", "sha256")])
}

fn chunk(data: &str) -> Value {
    Value::from_iter([("data", Value::Bytes(data.into())), ("dest", Value::from("x"))])
}

/// As [`chunk`], of a master that tells of what file it is one.
fn chunk_of(version: &str, size: usize, data: &str) -> Value {
    let Value::Map(mut answer) = chunk(data) else { unreachable!() };
    answer.insert("version", version);
    answer.insert("size", size as u64);
    Value::Map(answer)
}

fn nothing() -> Value {
    Value::from_iter([("data", ""), ("dest", "")])
}

fn commands(host: &TestHost) -> Vec<String> {
    let requests = host.requests.lock().unwrap();
    requests.iter().map(|load| load.get_str("cmd").unwrap().to_owned()).collect()
}

#[test]
fn addresses_are_read() {
    let salt = |path: &str, env: &str| Url::Salt { path: path.into(), env: env.into() };
    assert_eq!(Url::parse("salt://a/b", "base"), salt("a/b", "base"));
    assert_eq!(Url::parse("salt://a?saltenv=dev", "base"), salt("a", "dev"));
    assert_eq!(Url::parse("/etc/hosts", "base"), Url::Local("/etc/hosts".into()));
    assert_eq!(Url::parse("http://x/y", "base"), Url::Other("http".into()));
}

#[test]
fn no_name_leads_out_of_the_cache() {
    for bad in ["", "..", "../x", "a/../../x", "/", "a\0b", "a/.."] {
        assert!(inside(bad).is_err(), "{bad:?}");
    }
    assert_eq!(inside("/a/./b").unwrap(), Path::new("a/b"));
    for bad in [&["salt://../../../etc/evil"][..], &["salt://a", "saltenv=../.."]] {
        let host = Arc::new(TestHost::new());
        host.answer(hash("x"));
        let got = run_on(&host, "cp.cache_file", bad);
        assert!(got.value.as_str().unwrap().contains("refused"), "{:?}", got.value);
        host.answer(Value::from_iter([("", ""); 0]));
        assert_eq!(run_on(&host, "cp.cache_file", bad).value, Value::Bool(false));
        assert_eq!(commands(&host), ["_file_hash"; 2], "nothing is fetched for it");
    }
    let host = Arc::new(TestHost::new());
    let dest = host.dir.join("dest");
    let evil = || Value::List(vec!["d/../../evil".into()]);
    for listed in [[Value::List(Vec::new()), evil()], [evil(), Value::List(Vec::new())]] {
        let host = Arc::new(TestHost::new());
        listed.into_iter().for_each(|listed| host.answer(listed));
        let got = run_on(&host, "cp.get_dir", &["salt://d", &dest]);
        assert!(got.value.as_str().unwrap().contains("refused"), "{:?}", got.value);
    }
}

#[test]
fn a_file_is_fetched_in_pieces_and_kept() {
    let host = Arc::new(TestHost::new());
    // Of unlike length: equal ones are asked for several at once (window.rs), in any order.
    for answer in [chunk("one"), chunk("two.."), chunk(""), hash("onetwo..")] {
        host.answer(answer);
    }
    let place = run_on(&host, "cp.cache_file", &["salt://d/f"]).value;
    let place = place.as_str().unwrap();
    assert_eq!(place, host.dir.join("cache/files/base/d/f"));
    assert_eq!(std::fs::read_to_string(place).unwrap(), "onetwo..");
    assert_eq!(std::fs::metadata(place).unwrap().permissions().mode() & 0o777, 0o600);
    let offsets: Vec<_> =
        host.requests.lock().unwrap().iter().filter_map(|l| l.get("loc").cloned()).collect();
    assert_eq!(repr(&Value::List(offsets)), "[0, 3, 8]");
    host.answer(hash("onetwo.."));
    run_on(&host, "cp.cache_file", &["salt://d/f"]);
    assert_eq!(host.requests.lock().unwrap().len(), 5, "what is there is not fetched again");
    let cached = run_on(&host, "cp.is_cached", &["salt://d/f"]).value;
    assert_eq!(cached.as_str(), Some(place));
}

#[test]
fn a_file_of_known_version_needs_no_hash_and_no_request_behind_its_end() {
    let host = Arc::new(TestHost::new());
    host.answer(chunk_of("1", 3, "one"));
    let place = run_on(&host, "cp.cache_file", &["salt://f"]).value;
    assert_eq!(std::fs::read_to_string(place.as_str().unwrap()).unwrap(), "one");
    host.answer(chunk_of("1", 0, ""));
    let empty = run_on(&host, "cp.cache_file", &["salt://empty"]).value;
    assert_eq!(std::fs::read_to_string(empty.as_str().unwrap()).unwrap(), "");
    assert_eq!(commands(&host), ["_serve_file"; 2]);
    assert!(host.requests.lock().unwrap().iter().all(|load| load.get("whole").is_some()));
}

#[test]
fn a_file_that_changes_on_the_way_is_judged_by_its_hash() {
    let host = Arc::new(TestHost::new());
    // Another version half way, as of another master: the same content all the same.
    for answer in [chunk_of("1", 6, "one"), chunk_of("2", 6, "two"), hash("onetwo")] {
        host.answer(answer);
    }
    let place = run_on(&host, "cp.cache_file", &["salt://same"]).value;
    assert_eq!(std::fs::read_to_string(place.as_str().unwrap()).unwrap(), "onetwo");
    // Other content: it is fetched again.
    for answer in [chunk_of("1", 6, "one"), chunk_of("2", 6, "TWO"), hash("ONETWO")] {
        host.answer(answer);
    }
    host.answer(chunk_of("2", 6, "ONETWO"));
    let place = run_on(&host, "cp.cache_file", &["salt://other"]).value;
    assert_eq!(std::fs::read_to_string(place.as_str().unwrap()).unwrap(), "ONETWO");
    // Cut: what is there is less than its size.
    for answer in [chunk_of("1", 6, "one"), chunk_of("1", 6, ""), hash("one")] {
        host.answer(answer);
    }
    let place = run_on(&host, "cp.cache_file", &["salt://cut"]).value;
    assert_eq!(std::fs::read_to_string(place.as_str().unwrap()).unwrap(), "one");
}

#[test]
fn a_wrong_hash_leaves_nothing_behind() {
    let host = Arc::new(TestHost::new());
    // A file may have been changed meanwhile: it is tried twice.
    for _ in 0..2 {
        for answer in [chunk("one"), chunk(""), hash("other")] {
            host.answer(answer);
        }
    }
    let got = run_on(&host, "cp.cache_file", &["salt://f"]);
    assert_eq!(got.retcode, 1);
    assert!(got.value.as_str().unwrap().contains("did not arrive"), "{:?}", got.value);
    let dir = host.dir.join("cache/files/base");
    assert_eq!(std::fs::read_dir(dir).unwrap().count(), 0);
    host.answer(nothing());
    assert_eq!(run_on(&host, "cp.cache_file", &["salt://nope"]).value, Value::Bool(false));
    let other = run_on(&host, "cp.get_url", &["http://x/y"]).value;
    assert!(other.as_str().unwrap().contains("http:// is not supported"));
}

#[test]
fn a_file_goes_where_it_is_wanted() {
    let host = Arc::new(TestHost::new());
    let dest = host.dir.join("sub/dest");
    host.answer(nothing());
    let none = run_on(&host, "cp.get_file", &["salt://nope", &dest]).value;
    assert_eq!(none, Value::from(""), "no such file");
    host.answer(chunk("one"));
    let refused = run_on(&host, "cp.get_file", &["salt://f", &dest]).value;
    assert_eq!(refused, Value::Bool(false), "the directory is missing");
    for answer in [chunk("one"), chunk(""), hash("one")] {
        host.answer(answer);
    }
    let got = run_on(&host, "cp.get_file", &["salt://f", &dest, "makedirs=True"]).value;
    assert_eq!(got.as_str(), Some(dest.as_str()));
    host.answer(Value::List(vec!["a.sls".into(), "b/init.sls".into(), "x".into()]));
    assert_eq!(repr(&run_on(&host, "cp.list_states", &[]).value), "['a', 'b']");
}

#[test]
fn files_are_pushed_in_pieces() {
    let mut host = TestHost::new();
    host.opts.insert("file_buffer_size", 4);
    let file = host.dir.file("up", "sixsix");
    let host = Arc::new(host);
    host.answer(true);
    host.answer(true);
    assert_eq!(run_on(&host, "cp.push", &[&file]).value, Value::Bool(true));
    let loads = host.requests.lock().unwrap().clone();
    assert_eq!(loads.len(), 2);
    let parts = loads[0].get("path").unwrap().as_list().unwrap();
    assert_eq!(parts.last(), Some(&Value::from("up")));
    assert_eq!(loads[1].get("loc"), Some(&Value::Int(4)));
    assert_eq!(loads[1].get("size"), Some(&Value::Int(6)));
    host.answer(false);
    assert_eq!(run_on(&host, "cp.push", &[&file]).value, Value::Bool(false));
    assert_eq!(run_on(&host, "cp.push", &["relative"]).value, Value::Bool(false));
}

#[test]
fn salt_cp_writes_pieces() {
    let host = Arc::new(TestHost::new());
    let dest = host.dir.join("new/file");
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(b"packed ").unwrap();
    let packed = base64::engine::general_purpose::STANDARD.encode(packer.finish().unwrap());
    let plain = base64::engine::general_purpose::STANDARD.encode("plain");
    let first = run_on(&host, "cp.recv_chunked", &[&dest, &packed, "mode=416"]);
    assert_eq!(first.value, Value::Bool(true));
    assert!(plain.ends_with('='), "what looks like a keyword is none");
    let args = vec![dest.as_str().into(), plain.into(), true.into(), false.into()];
    run_call(&host, &Call::new("cp.recv_chunked", args, Map::new()));
    assert_eq!(std::fs::read_to_string(&dest).unwrap(), "packed plain");
    assert_eq!(std::fs::metadata(&dest).unwrap().permissions().mode() & 0o777, 0o640);
    let bad = run_on(&host, "cp.recv_chunked", &[&dest, "'***'"]);
    assert_eq!(bad.retcode, 1);
    let dir = host.dir.join("empty/dir");
    assert_eq!(run_on(&host, "cp.recv_chunked", &[&dir, "None"]).value, Value::Bool(true));
    assert!(Path::new(&dir).is_dir());
    let old = run_on(&host, "cp.recv", &["{/a/f: text}", &dir]).value;
    assert_eq!(repr(&old), format!("{{'{dir}/f': True}}"));
}

#[test]
fn without_a_master_the_files_are_our_own() {
    let mut host = TestHost::new();
    host.local = true;
    host.dir.file("roots/d/f", "text");
    let roots = Value::from_iter([("base", Value::List(vec![host.dir.join("roots").into()]))]);
    host.opts.insert("file_roots", roots);
    let host = Arc::new(host);
    let got = run_on(&host, "cp.get_file_str", &["salt://d/f"]).value;
    assert_eq!(got, Value::from("text"));
    assert_eq!(repr(&run_on(&host, "cp.list_master", &[]).value), "['d/f']");
    std::fs::create_dir_all(host.dir.join("roots/d/empty/below")).unwrap();
    let dest = host.dir.join("dest");
    let got = run_on(&host, "cp.get_dir", &["salt://d", &dest]).value;
    assert_eq!(repr(&got), format!("['{dest}/d/empty/below', '{dest}/d/f']"));
    assert!(Path::new(&dest).join("d/empty/below").is_dir());
    assert_eq!(run_on(&host, "cp.hash_file", &["salt://d/f"]).value, hash_first_type("text"));
    assert_eq!(repr(&run_on(&host, "cp.envs", &[]).value), "['base']");
}

fn hash_first_type(text: &str) -> Value {
    let hsum = HashType::Sha256.hex_digest(text.as_bytes());
    Value::Map(Map::from([("hash_type", "sha256"), ("hsum", hsum.as_str())]))
}
