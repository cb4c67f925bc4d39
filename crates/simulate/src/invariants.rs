//! What must hold in every history, and the books that are kept to see whether it does.

use std::collections::{BTreeMap, BTreeSet};

use saltern_failover::{Attempt, Channel, LeaveReason, Master as Number};

use crate::clock::{Time, ms, secs};
use crate::master::Key;
use crate::minion::Step;
use crate::report::Violation;
use crate::world::World;

/// Longest time a minion may be without service while a master that takes it is there, when
/// answers have been quick for a while: five seconds until a silent one is left, and one in which
/// the first of the others may prove to be silent, too.
const CALM: Time = ms(6000);
/// The same while answers are slow, or have been of late: patience is then longer on purpose.
const ROUGH: Time = secs(45);
/// A master that came back is not noticed before a pause has passed.
const COMEBACK: Time = secs(8);
/// For so long after slow answers patience is longer.
const REMEMBERED: Time = secs(190);
/// Machine inputs and actions of one minion in one second.
const SPENT: u32 = 300;

/// What became of each job on each minion.
#[derive(Default)]
pub(crate) struct Ledger {
    jobs: BTreeMap<(u64, usize), Entry>,
}

#[derive(Default)]
struct Entry {
    runs: u32,
    stored: BTreeMap<usize, u32>,
    acknowledged: bool,
}

/// Since when each minion is without service, and who would take it.
pub(crate) struct Watchman {
    unserved: Vec<Option<Time>>,
    welcome: Vec<Vec<Option<Time>>>,
    /// The master in use answers slowly or not at all.
    silent: Vec<bool>,
    rough_until: Vec<Time>,
    /// The connection in use that has gone silent, and since when.
    silence: Vec<Option<(Attempt, Time)>>,
}

impl Watchman {
    pub(crate) fn new(minions: usize, masters: usize) -> Self {
        Watchman {
            unserved: vec![None; minions],
            welcome: vec![vec![None; masters]; minions],
            silent: vec![false; minions],
            rough_until: vec![Time::ZERO; minions],
            silence: vec![None; minions],
        }
    }
}

impl Watchman {
    /// The way to the master in use was slow: its answers are waited for longer.
    pub(crate) fn slow(&mut self, m: usize, now: Time) {
        self.rough_until[m] = now + REMEMBERED;
    }

    /// Something works again, if only for a moment: silence from then on is another one.
    pub(crate) fn healed(&mut self) {
        self.silence.fill(None);
    }
}

impl World {
    pub(crate) fn violate(&mut self, invariant: &'static str, detail: String) {
        if self.violation.is_none() {
            let at = self.now();
            self.say(format_args!("VIOLATION of \"{invariant}\": {detail}"));
            self.violation = Some(Violation { at, invariant, detail });
        }
    }

    pub(crate) fn ledger_begun(&mut self, m: usize, jid: u64) {
        let entry = self.ledger.jobs.entry((jid, m)).or_default();
        entry.runs += 1;
        let runs = entry.runs;
        self.stats.runs += 1;
        if self.trace_all {
            self.say(format_args!("  m{m} runs job {jid}"));
        }
        if runs > 1 {
            self.violate("no job runs twice", format!("job {jid} runs {runs} times on m{m}"));
        }
    }

    pub(crate) fn ledger_sent(&mut self, m: usize, jid: u64) {
        self.stats.sends += 1;
        if self.ledger.jobs.get(&(jid, m)).is_some_and(|entry| entry.acknowledged) {
            let detail = format!("the return of {jid} leaves m{m} after it was acknowledged");
            self.violate("each return is delivered once", detail);
        }
    }

    pub(crate) fn ledger_acknowledged(&mut self, m: usize, jid: u64) {
        self.ledger.jobs.entry((jid, m)).or_default().acknowledged = true;
    }

    /// A return reached a master, which stored it or knew it already.
    pub(crate) fn return_arrived(
        &mut self,
        master: usize,
        m: usize,
        jid: u64,
        lost: bool,
        stored: bool,
    ) {
        if self.trace_all {
            self.say(format_args!("M{master} gets the return of {jid} from m{m}"));
        }
        if !stored {
            self.stats.repeated += 1;
            return;
        }
        self.stats.returns += 1;
        self.stats.lost_jobs += u64::from(lost);
        let life = self.masters[master].memory;
        let entry = self.ledger.jobs.entry((jid, m)).or_default();
        let place = master + life * 1000;
        let times = entry.stored.entry(place).or_default();
        *times += 1;
        if *times > 1 {
            let detail = format!("M{master} stores the return of {jid} from m{m} again");
            self.violate("each return is stored once", detail);
        }
    }

    /// Counts what a machine does.
    pub(crate) fn spend(&mut self, m: usize, count: u32) {
        let second = self.now().as_secs();
        let spent = &mut self.minions[m].spent;
        if spent.0 != second {
            *spent = (second, 0);
        }
        spent.1 += count;
        let total = spent.1;
        self.stats.busiest = self.stats.busiest.max(total);
        if total > SPENT {
            let detail = format!("m{m}: {total} inputs and actions in one second");
            self.violate("no busy loop", detail);
        }
    }

    /// Connected to a live master that answers on both channels and knows it.
    pub(crate) fn served(&self, m: usize) -> bool {
        let minion = &self.minions[m];
        let Some(session) = minion.adopted.and_then(|a| minion.sessions.get(&a)) else {
            return false;
        };
        let Some(id) = session.subscription.filter(|_| session.step == Step::Ready) else {
            return false;
        };
        let Some(conn) = self.net.conns.get(&id) else { return false };
        let master = &self.masters[session.master];
        master.serves(m)
            && master.subscribers.contains(&id)
            && !conn.forgotten
            && self.net.homes.get(&conn.address) == Some(&session.master)
            && self.net.paths[m][session.master].iter().all(|road| !road.cut)
    }

    /// Would this master take the minion, and soon?
    fn welcome(&self, m: usize, master: usize) -> bool {
        let home = self.net.names[master].and_then(|address| self.net.homes.get(&address));
        self.masters[master].welcomes(m)
            && self.net.host_up[master]
            && home == Some(&master)
            && self.net.paths[m][master].iter().all(crate::net::Road::is_good)
    }

    /// Looks at everything that takes time to go wrong.
    pub(crate) fn check(&mut self) {
        for m in 0..self.minions.len() {
            if self.violation.is_some() {
                return;
            }
            let idle = !self.minions[m].alive || self.minions[m].stalled;
            if idle {
                self.watchman.unserved[m] = None;
                self.watchman.silence[m] = None;
                self.watchman.rough_until[m] = self.now() + REMEMBERED;
            }
            self.check_welcome(m);
            if !idle {
                self.check_service(m);
                self.check_interval(m);
                self.check_bounds(m);
            }
        }
    }

    fn check_welcome(&mut self, m: usize) {
        let now = self.now();
        for master in 0..self.masters.len() {
            let welcome = self.welcome(m, master);
            let since = &mut self.watchman.welcome[m][master];
            *since = if welcome { Some(since.unwrap_or(now)) } else { None };
        }
        let minion = &self.minions[m];
        let used = minion.adopted.and_then(|a| minion.sessions.get(&a)).map(|s| s.master);
        let slow = self.net.paths[m].iter().flatten().any(|road| !road.cut && !road.is_good());
        let silent = used
            .is_some_and(|master| !self.served(m) || self.masters[master].answers_after > ms(60));
        let slow = slow || used.is_some_and(|master| self.masters[master].answers_after > ms(60));
        if slow || (self.watchman.silent[m] && !silent && used.is_some()) {
            self.watchman.rough_until[m] = now + REMEMBERED;
        }
        // That a key is not taken any more shows with the next request under it.
        // One that is too busy for a fresh connection is given a second chance.
        let unsure = |master: usize| {
            let master = &self.masters[master];
            master.keys[m] != Key::Accepted || master.busy.is_some()
        };
        let half = used.is_some_and(|master| {
            let [up, down] = &self.net.paths[m][master];
            let [deaf, dumb] = self.masters[master].mute;
            up.cut != down.cut || deaf != dumb
        });
        // One that is heard on one of its channels is given more time, too.
        if half || used.is_some_and(unsure) {
            let until = &mut self.watchman.rough_until[m];
            *until = (*until).max(now + REMEMBERED);
        }
        // A switch ends the silence in another way than the master's answer.
        self.watchman.silent[m] = silent;
    }

    fn check_service(&mut self, m: usize) {
        let now = self.now();
        if self.served(m) {
            self.watchman.unserved[m] = None;
            return;
        }
        let unserved = *self.watchman.unserved[m].get_or_insert(now);
        let since = |from: Time| {
            let since = |welcome: &Option<Time>| welcome.map(|at| (at + COMEBACK).max(from));
            let since = self.watchman.welcome[m].iter().filter_map(since).min();
            since.map_or(Time::ZERO, |since| now.saturating_sub(since))
        };
        // Taking another connection into use begins a new gap, when that one is silent, too; the
        // whole of it has its bound all the same.
        let (whole, last) = (since(unserved), since(unserved.max(self.minions[m].adopted_at)));
        let calm = self.watchman.rough_until[m] <= now;
        self.stats.longest_rough = self.stats.longest_rough.max(whole);
        if calm {
            self.stats.longest_calm = self.stats.longest_calm.max(last);
        }
        if whole > ROUGH || (calm && last > CALM) {
            let way = if calm { "quick" } else { "slow" };
            let detail = format!(
                "m{m} is without a master for {whole:?} although one is there (answers are {way})",
            );
            self.violate("connected to a live master within the bound", detail);
        }
    }

    /// Something arrived: an answer that was on its way before its channel fell silent ends what
    /// there was of silence; one on the channel that still works does not.
    pub(crate) fn arrived(&mut self, m: usize, master: usize, channel: Channel) {
        let mute = self.masters[master].mute;
        let [up, down] = &self.net.paths[m][master];
        if mute[channel as usize] || (mute == [false; 2] && up.cut == down.cut) {
            self.watchman.silence[m] = None;
        }
    }

    /// `master_alive_interval` is a promise on any network: twice that time and a silent
    /// connection is not in use any more.
    fn check_interval(&mut self, m: usize) {
        let now = self.now();
        let minion = &self.minions[m];
        let used = minion.adopted.and_then(|a| Some((a, minion.sessions.get(&a)?.master)));
        let (Some((attempt, master)), Some(interval)) = (used, minion.policy.alive_interval) else {
            self.watchman.silence[m] = None;
            return;
        };
        // What it says when asked anew may give it more time.
        let unsure =
            self.masters[master].keys[m] != Key::Accepted || self.masters[master].busy.is_some();
        if self.served(m) || unsure {
            self.watchman.silence[m] = None;
            return;
        }
        let silence = &mut self.watchman.silence[m];
        let (known, since) = *silence.get_or_insert((attempt, now));
        if known != attempt {
            *silence = Some((attempt, now));
        } else if now > since + interval * 2 {
            let detail = format!("m{m} stays on M{master} for {:?} of silence", now - since);
            self.violate("left within twice master_alive_interval", detail);
        }
    }

    fn check_bounds(&mut self, m: usize) {
        let now = self.now();
        let masters = self.masters.len();
        let minion = &self.minions[m];
        let order: BTreeSet<&Number> = minion.machine.order().iter().collect();
        let patience = minion.policy.attempt_timeout + secs(45);
        let leaked = minion.sessions.iter().find(|(attempt, session)| {
            let kept = minion.warm.get(&session.master) == Some(attempt);
            Some(**attempt) != minion.adopted
                && !kept
                && now > session.began.max(minion.thawed) + patience
        });
        let wrong = if order.len() != masters || minion.machine.order().len() != masters {
            format!("the order is {:?}", minion.machine.order())
        } else if let Some((attempt, session)) = leaked {
            format!("{attempt:?} to M{} is {:?} for ever", session.master, session.step)
        } else if minion.sessions.len() > 3 * masters + 4 {
            format!("{} tries at once", minion.sessions.len())
        } else if minion.requests.len() > 64 + minion.work.depth() {
            format!("{} requests at once", minion.requests.len())
        } else if minion.lines.len() > 8 * masters + 8 {
            format!("{} connections at once", minion.lines.len())
        } else if minion.warm.len() > 2 + minion.sessions.len() {
            format!("{} links kept", minion.warm.len())
        } else {
            return;
        };
        self.violate("bounded memory", format!("m{m}: {wrong}"));
    }

    /// At the end, long after the last fault, everything is in order.
    pub(crate) fn final_check(&mut self) {
        for m in 0..self.minions.len() {
            if !self.served(m) {
                self.violate("connected at the end", format!("m{m} is not"));
            }
            if !self.minions[m].work.idle() {
                let depth = self.minions[m].work.depth();
                let detail = format!("m{m} still has {depth} returns or a job begun");
                self.violate("no return is lost", detail);
            }
        }
        let lost = self.ledger.jobs.iter().find(|(_, entry)| entry.stored.is_empty());
        if let Some(((jid, m), _)) = lost {
            let detail = format!("nobody ever got the return of job {jid} from m{m}");
            self.violate("no return is lost", detail);
        }
    }

    /// Somebody asks a minion to move.
    pub(crate) fn ask_to_leave(&mut self, m: usize, to: Option<usize>) {
        if self.minions[m].alive && !self.minions[m].stalled {
            let (to, why) = (to.map(Number), LeaveReason::Asked);
            self.tell(m, saltern_failover::Input::Leave { to, why });
        }
    }
}
