//! What the matchers of real Salt minions answer, and what only a master asks for.
#![allow(clippy::unwrap_used, clippy::panic)]

use saltern_target::{Expression, Options, Subject, TargetError, expand_nodegroup, expr_match};
use saltern_value::{Map, Value, json};

struct Minion {
    id: String,
    grains: Map,
    pillar: Map,
    nodegroups: Map,
}

impl Minion {
    fn of(all: &Value) -> Self {
        let map = |key: &str| all.get(key).unwrap().as_map().unwrap().clone();
        Minion {
            id: all.get("id").unwrap().as_str().unwrap().to_owned(),
            grains: map("grains"),
            pillar: map("pillar"),
            nodegroups: map("nodegroups"),
        }
    }

    fn subject(&self) -> Subject<'_> {
        Subject { id: &self.id, grains: Some(&self.grains), pillar: Some(&self.pillar) }
    }
}

fn vectors(name: &str) -> Value {
    let path = format!("{}/../../tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    json::parse(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn check(file: &str) {
    let all = vectors(file);
    let minion = Minion::of(&all);
    let mut wrong = Vec::new();
    for case in all.get("cases").unwrap().as_list().unwrap() {
        let tgt_type = case.get("tgt_type").unwrap().as_str().unwrap();
        let tgt = case.get("tgt").unwrap();
        let delimiter = case.get("delimiter").map_or(":", |d| d.as_str().unwrap());
        let options = Options { delimiter, nodegroups: Some(&minion.nodegroups) };
        let got = match Expression::parse(tgt_type, tgt, &options) {
            Ok(e) => Value::Bool(e.matches(&minion.subject())),
            Err(TargetError::UnknownType(_)) => Value::from("<no matcher>"),
            Err(TargetError::Invalid(_)) => Value::Bool(false),
        };
        if Some(&got) != case.get("result") {
            wrong.push(format!("{case:?}: got {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn minions_of_both_versions_agree() {
    check("targets.json");
}

#[test]
fn the_matchers_of_real_salt_agree() {
    check("targets_more.json");
}

fn compound(text: &str) -> Expression {
    Expression::parse("compound", &Value::from(text), &Options::default()).unwrap()
}

#[test]
fn greedy_counts_unknown_data_as_matching() {
    let unknown = Subject { id: "web1", grains: None, pillar: None };
    let empty = Map::new();
    let known = Subject { id: "web1", grains: Some(&empty), pillar: Some(&empty) };
    for (text, greedy) in [
        ("G@os:Debian", true),
        ("not G@os:Debian", false),
        ("I@a:b and web*", true),
        ("I@a:b and db*", false),
        ("S@10.0.0.0/8 or db*", true),
        ("S@nonsense or db*", false),
    ] {
        assert_eq!(compound(text).matches_greedy(&unknown), greedy, "{text}");
        assert!(!compound("G@os:Debian").matches_greedy(&known));
    }
    assert!(!compound("G@os:Debian").matches(&unknown));
    assert!(compound("not G@os:Debian").matches(&unknown));
}

#[test]
fn lists_tell_their_ids() {
    let list = Expression::parse("list", &Value::from("b,a,,b"), &Options::default()).unwrap();
    assert_eq!(list.listed_ids(), ["b", "a"]);
    assert_eq!(compound("L@x,y and not L@z").listed_ids(), ["x", "y"]);
}

#[test]
fn node_groups_unfold_as_in_salt() {
    let groups = Map::from([
        ("ids", Value::from("a b c")),
        ("regex", Value::from("web[0-9] db")),
        ("typed", Value::from("G@os:Debian and web*")),
        ("outer", Value::from("N@typed or N@ids")),
        ("loop", Value::from("N@loop")),
        ("half", Value::from("N@nowhere or a*")),
    ]);
    let words = |name: &str| expand_nodegroup(name, &groups).map(|w| w.join(" "));
    assert_eq!(words("ids").unwrap(), "L@a,b,c");
    assert_eq!(words("regex").unwrap(), "E@web[0-9],db");
    assert_eq!(words("typed").unwrap(), "G@os:Debian and web*");
    assert_eq!(words("outer").unwrap(), "( ( G@os:Debian and web* ) or L@a,b,c )");
    assert_eq!(words("half").unwrap(), "( or a* )");
    assert!(words("loop").is_err());
    assert!(words("nowhere").is_err());
    let e = Expression::nodegroup("outer", &groups).unwrap();
    assert!(e.matches(&Subject { id: "b", grains: None, pillar: None }));
    assert!(Expression::nodegroup("half", &groups).is_err());
}

#[test]
fn hostile_targets_end() {
    let mut deep = Value::from("x");
    for _ in 0..60 {
        deep = Value::from(Map::from([("a", deep.clone()), ("b", deep.clone())].map(|(k, v)| {
            // Two members a level, one of them shallow: the tree stays small, its paths many.
            if k == "b" { (k, Value::from("y")) } else { (k, v) }
        })));
    }
    let grains = deep.as_map().unwrap().clone();
    let subject = Subject { id: "m", grains: Some(&grains), pillar: None };
    let stars = Value::from(format!("{}nothing", "*:".repeat(60)));
    let e = Expression::parse("grain", &stars, &Options::default()).unwrap();
    assert!(!e.matches(&subject));
    let open = "( ".repeat(10_000);
    assert!(Expression::parse("compound", &Value::from(open), &Options::default()).is_err());
    let groups: Map = (0..40)
        .map(|i| (format!("g{i}"), Value::from(format!("N@g{} or N@g{}", i + 1, i + 1))))
        .collect();
    assert!(expand_nodegroup("g0", &groups).is_err());
}

#[test]
fn white_lists_take_globs_and_whole_regular_expressions() {
    for (text, expr, want) in [
        ("test.ping", "test.*", true),
        ("test.ping", "test\\..*", true),
        ("test.ping", "ping", false),
        ("test.ping", "test", false),
        ("web1", "web[0-9]", true),
        ("a", "(", false),
    ] {
        assert_eq!(expr_match(text, expr), want, "{text} {expr}");
    }
}

#[test]
fn ten_thousand_ids_are_one_compilation() {
    let e = compound("( web* or E@db-[0-9]+$ ) and not L@web-17,web-18");
    let count = (0..10_000)
        .map(|i| format!("{}-{i}", if i % 2 == 0 { "web" } else { "db" }))
        .filter(|id| e.matches(&Subject { id, grains: None, pillar: None }))
        .count();
    assert_eq!(count, 9_999);
}
