//! Runner `manage.health`: everything this master lost, refused or closed for lack of room, how
//! full its queues and limits are, and what to do about each line that is not ok. It reads
//! counters only, so it also answers when the master has more to do than it can.

pub(crate) mod export;
mod lines;

use std::collections::BTreeMap;

use saltern_value::{Map, Value};

use super::binding::Signature;
use super::{Body, Runner, RunnerCall, RunnerFuture};
use lines::{Line, State};

/// The function of this runner.
pub(crate) const RUNNERS: &[Runner] = &[Runner {
    name: "manage.health",
    doc: "What this master lost, refused or closed for lack of room since it was started, and how \
          full its queues and limits are: ok, warn or lost for each line, and the way out for \
          each that is not ok. The exit status is 1 if anything was lost or refused for lack of \
          room. reset=True: later calls count from now on.\n\n\
          CLI example: salt-run manage.health\n    salt-run --out json manage.health",
    signature: Signature::of(&[], &["reset"]),
    body: Body::Async(health),
}];

fn health(call: RunnerCall) -> RunnerFuture {
    Box::pin(async move {
        let lines = lines::read(&call.shared);
        let (counted_for, before) = call.shared.counters.since();
        if call.args.truth("reset", false) {
            let counts = lines.iter().filter(|line| line.counts());
            let now: BTreeMap<String, u64> =
                counts.map(|line| (line.name.clone(), line.value)).collect();
            call.shared.counters.set_baseline(now);
        }
        let lines: Vec<Line> = lines.into_iter().map(|line| line.since(&before)).collect();
        let uptime = call.shared.counters.uptime().as_secs_f64();
        let data = shown(&lines, uptime, counted_for.as_secs_f64());
        // The form in which a runner says how it is printed; `healthy: False` makes it a failed
        // run.
        Ok(Value::from_iter([("outputter", Value::from("nested")), ("data", data)]))
    })
}

fn shown(lines: &[Line], uptime: f64, counted_for: f64) -> Value {
    let names = |state: State| -> Vec<String> {
        lines.iter().filter(|line| line.state() == state).map(|line| line.name.clone()).collect()
    };
    let (lost, warn) = (names(State::Lost), names(State::Warn));
    let summary = match (lost.len(), warn.len()) {
        (0, 0) => "All is well: nothing was lost or refused for lack of room.".to_owned(),
        (0, n) => format!("Nothing was lost; {n} to look at: {}.", warn.join(", ")),
        (_, 0) => format!("Lost or refused for lack of room: {}.", lost.join(", ")),
        (_, n) => format!(
            "Lost or refused for lack of room: {}; {n} more to look at: {}.",
            lost.join(", "),
            warn.join(", ")
        ),
    };
    let lines: Map = lines.iter().map(|line| (line.name.as_str(), line.shown())).collect();
    Value::from_iter([
        ("healthy", Value::from(lost.is_empty())),
        ("summary", summary.into()),
        ("lost", lost.into()),
        ("warnings", warn.into()),
        ("uptime", Value::Float(uptime)),
        ("counted_for", Value::Float(counted_for)),
        ("lines", lines.into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_loss_makes_it_unhealthy_until_it_is_reset() {
        let lines = [Line::loss("a", 3, "x", "do y"), Line::gauge("b", 9, "z").of(10, "more")];
        let data = shown(&lines, 1.0, 1.0);
        assert_eq!(data.get("healthy"), Some(&Value::Bool(false)));
        assert_eq!(
            data.get("summary").and_then(Value::as_str),
            Some("Lost or refused for lack of room: a; 1 more to look at: b.")
        );
        let before = BTreeMap::from([("a".to_owned(), 3)]);
        let lines = lines.map(|line| line.since(&before));
        assert_eq!(shown(&lines, 1.0, 1.0).get("healthy"), Some(&Value::Bool(true)));
    }
}
