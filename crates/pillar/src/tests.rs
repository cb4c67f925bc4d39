//! Whole pillars from files in memory; the expectations were taken from real masters.

use std::collections::BTreeMap;
use std::sync::Arc;

use saltern_base::MinionId;
use saltern_value::{Map, Value, yaml};

use crate::*;

/// Files in memory: environment, then path.
#[derive(Default)]
struct Memory(BTreeMap<&'static str, BTreeMap<&'static str, &'static str>>);

impl Files for Memory {
    fn envs(&self) -> Vec<String> {
        self.0.keys().map(|env| (*env).to_owned()).collect()
    }

    fn read(&self, saltenv: &str, path: &str) -> Option<Sls> {
        let text = self.0.get(saltenv)?.get(path)?;
        let content = Renderer::JinjaYaml.render(text, &format!("/p/{path}"));
        Some(Sls { path: path.to_owned(), content: Arc::new(content) })
    }

    fn list(&self, saltenv: &str) -> Vec<String> {
        let files = self.0.get(saltenv).into_iter().flatten();
        files.map(|(path, _)| (*path).to_owned()).collect()
    }
}

fn memory(files: &[(&'static str, &'static str, &'static str)]) -> Memory {
    let mut memory = Memory::default();
    for (env, path, text) in files {
        memory.0.entry(env).or_default().insert(path, text);
    }
    memory
}

fn base(files: &[(&'static str, &'static str)]) -> Memory {
    memory(&files.iter().map(|(path, text)| ("base", *path, *text)).collect::<Vec<_>>())
}

fn compile_with(
    files: Memory,
    settings: Settings,
    pillarenv: Option<&str>,
    over: Option<&Map>,
) -> Map {
    let id = MinionId::parse("web1").unwrap();
    let grains = Map::from([("role", "db"), ("id", "someone-else")]);
    let request =
        Request { id: &id, grains: &grains, saltenv: None, pillarenv, pillar_override: over };
    Compiler::new(files, settings).compile(&request)
}

fn compile(files: Memory) -> Map {
    compile_with(files, Settings::default(), None, None)
}

fn yaml(text: &str) -> Map {
    yaml::load(text).unwrap().into_map().unwrap()
}

fn errors(pillar: &Map) -> Vec<&str> {
    let list = pillar.get("_errors").and_then(Value::as_list).unwrap_or_default();
    list.iter().map(|e| e.as_str().unwrap()).collect()
}

const TOP: &str = "
base:
  '*': [a, a.b, 'glob.*']
  'role:db': [{match: grain}, g]
  'role:nope': [{match: grain}, never]
  'id:someone-else': [{match: grain}, never]
  web1,web2: [{match: list}, l]
  'w*': [{order: -5}, first]
  'G@role:db and web?': [c]
  'web[12]': [{match: pcre}, p]
";

#[test]
fn targets_of_all_kinds_select_files_in_order() {
    let pillar = compile(base(&[
        ("top.sls", TOP),
        ("a/init.sls", "a: {x: 1, l: [1]}"),
        ("a/b/init.sls", "a: {y: 2, l: [2]}"),
        ("glob/one.sls", "g1: 1"),
        ("glob/two.sls", "g2: 1"),
        ("g.sls", "g: 1"),
        ("l.sls", "l: 1"),
        ("c.sls", "c: 1"),
        ("p.sls", "p: 1"),
        ("never.sls", "never: 1"),
        ("first.sls", "{first: 1, g1: 0}"),
    ]));
    let expected =
        yaml("{first: 1, g1: 1, a: {x: 1, l: [2], y: 2}, g2: 1, g: 1, l: 1, c: 1, p: 1}");
    assert_eq!(pillar, expected);
    assert_eq!(pillar.keys().next(), Some(&Value::from("first")));
}

const INCLUDES: &[(&str, &str)] = &[
    ("top.sls", "base: {'*': [inc.one]}"),
    (
        "inc/one.sls",
        "include:\n  - .two\n  - a.b: {key: 'deep:er', defaults: {q: 1}}\n  - nothere\none: 1\n\
         both: one\n",
    ),
    ("inc/two.sls", "{both: two, two: 2, include: [.one, .three]}"),
    ("inc/three.sls", "three: 3"),
    ("a/b/init.sls", "{y: 2, include: [.c]}"),
    ("a/b/c.sls", "c: 3"),
];

#[test]
fn includes_are_merged_under_the_file_that_includes() {
    let pillar = compile(base(INCLUDES));
    let missing =
        "Specified SLS 'nothere' in environment 'base' is not available on the salt master";
    assert_eq!(errors(&pillar), [missing]);
    let mut plain = pillar.clone();
    plain.remove("_errors");
    assert_eq!(plain, yaml("{one: 1, both: one, three: 3, two: 2, deep: {er: {c: 3, y: 2}}}"));
    let files = base(&[
        ("top.sls", "base: {'*': [a]}"),
        ("a.sls", "{include: [b], both: a}"),
        ("b.sls", "both: b"),
    ]);
    let settings = Settings { includes_override_sls: true, ..Settings::default() };
    let pillar = compile_with(files, settings, None, None);
    assert_eq!(pillar.get_str("both"), Some("b"));
}

#[test]
fn what_cannot_be_had_is_told_in_salts_words() {
    let files = || {
        memory(&[
            (
                "base",
                "top.sls",
                "{base: {'*': [missing, bad, jinja, lst, inc, empty],
                  'web?': [{ignore_missing: true}, maybe]}, stage: {'*': [s]}}",
            ),
            ("base", "bad.sls", "password: : hunter2"),
            ("base", "jinja.sls", "a: 1\nb: {{ x }}"),
            ("base", "lst.sls", "[1, 2]"),
            ("base", "inc.sls", "{include: x, i: 1}"),
            ("base", "empty.sls", ""),
            ("dev", "top.sls", "dev: {'*': [missdev]}"),
        ])
    };
    let pillar = compile(files());
    let told = errors(&pillar);
    assert_eq!(
        told[..2],
        [
            "Specified SLS 'missing' in environment 'base' is not available on the salt master",
            "Rendering SLS 'bad' failed. Please see master log for details.",
        ]
    );
    assert!(
        told[2].starts_with("Rendering SLS 'jinja' failed, render error:\n/p/jinja.sls line 2")
    );
    assert_eq!(
        told[3..],
        [
            "SLS 'lst' does not render to a dictionary",
            "Include Declaration in SLS 'inc' is not formed as a list",
            "No matching pillar environment for environment 'stage' found",
            "Specified SLS 'missdev' in environment 'dev' is not available on the salt master",
        ]
    );
    assert!(!told.iter().any(|e| e.contains("hunter2")));
    assert_eq!(pillar.get("i"), Some(&Value::Int(1)), "the rest is there");
    let settings = Settings { safe_render_error: false, ..Settings::default() };
    let pillar = compile_with(files(), settings, None, None);
    assert!(errors(&pillar)[1].starts_with("Rendering SLS 'bad' failed, render error:\n"));
}

#[test]
fn strategies_merge_as_salts_do() {
    let merged = |merge: &str, merge_lists: bool| {
        let files = base(&[
            ("top.sls", "base: {'*': [a, b]}"),
            ("a.sls", "a: {x: 1, l: [1]}"),
            ("b.sls", "a: {y: 2, l: [1, 2]}"),
        ]);
        let merge = MergeStrategy::parse(merge).unwrap();
        compile_with(files, Settings { merge, merge_lists, ..Settings::default() }, None, None)
    };
    assert_eq!(merged("smart", false), yaml("a: {x: 1, l: [1, 2], y: 2}"));
    assert_eq!(merged("recurse", true), yaml("a: {x: 1, l: [1, 2], y: 2}"));
    for shallow in ["overwrite", "aggregate"] {
        assert_eq!(merged(shallow, false), yaml("a: {y: 2, l: [1, 2]}"));
    }
    assert_eq!(MergeStrategy::parse("list"), None);
}

#[test]
fn environments() {
    let files = || {
        memory(&[
            ("base", "top.sls", "{base: {'*': [b]}, dev: {'*': [d]}}"),
            ("base", "b.sls", "b: 1"),
            ("dev", "d.sls", "d: 1"),
            ("prod", "top.sls", "prod: {'*': [p]}"),
            ("prod", "p.sls", "p: 1"),
            ("__env__", "x.sls", "x: 1"),
        ])
    };
    let plain = |settings, env| compile_with(files(), settings, env, None);
    assert_eq!(plain(Settings::default(), None), yaml("{b: 1, d: 1, p: 1}"));
    assert_eq!(plain(Settings::default(), Some("prod")), yaml("p: 1"));
    assert_eq!(plain(Settings::default(), Some("nope")), Map::new());
    assert_eq!(plain(Settings::default(), Some("../..")), Map::new());
    let none = Settings { merge: MergeStrategy::None, ..Settings::default() };
    assert_eq!(plain(none, None), yaml("{b: 1, d: 1}"));
    let own = Settings { pillarenv: Some("prod".to_owned()), ..Settings::default() };
    assert_eq!(plain(own, None), yaml("p: 1"));
    let from = Settings {
        saltenv: Some("prod".to_owned()),
        pillarenv_from_saltenv: true,
        ..Settings::default()
    };
    assert_eq!(plain(from, None), yaml("p: 1"));
}

#[test]
fn a_malformed_top_file_is_an_error_and_gives_nothing() {
    for top in ["base: {'*': a}", "base: {'*': null}", "base: [a]", "[base]", "base: null"] {
        let pillar = compile(base(&[("a.sls", "a: 1"), ("top.sls", top)]));
        assert_eq!(pillar.len(), 1, "{top}");
        assert_eq!(errors(&pillar)[0], "Error encountered while rendering pillar top file.");
    }
    let pillar = compile(base(&[("top.sls", "{% if x %}")]));
    assert!(errors(&pillar)[0].starts_with("Rendering Primary Top file failed, render error:\n"));
    assert_eq!(compile(base(&[])), Map::new());
}

#[test]
fn top_files_include_others() {
    let pillar = compile(base(&[
        ("top.sls", "{include: [tops.more, tops.absent], base: {'*': [a]}}"),
        ("tops/more.sls", "{include: [tops.more], base: {'w*': [b]}}"),
        ("a.sls", "a: 1"),
        ("b.sls", "b: 1"),
    ]));
    assert_eq!(pillar, yaml("{a: 1, b: 1}"));
}

#[test]
fn the_override_wins_and_options_are_shown_when_wanted() {
    let files = base(&[("top.sls", "base: {'*': [a]}"), ("a.sls", "a: {x: 1, y: 1}")]);
    let settings = Settings {
        master_opts: Some(Map::from([("id", "m")])),
        ext_pillar: vec![Value::from("x")],
        ..Settings::default()
    };
    let pillar = compile_with(files, settings, None, Some(&yaml("a: {x: 2}")));
    assert_eq!(pillar, yaml("{a: {x: 2, y: 1}, master: {id: m}}"));
}

#[test]
fn nodegroups_and_unknown_matchers() {
    let files = base(&[
        ("top.sls", "base: {grp: [{match: nodegroup}, a], x: [{match: magic}, b]}"),
        ("a.sls", "a: 1"),
        ("b.sls", "b: 1"),
    ]);
    let nodegroups = Map::from([("grp", "L@web1 or db")]);
    let pillar = compile_with(files, Settings { nodegroups, ..Settings::default() }, None, None);
    assert_eq!(pillar.get("a"), Some(&Value::Int(1)));
    assert!(errors(&pillar)[0].contains("magic"));
    assert!(!pillar.contains_key("b"));
}

#[test]
fn files_on_disk_are_read_again_when_they_change() {
    let dir = std::env::temp_dir().join(format!("saltern-pillar-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("top.sls"), "base: {'*': [a, ../secret, /etc/passwd]}").unwrap();
    std::fs::write(dir.join("a.sls"), "a: 1").unwrap();
    let roots = vec![("base".to_owned(), vec![dir.clone()])];
    let server =
        saltern_fileserver::FileServer::new(saltern_fileserver::Settings::new(roots.clone()));
    let files = DiskFiles::new(&roots, server.unwrap(), Renderer::JinjaYaml);
    let compiler = Compiler::new(files, Settings::default());
    let id = MinionId::parse("web1").unwrap();
    let grains = Map::new();
    let request =
        Request { id: &id, grains: &grains, saltenv: None, pillarenv: None, pillar_override: None };
    let pillar = compiler.compile(&request);
    assert_eq!(pillar.get("a"), Some(&Value::Int(1)));
    assert_eq!(errors(&pillar).len(), 2, "{pillar:?}");
    std::fs::write(dir.join("a.sls"), "a: two").unwrap();
    assert_eq!(compiler.compile(&request).get_str("a"), Some("two"));
    std::fs::remove_dir_all(dir).unwrap();
}
