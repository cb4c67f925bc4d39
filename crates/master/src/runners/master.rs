//! Runner `master`: empty this master for maintenance and take minions again (R17).

use std::collections::BTreeSet;
use std::time::Duration;

use saltern_value::{Map, Value};
use tokio::time::{Instant, sleep};

use super::binding::Signature;
use super::{Body, Runner, RunnerCall, RunnerFuture};
use crate::drain::{self, Left};

/// Time between two looks at who is left.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Minions and jobs named in a sentence.
const NAMED: usize = 10;
/// Longest time `undrain` waits for the port to be open.
const OPENS_WITHIN: Duration = Duration::from_secs(5);

/// What is said of a master that is empty.
const DRAINED: &str = "This master is drained: nobody is connected and no job runs.";

/// The functions of this runner.
pub(crate) const RUNNERS: &[Runner] = &[
    Runner {
        name: "master.drain",
        doc: "Empty this master for maintenance: it takes no minions any more, its minions leave \
              for their other masters (to=MASTER: best for that one, by the name in their \
              configuration) within so many seconds (within=30; option failover_drain_time), and \
              what they still return is kept. Minions of real Salt leave when their jobs are \
              done. wait=True waits until nobody is connected and no job runs, at most timeout \
              seconds (option failover_drain_timeout). A drained master stays so when it is \
              restarted, until master.undrain.\n\n\
              CLI example: salt-run master.drain to=master2 wait=True",
        signature: Signature::of(&[], &["to", "wait", "within", "timeout"]),
        body: Body::Async(begin),
    },
    Runner {
        name: "master.undrain",
        doc: "Take minions again after master.drain.\n\nCLI example: salt-run master.undrain",
        signature: Signature::of(&[], &[]),
        body: Body::Async(end),
    },
    Runner {
        name: "master.drain_status",
        doc: "Whether this master is being drained, who is left and why, and how many sign-ins \
              wait.\n\nCLI example: salt-run master.drain_status",
        signature: Signature::of(&[], &[]),
        body: Body::Blocking(status),
    },
];

fn status(call: &RunnerCall) -> Result<Value, String> {
    let mut shown = call.shared.drain.shown();
    shown.insert("sign_ins", call.shared.herd.shown());
    Ok(shown.into())
}

fn begin(call: RunnerCall) -> RunnerFuture {
    Box::pin(async move {
        let opts = &call.shared.opts;
        let seconds = |name: &str, default: f64| match call.args.get(name) {
            None => Ok(default),
            Some(value) => value
                .as_f64()
                .or_else(|| value.as_str()?.parse().ok())
                .filter(|seconds| seconds.is_finite() && *seconds >= 0.0)
                .ok_or_else(|| format!("{name} is no number of seconds; nothing was done")),
        };
        let within = drain::within(seconds("within", opts.failover_drain_time)?);
        let timeout = drain::within(seconds("timeout", opts.failover_drain_timeout)?);
        let to = match call.args.get("to") {
            None => None,
            Some(value) => match value.as_str().map(str::trim) {
                Some(name) if !name.is_empty() => Some(name.to_owned()),
                _ => return Err("to names no master; nothing was done".to_owned()),
            },
        };
        if let Some(to) = &to {
            listed(&call, to)?;
        }
        call.shared.drain.begin(to, within).map_err(|e| format!("{e}; nothing was done"))?;
        if !call.args.truth("wait", false) {
            let text = match call.shared.drain.left().is_empty() {
                true => DRAINED,
                false => {
                    "This master is being drained; salt-run master.drain_status shows who is \
                     left, salt-run master.undrain takes minions again."
                }
            };
            return Ok(with_message(&call, text));
        }
        wait(&call, timeout).await
    })
}

/// Refuses a master of which every minion that reports knows nothing: nobody would go there. With
/// no report there is nothing to compare it with.
fn listed(call: &RunnerCall, to: &str) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for report in call.shared.readiness.all().into_values() {
        names.extend(report.masters.into_iter().map(|master| master.name));
    }
    if names.is_empty() || names.iter().any(|name| is_same(name, to)) {
        return Ok(());
    }
    let names = named(names.iter().map(String::as_str));
    Err(format!("to={to} is on no minion's list, so nothing was done; there are: {names}"))
}

/// Whether minions take these for the same master: a name without a port stands for any port.
fn is_same(name: &str, to: &str) -> bool {
    let parts = |text: &str| match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.starts_with('[') => {
            (host.trim_matches(['[', ']']).to_owned(), port.parse::<u16>().ok())
        }
        _ => (text.trim_matches(['[', ']']).to_owned(), None),
    };
    let ((host, port), (wanted, wanted_port)) = (parts(name), parts(to));
    name == to || host == wanted && (port.is_none() || wanted_port.is_none() || port == wanted_port)
}

/// Waits until the master is empty and tells meanwhile who is left.
async fn wait(call: &RunnerCall, timeout: Duration) -> Result<Value, String> {
    let deadline = Instant::now() + timeout;
    let mut told = String::new();
    loop {
        let left = call.shared.drain.left();
        if call.shared.drain.wish().is_none() {
            let text = "master.undrain was called meanwhile: this master takes minions again.";
            return Ok(failed(call, text));
        }
        if left.is_empty() {
            return Ok(with_message(call, DRAINED));
        }
        if left.looked {
            let text = summary(&left);
            if text != told {
                call.fire("drain", Map::from([("message", text.as_str())]));
                told = text;
            }
        }
        if Instant::now() >= deadline {
            return Ok(failed(call, &not_empty(&left, timeout)));
        }
        sleep(LOOK_EVERY).await;
    }
}

fn end(call: RunnerCall) -> RunnerFuture {
    Box::pin(async move {
        let was = call.shared.drain.end()?;
        let text = if was { "This master takes minions again." } else { "It was not drained." };
        let deadline = Instant::now() + OPENS_WITHIN;
        while !call.shared.drain.listens() {
            if Instant::now() >= deadline {
                return Err("The publish port is not open yet; the log says why.".to_owned());
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(text.into())
    })
}

fn with_message(call: &RunnerCall, text: &str) -> Value {
    let mut shown = call.shared.drain.shown();
    shown.insert("message", text);
    shown.into()
}

/// The same as the result of a run that failed: one member of its data is false.
fn failed(call: &RunnerCall, text: &str) -> Value {
    let mut shown = call.shared.drain.shown();
    shown.insert("message", text);
    shown.insert("drained", false);
    Value::from_iter([("data", Value::Map(shown)), ("outputter", "nested".into())])
}

/// One line of progress.
fn summary(left: &Left) -> String {
    let jobs: usize = left.jobs.values().map(|(_, minions)| minions.len()).sum();
    let minions = named(left.minions.keys().map(String::as_str));
    let (are, returns) = (left.minions.len(), if jobs == 1 { "return" } else { "returns" });
    match (minions.is_empty(), jobs) {
        (true, jobs) => format!("nobody is connected; waiting for {jobs} {returns}"),
        (false, 0) => format!("{are} connected ({minions})"),
        (false, jobs) => format!("{are} connected ({minions}); waiting for {jobs} {returns}"),
    }
}

/// Who is left after all that time, and why.
fn not_empty(left: &Left, timeout: Duration) -> String {
    let mut text = format!("This master is not empty after {} seconds.", timeout.as_secs());
    for (id, why) in left.minions.iter().take(NAMED) {
        text += &format!(" {id} {why}.");
    }
    if left.minions.len() > NAMED {
        text += &format!(" And {} more.", left.minions.len() - NAMED);
    }
    for (jid, (fun, minions)) in left.jobs.iter().take(NAMED) {
        let minions = named(minions.iter().map(String::as_str));
        text += &format!(" Job {jid} ({fun}) is not returned by {minions}.");
    }
    text + " It stays as it is and goes on draining; salt-run master.undrain takes minions again."
}

fn named<'a>(ids: impl ExactSizeIterator<Item = &'a str>) -> String {
    let number = ids.len();
    let mut text = ids.take(NAMED).collect::<Vec<_>>().join(", ");
    if number > NAMED {
        text += &format!(" and {} more", number - NAMED);
    }
    text
}
