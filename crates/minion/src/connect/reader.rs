//! Reads the publications of the connection in use: first the pillar, then jobs; notices at once
//! when the connection is gone, whatever else it waits for.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use saltern_failover::LossReason;
use saltern_transport::zeromq::{Lost, LostReason, Subscriber};
use saltern_wire::publish::{Dropped, OpenError};

use crate::core::Core;
use crate::jobs;
use crate::link::Link;
use crate::startup;

/// Publications held while something else is waited for; what is more waits in the socket.
const HELD: usize = 1000;

/// Tries to sign in again for a publication under a new key, and the pause between them.
const RENEWALS: u32 = 10;
const RENEWAL_PAUSE: Duration = Duration::from_secs(1);

/// When this many minions have to sign in again at once, they do it one after the other in this
/// time each; at most in the second time all together, and in the third when the number is unknown.
const REAUTH_EACH: Duration = Duration::from_millis(1);
const REAUTH_MOST: Duration = Duration::from_secs(10);
const REAUTH_UNKNOWN: Duration = Duration::from_secs(1);

/// What a connection is to this minion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// The first one.
    First,
    /// One after another was lost or left.
    Again,
    /// A fresh one to the master in use: nothing has to be fetched or said again.
    Refreshed,
}

/// Whether what jobs need has been fetched, and the master knows that we are here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Arc<AtomicBool>);

impl Progress {
    pub(crate) fn is_ready(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

struct Reader {
    core: Arc<Core>,
    slot: usize,
    link: Arc<Link>,
    subscriber: Subscriber,
    held: VecDeque<Vec<Vec<u8>>>,
    entry: Entry,
    progress: Progress,
}

/// Reads until the connection is lost; says why.
pub(crate) async fn run(
    core: Arc<Core>,
    slot: usize,
    link: Arc<Link>,
    subscriber: Subscriber,
    entry: Entry,
    progress: Progress,
) -> LossReason {
    let held = VecDeque::new();
    let mut reader = Reader { core, slot, link, subscriber, held, entry, progress };
    match reader.read().await {
        Ok(never) => match never {},
        Err(lost) => {
            log::debug!("Publications from {}: {lost}", reader.link.name());
            match lost.reason {
                LostReason::Silent | LostReason::Timeout => LossReason::Silent,
                LostReason::Refused => LossReason::Refused,
                _ => LossReason::Closed,
            }
        }
    }
}

impl Reader {
    async fn read(&mut self) -> Result<std::convert::Infallible, Lost> {
        if self.entry != Entry::Refreshed {
            let ready = startup::prepare(self.core.clone(), self.slot, self.link.clone());
            self.meanwhile(ready).await?;
            startup::announce(&self.core, self.slot, &self.link, self.entry);
        }
        self.progress.0.store(true, Ordering::Relaxed);
        loop {
            let frames = match self.held.pop_front() {
                Some(frames) => frames,
                None => self.subscriber.next().await?,
            };
            self.publication(&frames).await?;
        }
    }

    /// Waits for something, and holds what arrives in between; ends early when the connection
    /// is lost.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Lost> {
        let mut work = pin!(work);
        loop {
            let room = self.held.len() < HELD;
            tokio::select! {
                done = &mut work => return Ok(done),
                frames = self.subscriber.next(), if room => self.held.push_back(frames?),
            }
        }
    }

    async fn publication(&mut self, frames: &[Vec<u8>]) -> Result<(), Lost> {
        let payload = match self.link.payload(frames) {
            Ok(payload) => payload,
            Err(why) => {
                log::debug!("A publication of {} is dropped: {why}", self.link.name());
                // Stock's topics are prefixes: now and then one comes along that is another's.
                if why != Dropped::OtherTopic {
                    self.core.unread.fetch_add(1, Ordering::Relaxed);
                }
                return Ok(());
            }
        };
        let (mut renewed, mut failures) = (false, 0);
        loop {
            let generation = self.link.generation();
            match self.link.open(&payload) {
                Ok(job) => {
                    jobs::accept(&self.core, self.slot, &self.link, job);
                    return Ok(());
                }
                Err(OpenError::NeedsReauth) if !renewed && failures < RENEWALS => {
                    if self.renew(generation).await? {
                        renewed = true;
                    } else {
                        failures += 1;
                    }
                }
                Err(error) => {
                    log::warn!("From {}: {error}", self.link.name());
                    self.core.unread.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
            }
        }
    }

    /// Signs in again; `false`, after a pause, when that failed.
    async fn renew(&mut self, generation: u64) -> Result<bool, Lost> {
        let link = self.link.clone();
        let delay = self.reauth_delay();
        let work = async move {
            tokio::time::sleep(delay).await;
            let done = link.renew(generation).await.is_ok();
            if !done {
                tokio::time::sleep(RENEWAL_PAUSE).await;
            }
            done
        };
        self.meanwhile(work).await
    }

    /// A random time, so that all minions of a master with new keys do not come at once.
    fn reauth_delay(&self) -> Duration {
        let all = self.core.access.settings.reauth_spread.unwrap_or_else(|| {
            let each = |n| REAUTH_EACH.saturating_mul(u32::try_from(n).unwrap_or(u32::MAX));
            self.link.minions().map_or(REAUTH_UNKNOWN, |n| each(n).min(REAUTH_MOST))
        });
        all.mul_f64(fastrand::f64())
    }
}
