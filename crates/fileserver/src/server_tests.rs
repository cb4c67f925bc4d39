//! The file commands: the shapes of Salt's answers, and that nothing outside of a root is told.

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;

use flate2::read::GzDecoder;

use super::*;
use crate::testing::Scratch;

fn settings(dir: &Scratch) -> Settings {
    Settings {
        roots: vec![
            ("base".to_owned(), vec![dir.path().join("one"), dir.path().join("two")]),
            ("__env__".to_owned(), vec![dir.path().join("envs/__env__")]),
        ],
        hash_type: HashType::Sha256,
        buffer_size: 4,
        follow_symlinks: true,
        ignore_symlinks: false,
        ignore_regex: Vec::new(),
        ignore_glob: Vec::new(),
    }
}

fn tree() -> Scratch {
    let dir = Scratch::new();
    dir.file("one/a/x.txt", "0123456789");
    dir.file("one/top.sls", "one");
    dir.file("two/top.sls", "two");
    dir.file("two/a/y.txt", "");
    dir.file("envs/dev/z", "dev");
    dir.file("secret", "secret");
    fs::create_dir_all(dir.path().join("one/empty")).unwrap();
    dir
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_list().unwrap().iter().map(|v| v.as_str().unwrap()).collect()
}

#[test]
fn find_and_hash_answer_in_salts_shapes() {
    let dir = tree();
    let server = FileServer::new(settings(&dir)).unwrap();
    assert_eq!(texts(&server.envs()), ["__env__", "base"]);
    let found = server.find("base", "top.sls");
    let full = dir.path().join("one/top.sls");
    assert_eq!(found.get("path").and_then(Value::as_str), full.to_str());
    assert_eq!(found.get("rel").and_then(Value::as_str), Some("top.sls"));
    assert_eq!(found.get("back").and_then(Value::as_str), Some("roots"));
    let stat = found.get("stat").and_then(Value::as_list).unwrap();
    assert_eq!((stat.len(), &stat[6]), (10, &Value::Int(3)));
    let missing = Value::from_iter([("path", ""), ("rel", "")]);
    assert_eq!(server.find("base", "nothing"), missing);
    assert_eq!(server.find("base", "a"), missing, "a directory is no file");
    assert_eq!(
        server.find("base", "top.sls?index=1").get("path").and_then(Value::as_str),
        dir.path().join("two/top.sls").to_str()
    );
    let hash = server.hash("base", "a/y.txt");
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(hash, Value::from_iter([("hash_type", "sha256"), ("hsum", empty)]));
    dir.file("two/a/y.txt", "changed");
    assert_ne!(server.hash("base", "a/y.txt"), hash);
    assert_eq!(server.hash("base", "nothing"), Value::from(""));
    let both = server.hash_and_stat("base", "a/y.txt");
    assert_eq!(both.as_list().unwrap()[1].as_list().unwrap().len(), 10);
    let none = Value::List(vec![Value::from(""), Value::Nil]);
    assert_eq!(server.hash_and_stat("base", "nothing"), none);
}

#[test]
fn a_file_is_served_chunk_by_chunk() {
    let dir = tree();
    let server = FileServer::new(settings(&dir)).unwrap();
    let mut content = Vec::new();
    loop {
        let reply = server.serve("base", "a/x.txt", content.len() as u64, None);
        assert_eq!(reply.get("dest").and_then(Value::as_str), Some("a/x.txt"));
        let data = reply.get("data").and_then(Value::as_raw).unwrap();
        if data.is_empty() {
            break;
        }
        assert!(data.len() <= 4);
        content.extend_from_slice(data);
    }
    assert_eq!(content, b"0123456789");
    let packed = server.serve("base", "a/x.txt", 8, Some(5));
    assert_eq!(packed.get("gzip"), Some(&Value::Int(5)));
    let mut plain = String::new();
    let bytes = packed.get("data").and_then(Value::as_raw).unwrap();
    GzDecoder::new(bytes).read_to_string(&mut plain).unwrap();
    assert_eq!(plain, "89");
    assert_eq!(server.serve("base", "a/x.txt", 10, Some(5)).get("gzip"), None);
    assert_eq!(
        server.serve("base", "a/x.txt", u64::MAX >> 1, None).get("data"),
        Some(&Value::Bytes(Vec::new()))
    );
    let nothing = Value::from_iter([("data", ""), ("dest", "")]);
    assert_eq!(server.serve("base", "nothing", 0, None), nothing);
}

#[test]
fn roots_overlay_each_other_in_lists() {
    let dir = tree();
    let server = FileServer::new(settings(&dir)).unwrap();
    assert_eq!(texts(&server.list("base", "")), ["a/x.txt", "a/y.txt", "top.sls"]);
    assert_eq!(texts(&server.list("base", "/a/y")), ["a/y.txt"]);
    assert_eq!(texts(&server.dirs("base", "")), ["a", "empty"]);
    assert_eq!(texts(&server.empty_dirs("base", "")), ["empty"]);
    assert_eq!(texts(&server.list("dev", "")), ["z"]);
    assert_eq!(texts(&server.list("other", "")), [""; 0]);
    assert_eq!(server.symlinks("base", ""), Value::Map(Map::new()));
}

#[test]
fn path_tricks_find_nothing() {
    let dir = tree();
    let secret = dir.path().join("secret");
    let server = FileServer::new(settings(&dir)).unwrap();
    let missing = Value::from_iter([("path", ""), ("rel", "")]);
    let absolute = secret.to_str().unwrap();
    for bad in [
        "../secret",
        "a/../../secret",
        absolute,
        "|../secret",
        "",
        ".",
        "..",
        "a\0b",
        "./../secret",
        "../secret?saltenv=base",
        "a/x.txt/../../../secret",
    ] {
        assert_eq!(server.find("base", bad), missing, "{bad:?}");
        assert_eq!(server.hash("base", bad), Value::from(""), "{bad:?}");
        assert_eq!(server.serve("base", bad, 0, None).get("dest"), Some(&Value::from("")));
    }
    for env in ["..", "../..", "/", "dev/../..", "a\0", ""] {
        assert_eq!(server.find(env, "secret"), missing, "{env:?}");
        assert_eq!(server.list(env, ""), Value::List(Vec::new()), "{env:?}");
    }
}

#[test]
fn links_are_followed_only_when_wanted() {
    let dir = tree();
    let root = dir.path().join("one");
    symlink(dir.path().join("secret"), root.join("out")).unwrap();
    symlink("a/x.txt", root.join("in")).unwrap();
    symlink("..", root.join("a/loop")).unwrap();
    symlink("gone", root.join("broken")).unwrap();
    let follow = FileServer::new(settings(&dir)).unwrap();
    assert_eq!(
        follow.serve("base", "out", 0, None).get("data"),
        Some(&Value::Bytes(b"secr".to_vec()))
    );
    let listed = follow.list("base", "");
    assert!(texts(&listed).contains(&"in") && texts(&listed).contains(&"broken"));
    assert!(!texts(&listed).iter().any(|p| p.starts_with("a/loop/")), "{listed:?}");
    assert_eq!(follow.symlinks("base", "in"), Value::from_iter([("in", "a/x.txt")]));
    assert_eq!(follow.symlinks("base", "out"), Value::Map(Map::new()));
    let stay = FileServer::new(Settings { follow_symlinks: false, ..settings(&dir) }).unwrap();
    assert_eq!(stay.find("base", "out").get("path"), Some(&Value::from("")));
    assert_ne!(stay.find("base", "in").get("path"), Some(&Value::from("")));
    assert_eq!(stay.symlinks("base", "out").as_map().unwrap().len(), 1);
    let hide = FileServer::new(Settings { ignore_symlinks: true, ..settings(&dir) }).unwrap();
    assert!(!texts(&hide.list("base", "")).contains(&"in"));
}

#[test]
fn ignored_files_are_neither_found_nor_listed() {
    let dir = tree();
    let server = FileServer::new(Settings {
        ignore_regex: vec![r"/x\.t".to_owned()],
        ignore_glob: vec!["*.sls".to_owned()],
        ..settings(&dir)
    })
    .unwrap();
    assert_eq!(texts(&server.list("base", "")), ["a/y.txt"]);
    assert_eq!(server.hash("base", "a/x.txt"), Value::from(""));
    assert_eq!(server.hash("base", "top.sls"), Value::from(""));
    let bad = Settings { ignore_regex: vec!["(".to_owned()], ..settings(&dir) };
    assert!(FileServer::new(bad).unwrap_err().to_string().contains("file_ignore_regex"));
}

#[test]
fn only_regular_files_are_served() {
    let dir = tree();
    let pipe = dir.path().join("one/pipe");
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, rustix::fs::Mode::RUSR, 0).unwrap();
    let server = FileServer::new(settings(&dir)).unwrap();
    assert_eq!(server.hash("base", "pipe"), Value::from(""));
    assert_eq!(server.serve("base", "pipe", 0, None).get("dest"), Some(&Value::from("")));
}

/// Files of the repository: nobody changed them a moment ago.
#[test]
fn a_piece_tells_of_what_file_it_is_one_when_asked() {
    let roots = vec![("base".to_owned(), vec![env!("CARGO_MANIFEST_DIR").into()])];
    let server = FileServer::new(Settings { buffer_size: 16, ..Settings::new(roots) }).unwrap();
    let of = |at| server.piece("base", "Cargo.toml", at, true).unwrap().whole.unwrap();
    let size = fs::metadata(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap().len();
    assert_eq!(of(0).size, size);
    assert_eq!(of(0), of(16));
    assert_ne!(of(0), server.piece("base", "src/lib.rs", 0, true).unwrap().whole.unwrap());
    assert_eq!(server.piece("base", "Cargo.toml", 0, false).unwrap().whole, None);
    let answer = Piece::answer(server.piece("base", "Cargo.toml", 0, true), None);
    assert_eq!(answer.get("size"), Some(&Value::from(size)));
    assert_eq!(answer.get("version"), Some(&Value::from(of(0).version)));
    let plain = server.serve("base", "Cargo.toml", 0, None);
    assert_eq!((plain.get("size"), plain.get("version")), (None, None), "Salt's shape");
}

#[test]
fn a_file_that_may_still_be_written_to_has_no_version_yet() {
    let dir = tree();
    let server = FileServer::new(settings(&dir)).unwrap();
    let of = || server.piece("base", "top.sls", 0, true).unwrap().whole;
    // Its time of change is that of its last change, whatever this machine's speed.
    dir.file("one/top.sls", "new");
    let begun = SystemTime::now();
    let early = of();
    assert!(early.is_none() || begun.elapsed().unwrap().as_secs() >= 1);
    assert_eq!(server.hash("base", "top.sls"), hash_of("new"));
    dir.file("one/top.sls", "NEW");
    assert_eq!(server.hash("base", "top.sls"), hash_of("NEW"), "within the same tick");
}

fn hash_of(text: &str) -> Value {
    let hsum = HashType::Sha256.hex_digest(text.as_bytes());
    Value::from_iter([("hash_type", "sha256"), ("hsum", hsum.as_str())])
}
