//! The minion's own event bus: what others fire there that the minion has to act on.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use saltern_event::{Event, Subscription, tags};
use saltern_modules::Refresh;
use saltern_value::{Map, Value};

use crate::core::Core;
use crate::{host, view};

/// Runs for the life of the minion.
pub(crate) async fn run(core: Arc<Core>, mut events: Subscription) {
    while let Some(event) = events.next().await {
        handle(&core, &event);
    }
}

fn handle(core: &Arc<Core>, event: &Event) {
    let what = match event.tag.as_str() {
        tags::FIRE_MASTER => return forward(core, &event.data),
        "manage_schedule" => return crate::schedule::handle(core, &core.schedule, &event.data),
        view::ASKED => {
            tokio::spawn(view::asked(core.clone(), event.data.clone()));
            return;
        }
        crate::returns::LEFT => return core.returns.left(),
        "_minion_mine" => return send_mine(core, &event.data),
        "module_refresh" => Refresh::Modules,
        "pillar_refresh" => Refresh::Pillar,
        "grains_refresh" => Refresh::Grains,
        _ => return,
    };
    for slot in 0..core.slots.len() {
        let core = core.clone();
        tokio::spawn(async move { host::refresh(&core, slot, what).await });
    }
}

/// `fire_master`: the event goes to every connected master; with none, it waits for one.
fn forward(core: &Core, data: &Map) {
    let mut load = Map::new();
    for name in ["tag", "data", "events", "pretag"] {
        if let Some(value) = data.get(name).filter(|v| name == "pretag" || !v.is_nil()) {
            load.insert(name, value.clone());
        }
    }
    if load.get("tag").is_none() && load.get("events").is_none() {
        log::warn!("A fire_master event has neither tag nor events and is dropped");
        core.no_events.fetch_add(1, Ordering::Relaxed);
        return;
    }
    to_all(core, |slot| core.send_event(slot, load.clone()));
}

/// `_minion_mine`: values for the mine, made by somebody else on this machine.
fn send_mine(core: &Core, data: &Map) {
    let mut load = data.clone();
    load.insert("cmd", Value::from("_mine"));
    to_all(core, |slot| {
        core.queue(slot, load.clone());
    });
}

fn to_all(core: &Core, send: impl Fn(usize)) {
    let connected: Vec<usize> = (0..core.slots.len())
        .filter(|i| core.slots.get(*i).is_some_and(|s| s.link().is_some()))
        .collect();
    if connected.is_empty() {
        send(0);
    }
    connected.into_iter().for_each(send);
}
