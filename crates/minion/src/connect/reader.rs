//! Reads the publications of the connection in use: first the pillar, then jobs; notices at once
//! when the connection is gone, whatever else it waits for.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use saltern_failover::LossReason;
use saltern_transport::zeromq::{Lost, LostReason, Subscriber};
use saltern_wire::publish::OpenError;

use crate::core::Core;
use crate::jobs;
use crate::link::Link;
use crate::startup;

/// Publications held while something else is waited for; what is more waits in the socket.
const HELD: usize = 1000;

/// Tries to sign in again for a publication under a new key, and the pause between them.
const RENEWALS: u32 = 10;
const RENEWAL_PAUSE: Duration = Duration::from_secs(1);

struct Reader {
    core: Arc<Core>,
    slot: usize,
    link: Arc<Link>,
    subscriber: Subscriber,
    held: VecDeque<Vec<Vec<u8>>>,
}

/// Reads until the connection is lost; says why.
pub(crate) async fn run(
    core: Arc<Core>,
    slot: usize,
    link: Arc<Link>,
    subscriber: Subscriber,
) -> LossReason {
    let mut reader = Reader { core, slot, link, subscriber, held: VecDeque::new() };
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
        let ready = startup::prepare(self.core.clone(), self.slot, self.link.clone());
        self.meanwhile(ready).await?;
        startup::announce(&self.core, self.slot, &self.link);
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
                    return Ok(());
                }
            }
        }
    }

    /// Signs in again; `false`, after a pause, when that failed.
    async fn renew(&mut self, generation: u64) -> Result<bool, Lost> {
        let link = self.link.clone();
        let work = async move {
            let done = link.renew(generation).await.is_ok();
            if !done {
                tokio::time::sleep(RENEWAL_PAUSE).await;
            }
            done
        };
        self.meanwhile(work).await
    }
}
