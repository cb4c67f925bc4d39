//! `state.event`: one flushed line for each event of a bus, for shell scripts.

use std::path::Path;

use saltern_event::client::Subscriber;
use saltern_value::{Map, Value, json};

use crate::exit::{self, Failure};
use crate::printer::line;

/// The arguments of `state.event`, with Salt's names and defaults.
#[derive(Debug)]
pub(crate) struct Request {
    tagmatch: String,
    count: i64,
    quiet: bool,
    pretty: bool,
}

impl Request {
    /// Reads them from a command line.
    pub(crate) fn parse(arg: &[Value], kwarg: &Map) -> Result<Self, Failure> {
        const NAMES: [&str; 5] = ["tagmatch", "count", "quiet", "sock_dir", "pretty"];
        if let Some(name) = kwarg.keys().filter_map(Value::as_str).find(|n| !known(n)) {
            return Err(Failure::usage(format!("state.event has no argument '{name}'")));
        }
        let get = |name: &str| {
            let place = NAMES.iter().position(|n| *n == name);
            kwarg.get(name).or_else(|| place.and_then(|i| arg.get(i)))
        };
        Ok(Request {
            tagmatch: get("tagmatch").and_then(Value::as_str).unwrap_or("*").to_owned(),
            count: get("count").and_then(Value::as_int).unwrap_or(-1),
            quiet: get("quiet").is_some_and(Value::truthy),
            pretty: get("pretty").is_some_and(Value::truthy),
        })
    }
}

fn known(name: &str) -> bool {
    // `node` says which bus; the program that is called decides that here.
    matches!(name, "tagmatch" | "count" | "quiet" | "pretty" | "node")
}

/// Prints events until the asked number has matched; for ever with a negative number.
pub(crate) async fn watch(socket: &Path, request: &Request) -> Result<i32, Failure> {
    let mut events = Subscriber::connect(socket).await.map_err(|e| {
        Failure::new(
            exit::NO_RETURN,
            format!("The event bus {} cannot be reached: {e}", socket.display()),
        )
        .hint("is the daemon running, and do you run this as its user?")
    })?;
    let mut left = request.count;
    while left != 0 {
        let Some(event) = events.next().await? else {
            return Err(Failure::generic("The daemon closed its event bus"));
        };
        if !matches(&request.tagmatch, &event.tag) {
            continue;
        }
        if !request.quiet {
            let indent = request.pretty.then_some(4);
            let data = json::to_string(&Value::Map(event.data), indent);
            line(&format!("{}\t{data}", event.tag))?;
        }
        left -= i64::from(left > 0);
    }
    Ok(exit::OK)
}

/// A glob, or a regular expression that matches from the start (Salt tries both).
fn matches(pattern: &str, tag: &str) -> bool {
    saltern_target::expr_match(tag, pattern)
}
