//! What the outputters of real Salt print, byte for byte.
#![allow(clippy::unwrap_used, clippy::panic)]

use saltern_output::{Indent, Options, UnknownOutputter, is_known, render};
use saltern_value::msgpack::{self, Limits, Raw};
use saltern_value::{Value, json};

fn unpack(hex: &str) -> Value {
    let bytes: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
        .collect();
    msgpack::decode(&bytes, Raw::Typed, Limits::TRUSTED).unwrap()
}

fn options(of: &Value) -> Options {
    let mut options = Options::default();
    for (key, value) in of.as_map().unwrap() {
        let flag = value.as_bool();
        match key.as_str().unwrap() {
            "color" => options.color = flag.unwrap(),
            "strip_colors" => options.strip_colors = flag.unwrap(),
            "_retcode" => options.retcode = value.as_int().unwrap(),
            "state_verbose" => options.state_verbose = flag.unwrap(),
            "state_output" => options.state_output = value.as_str().unwrap().to_owned(),
            "state_output_diff" => options.state_output_diff = flag.unwrap(),
            "state_output_pct" => options.state_output_pct = flag.unwrap(),
            "state_output_profile" => options.state_output_profile = flag.unwrap(),
            "state_tabular" => options.state_tabular = flag.unwrap(),
            "output_indent" => {
                options.indent = Some(match value {
                    Value::Nil => Indent::Line,
                    Value::Int(n) => Indent::Spaces(*n),
                    _ => Indent::Pretty,
                });
            }
            other => panic!("unknown option {other}"),
        }
    }
    options
}

#[test]
fn every_outputter_prints_what_salt_prints() {
    let path = format!("{}/../../tests/vectors/output.json", env!("CARGO_MANIFEST_DIR"));
    let all = json::parse(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut wrong = Vec::new();
    let list = |of: &Value, key: &str| of.get(key).unwrap().as_list().unwrap().to_vec();
    for case in list(&all, "cases") {
        let data = unpack(case.get("data_hex").unwrap().as_str().unwrap());
        for print in list(&case, "prints") {
            let text = |key: &str| print.get(key).unwrap().as_str().unwrap();
            let (out, want) = (text("out"), text("text"));
            let got = render(out, &data, &options(print.get("options").unwrap())).unwrap();
            if got != want {
                wrong.push(format!("{:?} {data:?}\n got {got:?}", print));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn unknown_outputters_are_named() {
    let error = render("nosuch", &Value::Nil, &Options::default()).unwrap_err();
    assert_eq!(error, UnknownOutputter("nosuch".to_owned()));
    assert!(!is_known("nosuch"));
    assert!(is_known("text"));
}
