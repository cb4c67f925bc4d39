//! What a master does by itself: replaces the AES key, removes old jobs, tells who is connected,
//! and looks after what the tools of this host change behind its back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use saltern_base::{MinionId, memory};
use saltern_event::tags;
use saltern_store::dropfile;
use saltern_value::Map;
use tokio::time::{
    Instant as TokioInstant, Interval, MissedTickBehavior, interval, sleep, sleep_until, timeout,
};

use crate::context::{Net, Shared};
use crate::publish::new_job;
use crate::runners::manage_health::export;

/// Runs all of it until it is dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    tokio::join!(
        housekeeping(&shared),
        expiry(&shared),
        rotation(&shared),
        keys_changed(&shared),
        memory_returns(&shared),
        export::run(&shared)
    );
}

/// How often it is looked whether memory could be given back.
const MEMORY_EVERY: Duration = Duration::from_secs(5);
/// Growth since memory was last given back from which on it is worth it, in KiB.
const GROWTH: u64 = 2 << 10;
/// Looks while the master is busy after which it is done all the same.
const BUSY_LOOKS: u32 = 6;
/// Looks after which it is done again, one after the other: what looked like the end of a burst may
/// have come while the burst still held its memory, and what is freed later shows nowhere.
const AGAIN: [u32; 4] = [1, 3, 9, 27];

/// Gives memory back when a burst is over, and now and then during a long one.
async fn memory_returns(shared: &Arc<Shared>) {
    let mut ticks = interval(MEMORY_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut taken, mut floor, mut busy) = (0, u64::MAX, 0);
    let (mut tries, mut since) = (AGAIN.len(), 0);
    loop {
        ticks.tick().await;
        let now = shared.counters.requests().taken;
        let calm = now - taken < CALM;
        taken = now;
        let Some(used) = memory::usage() else { return };
        floor = floor.min(used);
        busy = if calm { 0 } else { busy + 1 };
        let grown = used >= floor.saturating_add(GROWTH) && (calm || busy >= BUSY_LOOKS);
        since += 1;
        let again = AGAIN.get(tries).is_some_and(|looks| since >= *looks);
        match (grown, again) {
            (true, _) => tries = 0,
            (false, true) => tries += 1,
            (false, false) => continue,
        }
        (busy, since) = (0, 0);
        // Not under the bound of what computes: it waits for nobody, and takes milliseconds.
        if tokio::task::spawn_blocking(memory::release_heap).await.is_ok() {
            floor = memory::usage().unwrap_or(used);
        }
    }
}

/// Requests between two looks that make no burst.
const CALM: u64 = 250;

/// Ticks every `loop_interval`.
fn loop_interval(shared: &Shared) -> Interval {
    let every = shared.opts.loop_interval.max(1.0);
    let mut ticks = interval(Duration::try_from_secs_f64(every).unwrap_or(Duration::from_secs(60)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Every `loop_interval`, old jobs go. By itself: it takes a while after a busy day.
async fn expiry(shared: &Arc<Shared>) {
    let mut ticks = loop_interval(shared);
    loop {
        ticks.tick().await;
        match shared.jobs.expire().await {
            Ok(0) => {}
            Ok(gone) => log::debug!("Removed {gone} old jobs from the job cache"),
            Err(error) => log::error!("Old jobs not removed: {error}"),
        }
    }
}

/// Every `loop_interval`: presence, the drop file of tools, the log of refusals.
async fn housekeeping(shared: &Arc<Shared>) {
    let mut ticks = loop_interval(shared);
    loop {
        ticks.tick().await;
        shared.counters.flush(Instant::now());
        log_connections(shared);
        look_for_dropfile(shared).await;
        let written = shared.compute(|shared| shared.readiness.flush()).await;
        if let Err(error) = written.unwrap_or_else(Err) {
            log::error!("Failover reports not written: {error}");
        }
        if shared.opts.presence_events {
            let (present, change) = shared.presence.events();
            if let Some(change) = change {
                shared.fire(tags::PRESENCE_CHANGE, change);
            }
            shared.fire(tags::PRESENCE_PRESENT, present);
        }
    }
}

fn log_connections(shared: &Shared) {
    let Net { router, publisher, places } = &shared.net;
    let (waiting, bytes) = publisher.waiting();
    log::debug!(
        "{} subscribers and {} connections for requests of {} at most; {waiting} publications \
         ({bytes} bytes) wait for slow subscribers",
        publisher.connections(),
        router.counters().open,
        places.limit()
    );
}

/// A minion learns of a new AES key from a publication that it cannot open, and is given the key of
/// the moment at which it asks. Had that been replaced meanwhile, a stock minion would never open that
/// publication; ours are given the former key besides, but no third one. So replacements are few: keys
/// deleted together share one (their events come one by one, and `salt-key` leaves a drop file
/// besides), and the next one waits until minions, which spread their sign-ins, have come for this
/// one. Real Salt's master looks once in a `loop_interval`.
const TOGETHER: Duration = Duration::from_millis(500);
const ROTATION_GAP: Duration = Duration::from_secs(2);
/// By how much minions of ours spread these sign-ins: this for each of them.
const SPREAD_EACH: Duration = Duration::from_millis(1);
const SPREAD_MOST: Duration = Duration::from_secs(10);

/// Replaces the AES key every `publish_session` seconds, and whenever asked to.
async fn rotation(shared: &Arc<Shared>) {
    let seconds = u64::try_from(shared.opts.publish_session).unwrap_or(0);
    let period = Duration::from_secs(if seconds == 0 { 86_400 } else { seconds });
    let mut next = TokioInstant::now();
    loop {
        tokio::select! {
            () = sleep(period) => {}
            () = shared.rotate.notified() => {
                sleep_until(next.max(TokioInstant::now() + TOGETHER)).await;
                // Who asked meanwhile is served by this one.
                drop(timeout(Duration::ZERO, shared.rotate.notified()).await);
            }
        }
        rotate(shared).await;
        let minions = u32::try_from(shared.net.publisher.connections()).unwrap_or(u32::MAX);
        let spread = SPREAD_EACH.saturating_mul(minions).min(SPREAD_MOST);
        next = TokioInstant::now() + ROTATION_GAP + spread;
    }
}

async fn rotate(shared: &Arc<Shared>) {
    match shared.compute(|shared| shared.outlet.rotate(&shared.keys)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return log::error!("AES key not replaced: {error}"),
        Err(why) => return log::error!("AES key not replaced: {why}"),
    }
    log::info!("Rotating master AES key");
    shared.fire(tags::ROTATE, Map::from([("rotate_aes_key", true)]));
    if shared.opts.ping_on_rotate {
        // Makes every minion notice now instead of at its next job.
        let ping = new_job("*".into(), "glob", "test.ping", &shared.opts.user);
        if let Err(error) = shared.publish(ping).await {
            log::info!("No ping after the rotation: {error}");
        }
    }
}

/// How long after the news of a deleted key its drop file may still appear.
const DROPFILE_DELAY: Duration = Duration::from_millis(300);

/// `salt-key` works on the pki directory by itself and tells about it on the bus. A key that is
/// gone takes its session with it, and the drop file is looked for at once and a little later.
async fn keys_changed(shared: &Arc<Shared>) {
    let mut pushed = shared.bus.pushed();
    let mut look = None;
    loop {
        let later = look.unwrap_or_else(tokio::time::Instant::now);
        tokio::select! {
            event = pushed.next() => {
                let Some(event) = event else { return };
                let act = event.data.get_str("act").unwrap_or_default();
                if event.tag == tags::KEY && WITHDRAWN.contains(&act) {
                    forget_if_gone(shared, &event.data).await;
                    look_for_dropfile(shared).await;
                    look = Some(TokioInstant::now() + DROPFILE_DELAY);
                }
            }
            () = sleep_until(later), if look.is_some() => {
                look = None;
                look_for_dropfile(shared).await;
            }
        }
    }
}

/// What both Salt generations call it.
const WITHDRAWN: [&str; 4] = ["delete", "deleted", "reject", "rejected"];

/// Forgets the minion of a key event, if it is true: the bus is no proof.
async fn forget_if_gone(shared: &Arc<Shared>, data: &Map) {
    let Some(Ok(id)) = data.get_str("id").map(MinionId::parse) else { return };
    let done = shared
        .compute(move |shared| {
            if matches!(shared.pki.accepted(&id), Ok(None)) {
                shared.forget_session(&id);
            }
        })
        .await;
    if let Err(why) = done {
        log::error!("Session of a deleted key not removed: {why}");
    }
}

async fn look_for_dropfile(shared: &Arc<Shared>) {
    let taken =
        shared.compute(|shared| dropfile::take(&shared.opts.cachedir, &shared.opts.id)).await;
    match taken {
        Ok(Ok(true)) => shared.rotate.notify_one(),
        Ok(Ok(false)) => {}
        Ok(Err(error)) => log::error!("Cannot see whether a new AES key is wanted: {error}"),
        Err(why) => log::error!("Cannot see whether a new AES key is wanted: {why}"),
    }
}
