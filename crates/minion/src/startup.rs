//! What a minion does when a connection has come: the pillar first, then it says that it is here.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use saltern_base::time::asctime;
use saltern_event::tags;
use saltern_value::{Map, Value};

use crate::connect::Entry;
use crate::core::Core;
use crate::link::Link;
use crate::mine;

/// A pillar that failed is asked for again after this time, up to that many times.
const PILLAR_AGAIN: Duration = Duration::from_secs(30);
const PILLAR_TRIES: u32 = 20;

/// The mine follows within this time; after a switch within the second, so that a fleet that moves
/// does not send all at once.
const MINE_SPREAD: Duration = Duration::from_secs(10);
const MINE_SPREAD_SWITCH: Duration = Duration::from_secs(30);

/// Fetches what jobs need before the first of them runs.
pub(crate) async fn prepare(core: Arc<Core>, slot: usize, link: Arc<Link>) {
    if let Err(error) = core.refresh_pillar(slot, &link).await {
        let kept = core.slots.get(slot).is_some_and(|s| s.facts().has_pillar);
        let what = if kept { "the former one stays in use" } else { "there is none for now" };
        log::error!("No pillar from {}: {error}; {what}", link.name());
        tokio::spawn(pillar_later(core, slot, link));
    }
}

/// Asks again in the background while the connection is the one in use.
async fn pillar_later(core: Arc<Core>, slot: usize, link: Arc<Link>) {
    for _ in 0..PILLAR_TRIES {
        tokio::select! {
            () = core.left(slot, &link) => return,
            () = tokio::time::sleep(PILLAR_AGAIN) => {}
        }
        match core.refresh_pillar(slot, &link).await {
            Ok(()) => return,
            Err(error) => log::debug!("Still no pillar from {}: {error}", link.name()),
        }
    }
}

/// Fires the start events and sends the mine. Does not wait for anything.
pub(crate) fn announce(core: &Arc<Core>, slot: usize, link: &Arc<Link>, entry: Entry) {
    log::info!("Minion is ready to receive requests!");
    let (core, link) = (core.clone(), link.clone());
    tokio::spawn(async move {
        let opts = &core.access.opts;
        if opts.enable_legacy_startup_events {
            fire(&core, slot, &link, tags::MINION_START).await;
        }
        fire(&core, slot, &link, &tags::minion_start(core.id())).await;
        let spread = if entry == Entry::First { MINE_SPREAD } else { MINE_SPREAD_SWITCH };
        tokio::time::sleep(spread.mul_f64(fastrand::f64())).await;
        if core.slots.get(slot).and_then(|s| s.link()).is_some_and(|l| Arc::ptr_eq(&l, &link)) {
            mine::update(&core, slot).await;
        }
    });
}

async fn fire(core: &Core, slot: usize, link: &Link, tag: &str) {
    let text = format!("Minion {} started at {}", core.id(), asctime(SystemTime::now()));
    let mut load = Map::from([
        ("cmd", Value::from("_minion_event")),
        ("pretag", Value::Nil),
        ("tag", Value::from(tag)),
        ("data", Value::from(text)),
    ]);
    let names = &core.access.opts.start_event_grains;
    if !names.is_empty() {
        let grains = core.slots.get(slot).map(|s| s.facts().grains).unwrap_or_default();
        let chosen: Map = names
            .iter()
            .filter_map(|name| grains.get(name).map(|value| (name.as_str(), value.clone())))
            .collect();
        load.insert("grains", chosen);
    }
    if let Err(error) = link.request(load, core.access.settings.request_timeout).await {
        log::warn!("The event {tag} did not reach {}: {error}", link.name());
    }
}
