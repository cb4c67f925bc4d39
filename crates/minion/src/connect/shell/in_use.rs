//! The connection in use: taking one into use, asking whether its master lives, leaving it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use saltern_failover::{Attempt, LossReason, Master, Probe};

use super::{COOLED_LOOK, Current, Established, Event, Guard, Shell, Tagged};
use crate::connect::attempt;
use crate::connect::reader::{self, Entry, Progress};
use crate::core::Core;
use crate::link::Link;
use crate::verdict;

/// A connection left for a better one is read for this long: what was published just before the
/// new subscription began comes only here. Jobs that come both ways run once.
const LINGER: Duration = Duration::from_secs(2);

/// How long the way back to a master that was left, but lives, is kept for returns.
const KEPT_FOR_RETURNS: Duration = Duration::from_secs(600);

impl Shell {
    pub(super) fn adopt(&mut self, attempt: Attempt, master: Master) {
        let Some(established) = self.ready.remove(&attempt) else {
            // Cannot happen; the machine is told rather than left waiting.
            drop(self.sender.send(Event::Lost(attempt, LossReason::Closed)));
            return;
        };
        let Established { tagged: Tagged { link, tag }, subscriber, pulse, signs } = *established;
        let position = self.position(master);
        let before = self.current.as_ref().filter(|c| c.link.master() == position);
        let entry = match before {
            Some(before) if before.progress.is_ready() => Entry::Refreshed,
            _ if self.core.slots.get(self.slot).is_some_and(|s| s.facts().has_pillar) => {
                Entry::Again
            }
            _ => Entry::First,
        };
        match entry {
            Entry::Refreshed => log::info!("A fresh connection to the Salt Master {}", link.name()),
            _ => log::info!("Connected to the Salt Master {}", link.name()),
        }
        self.waiting_logged = false;
        tag.set(attempt);
        link.put_to_use();
        self.core.adopt(self.slot, link.clone());
        self.release(master);
        self.probers.clear();
        let (core, slot, sender) = (self.core.clone(), self.slot, self.sender.clone());
        let (reading, progress) = (link.clone(), Progress::default());
        let going = progress.clone();
        let task = tokio::spawn(async move {
            let reason = reader::run(core, slot, reading, subscriber, entry, going).await;
            drop(sender.send(Event::Lost(attempt, reason)));
        });
        let reader = Guard(task.abort_handle());
        let current = Current { attempt, link, pulse, progress, reader, _signs: signs };
        // Another connection still in use is left without a gap. Requests under way hold it until
        // they are answered; returns under way move over.
        if let Some(old) = self.current.replace(current) {
            if old.link.master() != position {
                log::info!("Leaving the Salt Master {}", old.link.name());
                tokio::spawn(keep_for_returns(self.core.clone(), old.link));
            }
            let reader = old.reader;
            let linger = tokio::spawn(async move {
                tokio::time::sleep(LINGER).await;
                drop(reader);
            });
            self.left = Some(Guard(linger.abort_handle()));
        }
    }

    /// Asks over `link` for a proof of the key, without one for any answer.
    pub(super) fn probe(
        &mut self,
        probe: Probe,
        master: Master,
        link: Option<Arc<Link>>,
        deadline: Duration,
    ) {
        let sender = self.sender.clone();
        let position = self.position(master);
        let access = &self.core.access;
        // The master needs its open files, so one connection does, unless requests wait on it.
        let current = self.current.as_ref().filter(|c| c.link.master() == position);
        let shared = current.map(|c| c.link.requester()).filter(|shared| shared.is_free());
        let requester = match shared {
            Some(shared) => shared.clone(),
            None => self.probers.entry(master).or_insert_with(|| access.prober(position)).clone(),
        };
        tokio::spawn(async move {
            let result = match link {
                Some(link) => attempt::prove(&link, &requester, deadline).await,
                None => verdict::ping(&requester, deadline).await,
            };
            drop(sender.send(Event::Probed(probe, result)));
        });
    }

    pub(super) fn disconnect(&mut self, attempt: Attempt, reason: LossReason) {
        let Some(current) = self.current.take_if(|c| c.attempt == attempt) else { return };
        self.core.leave(self.slot, &current.link);
        self.probers.clear();
        let name = current.link.name();
        match reason {
            LossReason::Stopped | LossReason::Failback => {
                log::info!("Leaving the Salt Master {name}: {reason}");
            }
            _ => log::warn!("Connection to the Salt Master {name} lost: {reason}"),
        }
    }
}

/// Keeps the way to a master that was left although it lives: what its jobs return goes there
/// first. Ends when that is done, with the connection, when there is another link to this master,
/// or in time.
async fn keep_for_returns(core: Arc<Core>, link: Arc<Link>) {
    if core.link_to(link.master()).is_some() {
        return;
    }
    link.hold();
    core.keep(link.clone());
    let end = Instant::now() + KEPT_FOR_RETURNS;
    tokio::time::sleep(LINGER).await;
    let table = core.clone();
    let running = tokio::task::spawn_blocking(move || table.jobs.running()).await;
    let mut jids: Vec<String> = running
        .unwrap_or_default()
        .iter()
        .filter_map(|job| job.get_str("jid").map(str::to_owned))
        .collect();
    let wanted = || {
        let same = |other: Arc<Link>| Arc::ptr_eq(&other, &link);
        // It may have no connection just now: the next request makes one.
        core.link_to(link.master()).is_some_and(same)
    };
    while wanted() && Instant::now() < end {
        jids.retain(|jid| core.jobs.job(jid).is_some());
        if jids.is_empty() && core.returns.depth() == 0 {
            break;
        }
        tokio::time::sleep(COOLED_LOOK).await;
    }
    core.release(&link);
}
