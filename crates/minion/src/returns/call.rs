//! The return of a program that lives for one call (`salt-call`): on disk first as well, to the
//! master that took the call, then to any other, within a bound; what is left over is for the
//! daemon on this machine.

use std::sync::Arc;
use std::time::Duration;

use saltern_value::{Map, Value};
use tokio::time::{Instant, timeout_at};

use super::Item;
use super::store::keep_alone;
use crate::access::{Access, Purpose};
use crate::link::Link;

/// Tries at the master that took the call.
const LOYAL_TRIES: u32 = 2;

/// A try takes this much longer for each so many bytes.
const BYTES_A_SECOND: u64 = 4 << 20;

/// Delivers a return; `false` when no master has it in time and it lies in the spool.
pub(crate) async fn deliver_alone(access: &Arc<Access>, link: &Arc<Link>, load: Map) -> bool {
    let item = Item::new(load, Some(link.name().to_owned()));
    let longer = Duration::from_secs(item.weight() / BYTES_A_SECOND);
    let cachedir = access.opts.cachedir.clone();
    let kept = {
        let item = item.clone();
        tokio::task::spawn_blocking(move || keep_alone(&cachedir, &item)).await
    };
    // The lock says that this program is still at it.
    let kept = match kept {
        Ok(Ok(kept)) => Some(kept),
        Ok(Err(error)) => {
            log::warn!(
                "The return cannot be written to the spool, so it is tried here only: {error}"
            );
            None
        }
        Err(_) => None,
    };
    let patience = access.settings.return_timer.1;
    let end = Instant::now() + patience + longer;
    let delivered = timeout_at(end, somewhere(access, link, &item, patience / 4 + longer)).await;
    if delivered.is_ok() {
        if let Some((path, _lock)) = kept {
            drop(std::fs::remove_file(path));
        }
        return true;
    }
    match &kept {
        Some((path, _)) => log::warn!(
            "No master took the {}; it is kept in {} and the minion daemon delivers it",
            item.what(),
            path.display()
        ),
        None => log::error!("No master took the {}; it is lost", item.what()),
    }
    kept.is_none()
}

async fn somewhere(access: &Arc<Access>, link: &Arc<Link>, item: &Item, patience: Duration) {
    for _ in 0..LOYAL_TRIES {
        if sent(link, (*item.load).clone(), patience).await {
            return;
        }
    }
    loop {
        let others = (0..access.settings.masters.len()).filter(|m| *m != link.master());
        for master in others {
            let requester = access.requester(master);
            let signed_in = access.sign_in(master, &requester, Purpose::Standby);
            let Ok(Ok(credentials)) = tokio::time::timeout(patience, signed_in).await else {
                continue;
            };
            let quiet = Box::new(|_| {});
            let other = Link::new(access.clone(), master, requester, &credentials, quiet);
            let mut load = (*item.load).clone();
            load.insert("origin", link.name());
            if sent(&other, load, patience).await {
                return;
            }
        }
        tokio::time::sleep(patience / 4).await;
        if sent(link, (*item.load).clone(), patience).await {
            return;
        }
    }
}

async fn sent(link: &Link, load: Map, patience: Duration) -> bool {
    match link.request(load, patience).await {
        Ok(Value::Bool(false)) => log::warn!("The return is not taken by {}", link.name()),
        Ok(_) => return true,
        Err(error) => log::warn!("The return did not reach {}: {error}", link.name()),
    }
    false
}
