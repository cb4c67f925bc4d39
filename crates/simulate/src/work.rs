//! What a minion does for its masters: jobs, a journal of those begun, a spool of returns.

use std::collections::{BTreeMap, BTreeSet};

use saltern_failover::{Attempt, Input, ProbeResult};

use crate::clock::{Time, between, ms};
use crate::minion::{Step, Timer};
use crate::net::{Answer, Ask, Goal, Order, Publication};
use crate::world::World;

/// From a write until it is safe on the disk.
const SYNC: Time = ms(5);
/// How long a master may take to acknowledge a return.
const ACKNOWLEDGED_WITHIN: Time = ms(8000);

/// A return that waits for its acknowledgement.
#[derive(Clone, Copy, Debug)]
struct Item {
    origin: usize,
    lost: bool,
    tries: u32,
    not_before: Time,
    flying: bool,
}

/// What survives the process; what has not been synced does not survive the host.
#[derive(Default)]
struct Disk {
    journal: BTreeMap<u64, (usize, bool)>,
    spool: BTreeMap<u64, (usize, bool, bool)>,
}

#[derive(Default)]
pub(crate) struct Work {
    disk: Disk,
    seen: BTreeSet<u64>,
    running: BTreeMap<u64, usize>,
    takes: BTreeMap<u64, Time>,
    outbox: BTreeMap<u64, Item>,
    generation: u64,
    notices: u64,
}

impl Work {
    pub(crate) fn new(_masters: &[String]) -> Self {
        Work::default()
    }

    pub(crate) fn clock_jumps(&mut self, _hours: i64) {}

    pub(crate) fn noticed(&mut self) {
        self.notices += 1;
    }

    pub(crate) fn depth(&self) -> usize {
        self.outbox.len()
    }

    pub(crate) fn idle(&self) -> bool {
        self.outbox.is_empty() && self.running.is_empty() && self.disk.journal.is_empty()
    }
}

impl World {
    pub(crate) fn publication(
        &mut self,
        m: usize,
        attempt: Attempt,
        publication: Publication,
        renewed: bool,
    ) {
        let Some(session) = self.minions[m].sessions.get_mut(&attempt) else { return };
        if session.aes != publication.aes {
            if !renewed {
                session.held.push_back(publication);
                self.renew(m, attempt);
            }
            return;
        }
        let master = session.master;
        match publication.order {
            Order::Job { jid, takes } => self.job_arrives(m, master, jid, takes),
            Order::Leave { within } => {
                let pause = between(&mut self.rng, Time::ZERO, within);
                self.timer(m, pause, Timer::Leave);
            }
        }
    }

    fn job_arrives(&mut self, m: usize, master: usize, jid: u64, takes: Time) {
        let work = &mut self.minions[m].work;
        if !work.seen.insert(jid) && !self.sabotage.run_twice {
            return;
        }
        work.disk.journal.insert(jid, (master, false));
        work.takes.insert(jid, takes);
        self.timer(m, SYNC, Timer::Journalled { jid });
    }

    pub(crate) fn job_begins(&mut self, m: usize, jid: u64) {
        let work = &mut self.minions[m].work;
        let Some(entry) = work.disk.journal.get_mut(&jid) else { return };
        entry.1 = true;
        work.running.insert(jid, entry.0);
        let takes = work.takes.remove(&jid).unwrap_or_default();
        self.ledger_begun(m, jid);
        self.timer(m, takes, Timer::JobDone { jid });
    }

    pub(crate) fn job_done(&mut self, m: usize, jid: u64) {
        let work = &mut self.minions[m].work;
        let Some(origin) = work.running.remove(&jid) else { return };
        work.disk.spool.insert(jid, (origin, false, false));
        self.timer(m, SYNC, Timer::Spooled { jid });
    }

    pub(crate) fn spooled(&mut self, m: usize, jid: u64) {
        let now = self.now();
        let work = &mut self.minions[m].work;
        let Some(entry) = work.disk.spool.get_mut(&jid) else { return };
        entry.2 = true;
        let item =
            Item { origin: entry.0, lost: entry.1, tries: 0, not_before: now, flying: false };
        work.disk.journal.remove(&jid);
        work.outbox.insert(jid, item);
        self.outbox_turn(m);
    }

    /// The masters a return can be sent to now, and through what.
    fn routes(&self, m: usize) -> BTreeMap<usize, Attempt> {
        let minion = &self.minions[m];
        let kept = minion.warm.iter().map(|(master, attempt)| (*master, *attempt));
        let used = minion.adopted.and_then(|a| Some((minion.sessions.get(&a)?.master, a)));
        kept.chain(used).collect()
    }

    pub(crate) fn outbox_turn(&mut self, m: usize) {
        let now = self.now();
        let routes = self.routes(m);
        let mut sends = Vec::new();
        let mut wake: Option<Time> = None;
        let work = &mut self.minions[m].work;
        for (jid, item) in &mut work.outbox {
            if item.flying {
                continue;
            }
            if item.not_before > now {
                wake = Some(wake.map_or(item.not_before, |w| w.min(item.not_before)));
                continue;
            }
            let any = routes.iter().next_back().map(|(_, attempt)| *attempt);
            let to = routes.get(&item.origin).copied();
            let to = if item.tries >= 2 { to.filter(|_| item.tries % 2 == 0).or(any) } else { to };
            match to {
                Some(attempt) => {
                    item.flying = true;
                    sends.push((*jid, attempt, item.lost));
                }
                None => {
                    item.tries += 1;
                    item.not_before = now + ms(1000);
                    wake = Some(wake.map_or(item.not_before, |w| w.min(item.not_before)));
                }
            }
        }
        work.generation += 1;
        let generation = work.generation;
        if let Some(at) = wake {
            self.timer_at(m, at, Timer::Outbox { generation });
        }
        for (jid, attempt, lost) in sends {
            let session = self.minions[m].sessions.get(&attempt).map_or(0, |s| s.key);
            self.ledger_sent(m, jid);
            let ask = Ask::Return { session, jid, lost };
            self.ask(m, Goal::Return(attempt, jid), ask, ACKNOWLEDGED_WITHIN);
        }
    }

    pub(crate) fn outbox_timer(&mut self, m: usize, generation: u64) {
        if self.minions[m].work.generation == generation {
            self.outbox_turn(m);
        }
    }

    fn return_done(&mut self, m: usize, jid: u64, stored: bool) {
        let now = self.now();
        let work = &mut self.minions[m].work;
        if stored {
            work.outbox.remove(&jid);
            work.disk.spool.remove(&jid);
            self.ledger_acknowledged(m, jid);
        } else if let Some(item) = work.outbox.get_mut(&jid) {
            item.flying = false;
            item.tries += 1;
            item.not_before = now + ms(1000);
            self.outbox_turn(m);
        }
    }

    /// An answer to a request.
    pub(crate) fn answered(&mut self, m: usize, goal: Goal, answer: Answer) {
        match (goal, answer) {
            (Goal::SignIn(_) | Goal::Renew(_), Answer::SignIn { verdict, session, aes }) => {
                self.signed_in(m, goal, verdict, session, aes);
            }
            (Goal::Probe(probe), _) => {
                self.tell(m, Input::Probed { probe, result: ProbeResult::Alive });
            }
            (Goal::Prove(_, probe), Answer::Done) => {
                self.tell(m, Input::Probed { probe, result: ProbeResult::Alive });
            }
            (Goal::Prove(attempt, probe), _) => {
                self.tell(m, Input::Probed { probe, result: ProbeResult::Failed });
                self.renew(m, attempt);
            }
            (Goal::Return(attempt, jid), Answer::Done) => {
                self.tell(m, Input::Heard { attempt });
                self.return_done(m, jid, true);
            }
            (Goal::Return(attempt, jid), _) => {
                self.renew(m, attempt);
                self.return_done(m, jid, false);
            }
            (Goal::SignIn(_) | Goal::Renew(_), _) => {}
        }
    }

    /// A request got no answer.
    pub(crate) fn request_failed(&mut self, m: usize, goal: Goal, refused: bool) {
        let result = if refused { ProbeResult::Refused } else { ProbeResult::Failed };
        match goal {
            Goal::Probe(probe) | Goal::Prove(_, probe) => {
                self.timer(m, Time::ZERO, Timer::Probed(probe, result));
            }
            Goal::Return(attempt, jid) => {
                self.timer(m, Time::ZERO, Timer::NotReturned(attempt, jid));
            }
            Goal::Renew(attempt) => self.renew_failed(m, attempt),
            Goal::SignIn(_) => {}
        }
    }

    pub(crate) fn not_returned(&mut self, m: usize, attempt: Attempt, jid: u64) {
        let used = self.minions[m].sessions.get(&attempt).is_some_and(|s| s.step == Step::Ready);
        if used {
            self.tell(m, Input::Suspect { attempt });
        }
        self.return_done(m, jid, false);
    }

    /// The process ended; without a sync the host forgets, too.
    pub(crate) fn work_dies(&mut self, m: usize, power_cut: bool) {
        let forget = self.sabotage.forget_spool;
        let work = &mut self.minions[m].work;
        if power_cut {
            work.disk.journal.retain(|_, entry| entry.1);
            work.disk.spool.retain(|_, entry| entry.2);
        }
        if forget {
            work.disk = Disk::default();
        }
        work.seen.clear();
        work.running.clear();
        work.takes.clear();
        work.outbox.clear();
    }

    /// What was begun and not finished is returned as lost.
    pub(crate) fn work_starts(&mut self, m: usize) {
        let work = &mut self.minions[m].work;
        let begun = std::mem::take(&mut work.disk.journal);
        for (jid, (origin, _)) in begun {
            work.disk.spool.entry(jid).or_insert((origin, true, false));
        }
        let all: Vec<u64> = work.disk.spool.keys().copied().collect();
        work.seen.extend(&all);
        for jid in all {
            self.timer(m, SYNC, Timer::Spooled { jid });
        }
    }
}
