//! The shell around the real machine: carries its actions out over the simulated network and
//! tells it what happened. As thin as it can be.

mod lines;

use std::collections::{BTreeMap, VecDeque};

use saltern_failover::{
    Action, Attempt, Channel, Input, LossReason, Machine, Master, Notice, Policy, Probe,
    ProbeResult, Soft, Verdict,
};

use crate::clock::{Time, between, ms};
use crate::net::{Ask, ConnId, Goal, Msg, Purpose};
use crate::work::Work;
use crate::world::{Event, World};

/// What a minion has asked to be reminded of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Timer {
    Wake { generation: u64 },
    Resolved(Attempt),
    Deadline { request: u64 },
    Renew(Attempt),
    Tell(Fact),
    Probed(Probe, ProbeResult),
    NotReturned(Attempt, u64),
    Leave,
    Journalled { jid: u64 },
    JobDone { jid: u64 },
    Spooled { jid: u64 },
    Outbox { generation: u64 },
}

/// An input that has to wait until the actions before it are carried out.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fact {
    Lost(Attempt, LossReason),
    Verdict(Attempt, Verdict),
    Cooled(usize),
}

/// How far a try has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Resolving,
    SigningIn,
    Subscribing,
    /// Complete; adopted or about to be.
    Ready,
    /// Signed in and not subscribed.
    Kept,
}

/// A try, and what comes of it.
pub(crate) struct Session {
    pub(crate) master: usize,
    pub(crate) step: Step,
    pub(crate) began: Time,
    /// How long it took until it was complete.
    took: Time,
    prepare: bool,
    address: u32,
    pub(crate) requests: Option<ConnId>,
    pub(crate) subscription: Option<ConnId>,
    pub(crate) key: u64,
    pub(crate) aes: u64,
    renewing: bool,
    /// Publications under a key that is not known yet.
    pub(crate) held: VecDeque<crate::net::Publication>,
}

/// What is to be said on a connection once it is ready.
#[derive(Default)]
pub(crate) struct Line {
    ready: bool,
    waiting: Vec<Msg>,
}

pub(crate) struct Pending {
    pub(crate) goal: Goal,
    conn: ConnId,
}

pub(crate) struct Minion {
    pub(crate) life: u64,
    pub(crate) alive: bool,
    /// The process stands still; what comes in waits.
    pub(crate) stalled: bool,
    /// When it last ran again after it had stood still.
    pub(crate) thawed: Time,
    pub(crate) backlog: VecDeque<Event>,
    pub(crate) policy: Policy,
    pub(crate) machine: Machine,
    wake: Option<Time>,
    wake_generation: u64,
    pub(crate) sessions: BTreeMap<Attempt, Session>,
    pub(crate) lines: BTreeMap<ConnId, Line>,
    pub(crate) requests: BTreeMap<u64, Pending>,
    probers: BTreeMap<usize, ConnId>,
    pub(crate) warm: BTreeMap<usize, Attempt>,
    pub(crate) adopted: Option<Attempt>,
    pub(crate) adopted_at: Time,
    pub(crate) work: Work,
    /// Machine inputs and actions in the current second, and which second that is.
    pub(crate) spent: (u64, u32),
}

impl Minion {
    pub(crate) fn new(policy: Policy, seed: u64, work: Work) -> Self {
        let machine = Machine::new(policy.clone(), fastrand::Rng::with_seed(seed));
        Minion {
            life: 1,
            alive: true,
            stalled: false,
            thawed: Time::ZERO,
            backlog: VecDeque::new(),
            policy,
            machine,
            wake: None,
            wake_generation: 0,
            sessions: BTreeMap::new(),
            lines: BTreeMap::new(),
            requests: BTreeMap::new(),
            probers: BTreeMap::new(),
            warm: BTreeMap::new(),
            adopted: None,
            adopted_at: Time::ZERO,
            work,
            spent: (0, 0),
        }
    }
}

impl World {
    /// Gives an input to the machine and does what it wants.
    pub(crate) fn tell(&mut self, m: usize, input: Input) {
        let quiet = matches!(
            input,
            Input::Wake | Input::Received { .. } | Input::Heard { .. } | Input::Probed { .. }
        );
        if !quiet || self.trace_all {
            self.say(format_args!("  m{m} <- {input:?}"));
        }
        let now = self.instant();
        let actions = self.minions[m].machine.handle(now, input);
        self.spend(m, 1 + u32::try_from(actions.len()).unwrap_or(u32::MAX));
        for action in actions {
            if !matches!(action, Action::Probe { .. }) || self.trace_all {
                self.say(format_args!("  m{m} -> {action:?}"));
            }
            self.act(m, action);
        }
        self.set_wake(m);
    }

    fn set_wake(&mut self, m: usize) {
        let now = self.now();
        let at = self.minions[m].machine.wake_at();
        let at = at.map(|at| at.saturating_duration_since(self.epoch));
        let minion = &mut self.minions[m];
        if at == minion.wake && at.is_none_or(|at| at > now) {
            return;
        }
        minion.wake = at;
        minion.wake_generation += 1;
        let generation = minion.wake_generation;
        if let Some(at) = at {
            // Timers of a runtime ring a little late.
            let at = at.max(now) + ms(1).mul_f64(self.rng.f64());
            self.timer_at(m, at, Timer::Wake { generation });
        }
    }

    pub(crate) fn timer_at(&mut self, m: usize, at: Time, timer: Timer) {
        let life = self.minions[m].life;
        self.agenda.at(at, Event::Minion { minion: m, life, timer });
    }

    pub(crate) fn timer(&mut self, m: usize, pause: Time, timer: Timer) {
        self.timer_at(m, self.now() + pause, timer);
    }

    pub(crate) fn minion_timer(&mut self, m: usize, timer: Timer) {
        match timer {
            Timer::Wake { generation } => {
                if self.minions[m].wake_generation == generation {
                    self.minions[m].wake = None;
                    self.tell(m, Input::Wake);
                }
            }
            Timer::Resolved(attempt) => self.resolved(m, attempt),
            Timer::Deadline { request } => self.request_overdue(m, request),
            Timer::Renew(attempt) => self.renew(m, attempt),
            Timer::Tell(Fact::Lost(attempt, reason)) => {
                self.tell(m, Input::Lost { attempt, reason });
            }
            Timer::Tell(Fact::Verdict(attempt, verdict)) => {
                self.tell(m, Input::Verdict { attempt, verdict });
            }
            Timer::Tell(Fact::Cooled(master)) => {
                self.tell(m, Input::Cooled { master: Master(master) });
            }
            Timer::Probed(probe, result) => self.tell(m, Input::Probed { probe, result }),
            Timer::NotReturned(attempt, jid) => self.not_returned(m, attempt, jid),
            Timer::Leave => {
                let why = saltern_failover::LeaveReason::Drain;
                self.tell(m, Input::Leave { to: None, why });
            }
            Timer::Journalled { jid } => self.job_begins(m, jid),
            Timer::JobDone { jid } => self.job_done(m, jid),
            Timer::Spooled { jid } => self.spooled(m, jid),
            Timer::Outbox { generation } => self.outbox_timer(m, generation),
        }
    }

    fn act(&mut self, m: usize, action: Action) {
        match action {
            Action::Try { attempt, master, warm } => {
                self.stats.attempts += 1;
                self.begin(m, attempt, master.0, false, warm);
            }
            Action::Prepare { attempt, master } => {
                self.stats.attempts += 1;
                self.begin(m, attempt, master.0, true, false);
            }
            Action::Release { master } => {
                if let Some(attempt) = self.minions[m].warm.remove(&master.0) {
                    self.drop_session(m, attempt);
                }
            }
            Action::Abandon { attempt } => self.drop_session(m, attempt),
            Action::Adopt { attempt, master } => self.adopt(m, attempt, master),
            Action::Disconnect { attempt, .. } => {
                if self.minions[m].adopted == Some(attempt) {
                    self.minions[m].adopted = None;
                }
                self.drop_session(m, attempt);
            }
            Action::Probe { probe, attempt, master, channel, authenticated, deadline } => {
                let link = attempt.and_then(|a| Some((a, self.minions[m].sessions.get(&a)?)));
                match (channel, link) {
                    (Channel::Publications, Some((_, session))) => {
                        if let Some(conn) = session.subscription {
                            self.write(m, conn, Msg::Ping);
                        }
                    }
                    (Channel::Publications, None) => {}
                    (Channel::Requests, Some((attempt, session))) if authenticated => {
                        let ask = Ask::Sealed { session: session.key };
                        self.ask(m, Goal::Prove(attempt, probe), ask, deadline);
                    }
                    (Channel::Requests, _) => {
                        self.ask_prober(m, master.0, Goal::Probe(probe), deadline);
                    }
                }
            }
            Action::Notify(notice) => self.noticed(notice),
        }
    }

    fn noticed(&mut self, notice: Notice) {
        match notice {
            Notice::Switched { from, to, reason, .. } if from.is_some() && from != Some(to) => {
                self.stats.switches += 1;
                *self.stats.reasons.entry(reason.to_string()).or_default() += 1;
            }
            Notice::Refreshed(_) => self.stats.refreshes += 1,
            Notice::LeaveFailed { .. } => self.stats.leaves_failed += 1,
            _ => {}
        }
    }

    fn begin(&mut self, m: usize, attempt: Attempt, master: usize, prepare: bool, warm: bool) {
        let now = self.now();
        let kept = if warm { self.minions[m].warm.remove(&master) } else { None };
        let session = kept.and_then(|old| self.minions[m].sessions.remove(&old));
        let Some(mut session) = session else {
            let session = Session {
                master,
                step: Step::Resolving,
                began: now,
                took: Time::ZERO,
                prepare,
                address: 0,
                requests: None,
                subscription: None,
                key: 0,
                aes: 0,
                renewing: false,
                held: VecDeque::new(),
            };
            self.minions[m].sessions.insert(attempt, session);
            let slow = self.net.names[master].is_none() && self.rng.u8(..) < 64;
            let most = if slow { ms(9000) } else { ms(20) };
            let pause = between(&mut self.rng, ms(1), most);
            self.timer(m, pause, Timer::Resolved(attempt));
            return;
        };
        (session.began, session.prepare) = (now, false);
        if let Some(conn) = session.requests.and_then(|c| self.net.conns.get_mut(&c)) {
            conn.purpose = Purpose::Link(attempt);
        }
        self.minions[m].sessions.insert(attempt, session);
        self.subscribe(m, attempt);
    }

    fn resolved(&mut self, m: usize, attempt: Attempt) {
        let Some(session) = self.minions[m].sessions.get_mut(&attempt) else { return };
        let Some(address) = self.net.names[session.master] else {
            self.fail(m, attempt, Soft::Unresolved);
            return;
        };
        (session.address, session.step) = (address, Step::SigningIn);
        // The machine's own deadline ends it.
        let never = ms(3_600_000);
        self.ask(m, Goal::SignIn(attempt), Ask::SignIn, never);
    }

    pub(crate) fn subscribe(&mut self, m: usize, attempt: Attempt) {
        let life = self.minions[m].life;
        let Some(session) = self.minions[m].sessions.get_mut(&attempt) else { return };
        session.step = Step::Subscribing;
        let address = self.net.names[session.master].unwrap_or(session.address);
        let to = (session.master, address);
        let purpose = Purpose::Link(attempt);
        let conn =
            self.net.connect(&mut self.agenda, (m, life), to, Channel::Publications, purpose);
        session.subscription = Some(conn);
        self.minions[m].lines.insert(conn, Line::default());
    }

    /// The try ended badly.
    fn fail(&mut self, m: usize, attempt: Attempt, soft: Soft) {
        self.drop_session(m, attempt);
        let fact = Fact::Verdict(attempt, Verdict::Soft(soft));
        self.timer(m, Time::ZERO, Timer::Tell(fact));
    }

    /// The answer to a sign-in, first or renewed.
    pub(crate) fn signed_in(&mut self, m: usize, goal: Goal, verdict: Verdict, key: u64, aes: u64) {
        match goal {
            Goal::SignIn(attempt) => {
                let Some(session) = self.minions[m].sessions.get_mut(&attempt) else { return };
                if verdict != Verdict::Ok {
                    self.drop_session(m, attempt);
                    self.tell(m, Input::Verdict { attempt, verdict });
                    return;
                }
                (session.key, session.aes) = (key, aes);
                if !session.prepare {
                    self.subscribe(m, attempt);
                    return;
                }
                session.step = Step::Kept;
                let master = session.master;
                if let Some(old) = self.minions[m].warm.insert(master, attempt) {
                    self.drop_session(m, old);
                }
                self.tell(m, Input::Verdict { attempt, verdict });
                self.outbox_released(m, master);
            }
            Goal::Renew(attempt) => {
                let Some(session) = self.minions[m].sessions.get_mut(&attempt) else { return };
                session.renewing = false;
                let held = std::mem::take(&mut session.held);
                match verdict {
                    Verdict::Ok => {
                        (session.key, session.aes) = (key, aes);
                        for publication in held {
                            self.publication(m, attempt, publication, true);
                        }
                        self.outbox_turn(m);
                    }
                    Verdict::Hard(_)
                    | Verdict::Soft(Soft::Pending | Soft::Rejected | Soft::Denied) => {
                        let kept = session.step == Step::Kept;
                        let master = session.master;
                        let reason = LossReason::SignedOut;
                        if kept {
                            self.minions[m].warm.remove(&master);
                            self.drop_session(m, attempt);
                            self.tell(m, Input::Cooled { master: Master(master) });
                        } else {
                            self.tell(m, Input::Lost { attempt, reason });
                        }
                    }
                    Verdict::Soft(_) => {
                        session.held = held;
                        self.timer(m, ms(1000), Timer::Renew(attempt));
                    }
                }
            }
            _ => {}
        }
    }

    /// The keys of a connection are not taken any more: signs in again over it.
    pub(crate) fn renew(&mut self, m: usize, attempt: Attempt) {
        let Some(session) = self.minions[m].sessions.get_mut(&attempt) else { return };
        if !std::mem::replace(&mut session.renewing, true) {
            self.ask(m, Goal::Renew(attempt), Ask::SignIn, ms(5000));
        }
    }

    pub(crate) fn renew_failed(&mut self, m: usize, attempt: Attempt) {
        let Some(session) = self.minions[m].sessions.get_mut(&attempt) else { return };
        session.renewing = false;
        self.timer(m, ms(1000), Timer::Renew(attempt));
    }

    fn adopt(&mut self, m: usize, attempt: Attempt, master: Master) {
        let ready = self.minions[m]
            .sessions
            .get(&attempt)
            .is_some_and(|s| s.step == Step::Ready && s.master == master.0);
        if !ready {
            // The connection broke in this very moment; the input is on its way.
            self.timer(m, Time::ZERO, Timer::Tell(Fact::Lost(attempt, LossReason::Closed)));
            return;
        }
        self.minions[m].adopted = Some(attempt);
        self.minions[m].adopted_at = self.now();
        let slow = |session: &Session| session.took > ms(400);
        if self.minions[m].sessions.get(&attempt).is_some_and(slow) {
            self.watchman.slow(m, self.agenda.now());
        }
        self.stats.adoptions += 1;
        let key = self.minions[m].sessions.get(&attempt).map_or(0, |s| s.key);
        self.ask(m, Goal::Pillar(attempt), Ask::Sealed { session: key }, ms(8000));
        self.outbox_released(m, master.0);
    }

    /// Closes everything that belongs to a try or connection.
    pub(crate) fn drop_session(&mut self, m: usize, attempt: Attempt) {
        let Some(session) = self.minions[m].sessions.remove(&attempt) else { return };
        self.minions[m].warm.retain(|_, kept| *kept != attempt);
        for conn in session.requests.into_iter().chain(session.subscription) {
            self.hang_up(m, conn, false);
        }
    }

    /// The process is gone with all it knew; its host closes its connections, or dies with it.
    pub(crate) fn minion_dies(&mut self, m: usize, with_host: bool) {
        let minion = &mut self.minions[m];
        minion.alive = false;
        minion.life += 1;
        minion.stalled = false;
        minion.backlog.clear();
        minion.sessions.clear();
        minion.lines.clear();
        minion.requests.clear();
        minion.probers.clear();
        minion.warm.clear();
        (minion.adopted, minion.wake) = (None, None);
        let mine: Vec<ConnId> = self
            .net
            .conns
            .iter()
            .filter(|(_, c)| c.minion == m && c.minion_open)
            .map(|(id, _)| *id)
            .collect();
        for id in mine {
            if with_host {
                if let Some(conn) = self.net.conns.get_mut(&id) {
                    conn.minion_open = false;
                }
                self.net.forget(id);
            } else {
                self.net.close_minion(&mut self.agenda, id);
            }
        }
        self.work_dies(m, with_host);
    }

    pub(crate) fn minion_starts(&mut self, m: usize) {
        let seed = self.rng.u64(..);
        let minion = &mut self.minions[m];
        minion.machine = Machine::new(minion.policy.clone(), fastrand::Rng::with_seed(seed));
        minion.alive = true;
        self.work_starts(m);
        self.tell(m, Input::Start);
    }
}
