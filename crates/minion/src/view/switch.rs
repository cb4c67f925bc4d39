//! Moving to another master because somebody asks for it: by a job, by `salt-call` through the
//! minion's bus, or by a master that is drained.

use std::sync::Arc;
use std::time::{Duration, Instant};

use saltern_failover::{LeaveReason, Verdict};
use saltern_modules::{Host, HostError};
use saltern_value::{Map, Value};

use super::Stayed;
use super::shown::{connected, places, word};
use crate::address::Address;
use crate::connect::Command;
use crate::core::Core;
use crate::settings::Mode;

/// `salt-call` asks the daemon by this event and hears the answer by the other.
pub(crate) const ASKED: &str = "failover_switch";
pub(crate) const DONE: &str = "failover_switch_done";

/// How long a switch by hand may take: an attempt at each master that might be asked.
const PATIENCE: Duration = Duration::from_secs(60);

/// Moves the minion. With `drain` only says that it will go.
///
/// # Errors
/// One sentence when the wish makes no sense.
pub(crate) async fn move_away(
    core: &Arc<Core>,
    to: Option<&str>,
    within: Duration,
    drain: bool,
) -> Result<Map, String> {
    let to = match to.map(|name| listed(core, name)).transpose() {
        Ok(to) => to,
        // The master that is drained may know the other one by a name that we do not have.
        Err(why) if drain => {
            log::warn!("Asked to leave: {why}; the next one that takes this minion is used");
            None
        }
        Err(why) => return Err(why),
    };
    match core.access.settings.mode {
        Mode::Disabled => return Err("this minion uses no master (master_type: disable)".into()),
        Mode::Hot if drain => return Ok(stays_connected(core)),
        Mode::Hot => {
            return Err("this minion is connected to each of its masters all the time \
                                 (master_type: str), so there is nothing to switch"
                .into());
        }
        Mode::OneOf => {}
    }
    if core.access.settings.masters.len() < 2 {
        return Err("this minion has no other master on its list".into());
    }
    if drain {
        return Ok(later(core, to, within));
    }
    Ok(now(core, to).await)
}

/// The position of a master named as in the list, by its host alone, or by host and port.
fn listed(core: &Core, name: &str) -> Result<usize, String> {
    let masters = &core.access.settings.masters;
    let exact = masters.iter().position(|a| a.name() == name);
    let host = || masters.iter().position(|a| a.host() == name);
    let port = core.access.opts.master_port;
    let wanted = Address::parse(name, port, false).ok().map(|address| address.requests());
    let place = || masters.iter().position(|a| Some(a.requests()) == wanted);
    exact.or_else(host).or_else(place).ok_or_else(|| {
        let names: Vec<&str> = masters.iter().map(|a| a.name()).collect();
        format!("{name} is not on this minion's list of masters: {}", names.join(", "))
    })
}

fn stays_connected(core: &Core) -> Map {
    let comment = "connected to each of its masters all the time: the others stay";
    Map::from([
        ("result", Value::from(true)),
        ("comment", comment.into()),
        ("master", connected(core, &core.views.all()).into()),
    ])
}

/// Leaves at a random moment, so that a fleet does not arrive elsewhere at once.
fn later(core: &Arc<Core>, to: Option<usize>, within: Duration) -> Map {
    let delay = within.mul_f64(fastrand::f64());
    let leaving = core.clone();
    let link = core.slots.first().and_then(|slot| slot.link());
    core.runtime.spawn(async move {
        tokio::time::sleep(delay).await;
        // Gone already, and perhaps to a better place.
        let same = match (&link, leaving.slots.first().and_then(|slot| slot.link())) {
            (Some(then), Some(now)) => then.master() == now.master(),
            _ => false,
        };
        if same {
            leaving.command(0, Command::Leave { to, why: LeaveReason::Drain });
        }
    });
    Map::from([
        ("result", Value::from(true)),
        ("comment", format!("leaves in {:.1} s", delay.as_secs_f64()).into()),
    ])
}

/// Goes now, and waits for what comes of it.
async fn now(core: &Arc<Core>, to: Option<usize>) -> Map {
    let mut changed = core.views.subscribe();
    let before = core.views.all().into_iter().next().unwrap_or_default();
    let from = before.current();
    if to.is_some() && to == from {
        return outcome(core, true, "already there".to_owned());
    }
    let failures = |stayed: Option<Stayed>| stayed.map_or(0, |s| s.number);
    core.command(0, Command::Leave { to, why: LeaveReason::Asked });
    let settled = async {
        loop {
            let view = core.views.all().into_iter().next().unwrap_or_default();
            if failures(view.stayed) > failures(before.stayed) {
                return (false, view.stayed.map(|s| refused(core, to, &s)).unwrap_or_default());
            }
            match view.current() {
                Some(current) if to == Some(current) || to.is_none() && from != Some(current) => {
                    return (true, format!("moved to {}", core.access.master_name(current)));
                }
                _ => {}
            }
            if changed.changed().await.is_err() {
                return (false, "the minion is shutting down".to_owned());
            }
        }
    };
    let (moved, text) = tokio::time::timeout(PATIENCE, settled).await.unwrap_or_else(|_| {
        (false, format!("no master has taken this minion within {} s", PATIENCE.as_secs()))
    });
    outcome(core, moved, text)
}

fn outcome(core: &Core, result: bool, comment: String) -> Map {
    let master = connected(core, &core.views.all()).into_iter().next();
    Map::from([
        ("result", Value::from(result)),
        ("master", master.map_or(Value::Nil, Value::from)),
        ("comment", comment.into()),
    ])
}

/// Why nobody took us.
fn refused(core: &Core, to: Option<usize>, stayed: &Stayed) -> String {
    let position = stayed.to.or(to);
    let why = |verdict: &Verdict| match position {
        Some(at) => core.access.notes.explain(at, verdict).1,
        None => verdict.to_string(),
    };
    let text = stayed.verdict.as_ref().map_or_else(|| "there is none to ask".to_owned(), why);
    let kind = word(stayed.verdict.as_ref());
    match position {
        Some(at) => {
            let name = core.access.master_name(at);
            format!("{name} does not take this minion ({kind}): {text}; it stays where it is")
        }
        None => {
            let places = places(core, &core.views.all(), Instant::now());
            let refusals: Vec<String> = places
                .iter()
                .filter(|place| place.state == "not ready")
                .map(|place| format!("{} ({}: {})", place.name, place.reason, place.text))
                .collect();
            let why = if refusals.is_empty() { text } else { refusals.join(", ") };
            format!("no other master takes this minion: {why}; it stays where it is")
        }
    }
}

/// What `salt-call` asked for by an event; answers by another one.
pub(crate) async fn asked(core: Arc<Core>, data: Map) {
    let number = data.get("number").cloned().unwrap_or_default();
    let within = data.get("within").and_then(Value::as_f64).unwrap_or_default();
    let within = Duration::try_from_secs_f64(within).unwrap_or_default();
    let drain = data.get("drain").is_some_and(Value::truthy);
    let done = move_away(&core, data.get_str("to"), within, drain).await;
    let mut answer = match done {
        Ok(answer) => answer,
        Err(error) => Map::from([("error", error)]),
    };
    answer.insert("number", number);
    core.bus.fire(DONE, answer);
}

/// `salt-call` has the daemon on this machine move.
///
/// # Errors
/// When no daemon runs here, or what it says of the wish.
pub(crate) fn ask(
    host: &dyn Host,
    to: Option<&str>,
    within: Duration,
    drain: bool,
) -> Result<Map, HostError> {
    let mut bus = host.events()?;
    let number = format!("{:016x}", fastrand::u64(..));
    let data = Map::from([
        ("number", Value::from(number.as_str())),
        ("to", to.map_or(Value::Nil, Value::from)),
        ("within", within.as_secs_f64().into()),
        ("drain", drain.into()),
    ]);
    if !host.fire_event(ASKED, data) {
        return Err(HostError::Failed("no minion daemon runs here".into()));
    }
    let end = Instant::now() + PATIENCE + Duration::from_secs(5);
    loop {
        let rest = end.saturating_duration_since(Instant::now());
        let Some((tag, mut answer)) = bus.next(Some(rest))? else {
            return Err(HostError::Failed("the minion daemon did not answer".into()));
        };
        if tag != DONE || answer.get_str("number") != Some(&number) {
            continue;
        }
        answer.remove("number");
        answer.remove("_stamp");
        return match answer.get_str("error") {
            Some(error) => Err(HostError::Failed(error.to_owned())),
            None => Ok(answer),
        };
    }
}
