//! Whole configurations, from files to typed options, as a user writes them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use saltern_config::{ConfigError, Support, load_master, load_minion};
use saltern_value::Value;

/// A directory of its own that goes away with the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("saltern-conf-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    fn with(self, name: &str, text: &str) -> Self {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn json(value: Option<&Value>) -> String {
    value.map(|v| saltern_value::json::to_string(v, None)).unwrap_or_default()
}

#[test]
fn files_are_merged_in_salts_order() {
    let dir = Dir::new("merge")
        .with("minion", "id: x\na: [1]\nm: {x: 1}\ninclude: inc/*.conf\n")
        .with("minion.d/a.conf", "a: [2]\nm: {y: 2}\ninclude: sub.conf\nz: 1\n")
        .with("minion.d/b.conf", "a: [3]\nm: {z: 3}\nz: 2\n")
        .with("minion.d/sub.conf", "z: 5\nq: 1\nm: {w: 1}\n")
        .with("minion.d/.hidden.conf", "z: 6\n")
        .with("inc/i.conf", "\na: [9]\nq: 7\n");
    let loaded = load_minion(dir.path()).unwrap();
    assert_eq!(json(loaded.raw.get("a")), "[9]");
    assert_eq!(json(loaded.raw.get("m")), r#"{"w": 1, "z": 3}"#);
    assert_eq!(json(loaded.raw.get("z")), "5");
    assert_eq!(json(loaded.raw.get("q")), "7");
    let place = &loaded.sources["a"];
    assert_eq!((place.file.clone(), place.line), (dir.path().join("inc/i.conf"), 2));
    assert_eq!(loaded.files.len(), 6);
}

#[test]
fn the_defaults_are_salts() {
    let dir = Dir::new("defaults").with("minion", "id: x\n");
    let minion = load_minion(dir.path()).unwrap();
    assert!(minion.warnings.is_empty(), "{:?}", minion.warnings);
    assert_eq!(minion.opts.master.items, ["salt"]);
    assert_eq!((minion.opts.master_port, minion.opts.publish_port), (4506, None));
    assert_eq!(minion.opts.file_buffer_size, 262_144);
    assert_eq!(minion.opts.cachedir, Path::new("/var/cache/salt/minion"));
    assert_eq!(json(minion.raw.get("gitfs_base")), "\"master\"");
    assert!(!minion.raw.contains_key("publish_port"));
    let master = load_master(&dir.path().join("absent")).unwrap();
    assert_eq!((master.opts.publish_port, master.opts.ret_port), (4505, 4506));
    assert!(master.opts.id.ends_with("_master"));
    assert_eq!(master.opts.file_roots[0].1[0], Path::new("/srv/salt"));
    assert_eq!(master.opts.autosign_file, None);
    assert_eq!(master.opts.token_dir, Path::new("/var/cache/salt/master/tokens"));
}

#[test]
fn the_recipe_is_understood_without_a_complaint() {
    let dir = Dir::new("recipe")
        .with("master", "")
        .with("master.d/master_sign_pubkey.conf", "master_sign_pubkey: True\n");
    let master = load_master(dir.path()).unwrap();
    assert!(master.opts.master_sign_pubkey && master.warnings.is_empty());
    let dir = Dir::new("recipe-minion").with("minion", "id: web\n").with(
        "minion.d/masters.conf",
        "master: [m1, m2]\nmaster_type: failover\nverify_master_pubkey_sign: yes\n\
         master_alive_interval: 30\nrandom_master: True\nretry_dns: 0\nmaster_failback: False\n\
         master_failback_interval: 0\nping_interval: 10\nrequest_channel_timeout: 60\n",
    );
    let minion = load_minion(dir.path()).unwrap();
    assert!(minion.warnings.is_empty(), "{:?}", minion.warnings);
    assert!(minion.opts.verify_master_pubkey_sign && minion.opts.master.is_list);
    assert_eq!(minion.opts.master_alive_interval, 30);
}

#[test]
fn paths_go_below_root_dir() {
    let dir = Dir::new("root");
    let root = dir.path().join("root").to_string_lossy().into_owned();
    let text = format!("root_dir: {root}\npki_dir: /pki\nfile_roots: {{base: [/srv/x], 1: []}}\n");
    let dir = dir.with("master", &text);
    let master = load_master(dir.path()).unwrap();
    let below = |rest: &str| PathBuf::from(format!("{root}/{rest}"));
    assert_eq!(master.opts.pki_dir, below("pki"));
    assert_eq!(master.opts.cachedir, below("var/cache/salt/master"));
    assert_eq!(master.opts.log_file, below("var/log/salt/master").to_string_lossy());
    assert_eq!(master.opts.token_dir, below("var/cache/salt/master/tokens"));
    assert_eq!(master.opts.file_roots[0].1, [PathBuf::from("/srv/x")]);
    assert_eq!(master.opts.file_roots[1], ("1".to_owned(), vec![]));
}

#[test]
fn an_id_that_was_found_out_is_kept() {
    let dir = Dir::new("id");
    let root = dir.path().join("root");
    let text = format!("root_dir: {}\n", root.display());
    let dir = dir.with("minion", &text);
    let first = load_minion(dir.path()).unwrap();
    assert_eq!(fs::read_to_string(root.join("etc/salt/minion_id")).unwrap(), first.opts.id);
    fs::write(root.join("etc/salt/minion_id"), "kept\n").unwrap();
    let dir = dir.with("minion.d/domain.conf", "append_domain: example.org\n");
    assert_eq!(load_minion(dir.path()).unwrap().opts.id, "kept.example.org");
    let dir = dir.with("minion.d/id.conf", "id: 12\n");
    assert_eq!(load_minion(dir.path()).unwrap().opts.id, "12.example.org");
}

#[test]
fn wrong_types_name_file_line_option_and_what_is_expected() {
    let wrong = [
        ("timeout: abc", "timeout", "a whole number", "'abc' (str)"),
        ("auto_accept: 1", "auto_accept", "True or False", "1 (int)"),
        ("file_roots: [/srv]", "file_roots", "a mapping", "list"),
        ("publish_port: 70000", "publish_port", "a port number", "70000"),
        ("worker_threads: {}", "worker_threads", "a whole number", "dict"),
        ("environment: [dev]", "saltenv", "text or nothing", "list"),
        ("gitfs_remotes: x", "gitfs_remotes", "a list", "'x' (str)"),
    ];
    for (text, option, expected, found) in wrong {
        let dir = Dir::new("wrong").with("master.d/x.conf", &format!("# note\n{text}\n"));
        let error = load_master(dir.path()).unwrap_err();
        let message = error.to_string();
        for part in [&*dir.path().join("master.d/x.conf").to_string_lossy(), "line 2"] {
            assert!(message.contains(part), "{message}");
        }
        for part in [option, expected, found] {
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(error.exit_code(), 1);
    }
}

#[test]
fn files_that_are_no_configuration() {
    for (text, part) in [("foo: [1\n", "line"), ("- a\n", "a list"), ("text\n", "one value")] {
        let dir = Dir::new("bad").with("minion", text);
        let error = load_minion(dir.path()).unwrap_err();
        assert!(matches!(error, ConfigError::Malformed { .. }));
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(error.exit_code(), 1);
    }
    let dir = Dir::new("loop").with("minion", "id: x\ninclude: minion\n");
    let error = load_minion(dir.path()).unwrap_err().to_string();
    assert!(error.contains("include each other"), "{error}");
}

#[test]
fn refused_values_name_the_reason() {
    let dir = Dir::new("refused").with("minion", "id: x\n\ntransport: tcp\n");
    let error = load_minion(dir.path()).unwrap_err();
    assert_eq!(error.exit_code(), 64);
    assert!(error.to_string().contains("line 3: option 'transport': 'tcp'"), "{error}");
    let dir = Dir::new("refused-id").with("minion", "id: ../x\n");
    assert!(load_minion(dir.path()).unwrap_err().to_string().contains("path separator"));
}

#[test]
fn odd_options_are_warned_of_once() {
    let dir = Dir::new("odd").with(
        "minion",
        "id: x\nmaster_alive_intervall: 5\nmyapp: {a: 1}\nredis.host: db\nauto_sign: 1\n\
         environment: dev\nmaster_shuffle: True\nret_port: 4506\nbeacons: {load: []}\n\
         gitfs_base: main\ngitfs_root: ''\npillar_opts:\nengines: []\nkey_logfile: /k\n",
    );
    let loaded = load_minion(dir.path()).unwrap();
    let about = |name: &str| {
        let quoted = format!("'{name}'");
        loaded.warnings.iter().filter(|w| w.contains(&quoted)).cloned().collect::<Vec<_>>()
    };
    for (name, part) in [
        ("master_alive_intervall", "is 'master_alive_interval' meant?"),
        ("myapp", "unknown"),
        ("environment", "now named 'saltenv'"),
        ("master_shuffle", "now named 'random_master'"),
        ("ret_port", "belongs to the master"),
        ("beacons", "no effect yet"),
        ("gitfs_base", "no effect yet"),
        ("pillar_opts", "no value"),
    ] {
        let found = about(name);
        assert_eq!(found.len(), 1, "{name}: {:?}", loaded.warnings);
        assert!(found[0].contains(part), "{found:?}");
    }
    for silent in ["redis.host", "gitfs_root", "engines", "id"] {
        assert!(about(silent).is_empty(), "{silent}: {:?}", loaded.warnings);
    }
    assert_eq!(loaded.opts.saltenv.as_deref(), Some("dev"));
    assert!(loaded.opts.random_master);
}

#[test]
fn explain_tells_who_said_so() {
    let dir = Dir::new("explain").with("master", "id: m\ntimeout: 7\nsalt_x: 1\n");
    let loaded = load_master(dir.path()).unwrap();
    let timeout = loaded.explain("timeout").unwrap();
    assert_eq!(timeout.value, Value::Int(7));
    assert_eq!(timeout.default, Some(Value::Int(5)));
    assert_eq!(timeout.place.unwrap().line, 2);
    assert!(timeout.doc.starts_with("Seconds a command waits"));
    let gitfs = loaded.explain("gitfs_base").unwrap();
    assert_eq!((gitfs.support, gitfs.place), (Support::Later, None));
    assert_eq!(loaded.explain("environment").unwrap().name, "saltenv");
    assert_eq!(loaded.explain("salt_x").unwrap().value, Value::Int(1));
    assert!(loaded.explain("tiemout").is_none());
    assert_eq!(loaded.nearest("tiemout"), Some("timeout"));
}

#[test]
fn secrets_are_not_printed() {
    let dir = Dir::new("secret").with("master", "id: m\nkey_pass: hunter2\n");
    let loaded = load_master(dir.path()).unwrap();
    assert!(!format!("{:?}", loaded.opts).contains("hunter2"));
    let shown = loaded.explain("key_pass").unwrap().value;
    assert_eq!(shown, Value::from("<secret>"));
}

#[test]
fn small_forms_of_salt() {
    let dir = Dir::new("forms").with(
        "master",
        "id: m\nkeep_jobs: 48\nhash_type: SHA256\nssl: False\nfileserver_backend: [git]\n\
         nodegroups:\n  - g1: 'web*'\n  - g2: 'db*'\ntimeout: '9'\nlog_level: DEBUG\n",
    );
    let master = load_master(dir.path()).unwrap();
    assert_eq!(master.opts.keep_jobs_seconds, 48 * 3600);
    assert_eq!(master.opts.hash_type, "sha256");
    assert_eq!(master.opts.fileserver_backend, ["gitfs"]);
    assert_eq!(master.opts.nodegroups.get_str("g2"), Some("db*"));
    assert_eq!((master.opts.timeout, master.opts.log_level.as_str()), (9, "debug"));
}
