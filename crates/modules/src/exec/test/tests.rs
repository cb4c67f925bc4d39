//! What callers see of calls, failures and return codes.

use std::sync::Arc;

use saltern_base::Jid;

use super::*;
use crate::call::Call;
use crate::testing::{TestHost, ok, run, run_call, run_on};

#[test]
fn the_minion_answers() {
    assert_eq!(ok("test.ping", &[]), Value::Bool(true));
    assert_eq!(ok("test.echo", &["hello"]), Value::from("hello"));
    assert_eq!(ok("test.false", &[]), Value::Bool(false));
}

#[test]
fn arguments_are_told_as_they_came() {
    let value = ok("test.arg", &["1", "two", "3.5", "txt=hello", "wow={a: 1}"]);
    assert_eq!(
        pyrepr::repr(&value),
        "{'args': [1, 'two', 3.5], 'kwargs': {'txt': 'hello', 'wow': {'a': 1}}}"
    );
    let value = ok("test.arg_repr", &["1", "two=2"]);
    assert_eq!(value.get("args"), Some(&Value::from("(1,)")));
    assert_eq!(value.get("kwargs"), Some(&Value::from("{'two': 2}")));
    let value = ok("test.arg_type", &["1", "x"]);
    assert_eq!(
        pyrepr::repr(&value),
        r#"{'args': ["<class 'int'>", "<class 'str'>"], 'kwargs': {}}"#
    );
}

#[test]
fn the_publication_is_seen_by_those_who_take_keywords() {
    let mut call = Call::new("test.kwarg", Vec::new(), Map::from([("a", 1)]));
    call.publication = Map::from([("user", "root")]);
    call.jid = Jid::parse("20260102030405000678").ok();
    let value = run_call(&Arc::new(TestHost::new()), &call).value;
    assert_eq!(value.get("__pub_user"), Some(&Value::from("root")));
    assert!(value.get("__pub_jid").is_some());
    call.fun = "test.arg_clean".to_owned();
    let value = run_call(&Arc::new(TestHost::new()), &call).value;
    assert_eq!(value.get("kwargs").unwrap().as_map().unwrap().len(), 1);
}

#[test]
fn failures_have_the_words_of_salt() {
    let text = |fun: &str, args: &[&str]| to_text(&run(fun, args).value);
    assert!(
        text("test.exception", &["Oh noes"])
            .starts_with("The minion function caused an exception: Exception: Oh noes")
    );
    assert_eq!(
        text("test.raise_exception", &["salt.exceptions.CommandExecutionError", "bad"]),
        "ERROR: bad"
    );
    assert_eq!(
        text("test.raise_exception", &["salt.exceptions.SaltInvocationError", "bad"]),
        "ERROR executing 'test.raise_exception': bad"
    );
    assert!(text("test.ping", &["1"]).starts_with("Passed invalid arguments to test.ping: ping() takes 0 positional arguments but 1 was given\n"));
    assert!(text("test.echo", &[]).starts_with("Passed invalid arguments to test.echo: echo() missing 1 required positional argument: 'text'\n"));
    assert_eq!(
        text("test.ping", &["a=1"]),
        "ERROR executing 'test.ping': The following keyword arguments are not valid: a=1"
    );
    assert_eq!(text("no.such", &[]), "'no.such' is not available.");
    let near = run("test.pin", &[]);
    assert_eq!(near.value.get("test.pin"), Some(&Value::from("'test.pin' is not available.")));
    assert!(near.value.get("test.ping").is_some());
    assert_eq!((near.retcode, near.success), (1, false));
}

#[test]
fn return_codes_are_passed_on() {
    assert_eq!(run("test.retcode", &["7"]).retcode, 7);
    assert_eq!(run("test.cross_test", &["test.retcode", "[7]"]).retcode, 7);
    assert_eq!(run("test.outputter", &["{result: False}"]).retcode, 1);
}

#[test]
fn numbers() {
    assert_eq!(ok("test.fib", &["50"]).as_list().unwrap()[0], Value::Int(12_586_269_025));
    assert_eq!(ok("test.fib", &["0"]).as_list().unwrap()[0], Value::Int(0));
    let steps = ok("test.collatz", &["3"]);
    assert_eq!(steps.as_list().unwrap()[0].as_list().unwrap().len(), 7);
    assert_eq!(ok("test.random_hash", &["hash_type=md5"]).as_str().unwrap().len(), 32);
}

#[test]
fn other_functions_can_be_tried() {
    assert_eq!(ok("test.try", &["module=test.exception"]), Value::Nil);
    let text = ok("test.try", &["module=test.exception", "return_try_exception=True"]);
    assert_eq!(text, Value::from("Exception: Test Exception"));
    let mut host = TestHost::new();
    host.grains.insert("saltversion", "3006.24");
    let host = Arc::new(host);
    assert_eq!(run_on(&host, "test.version", &[]).value, Value::from("3006.24"));
    assert!(
        run_on(&host, "test.versions_report", &[])
            .value
            .as_str()
            .unwrap()
            .contains("Salt: 3006.24")
    );
}
