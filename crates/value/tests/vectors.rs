//! The values of real Salt: what it packs, reads from YAML and prints as YAML and as `repr()`.
#![allow(clippy::unwrap_used, clippy::panic)]

use saltern_value::msgpack::{self, Encoding, Limits, Raw};
use saltern_value::{Value, json, pyrepr, yaml};

fn vectors(name: &str) -> Value {
    let path = format!("{}/../../tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    json::parse(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case.get(key).and_then(Value::as_str).unwrap_or_else(|| panic!("no {key} in {case:?}"))
}

fn list<'a>(of: &'a Value, key: &str) -> &'a [Value] {
    of.get(key).and_then(Value::as_list).unwrap()
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn unpack(hex: &str) -> Value {
    msgpack::decode(&unhex(hex), Raw::Typed, Limits::TRUSTED).unwrap()
}

#[test]
fn msgpack_round_trips_in_both_encodings() {
    let all = vectors("msgpack.json");
    // Dates have a type of their own in Salt; here they are read as the text Python prints for them.
    let dateless = |case: &&Value| !text(case, "name").starts_with("date");
    for case in list(&all, "cases").iter().filter(dateless) {
        for (key, encoding, raw) in
            [("wire_hex", Encoding::OldRaw, Raw::Network), ("bin_hex", Encoding::Bin, Raw::Typed)]
        {
            let bytes = unhex(text(case, key));
            let value = msgpack::decode(&bytes, raw, Limits::TRUSTED).unwrap();
            let name = text(case, "name");
            assert_eq!(msgpack::encode(&value, encoding), bytes, "{name} ({key}): {value:?}");
        }
    }
}

#[test]
fn yaml_is_read_as_salt_reads_it() {
    let all = vectors("yaml.json");
    let mut wrong = Vec::new();
    for case in list(&all, "load") {
        let source = text(case, "text");
        let got = yaml::load(source);
        let want = case.get("value").and_then(Value::as_str);
        match (&got, want) {
            (Ok(value), Some(want)) if pyrepr::repr(value) == want => {}
            (Err(e), None) => {
                let line = case.get("error_line").and_then(Value::as_int);
                if line.is_some_and(|line| line != e.line as i64) {
                    wrong.push(format!("{source:?}: error in line {line:?}, got {e}"));
                }
            }
            _ => wrong.push(format!("{source:?}: want {want:?}, got {got:?}")),
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn yaml_is_printed_as_salt_prints_it() {
    let all = vectors("yaml.json");
    let mut wrong = Vec::new();
    for case in list(&all, "dump") {
        let value = unpack(text(case, "value_hex"));
        let got = match case.get("indent").and_then(Value::as_int) {
            None => yaml::dump(&value),
            Some(indent) => yaml::dump_indented(&value, indent),
        };
        if got != text(case, "text") {
            wrong.push(format!("want {:?}\n got {got:?}", text(case, "text")));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn values_are_printed_as_python_prints_them() {
    let all = vectors("yaml.json");
    for case in list(&all, "dump") {
        assert_eq!(pyrepr::repr(&unpack(text(case, "value_hex"))), text(case, "repr"));
    }
}
