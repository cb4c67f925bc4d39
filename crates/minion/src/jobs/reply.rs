//! The load of a return (wire-protocol §6.3). Pure.

use std::time::SystemTime;

use saltern_base::time::stamp;
use saltern_modules::Outcome;
use saltern_value::{Map, Value};

/// What a job has come to.
pub(crate) enum Done {
    /// One function.
    One(Outcome),
    /// Several; `true` when they are to be told as lists in their order (`multifunc_ordered`).
    Many(Vec<(String, Outcome)>, bool),
}

/// The return of `job`, ready to be sealed.
pub(crate) fn load(id: &str, job: &Map, done: Done) -> Map {
    let field = |name: &str| job.get(name).cloned();
    let (value, retcode, success, out) = match done {
        Done::One(outcome) => {
            (outcome.value, Value::Int(outcome.retcode), Value::Bool(outcome.success), outcome.out)
        }
        Done::Many(list, ordered) => {
            let (values, retcodes, successes) = compound(list, ordered);
            (values, retcodes, successes, None)
        }
    };
    let mut load = Map::from([
        ("cmd", Value::from("_return")),
        ("id", Value::from(id)),
        ("success", success),
        ("return", value),
        ("retcode", retcode),
        ("jid", field("jid").unwrap_or_default()),
        ("fun", field("fun").unwrap_or_default()),
        ("fun_args", field("arg").unwrap_or_default()),
    ]);
    for name in ["user", "master_id", "metadata", "schedule"] {
        if let Some(value) = field(name) {
            load.insert(name, value);
        }
    }
    if let Some(out) = out {
        load.insert("out", out);
    }
    load.insert("_stamp", stamp(SystemTime::now()));
    load
}

fn compound(list: Vec<(String, Outcome)>, ordered: bool) -> (Value, Value, Value) {
    if ordered {
        let mut lists = (Vec::new(), Vec::new(), Vec::new());
        for (_, outcome) in list {
            lists.0.push(outcome.value);
            lists.1.push(Value::Int(outcome.retcode));
            lists.2.push(Value::Bool(outcome.success));
        }
        return (Value::List(lists.0), Value::List(lists.1), Value::List(lists.2));
    }
    let mut maps = (Map::new(), Map::new(), Map::new());
    for (fun, outcome) in list {
        maps.0.insert(fun.as_str(), outcome.value);
        maps.1.insert(fun.as_str(), outcome.retcode);
        maps.2.insert(fun.as_str(), outcome.success);
    }
    (Value::Map(maps.0), Value::Map(maps.1), Value::Map(maps.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(value: i64, retcode: i64) -> Outcome {
        Outcome { value: Value::Int(value), retcode, success: retcode == 0, ..Outcome::default() }
    }

    #[test]
    fn a_single_return_carries_what_the_master_asked_back() {
        let metadata = Map::from([("ticket", 7)]);
        let job = Map::from([
            ("fun", Value::from("test.arg")),
            ("arg", Value::List(vec![Value::Int(1)])),
            ("jid", Value::from("20260102030405000678")),
            ("tgt", Value::from("*")),
            ("user", Value::from("root")),
            ("metadata", Value::Map(metadata.clone())),
        ]);
        let load = load("web1", &job, Done::One(outcome(5, 3)));
        let keys: Vec<&str> = load.keys().filter_map(Value::as_str).collect();
        assert_eq!(
            keys,
            [
                "cmd", "id", "success", "return", "retcode", "jid", "fun", "fun_args", "user",
                "metadata", "_stamp"
            ]
        );
        assert_eq!(load.get("retcode"), Some(&Value::Int(3)));
        assert_eq!(load.get("success"), Some(&Value::Bool(false)));
        assert_eq!(load.get("metadata"), Some(&Value::Map(metadata)));
    }

    #[test]
    fn a_compound_return_is_told_by_function_or_in_order() {
        let job = Map::from([("jid", "20260102030405000678")]);
        let list = || vec![("a.b".to_owned(), outcome(1, 0)), ("c.d".to_owned(), outcome(2, 1))];
        let by_name = load("web1", &job, Done::Many(list(), false));
        assert_eq!(by_name.get("return").unwrap().get("c.d"), Some(&Value::Int(2)));
        assert_eq!(by_name.get("success").unwrap().get("c.d"), Some(&Value::Bool(false)));
        let in_order = load("web1", &job, Done::Many(list(), true));
        assert_eq!(in_order.get("retcode"), Some(&Value::List(vec![Value::Int(0), Value::Int(1)])));
    }
}
