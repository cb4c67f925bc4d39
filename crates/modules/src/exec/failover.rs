//! `failover`: how this minion stands with its masters, and moving it to another one.

use std::time::Duration;

use saltern_value::{Map, Value};

use crate::bind::Bound;
use crate::context::Context;
use crate::error::Error;
use crate::registry::{Function, Module};

/// Longest time a departure may be spread over: a day.
const LONGEST: f64 = 86_400.0;

/// The table of this module.
pub(crate) static MODULE: Module = Module {
    name: "failover",
    doc: "Ask how this minion stands with its masters, and move it to another one.",
    functions: &[
        Function::new(
            "leave",
            "to=None, within=0",
            leave,
            "Leaves the master in use at a random moment within that many seconds, for the master \
             named or the next one that takes this minion, and tries until one does. A master \
             that is drained sends this to its minions. Returns at once.",
            "failover.leave within=30",
        ),
        Function::new(
            "status",
            "",
            status,
            "Returns the master in use, when and why it was last changed, and for each master of \
             the list whether this minion could go there now and why not. Also without a master \
             and, with salt-call --local, without a running minion.",
            "failover.status",
        ),
        Function::new(
            "switch",
            "master=None",
            switch,
            "Moves this minion to that master of its list, or to the next one that takes it. The \
             master in use is kept until the other one has taken the minion: when nobody does, \
             the result is False and the comment says why.",
            "failover.switch\nfailover.switch salt2.example.com",
        ),
    ],
};

fn status(ctx: &Context<'_>, _: Bound) -> Result<Value, Error> {
    let shown = ctx.host().failover();
    if !shown.get("running").is_some_and(Value::truthy) {
        ctx.set_retcode(1);
    }
    Ok(Value::Map(shown))
}

fn switch(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let to = name(&args, "master")?;
    Ok(Value::Map(ctx.host().switch(to.as_deref(), Duration::ZERO, false)?))
}

fn leave(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let to = name(&args, "to")?;
    let given = args.get("within");
    let seconds = given.as_f64().or_else(|| given.as_str()?.trim().parse().ok());
    let within = seconds
        .filter(|s| (0.0..=LONGEST).contains(s))
        .ok_or_else(|| Error::invalid("within must be a number of seconds between 0 and 86400"))?;
    Ok(Value::Map(ctx.host().switch(to.as_deref(), Duration::from_secs_f64(within), true)?))
}

/// A master's name; an empty one is none.
fn name(args: &Bound, parameter: &str) -> Result<Option<String>, Error> {
    match args.get(parameter) {
        Value::Nil => Ok(None),
        Value::Str(text) => Ok(Some(text.trim().to_owned()).filter(|t| !t.is_empty())),
        _ => Err(Error::invalid(format!("{parameter} must be the name of a master"))),
    }
}

/// The part of [`status`] that `status.master` shows without arguments.
pub(crate) fn brief(all: &Map) -> Map {
    let wanted = [
        "running",
        "comment",
        "state",
        "master",
        "since",
        "last_switch",
        "probe_latency_ms",
        "spool_depth",
        "lost",
    ];
    wanted.into_iter().filter_map(|key| Some((key, all.get(key)?.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use saltern_value::Value;

    use crate::testing::{TestHost, run_on};

    #[test]
    fn a_minion_without_its_daemon_says_so_in_its_exit_code() {
        let mut host = TestHost::new();
        assert_eq!(run_on(&Arc::new(TestHost::new()), "failover.status", &[]).retcode, 0);
        host.failover.insert("running", false);
        let outcome = run_on(&Arc::new(host), "failover.status", &[]);
        assert_eq!(outcome.retcode, 1);
        assert_eq!(outcome.value.get("master"), Some(&Value::from("127.0.0.1")));
    }

    #[test]
    fn a_departure_is_handed_to_the_host() {
        let host = Arc::new(TestHost::new());
        let outcome = run_on(&host, "failover.switch", &["m2"]);
        assert!(outcome.success, "{:?}", outcome.value);
        assert!(run_on(&host, "failover.leave", &["within=30", "to=m3"]).success);
        let asked = host.switched.lock().unwrap().clone();
        assert_eq!(asked, ["m2 0 false", "m3 30 true"]);
        assert!(!run_on(&host, "failover.leave", &["within=-1"]).success);
        assert!(!run_on(&host, "failover.switch", &["[m2]"]).success);
    }
}
