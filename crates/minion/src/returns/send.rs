//! Delivers returns: a few at a time, to the master they were asked by or to one that lives, until
//! one acknowledges each.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::core::Core;
use crate::link::{Link, LinkError};
use crate::returns::Item;

/// Returns under way at a time: more would not reach a master sooner.
const AT_ONCE: usize = 8;

/// Pause after all tries of a return failed, while its master still counts as connected.
const PAUSE: Duration = Duration::from_secs(30);

/// Failed tries at the master that issued the job before another connected one is taken.
const LOYAL_TRIES: u32 = 2;

/// Runs for the life of the minion.
pub(crate) async fn run(core: Arc<Core>) {
    let mut flights: JoinSet<Option<Item>> = JoinSet::new();
    loop {
        while flights.len() < AT_ONCE {
            let Some((item, link)) = next(&core) else { break };
            flights.spawn(deliver(core.clone(), link, item));
            core.returning.store(flights.len(), Ordering::Relaxed);
        }
        let room = flights.len() < AT_ONCE && connected(&core);
        let due = core.returns().next_due().filter(|_| room);
        let pause = async {
            match due {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = core.returns_changed.notified() => {}
            () = pause => {}
            Some(done) = flights.join_next() => {
                if let Ok(Some(item)) = done {
                    core.queue_return(item);
                }
                core.returning.store(flights.len(), Ordering::Relaxed);
            }
        }
    }
}

fn connected(core: &Core) -> bool {
    core.slots.iter().any(|slot| slot.link().is_some())
}

/// The next return that has somewhere to go.
fn next(core: &Core) -> Option<(Item, Arc<Link>)> {
    if !connected(core) {
        return None;
    }
    let item = core.returns().pop(Instant::now())?;
    let own = core.slots.get(item.slot).and_then(|slot| slot.link());
    let elsewhere = || {
        let others = core.slots.iter().enumerate().filter(|(i, _)| *i != item.slot);
        others.into_iter().find_map(|(_, slot)| slot.link())
    };
    let link = match own {
        Some(link) if item.tries < LOYAL_TRIES => Some(link),
        own => elsewhere().or(own),
    };
    match link {
        Some(link) => Some((item, link)),
        None => {
            core.returns().push(item);
            None
        }
    }
}

/// One try; gives the return back when it is to be tried again.
async fn deliver(core: Arc<Core>, link: Arc<Link>, mut item: Item) -> Option<Item> {
    let (low, high) = core.access.settings.return_timer;
    let spread = high.saturating_sub(low).mul_f64(fastrand::f64());
    let sent = tokio::select! {
        sent = link.request(item.load.clone(), low + spread) => sent,
        // The master is lost: no need to wait for the time to pass.
        () = core.left(item.slot, &link) => Err(LinkError::Local("the master was left".into())),
    };
    let error = match sent {
        Ok(_) => {
            log::debug!("Returned job {} to {}", item.jid(), link.name());
            return None;
        }
        Err(error) => error,
    };
    item.tries += 1;
    log::warn!("The return of job {} did not reach {}: {error}", item.jid(), link.name());
    if item.tries >= core.access.settings.return_tries {
        item.not_before = Some(Instant::now() + PAUSE);
    }
    Some(item)
}
