//! `state`: only `state.event` so far; the state compiler comes later and belongs here.

use saltern_target::expr_match;
use saltern_value::{Map, Value, json};

use crate::bind::Bound;
use crate::context::Context;
use crate::error::Error;
use crate::registry::{Function, Module};

/// The table of this module.
pub(crate) static MODULE: Module = Module {
    name: "state",
    doc: "Watch events; states themselves are not supported yet.",
    functions: &[
        Function::new(
            "apply",
            "*args, **kwargs",
            not_yet,
            "Not supported yet: says so and fails.",
            "state.apply",
        ),
        Function::new(
            "event",
            "tagmatch='*', count=-1, quiet=False, sock_dir=None, pretty=False, node='minion'",
            event,
            "Prints the events of the minion's bus, one line each: tag, tab, data as JSON. \
             tagmatch is a shell pattern or regular expression; count events end it (-1: never); \
             pretty prints the data over several lines.",
            "state.event pretty=True",
        ),
        Function::new(
            "highstate",
            "*args, **kwargs",
            not_yet,
            "Not supported yet: says so and fails.",
            "state.highstate",
        ),
        Function::new(
            "sls",
            "*args, **kwargs",
            not_yet,
            "Not supported yet: says so and fails.",
            "state.sls core",
        ),
    ],
};

fn not_yet(_: &Context<'_>, _: Bound) -> Result<Value, Error> {
    Err(Error::exec("States are not supported yet; this minion runs execution functions only"))
}

fn event(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    if args.text("node") != "minion" {
        return Err(Error::invalid("node must be 'minion'; for a master's bus use salt-run"));
    }
    if args
        .opt_text("sock_dir")
        .is_some_and(|dir| ctx.opt_str("sock_dir").is_none_or(|own| own != dir))
    {
        return Err(Error::invalid("sock_dir must be the minion's own; set it in its config"));
    }
    let tagmatch = args.text("tagmatch");
    let mut left = args.int("count")?;
    let indent = args.truthy("pretty").then_some(4);
    let mut events = ctx.host().events()?;
    while left != 0 {
        // The wait is bounded so that ending the job ends this, too.
        let next = events.next(Some(std::time::Duration::from_secs(1)))?;
        if ctx.job().ended_by().is_some() {
            break;
        }
        let Some((tag, data)) = next else { continue };
        if !expr_match(&tag, &tagmatch) {
            log::debug!("Skipping event tag: {tag}");
            continue;
        }
        if !args.truthy("quiet") {
            let data = if indent.is_some() { sorted(data) } else { data };
            ctx.host().emit(&format!("{tag}\t{}", json::to_string(&Value::Map(data), indent)));
        }
        left -= i64::from(left > 0);
    }
    Ok(Value::Nil)
}

/// The same with text keys in order, at every depth.
fn sorted(map: Map) -> Map {
    let mut members: Vec<(Value, Value)> = map
        .into_iter()
        .map(|(key, value)| match value {
            Value::Map(inner) => (key, Value::Map(sorted(inner))),
            other => (key, other),
        })
        .collect();
    members.sort_by_key(|(key, _)| crate::bind::to_text(key));
    members.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::{TestHost, run_on};

    #[test]
    fn matching_events_are_printed_until_there_were_enough() {
        let host = TestHost::new();
        let event = |tag: &str| (tag.to_owned(), Map::from([("b", 1), ("a", 2)]));
        host.bus.lock().unwrap().extend(["x/1", "y", "x/2", "x/3"].map(event));
        let host = Arc::new(host);
        let done = run_on(&host, "state.event", &["x/*", "count=2"]);
        assert_eq!((done.value, done.retcode), (Value::Nil, 0));
        let lines = host.printed.lock().unwrap().clone();
        assert_eq!(lines, ["x/1\t{\"b\": 1, \"a\": 2}", "x/2\t{\"b\": 1, \"a\": 2}"]);
        run_on(&host, "state.event", &["x/3", "count=1", "pretty=True"]);
        let last = host.printed.lock().unwrap().last().cloned().unwrap();
        assert_eq!(last, "x/3\t{\n    \"a\": 2,\n    \"b\": 1\n}");
    }

    #[test]
    fn states_are_refused_in_clear_words() {
        let host = Arc::new(TestHost::new());
        let refused = run_on(&host, "state.apply", &["core", "test=True"]);
        assert!(refused.value.as_str().unwrap().starts_with("ERROR: States are not supported"));
        assert_eq!(refused.retcode, 1);
    }
}
