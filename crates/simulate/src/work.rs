//! What a minion does for its masters: jobs, a journal of those begun, a spool of returns. Which
//! return goes where, and which job is new, is decided by the real rules.

use std::collections::{BTreeMap, VecDeque};

use saltern_failover::{Attempt, Bounds, Input, Master, Outbox, Parcel, ProbeResult, Seen};

use crate::clock::{Time, between, ms, secs};
use crate::minion::{Step, Timer};
use crate::net::{Answer, Ask, Goal, Order, Publication};
use crate::world::World;

/// From a write until it is safe on the disk.
const SYNC: Time = ms(5);
/// How long a master may take to acknowledge a return.
const ACKNOWLEDGED_WITHIN: Time = secs(8);
/// Job ids remembered (`minion_jid_queue_hwm`).
const REMEMBERED: usize = 100;
/// The defaults of the options, but fewer under way, so that queues come about.
const BOUNDS: Bounds =
    Bounds { bytes: 64 << 20, items: 10_000, age: secs(86400), tries: 3, flights: 4 };

/// A job that was begun.
#[derive(Clone, Copy)]
struct Begun {
    origin: usize,
    synced: bool,
}

/// A return that nobody has acknowledged.
#[derive(Clone, Copy)]
struct Kept {
    parcel: u64,
    origin: usize,
    lost: bool,
    synced: bool,
    /// Hours on the wall when it was made.
    made: i64,
}

/// What survives the process; what has not been synced does not survive the host.
#[derive(Default)]
struct Disk {
    journal: BTreeMap<u64, Begun>,
    spool: BTreeMap<u64, Kept>,
    /// The last jobs, so that none runs again.
    known: VecDeque<u64>,
    parcels: u64,
}

pub(crate) struct Work {
    disk: Disk,
    seen: Seen,
    running: BTreeMap<u64, usize>,
    takes: BTreeMap<u64, Time>,
    outbox: Outbox,
    parcels: BTreeMap<u64, u64>,
    generation: u64,
    /// How far the wall clock is off, in hours.
    wall: i64,
}

impl Work {
    pub(crate) fn new(seed: u64) -> Self {
        Work {
            disk: Disk::default(),
            seen: Seen::new(REMEMBERED),
            running: BTreeMap::new(),
            takes: BTreeMap::new(),
            outbox: Outbox::new(BOUNDS, fastrand::Rng::with_seed(seed)),
            parcels: BTreeMap::new(),
            generation: 0,
            wall: 0,
        }
    }

    pub(crate) fn clock_jumps(&mut self, hours: i64) {
        self.wall = hours;
    }

    pub(crate) fn depth(&self) -> usize {
        self.outbox.len()
    }

    pub(crate) fn idle(&self) -> bool {
        self.outbox.is_empty()
            && self.running.is_empty()
            && self.disk.journal.is_empty()
            && self.disk.spool.is_empty()
    }

    /// A return is written to the spool.
    fn keep(&mut self, jid: u64, origin: usize, lost: bool) {
        self.disk.parcels += 1;
        let (parcel, made) = (self.disk.parcels, self.wall);
        self.disk.spool.insert(jid, Kept { parcel, origin, lost, synced: false, made });
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
        let name = jid.to_string();
        if !work.seen.is_new(&name) && !self.sabotage.run_twice {
            return;
        }
        work.seen.begun(&name);
        work.disk.journal.insert(jid, Begun { origin: master, synced: false });
        work.takes.insert(jid, takes);
        self.timer(m, SYNC, Timer::Journalled { jid });
    }

    pub(crate) fn job_begins(&mut self, m: usize, jid: u64) {
        let work = &mut self.minions[m].work;
        let Some(entry) = work.disk.journal.get_mut(&jid) else { return };
        entry.synced = true;
        work.running.insert(jid, entry.origin);
        work.disk.known.push_back(jid);
        if work.disk.known.len() > REMEMBERED {
            work.disk.known.pop_front();
        }
        let takes = work.takes.remove(&jid).unwrap_or_default();
        self.ledger_begun(m, jid);
        self.timer(m, takes, Timer::JobDone { jid });
    }

    pub(crate) fn job_done(&mut self, m: usize, jid: u64) {
        let work = &mut self.minions[m].work;
        let Some(origin) = work.running.remove(&jid) else { return };
        work.seen.ended(&jid.to_string());
        work.keep(jid, origin, false);
        self.timer(m, SYNC, Timer::Spooled { jid });
    }

    pub(crate) fn spooled(&mut self, m: usize, jid: u64) {
        let now = self.instant();
        let work = &mut self.minions[m].work;
        let Some(entry) = work.disk.spool.get_mut(&jid) else { return };
        entry.synced = true;
        work.disk.journal.remove(&jid);
        let age = secs(3600) * u32::try_from(work.wall - entry.made).unwrap_or(0);
        work.parcels.insert(entry.parcel, jid);
        let (parcel, origin) = (Parcel(entry.parcel), Some(Master(entry.origin)));
        let dropped = work.outbox.add(parcel, origin, 1000, age, now);
        self.say_dropped(m, &dropped);
        self.outbox_turn(m);
    }

    fn say_dropped(&mut self, m: usize, dropped: &[Parcel]) {
        for parcel in dropped {
            let jid = self.minions[m].work.parcels.get(&parcel.0).copied();
            self.violate("no return is lost", format!("m{m} drops the return of {jid:?}"));
        }
    }

    /// The masters a return can be sent to now, and through what; the one in use first.
    fn routes(&self, m: usize) -> Vec<(Master, Attempt)> {
        let minion = &self.minions[m];
        let used = minion.adopted.and_then(|a| Some((minion.sessions.get(&a)?.master, a)));
        let kept = minion.warm.iter().map(|(master, attempt)| (*master, *attempt));
        let kept = kept.filter(|(master, _)| Some(*master) != used.map(|(master, _)| master));
        used.into_iter().chain(kept).map(|(master, attempt)| (Master(master), attempt)).collect()
    }

    /// A way to a master has come about.
    pub(crate) fn outbox_released(&mut self, m: usize, master: usize) {
        self.minions[m].work.outbox.released(Master(master));
        self.outbox_turn(m);
    }

    pub(crate) fn outbox_turn(&mut self, m: usize) {
        let now = self.instant();
        let routes = self.routes(m);
        let live: Vec<Master> = routes.iter().map(|(master, _)| *master).collect();
        let old = self.minions[m].work.outbox.expire(now);
        self.say_dropped(m, &old);
        while let Some((parcel, master)) = self.minions[m].work.outbox.next(now, &live) {
            let attempt = routes.iter().find(|(known, _)| *known == master).map(|(_, a)| *a);
            let work = &self.minions[m].work;
            let jid = work.parcels.get(&parcel.0).copied();
            let (Some(attempt), Some(jid)) = (attempt, jid) else { break };
            let lost = work.disk.spool.get(&jid).is_some_and(|kept| kept.lost);
            let session = self.minions[m].sessions.get(&attempt).map_or(0, |s| s.key);
            self.ledger_sent(m, jid);
            let ask = Ask::Return { session, jid, lost };
            self.ask(m, Goal::Return(attempt, jid), ask, ACKNOWLEDGED_WITHIN);
        }
        let work = &mut self.minions[m].work;
        work.generation += 1;
        let generation = work.generation;
        if let Some(at) = work.outbox.wake_at(&live) {
            let at = at.saturating_duration_since(self.epoch);
            self.timer_at(m, at, Timer::Outbox { generation });
        }
    }

    pub(crate) fn outbox_timer(&mut self, m: usize, generation: u64) {
        if self.minions[m].work.generation == generation {
            self.outbox_turn(m);
        }
    }

    fn return_done(&mut self, m: usize, jid: u64, stored: bool) {
        let now = self.instant();
        let work = &mut self.minions[m].work;
        let Some(kept) = work.disk.spool.get(&jid).copied() else { return };
        let parcel = Parcel(kept.parcel);
        if stored {
            work.outbox.delivered(parcel);
            work.parcels.remove(&kept.parcel);
            work.disk.spool.remove(&jid);
            self.ledger_acknowledged(m, jid);
        } else {
            work.outbox.failed(parcel, now);
        }
        self.outbox_turn(m);
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
            (Goal::Pillar(attempt), Answer::Done) => self.tell(m, Input::Heard { attempt }),
            (Goal::Pillar(attempt), _) => self.renew(m, attempt),
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
            Goal::SignIn(_) | Goal::Pillar(_) => {}
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
            work.disk.journal.retain(|_, entry| entry.synced);
            work.disk.spool.retain(|_, entry| entry.synced);
        }
        if forget {
            work.disk = Disk::default();
        }
        let (disk, wall) = (std::mem::take(&mut work.disk), work.wall);
        *work = Work::new(self.rng.u64(..));
        (work.disk, work.wall) = (disk, wall);
    }

    /// What was begun and not finished is returned as lost.
    pub(crate) fn work_starts(&mut self, m: usize) {
        let work = &mut self.minions[m].work;
        for (jid, begun) in std::mem::take(&mut work.disk.journal) {
            // What was not synced had not begun to run.
            if begun.synced && !work.disk.spool.contains_key(&jid) {
                work.keep(jid, begun.origin, true);
            }
        }
        for jid in &work.disk.known {
            work.seen.is_new(&jid.to_string());
        }
        let all: Vec<u64> = work.disk.spool.keys().copied().collect();
        for jid in all {
            self.timer(m, SYNC, Timer::Spooled { jid });
        }
    }
}
