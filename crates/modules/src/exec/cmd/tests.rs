//! Commands as users run them.

use std::sync::Arc;

use saltern_base::Jid;
use saltern_value::{Map, Value};

use crate::call::{Call, Failure, Outcome};
use crate::error::Error;
use crate::testing::{TestHost, ok, run, run_call, run_on};

/// A call as a published job makes it, where the shell is the default.
fn published(fun: &str, args: &[&str]) -> Outcome {
    let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
    let (positional, keywords) = crate::args::parse_args(&args, &[]);
    let mut call = Call::new(fun, positional, keywords);
    call.jid = Jid::parse("20260102030405000678").ok();
    run_call(&Arc::new(TestHost::new()), &call)
}

fn text(outcome: &Outcome) -> &str {
    outcome.value.as_str().unwrap()
}

#[test]
fn users_get_a_shell_and_modules_do_not() {
    assert_eq!(text(&published("cmd.run", &["echo a | tr a b"])), "b");
    assert_eq!(text(&run("cmd.run", &["echo a | tr a b"])), "a | tr a b");
    assert_eq!(text(&run("cmd.shell", &["echo a | tr a b"])), "b");
    assert_eq!(text(&published("cmd.run", &["echo '$HOME'", "python_shell=False"])), "$HOME");
}

#[test]
fn the_return_code_becomes_the_jobs() {
    let failed = published("cmd.run", &["echo no; exit 3"]);
    assert_eq!((text(&failed), failed.retcode, failed.success), ("no", 3, false));
    assert_eq!(published("cmd.run", &["exit 3", "ignore_retcode=True"]).retcode, 0);
    assert_eq!(published("cmd.run", &["exit 3", "success_retcodes=[3]"]).retcode, 0);
    assert_eq!(published("cmd.run", &["echo fine; exit 3", "success_stdout=fine"]).retcode, 0);
    let raised = published("cmd.run", &["echo no; exit 3", "raise_err=True"]);
    assert_eq!(text(&raised), "ERROR: no");
    assert_eq!(published("cmd.retcode", &["exit 4"]).value, Value::Int(4));
    assert_eq!(published("cmd.run", &["kill -9 $$"]).retcode, -9);
}

#[test]
fn outputs_are_told_apart() {
    let both = "echo out; echo err >&2";
    assert_eq!(text(&published("cmd.run_stdout", &[both])), "out");
    assert_eq!(text(&published("cmd.run_stderr", &[both])), "err");
    let all = published("cmd.run_all", &[both]).value;
    assert_eq!(all.get("stdout"), Some(&Value::from("out")));
    assert_eq!(all.get("stderr"), Some(&Value::from("err")));
    assert_eq!(all.get("retcode"), Some(&Value::Int(0)));
    assert_eq!(text(&published("cmd.run", &["echo x", "hide_output=True"])), "");
    assert_eq!(text(&published("cmd.run", &["echo x", "rstrip=False"])), "x\n");
}

#[test]
fn surroundings_are_as_asked() {
    assert_eq!(text(&published("cmd.run", &["pwd", "cwd=/"])), "/");
    let cwd = published("cmd.run", &["pwd", "cwd=tmp"]);
    assert_eq!(text(&cwd), "ERROR: Specified cwd 'tmp' either not absolute or does not exist");
    assert_eq!(text(&published("cmd.run", &["echo $A$B", "env={A: 1, B: x}"])), "1x");
    assert_eq!(text(&published("cmd.run", &["echo $A$B", "env=[{A: 1}, {B: x}]"])), "1x");
    assert_eq!(text(&published("cmd.run", &["echo $LC_CTYPE"])), "C");
    let clean = published("cmd.run", &["/usr/bin/env", "clean_env=True", "env={A: 1}"]);
    assert!(!text(&clean).contains("HOME="), "{}", text(&clean));
    assert_eq!(text(&published("cmd.run", &["cat", "stdin='a\\nb'"])), "a\nb");
    assert_eq!(text(&published("cmd.run", &["umask", "umask='077'"])), "0077");
    let path = published("cmd.run", &["echo $PATH", "prepend_path=/first"]);
    assert!(text(&path).starts_with("/first:"));
}

#[test]
fn what_cannot_be_done_is_said() {
    let shell = published("cmd.run", &["true", "shell=/no/shell"]);
    assert_eq!(text(&shell), "ERROR: The shell /no/shell is not available");
    let user = published("cmd.run", &["true", "runas=no-such-user-here"]);
    assert_eq!(text(&user), "ERROR: User 'no-such-user-here' is not available");
    let umask = published("cmd.run", &["true", "umask='000'"]);
    assert_eq!(text(&umask), "ERROR: Zero umask is not allowed.");
    assert!(text(&published("cmd.run", &["true", "use_vt=True"])).contains("use_vt"));
    assert!(text(&published("cmd.run", &["true", "template=jinja"])).contains("template"));
    let gone = run("cmd.run", &["/no/such/program x"]);
    assert!(text(&gone).starts_with("ERROR: Unable to run command '['/no/such/program', 'x']'"));
    assert!(text(&gone).contains("[Errno 2] No such file or directory"), "{}", text(&gone));
    let quote = run("cmd.run", &["echo 'a"]);
    assert!(matches!(quote.failure, Some(Failure::Failed(Error::Exception(_)))));
}

#[test]
fn a_timeout_is_told_in_the_output() {
    let slow = published("cmd.run", &["sleep 600", "timeout=0.2"]);
    assert_eq!(text(&slow), "sleep 600 : Timed out after 0.2 seconds");
    let all = run("cmd.run_all", &["sleep 600", "timeout=0.2"]).value;
    assert_eq!(
        all.get("stdout"),
        Some(&Value::from("['sleep', '600'] : Timed out after 0.2 seconds"))
    );
    assert_eq!(all.get("retcode"), Some(&Value::Int(1)));
}

#[test]
fn another_user_has_its_own_home_and_name() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let shown = published("cmd.run", &["id -un; echo $USER", "runas=nobody", "cwd=/"]);
    assert_eq!(text(&shown), "nobody\nnobody");
    let shown = published("cmd.run", &["id -gn", "group=daemon", "cwd=/"]);
    assert_eq!(text(&shown), "daemon");
}

#[test]
fn forbidden_commands_are_refused_to_users() {
    let mut host = TestHost::new();
    host.opts.insert("cmd_blacklist_glob", Value::List(vec!["rm *".into()]));
    let mut call = Call::new("cmd.run", vec!["rm -rf /x".into()], Map::new());
    call.jid = Jid::parse("20260102030405000678").ok();
    let refused = run_call(&Arc::new(host), &call);
    assert_eq!(text(&refused), "ERROR: The shell command \"rm -rf /x\" is not permitted");
}

#[test]
fn scripts_run_as_private_copies() {
    let mut host = TestHost::new();
    host.local = true;
    let source = host.dir.file("s.sh", "#!/bin/sh\necho $1-$2; exit 5\n");
    let host = Arc::new(host);
    let outcome = run_on(&host, "cmd.script", &[&source, "one 'two three'"]);
    assert_eq!(outcome.value.get("stdout"), Some(&Value::from("one-two three")));
    assert_eq!((outcome.value.get("retcode"), outcome.retcode), (Some(&Value::Int(5)), 5));
    let missing = run_on(&host, "cmd.script", &["/no/such/script"]);
    assert_eq!(missing.value.get("cache_error"), Some(&Value::Bool(true)));
}

#[test]
fn programs_are_found() {
    assert!(ok("cmd.which", &["sh"]).as_str().unwrap().ends_with("/sh"));
    assert_eq!(ok("cmd.which", &["no-such-program"]), Value::Nil);
    assert_eq!(ok("cmd.has_exec", &["sh"]), Value::Bool(true));
    assert!(ok("cmd.which_bin", &["[no-such-program, sh]"]).as_str().unwrap().ends_with("/sh"));
}

#[test]
fn background_commands_are_left_alone() {
    let pid = run("cmd.run_bg", &["/bin/true"]).value;
    assert!(pid.get("pid").and_then(Value::as_int).unwrap() > 1);
}
