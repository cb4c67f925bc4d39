//! Runner `test`: proves that runners run, with arguments, waiting and progress events.

use std::time::Duration;

use saltern_value::{Map, Value};

use super::binding::Signature;
use super::{Body, Runner, RunnerCall, RunnerFuture};

/// The functions of this runner.
pub(crate) const RUNNERS: &[Runner] = &[
    Runner {
        name: "test.arg",
        doc: "Shows the arguments it was called with; names with two leading underscores are \
              left out.\n\nCLI example: salt-run test.arg foo bar=baz",
        signature: Signature::of(&[], &[]).and_rest().and_extra(),
        body: Body::Blocking(arg),
    },
    Runner {
        name: "test.raw_arg",
        doc: "Shows all arguments it was called with.\n\nCLI example: salt-run test.raw_arg foo",
        signature: Signature::of(&[], &[]).and_rest().and_extra(),
        body: Body::Blocking(raw_arg),
    },
    Runner {
        name: "test.sleep",
        doc: "Waits s_time seconds (10), then returns True.\n\n\
              CLI example: salt-run test.sleep s_time=5",
        signature: Signature::of(&[], &["s_time"]),
        body: Body::Async(sleep),
    },
    Runner {
        name: "test.stream",
        doc: "Fires 99 progress events, ten a second, then returns True.\n\n\
              CLI example: salt-run test.stream",
        signature: Signature::of(&[], &[]),
        body: Body::Async(stream),
    },
    Runner {
        name: "test.metasyntactic",
        doc: "Names for things that need none (locality us or uk).\n\n\
              CLI example: salt-run test.metasyntactic locality=uk",
        signature: Signature::of(&[], &["locality"]),
        body: Body::Blocking(metasyntactic),
    },
    Runner {
        name: "test.get_opts",
        doc: "Every option of this master.\n\nCLI example: salt-run test.get_opts",
        signature: Signature::of(&[], &[]),
        body: Body::Blocking(get_opts),
    },
];

fn arg(call: &RunnerCall) -> Result<Value, String> {
    let mut kwargs = call.args.extra.clone();
    kwargs.retain(|name, _| !name.as_str().is_some_and(|n| n.starts_with("__")));
    Ok(shown(call, kwargs))
}

fn raw_arg(call: &RunnerCall) -> Result<Value, String> {
    Ok(shown(call, call.args.extra.clone()))
}

fn shown(call: &RunnerCall, kwargs: Map) -> Value {
    Value::from_iter([
        ("args", Value::List(call.args.rest.clone())),
        ("kwargs", Value::Map(kwargs)),
    ])
}

fn sleep(call: RunnerCall) -> RunnerFuture {
    Box::pin(async move {
        let seconds = call.args.seconds("s_time").unwrap_or(10.0);
        tokio::time::sleep(Duration::from_secs_f64(seconds.min(86_400.0))).await;
        Ok(true.into())
    })
}

fn stream(call: RunnerCall) -> RunnerFuture {
    Box::pin(async move {
        for done in 1..100 {
            call.fire("progress", [("message", format!("Runner is {done}% done"))].into());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(true.into())
    })
}

fn metasyntactic(call: &RunnerCall) -> Result<Value, String> {
    let names: &[&str] = match call.args.text("locality").as_deref() {
        None | Some("us") => &[
            "foo", "bar", "baz", "qux", "quux", "quuz", "corge", "grault", "garply", "waldo",
            "fred", "plugh", "xyzzy", "thud",
        ],
        Some("uk") => &["wibble", "wobble", "wubble", "flob"],
        Some(_) => return Ok(Value::Nil),
    };
    Ok(Value::List(names.iter().map(|n| Value::from(*n)).collect()))
}

fn get_opts(call: &RunnerCall) -> Result<Value, String> {
    Ok(Value::Map(call.shared.raw_opts.clone()))
}
