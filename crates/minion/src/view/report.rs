//! Reports to masters: after a connection and a change of what is known, some seconds later so
//! that a fleet does not speak at once and several changes are one report; and now and then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use saltern_failover::{LossReason, Master};
use saltern_value::{Map, Value};

use super::View;
use super::shown::{
    Place, connected, count, last_switch, latency, lost, places, seconds, spool_depth,
};
use crate::core::Core;
use crate::link::Link;

/// A report follows a change within this time.
const JITTER: Duration = Duration::from_secs(5);

/// A report that did not arrive is sent again after this time, and half of that again by chance.
const AGAIN: Duration = Duration::from_secs(10);

/// How long a master may take to take one.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often it is looked whether something was lost, which nobody reports, and how soon after a
/// report that is reason enough for another one.
const LOOK: Duration = Duration::from_secs(10);
const LOSSES: Duration = Duration::from_secs(60);

/// Masters told of, and characters of a text; a master takes no more.
const MASTERS: usize = 32;
const TEXT: usize = 400;

/// What makes a new report worth sending: texts and ages do not.
type Digest = (Vec<String>, Vec<(String, &'static str, &'static str)>);

/// Runs for the life of the minion.
pub(crate) async fn run(core: Arc<Core>) {
    let run = format!("{:016x}", fastrand::u64(..));
    let mut changed = core.views.subscribe();
    let (mut told, mut serial) = (Digest::default(), 0_i64);
    let mut told_lost = Map::new();
    let (mut due, mut due_if_lost) = (Instant::now(), Instant::now());
    loop {
        changed.mark_unchanged();
        let views = core.views.all();
        let digest = digest(&core, &views);
        if digest.0.is_empty() {
            // Whoever takes us next shall hear of it all.
            told = Digest::default();
        } else if digest != told
            || Instant::now() >= due
            || (Instant::now() >= due_if_lost && lost(&core) != told_lost)
        {
            tokio::time::sleep(JITTER.mul_f64(fastrand::f64())).await;
            changed.mark_unchanged();
            serial += 1;
            let views = core.views.all();
            let fresh = self::digest(&core, &views);
            let mut report = report(&core, &views, &run, serial);
            let lost = lost(&core);
            report.insert("lost", lost.clone());
            report.insert("lost_told", told_lost.clone());
            if send(&core, report).await {
                let every = interval(&core).mul_f64(0.75 + 0.5 * fastrand::f64());
                (told, due) = (fresh, Instant::now() + every);
                (told_lost, due_if_lost) = (lost, Instant::now() + every.min(LOSSES));
            } else {
                tokio::time::sleep(AGAIN.mul_f64(1.0 + 0.5 * fastrand::f64())).await;
            }
            continue;
        }
        let rest = due.saturating_duration_since(Instant::now()).min(LOOK);
        tokio::select! {
            _ = changed.changed() => {}
            () = tokio::time::sleep(rest), if !digest.0.is_empty() => {}
        }
    }
}

/// How often, without any change.
fn interval(core: &Core) -> Duration {
    let set = core.raw.get("failover_standby_interval").and_then(Value::as_f64);
    Duration::try_from_secs_f64(set.unwrap_or(600.0))
        .unwrap_or_default()
        .clamp(Duration::from_secs(10), Duration::from_secs(86_400))
}

fn digest(core: &Core, views: &[View]) -> Digest {
    let places = places(core, views, Instant::now());
    let states = places.into_iter().map(|p| (p.name, p.state, p.reason)).collect();
    (connected(core, views), states)
}

fn report(core: &Core, views: &[View], run: &str, serial: i64) -> Map {
    let now = Instant::now();
    let mut places = places(core, views, now);
    // Should the list be longer than what is told: those that count.
    places.sort_by_key(|p| match p.state {
        "current" => 0,
        "ready" => 1,
        _ => 2,
    });
    let masters: Vec<Value> = places.into_iter().take(MASTERS).map(told_of).collect();
    let mut names = connected(core, views);
    names.truncate(MASTERS);
    let switch = last_switch(core, views, now).map_or(Value::Nil, |s| {
        Value::from_iter([
            ("age", seconds(s.age)),
            ("from", s.from.into()),
            ("to", s.to.into()),
            ("reason", s.reason.into()),
            ("gap", seconds(s.gap)),
        ])
    });
    Map::from([
        ("run", Value::from(run)),
        ("serial", serial.into()),
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("interval", seconds(interval(core))),
        ("connected", names.into()),
        ("masters", Value::List(masters)),
        ("switch", switch),
        ("latency", latency(views).map_or(Value::Nil, seconds)),
        ("spool", count(spool_depth(core))),
    ])
}

fn told_of(place: Place) -> Value {
    Value::from_iter([
        ("name", Value::from(place.name)),
        ("state", place.state.into()),
        ("reason", place.reason.into()),
        ("text", place.text.chars().take(TEXT).collect::<String>().into()),
        ("age", place.age.map_or(Value::Nil, seconds)),
    ])
}

/// Tells the masters in use; also, if they are ready to hear, those we could go to, so that each
/// master knows where its minions are. Whether all in use have heard it.
async fn send(core: &Arc<Core>, report: Map) -> bool {
    let tag = format!("salt/minion/{}/failover/report", core.id());
    let load = |link: &Link| {
        let mut report = report.clone();
        // A master does not know by what name a minion calls it.
        report.insert("via", link.name());
        Map::from([
            ("cmd", Value::from("_minion_event")),
            ("pretag", Value::Nil),
            ("tag", tag.as_str().into()),
            ("data", Value::Map(report)),
        ])
    };
    let in_use: Vec<Arc<Link>> = core.slots.iter().filter_map(|slot| slot.link()).collect();
    for link in kept(core, &in_use) {
        let load = load(&link);
        tokio::spawn(async move {
            if let Err(error) = link.request(load, TIMEOUT).await {
                log::debug!("The report did not reach the standby {}: {error}", link.name());
            }
        });
    }
    let mut heard = !in_use.is_empty();
    for link in in_use {
        if let Err(error) = link.request(load(&link), TIMEOUT).await {
            log::debug!("The report did not reach {}: {error}", link.name());
            heard = false;
        }
    }
    heard
}

/// The links to masters that are not in use.
fn kept(core: &Core, in_use: &[Arc<Link>]) -> Vec<Arc<Link>> {
    (0..core.access.settings.masters.len())
        .filter(|master| !in_use.iter().any(|link| link.master() == *master))
        .filter_map(|master| core.link_to(master))
        .collect()
}

/// Tells the new master that, and why, we came from another one.
pub(crate) fn switched(
    core: &Core,
    slot: usize,
    from: Option<Master>,
    to: Master,
    (reason, gap): (LossReason, Duration),
) {
    let view = core.views.all().into_iter().nth(slot).unwrap_or_default();
    let name = |master| {
        view.position(master).map_or_else(String::new, |at| core.access.master_name(at).to_owned())
    };
    let data = Map::from([
        ("id", Value::from(core.id())),
        ("from", from.map_or(Value::Nil, |master| name(master).into())),
        ("to", name(to).into()),
        ("reason", reason.to_string().into()),
        ("gap", seconds(gap)),
    ]);
    let tag = format!("salt/minion/{}/failover/switch", core.id());
    let load = Map::from([("pretag", Value::Nil), ("tag", tag.into()), ("data", data.into())]);
    core.send_event(slot, load);
}
