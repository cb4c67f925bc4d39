//! What a minion does again and again: grains, mine, the ping event.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use saltern_modules::Refresh;
use saltern_value::{Map, Value};
use tokio::task::JoinSet;

use crate::core::Core;
use crate::{host, mine};

/// When the start is over, and how often an idle minion gives back what its last jobs needed.
const REST_FIRST: Duration = Duration::from_secs(5);
const REST_EVERY: Duration = Duration::from_secs(5);

/// Runs for the life of the minion.
pub(crate) async fn run(core: Arc<Core>) {
    let opts = core.access.opts.clone();
    let mut jobs = JoinSet::new();
    jobs.spawn(rest(core.clone()));
    if let Some(every) = minutes(opts.grains_refresh_every) {
        let core = core.clone();
        jobs.spawn(repeat(every, move || {
            let core = core.clone();
            async move {
                for slot in 0..core.slots.len() {
                    host::refresh(&core, slot, Refresh::Grains).await;
                }
            }
        }));
    }
    if let Some(every) = minutes(opts.mine_interval).filter(|_| opts.mine_enabled) {
        let core = core.clone();
        jobs.spawn(repeat(every, move || {
            let core = core.clone();
            async move {
                for slot in 0..core.slots.len() {
                    mine::update(&core, slot).await;
                }
            }
        }));
    }
    if let Some(every) = minutes(opts.ping_interval) {
        jobs.spawn(repeat(every, move || ping(core.clone())));
    }
    while jobs.join_next().await.is_some() {}
}

/// Keeps an idle minion small: what only the start or a job needed is given back.
async fn rest(core: Arc<Core>) {
    tokio::time::sleep(REST_FIRST).await;
    loop {
        if core.jobs.running().is_empty() {
            saltern_base::memory::release_heap();
            saltern_base::memory::release_code();
        }
        tokio::time::sleep(REST_EVERY).await;
    }
}

fn minutes(option: i64) -> Option<Duration> {
    u64::try_from(option).ok().filter(|m| *m > 0).map(|m| Duration::from_secs(m * 60))
}

async fn repeat<F: Future<Output = ()>>(every: Duration, work: impl Fn() -> F) {
    // The first time comes somewhere within the interval, so that a fleet does not march in step.
    tokio::time::sleep(every.mul_f64(0.5 + 0.5 * fastrand::f64())).await;
    loop {
        work().await;
        tokio::time::sleep(every).await;
    }
}

/// `ping_interval`: no answer makes the prober look at once (the link says so by itself).
async fn ping(core: Arc<Core>) {
    for slot in &core.slots {
        let Some(link) = slot.link() else { continue };
        let load = Map::from([
            ("cmd", Value::from("_minion_event")),
            ("tag", Value::from("minion_ping")),
            ("data", Value::from("ping")),
            ("pretag", Value::Nil),
        ]);
        if let Err(error) = link.request(load, core.access.settings.request_timeout).await {
            log::warn!("No answer to the ping event from {}: {error}", link.name());
        }
    }
}
