//! The view of a running minion as a mapping: what `failover.status` returns and the state file
//! holds, and, without times of day, what masters are told.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use saltern_base::time::stamp;
use saltern_failover::{Readiness, Ready, Status};
use saltern_value::{Map, Value};

use super::View;
use super::notes::reason;
use crate::core::Core;
use crate::settings::Mode;

/// One master of the list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    /// As configured.
    pub(crate) name: String,
    /// `current`, `ready`, `not ready` or `unknown`.
    pub(crate) state: &'static str,
    /// Why not, or what to look after; empty when all is well.
    pub(crate) reason: &'static str,
    /// The same as a sentence.
    pub(crate) text: String,
    /// How long ago that was found out.
    pub(crate) age: Option<Duration>,
    /// A connection to it is kept.
    pub(crate) warm: bool,
}

/// What is known of each master, in the order of the list.
pub(crate) fn places(core: &Core, views: &[View], now: Instant) -> Vec<Place> {
    let mut all: Vec<(usize, Place)> = Vec::new();
    for view in views {
        for known in &view.readiness {
            if let Some(position) = view.position(known.master) {
                all.push((position, place(core, position, known, now)));
            }
        }
    }
    all.sort_by_key(|(position, _)| *position);
    all.into_iter().map(|(_, place)| place).collect()
}

fn place(core: &Core, position: usize, known: &Readiness, now: Instant) -> Place {
    let notes = &core.access.notes;
    let (state, mut reason, mut text) = match &known.state {
        Ready::Current => ("current", "", String::new()),
        Ready::Ready => ("ready", "", String::new()),
        Ready::NotReady(verdict) => {
            let (reason, text) = notes.explain(position, verdict);
            ("not ready", reason, text)
        }
        Ready::Unknown => ("unknown", "", "not tried yet".to_owned()),
    };
    let clock = notes.of(position).and_then(|note| note.clock());
    if let (true, Some(clock)) = (matches!(state, "current" | "ready"), clock) {
        (reason, text) = ("clock", clock);
    }
    Place {
        name: core.access.master_name(position).to_owned(),
        state,
        reason,
        text,
        age: known.checked.map(|at| now.saturating_duration_since(at)),
        warm: known.warm,
    }
}

/// The last change of the master in use, of any machine.
pub(crate) struct LastSwitch {
    pub(crate) age: Duration,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) reason: String,
    pub(crate) gap: Duration,
}

pub(crate) fn last_switch(core: &Core, views: &[View], now: Instant) -> Option<LastSwitch> {
    let latest = views.iter().filter_map(|v| Some((v, v.switch?))).max_by_key(|(_, s)| s.at);
    let (view, switch) = latest?;
    let name = |master| {
        view.position(master).map_or_else(String::new, |at| core.access.master_name(at).to_owned())
    };
    Some(LastSwitch {
        age: now.saturating_duration_since(switch.at),
        from: switch.from.map(name).unwrap_or_default(),
        to: name(switch.to),
        reason: switch.reason.to_string(),
        gap: switch.gap,
    })
}

/// The names of the masters in use.
pub(crate) fn connected(core: &Core, views: &[View]) -> Vec<String> {
    let positions = views.iter().filter_map(View::current);
    positions.map(|at| core.access.master_name(at).to_owned()).collect()
}

/// The latency of the first connection that has one.
pub(crate) fn latency(views: &[View]) -> Option<Duration> {
    views.iter().filter(|v| v.current().is_some()).find_map(|v| v.latency)
}

/// Returns and events that no master has acknowledged yet.
pub(crate) fn spool_depth(core: &Core) -> usize {
    core.returns.depth()
}

/// Everything, as of now.
pub(crate) fn shown(core: &Core) -> Map {
    let (views, now) = (core.views.all(), Instant::now());
    let masters = connected(core, &views);
    let since = views.iter().filter_map(|view| match view.status {
        Some(Status::Connected { since, .. }) => Some(since),
        _ => None,
    });
    let mut all = Map::from([
        ("id", Value::from(core.id())),
        ("running", true.into()),
        ("pid", i64::from(std::process::id()).into()),
        ("state", state(core, &views).into()),
        ("master", one_or_all(masters)),
        ("master_type", core.access.opts.master_type.as_str().into()),
        ("since", since.min().map_or(Value::Nil, |at| ago(now.saturating_duration_since(at)))),
        ("last_switch", last_switch(core, &views, now).map_or(Value::Nil, switch_shown)),
        ("probe_latency_ms", latency(&views).map_or(Value::Nil, millis)),
        ("spool_depth", count(spool_depth(core))),
        ("lost", lost(core).into()),
    ]);
    let places = places(core, &views, now);
    all.insert("if_master_dies", outlook(&places));
    let masters: Map = places.into_iter().map(|p| (p.name.clone(), place_shown(p))).collect();
    all.insert("masters", masters);
    all
}

/// What did not come to where it should, since the start of this minion.
pub(crate) fn lost(core: &Core) -> Map {
    let events = core.bus.dropped() + core.bus.refused();
    Map::from([
        ("returns", count(core.returns.lost())),
        ("publications", count(core.unread.load(Ordering::Relaxed))),
        ("events", i64::try_from(events).unwrap_or(i64::MAX).into()),
        ("events_malformed", count(core.no_events.load(Ordering::Relaxed))),
    ])
}

/// The same where no minion runs, and nothing is known of a former one.
pub(crate) fn away(id: &str, comment: String) -> Map {
    Map::from([
        ("id", Value::from(id)),
        ("running", false.into()),
        ("comment", comment.into()),
        ("state", "not running".into()),
    ])
}

fn state(core: &Core, views: &[View]) -> &'static str {
    if core.access.settings.mode == Mode::Disabled {
        return "no master wanted";
    }
    let connected = views.iter().filter(|v| v.current().is_some()).count();
    if connected > 0 {
        return if connected == views.len() { "connected" } else { "partly connected" };
    }
    let pending = |v: &View| matches!(v.status, Some(Status::Waiting { pending: true, .. }));
    if views.iter().any(pending) { "waiting for acceptance" } else { "searching" }
}

/// What happens when the master in use dies now, in a sentence.
fn outlook(places: &[Place]) -> Value {
    let named = |state: &str| -> Vec<&str> {
        places.iter().filter(|p| p.state == state).map(|p| p.name.as_str()).collect()
    };
    let (current, ready, unknown) = (named("current"), named("ready"), named("unknown"));
    match (current.len(), ready.is_empty()) {
        (0, _) => "no master is in use".into(),
        (_, false) => format!("goes to {}", ready.join(" or ")).into(),
        (1, true) if unknown.is_empty() => "no other master would take this minion".into(),
        (1, true) => format!("not known yet: {} not tried", unknown.join(", ")).into(),
        (_, true) => "the other connections stay".into(),
    }
}

fn place_shown(place: Place) -> Value {
    let mut shown = Map::from([("state", place.state)]);
    if !place.reason.is_empty() {
        shown.insert("reason", place.reason);
    }
    if !place.text.is_empty() {
        shown.insert("text", place.text);
    }
    if let Some(age) = place.age {
        shown.insert("checked", ago(age));
    }
    if place.warm {
        shown.insert("warm", true);
    }
    Value::Map(shown)
}

fn switch_shown(switch: LastSwitch) -> Value {
    Value::from_iter([
        ("time", ago(switch.age)),
        ("from", switch.from.into()),
        ("to", switch.to.into()),
        ("reason", switch.reason.into()),
        ("gap_seconds", seconds(switch.gap)),
    ])
}

/// A moment that long ago, in UTC.
fn ago(age: Duration) -> Value {
    let at = SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
    // Rounded, so that the same moment is written the same way each time.
    let text = stamp(at + Duration::from_millis(500));
    Value::from(format!("{}Z", text.split('.').next().unwrap_or(&text)))
}

fn millis(time: Duration) -> Value {
    Value::from((time.as_secs_f64() * 10_000.0).round() / 10.0)
}

/// Seconds with three places.
pub(crate) fn seconds(time: Duration) -> Value {
    Value::from((time.as_secs_f64() * 1000.0).round() / 1000.0)
}

/// A number of things.
pub(crate) fn count(number: usize) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// One name as text, several as a list, none as nothing.
fn one_or_all(mut names: Vec<String>) -> Value {
    match names.len() {
        0 => Value::Nil,
        1 => names.pop().map_or(Value::Nil, Value::from),
        _ => Value::from(names),
    }
}

/// What a verdict is called where nothing more is known.
pub(crate) fn word(verdict: Option<&saltern_failover::Verdict>) -> &'static str {
    verdict.map_or("no other master", reason)
}
