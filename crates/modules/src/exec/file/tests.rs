//! Files as users change them.

use std::os::unix::fs::{PermissionsExt, symlink};

use saltern_value::Value;
use saltern_value::pyrepr::repr;

use crate::testing::{TempDir, ok, run};

fn shown(fun: &str, args: &[&str]) -> String {
    repr(&run(fun, args).value)
}

#[test]
fn content_is_read_and_written() {
    let dir = TempDir::new();
    let file = dir.join("f");
    assert_eq!(
        shown("file.write", &[&file, "one", "two"]),
        format!("'Wrote 2 lines to \"{file}\"'")
    );
    assert_eq!(ok("file.read", &[&file]), Value::from("one\ntwo\n"));
    std::fs::write(&file, "one\ntwo").unwrap();
    ok("file.append", &[&file, "three"]);
    ok("file.prepend", &[&file, "zero"]);
    assert_eq!(ok("file.read", &[&file]), Value::from("zero\none\ntwo\nthree\n"));
    ok("file.write", &[&file, "args=[a, b]"]);
    assert_eq!(ok("file.read", &[&file]), Value::from("a\nb\n"));
    ok("file.truncate", &[&file, "1"]);
    assert_eq!(ok("file.read", &[&file]), Value::from("a"));
    assert!(
        shown("file.read", &["/no/such"])
            .contains("FileNotFoundError: [Errno 2] No such file or directory")
    );
    std::fs::write(&file, b"\xff\xfe").unwrap();
    assert!(shown("file.read", &[&file]).contains("UnicodeDecodeError"));
    assert_eq!(ok("file.read", &[&file, "binary=True"]), Value::Bytes(vec![0xff, 0xfe]));
}

#[test]
fn content_is_searched() {
    let dir = TempDir::new();
    let file = dir.file("f", "alpha\n  beta\n");
    assert_eq!(shown("file.contains", &[&file, "beta"]), "True");
    assert_eq!(shown("file.contains_regex", &[&file, "^beta", "lchar=' '"]), "True");
    assert_eq!(shown("file.contains_regex", &[&file, "^beta"]), "False");
    assert_eq!(shown("file.search", &[&file, "^alpha$"]), "True");
    assert_eq!(shown("file.search", &[&file, "gamma"]), "False");
    assert_eq!(shown("file.search", &["/no/such", "x", "ignore_if_missing=True"]), "False");
    assert!(shown("file.search", &["/no/such", "x"]).contains("File not found: /no/such"));
    assert_eq!(ok("file.grep", &[&file, "beta"]).get("stdout"), Some(&Value::from("  beta")));
    assert_eq!(shown("file.contains_glob", &[&file, "*bet*"]), "True");
    assert_eq!(shown("file.contains_glob", &[&file, "bet*"]), "False");
}

#[test]
fn replacing_returns_the_difference_and_keeps_a_copy() {
    let dir = TempDir::new();
    let file = dir.file("f", "a:1\nb:2\n");
    let dry = shown("file.replace", &[&file, r"^a:(\d)$", r"a:\g<1>0", "dry_run=True"]);
    assert_eq!(dry, r"'--- \n+++ \n@@ -1,2 +1,2 @@\n-a:1\n+a:10\n b:2\n'");
    assert_eq!(ok("file.read", &[&file]), Value::from("a:1\nb:2\n"));
    ok("file.replace", &[&file, r"^a:(\d)$", r"a:\1\1"]);
    assert_eq!(ok("file.read", &[&file]), Value::from("a:11\nb:2\n"));
    assert_eq!(std::fs::read_to_string(format!("{file}.bak")).unwrap(), "a:1\nb:2\n");
    let args =
        [&file, "^c:.*$", "c:3", "append_if_not_found=True", "backup=False", "show_changes=False"];
    assert_eq!(shown("file.replace", &args), "True");
    assert_eq!(shown("file.replace", &args), "False", "a second time there is nothing to do");
    assert_eq!(ok("file.read", &[&file]), Value::from("a:11\nb:2\nc:3\n"));
    assert_eq!(
        shown(
            "file.replace",
            &[&file, "[bc]:", "x:", "count=1", "backup=False", "show_changes=False"]
        ),
        "True"
    );
    assert_eq!(ok("file.read", &[&file]), Value::from("a:11\nx:2\nc:3\n"));
    std::fs::write(&file, b"a\0b").unwrap();
    assert!(shown("file.replace", &[&file, "a", "b"]).contains("binary file"));
    assert!(shown("file.replace", &[&file, "(", "b"]).contains("binary file"));
}

#[test]
fn lines_are_commented_and_uncommented() {
    let dir = TempDir::new();
    let file = dir.file("f", "on\n  on\noff\n");
    let diff = shown("file.comment", &[&file, "^on"]);
    assert_eq!(diff, r"'--- \n+++ \n@@ -1 +1 @@\n-on\n+#on\n'");
    assert_eq!(ok("file.read", &[&file]), Value::from("#on\n  on\noff\n"));
    ok("file.uncomment", &[&file, "'on'"]);
    assert_eq!(ok("file.read", &[&file]), Value::from("on\n  on\noff\n"));
    assert_eq!(shown("file.comment", &[&file, "nothing"]), "False");
}

#[test]
fn hashes_and_stats() {
    let dir = TempDir::new();
    let file = dir.file("f", "abc");
    assert_eq!(shown("file.get_hash", &[&file, "md5"]), "'900150983cd24fb0d6963f7d28e17f72'");
    assert_eq!(shown("file.check_hash", &[&file, "md5:900150983cd24fb0d6963f7d28e17f72"]), "True");
    assert_eq!(
        shown("file.check_hash", &[&file, "a9993e364706816aba3e25717850c26c9cd0d89d"]),
        "True"
    );
    assert!(shown("file.check_hash", &[&file, "abc"]).contains("could not be matched"));
    assert_eq!(shown("file.get_sum", &["/no/such"]), "'File not found'");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let stats = ok("file.stats", &[&file, "hash_type=md5"]);
    let keys: Vec<_> = stats.as_map().unwrap().keys().map(|k| k.as_str().unwrap()).collect();
    assert_eq!(
        keys,
        [
            "inode", "uid", "gid", "group", "user", "atime", "mtime", "ctime", "size", "mode",
            "sum", "type", "target"
        ]
    );
    assert_eq!(stats.get("mode"), Some(&Value::from("0640")));
    assert_eq!(stats.get("type"), Some(&Value::from("file")));
    assert!(shown("file.stats", &["/no/such"]).contains("ERROR: Path not found: /no/such"));
    assert_eq!(shown("file.set_mode", &[&file, "'0600'"]), "'0600'");
    assert_eq!(shown("file.get_mode", &[&file]), "'0600'");
    assert_eq!(shown("file.set_mode", &[&file, "9x"]), "'Invalid Mode 9x'");
    assert_eq!(shown("file.lstat", &["/no/such"]), "{}");
    assert_eq!(shown("file.user_to_uid", &["root"]), "0");
    assert_eq!(shown("file.gid_to_group", &["0"]), "'root'");
    assert_eq!(shown("file.user_to_uid", &["no-such-user-here"]), "''");
}

#[test]
fn directories_and_links_come_and_go() {
    let dir = TempDir::new();
    let deep = dir.join("a/b/c");
    assert_eq!(shown("file.mkdir", &[&deep, "mode='0700'"]), "True");
    assert_eq!(shown("file.get_mode", &[&deep]), "'0700'");
    assert_eq!(shown("file.directory_exists", &[&deep]), "True");
    assert!(shown("file.makedirs", &[&format!("{deep}/x")]).contains("already exists"));
    let file = dir.file("a/f", "x");
    let link = dir.join("l");
    assert_eq!(shown("file.symlink", &[&file, &link]), "True");
    assert_eq!(shown("file.symlink", &[&file, &link]), "True", "it is right already");
    assert!(shown("file.symlink", &["/other", &link]).contains("Found existing symlink"));
    assert_eq!(shown("file.symlink", &["/other", &link, "force=True"]), "True");
    assert_eq!(shown("file.readlink", &[&link]), "'/other'");
    assert_eq!(shown("file.is_link", &[&link]), "True");
    assert_eq!(shown("file.remove", &[&link]), "True");
    assert_eq!(shown("file.remove", &[&link]), "False");
    assert!(shown("file.remove", &["relative"]).contains("must be absolute"));
    assert_eq!(shown("file.copy", &[&file, &dir.join("g")]), "True");
    assert!(shown("file.copy", &[&dir.join("a"), &dir.join("z")]).contains("recurse"));
    assert_eq!(shown("file.copy", &[&dir.join("a"), &dir.join("z"), "recurse=True"]), "True");
    assert_eq!(shown("file.file_exists", &[&dir.join("z/f")]), "True");
    let moved = ok("file.move", &[&dir.join("g"), &dir.join("h")]);
    assert_eq!(moved.get("result"), Some(&Value::Bool(true)));
    assert_eq!(shown("file.rename", &[&dir.join("h"), &dir.join("i")]), "True");
    assert_eq!(shown("file.touch", &[&dir.join("i"), "mtime=100"]), "True");
    assert_eq!(ok("file.stats", &[&dir.join("i")]).get("mtime"), Some(&Value::Float(100.0)));
    assert_eq!(shown("file.remove", &[&dir.join("z")]), "True");
    assert_eq!(
        shown("file.chown", &[&file, "no-such-user-here", "root"]),
        r"'User does not exist\n'"
    );
    assert_eq!(shown("file.readdir", &[&dir.join("a/b")]), "['.', '..', 'c']");
}

#[test]
fn find_lists_what_fits() {
    let dir = TempDir::new();
    dir.file("a/one.log", "x");
    dir.file("a/two.txt", "needle");
    dir.file("b/three.log", &"x".repeat(5000));
    symlink("/", dir.join("link")).unwrap();
    let root = dir.path().to_str().unwrap();
    assert_eq!(
        shown("file.find", &[root, "name=*.log"]),
        format!("['{root}/a/one.log', '{root}/b/three.log']")
    );
    assert_eq!(
        shown("file.find", &[root, "name=*.log", "size=+1k"]),
        format!("['{root}/b/three.log']")
    );
    assert_eq!(shown("file.find", &[root, "grep=needle"]), format!("['{root}/a/two.txt']"));
    assert_eq!(shown("file.find", &[root, "type=l"]), "[]", "links are followed");
    assert_eq!(shown("file.find", &[root, "type=f", "mtime=+1d"]), "[]");
    assert_eq!(shown("file.find", &[root, "maxdepth=0"]), format!("['{root}']"));
    assert_eq!(shown("file.find", &[root, "name=one*", "print=name,size"]), "[['one.log', 1]]");
    assert_eq!(shown("file.find", &[root, "type=x"]), r#"'error: invalid file type "x"'"#);
    ok("file.find", &[root, "name=*.log", "delete=f"]);
    assert_eq!(shown("file.find", &[root, "type=f"]), format!("['{root}/a/two.txt']"));
    assert_eq!(shown("file.path_exists_glob", &[&format!("{root}/a/*.txt")]), "True");
    assert_eq!(shown("file.path_exists_glob", &[&format!("{root}/c*")]), "False");
}

#[test]
fn paths_are_taken_apart() {
    assert_eq!(shown("file.basename", &["/a/b"]), "'b'");
    assert_eq!(shown("file.dirname", &["/a/b/"]), "'/a/b'");
    assert_eq!(shown("file.normpath", &["/a/./b/../../../c"]), "'/c'");
    assert_eq!(shown("file.normpath", &["''"]), "'.'");
    assert_eq!(shown("file.join", &["/", "usr", "local"]), "'/usr/local'");
}
