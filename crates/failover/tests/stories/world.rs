//! A world of masters around one machine, in simulated time. After every input it checks what must
//! hold whatever happens.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use saltern_failover::{
    Action, Attempt, Channel, Hard, Input, LossReason, Machine, Master, Notice, Policy,
    ProbeResult, Ready, Soft, Status, Verdict,
};

/// How a master behaves towards new and old connections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Host {
    Up,
    Refuses,
    BlackHole,
    Says(Soft),
    Impostor,
    /// Answers clear pings, and nothing that needs the key.
    OnlyPings,
    /// Requests are answered, the port of the publications is dead.
    NoPublications,
    /// Takes us, publishes, and never answers a heartbeat.
    Dumb,
    /// Publications go on, the port of the requests is dead.
    NoRequests,
}

pub(crate) const RTT: Duration = Duration::from_millis(20);

pub(crate) fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

pub(crate) fn policy(n: usize) -> Policy {
    Policy {
        alive_interval: Some(secs(5)),
        attempt_timeout: secs(5),
        ..Policy::new((1..=n).map(|i| format!("m{i}")).collect())
    }
}

pub(crate) struct World {
    pub(crate) machine: Machine,
    start: Instant,
    pub(crate) now: Duration,
    pub(crate) hosts: Vec<Host>,
    pub(crate) inbox: BTreeMap<(Duration, u64), Input>,
    sequence: u64,
    pub(crate) actions: Vec<(Duration, Action)>,
    /// Nothing comes over these connections any more, in whatever state their master is.
    pub(crate) severed: BTreeSet<Attempt>,
    trying: BTreeMap<Attempt, Master>,
    /// Tries that reached a master and are not in use.
    pub(crate) held: BTreeMap<Attempt, Master>,
    preparing: BTreeMap<Attempt, Master>,
    /// Links kept by `Prepare`.
    pub(crate) kept: BTreeSet<Master>,
    in_use: Option<Attempt>,
}

impl World {
    pub(crate) fn new(policy: Policy, hosts: &[Host]) -> Self {
        Self::seeded(policy, hosts, 42)
    }

    pub(crate) fn seeded(policy: Policy, hosts: &[Host], seed: u64) -> Self {
        let mut world = World {
            machine: Machine::new(policy, fastrand::Rng::with_seed(seed)),
            start: Instant::now(),
            now: Duration::ZERO,
            hosts: hosts.to_vec(),
            inbox: BTreeMap::new(),
            sequence: 0,
            actions: Vec::new(),
            severed: BTreeSet::new(),
            trying: BTreeMap::new(),
            held: BTreeMap::new(),
            preparing: BTreeMap::new(),
            kept: BTreeSet::new(),
            in_use: None,
        };
        world.tell(Input::Start);
        world
    }

    pub(crate) fn tell(&mut self, input: Input) {
        let wake = matches!(input, Input::Wake);
        if let Input::Verdict { attempt, verdict } = &input {
            self.note_verdict(*attempt, *verdict);
        }
        let now = self.start + self.now;
        let before = self.in_use;
        let actions = self.machine.handle(now, input);
        for action in actions {
            self.obey(&action);
            self.actions.push((self.now, action));
        }
        assert_eq!(self.in_use, self.link(), "the machine and its world agree");
        if let Some(before) = before.filter(|b| self.in_use != Some(*b)) {
            let let_go = |(_, a): &(Duration, Action)| matches!(a, Action::Disconnect { attempt, .. } if *attempt == before);
            assert!(self.actions.iter().rev().take(20 + self.hosts.len()).any(let_go));
        }
        if wake && let Some(next) = self.machine.wake_at() {
            assert!(next > now, "no wake in the past: {:?}", self.machine);
        }
    }

    fn note_verdict(&mut self, attempt: Attempt, verdict: Verdict) {
        if let Some(master) = self.trying.remove(&attempt)
            && verdict == Verdict::Ok
        {
            self.held.insert(attempt, master);
        }
        if let Some(master) = self.preparing.remove(&attempt)
            && verdict == Verdict::Ok
        {
            self.kept.insert(master);
        }
    }

    pub(crate) fn later(&mut self, input: Input) {
        self.after(RTT, input);
    }

    pub(crate) fn after(&mut self, delay: Duration, input: Input) {
        self.sequence += 1;
        self.inbox.insert((self.now + delay, self.sequence), input);
    }

    fn obey(&mut self, action: &Action) {
        match *action {
            Action::Try { attempt, master, warm } => {
                assert_eq!(self.kept.remove(&master), warm, "kept links are used or released");
                assert!(self.trying.insert(attempt, master).is_none());
                self.answer_try(attempt, master, true);
            }
            Action::Prepare { attempt, master } => {
                assert!(self.preparing.insert(attempt, master).is_none());
                self.answer_try(attempt, master, false);
            }
            Action::Release { master } => assert!(self.kept.remove(&master)),
            Action::Abandon { attempt } => {
                let trying = self.trying.remove(&attempt).is_some();
                let held = self.held.remove(&attempt).is_some();
                let preparing = self.preparing.remove(&attempt).is_some();
                let late = self.inbox.is_empty() || !(trying || held || preparing);
                assert!(trying || held || preparing || late);
            }
            Action::Adopt { attempt, master } => {
                assert_eq!(self.held.remove(&attempt), Some(master), "only what was reached");
                self.in_use = Some(attempt);
            }
            Action::Disconnect { attempt, .. } => {
                self.in_use.take_if(|a| *a == attempt);
            }
            Action::Probe { .. } => self.answer_probe(action),
            Action::Notify(_) => {}
        }
    }

    fn answer_try(&mut self, attempt: Attempt, master: Master, subscribe: bool) {
        let verdict = match self.hosts[master.0] {
            Host::Up | Host::Dumb => Verdict::Ok,
            Host::NoPublications if !subscribe => Verdict::Ok,
            Host::Refuses => Verdict::Soft(Soft::Refused),
            Host::Says(soft) => Verdict::Soft(soft),
            Host::Impostor => Verdict::Hard(Hard::UntrustedKey),
            Host::BlackHole | Host::OnlyPings | Host::NoPublications | Host::NoRequests => return,
        };
        self.later(Input::Verdict { attempt, verdict });
    }

    fn answer_probe(&mut self, action: &Action) {
        let Action::Probe { probe, attempt, master, channel, authenticated, .. } = *action else {
            return;
        };
        assert!(attempt.is_none() || attempt == self.in_use, "only the connection in use is asked");
        if attempt.is_some_and(|attempt| self.severed.contains(&attempt)) {
            return;
        }
        let publications = channel == Channel::Publications;
        let result = match self.hosts[master.0] {
            Host::Refuses => ProbeResult::Refused,
            Host::OnlyPings if authenticated => ProbeResult::Failed,
            Host::BlackHole => return,
            Host::NoPublications | Host::Dumb if publications => return,
            Host::NoRequests if !publications => return,
            _ => ProbeResult::Alive,
        };
        match (attempt, result) {
            (Some(attempt), ProbeResult::Alive) if publications => {
                self.later(Input::Received { attempt });
            }
            (_, result) => self.later(Input::Probed { probe, result }),
        }
    }

    pub(crate) fn since_start(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.start)
    }

    pub(crate) fn run_until(&mut self, end: Duration) {
        loop {
            let wake = self.machine.wake_at().map(|at| at.saturating_duration_since(self.start));
            let mail = self.inbox.keys().next().copied();
            match (wake, mail) {
                (Some(at), mail) if at <= end && mail.is_none_or(|m| at <= m.0) => {
                    self.now = self.now.max(at);
                    self.tell(Input::Wake);
                }
                (_, Some(key)) if key.0 <= end => {
                    self.now = self.now.max(key.0);
                    if let Some(input) = self.inbox.remove(&key) {
                        self.tell(input);
                    }
                }
                _ => break,
            }
        }
        self.now = end;
    }

    /// The program ends: nothing may be left over.
    pub(crate) fn stop(&mut self) {
        self.tell(Input::Stop);
        assert_eq!(self.machine.wake_at(), None);
        assert_eq!(self.in_use, None);
        assert!(self.trying.is_empty(), "{:?}", self.trying);
        assert!(self.preparing.is_empty(), "{:?}", self.preparing);
        assert!(self.held.is_empty(), "{:?}", self.held);
        assert!(self.kept.is_empty(), "{:?}", self.kept);
    }

    /// Nothing is held open for nobody.
    pub(crate) fn held_is_bounded(&self) {
        assert!(self.held.len() <= 1, "{:?}", self.held);
        assert!(self.kept.len() <= Policy::WARM, "{:?}", self.kept);
        assert!(self.preparing.len() <= Policy::PREPARING);
    }

    pub(crate) fn connected(&self) -> Option<usize> {
        match self.machine.status() {
            Status::Connected { master, .. } => Some(master.0),
            _ => None,
        }
    }

    pub(crate) fn link(&self) -> Option<Attempt> {
        match self.machine.status() {
            Status::Connected { attempt, .. } => Some(attempt),
            _ => None,
        }
    }

    pub(crate) fn close(&mut self) {
        if let Some(attempt) = self.link() {
            self.tell(Input::Lost { attempt, reason: LossReason::Closed });
        }
    }

    /// The connection in use goes half-open: the master is well, and nothing comes this way.
    pub(crate) fn sever(&mut self) {
        self.severed.extend(self.link());
    }

    /// kill -9: the socket closes at once and nobody listens any more.
    pub(crate) fn kill(&mut self, master: usize) {
        self.hosts[master] = Host::Refuses;
        if self.kept.remove(&Master(master)) {
            self.tell(Input::Cooled { master: Master(master) });
        }
        if self.connected() == Some(master) {
            self.close();
        }
    }

    pub(crate) fn states(&self) -> Vec<Ready> {
        self.machine.readiness().iter().map(|known| known.state).collect()
    }

    pub(crate) fn notices(&self) -> Vec<Notice> {
        let notice = |(_, a): &(Duration, Action)| match a {
            Action::Notify(Notice::Readiness) => None,
            Action::Notify(notice) => Some(*notice),
            _ => None,
        };
        self.actions.iter().filter_map(notice).collect()
    }

    pub(crate) fn count(&self, wanted: impl Fn(&Action) -> bool) -> usize {
        self.actions.iter().filter(|(_, action)| wanted(action)).count()
    }

    pub(crate) fn tries(&self, master: usize) -> usize {
        self.count(|a| matches!(a, Action::Try { master: m, .. } if m.0 == master))
    }

    pub(crate) fn prepared(&self, master: usize) -> usize {
        self.count(|a| matches!(a, Action::Prepare { master: m, .. } if m.0 == master))
    }

    pub(crate) fn switches(&self) -> usize {
        self.count(|a| matches!(a, Action::Notify(Notice::Switched { .. })))
    }

    pub(crate) fn refreshes(&self) -> usize {
        self.count(|a| matches!(a, Action::Notify(Notice::Refreshed(_))))
    }

    pub(crate) fn most_actions_in_a_second(&self) -> usize {
        let mut counts = BTreeMap::new();
        for (at, _) in &self.actions {
            *counts.entry(at.as_secs()).or_insert(0) += 1;
        }
        counts.into_values().max().unwrap_or(0)
    }
}

/// Tries of one master in such a time: a pause is never shorter than a quarter of its bound, and
/// the first few bounds are smaller.
pub(crate) fn most_tries(time: Duration) -> usize {
    (time.as_secs_f64() / (Policy::BACKOFF_MAX.as_secs_f64() / 4.0)) as usize + 5
}
