//! One simulated world: what it is made of, and the loop that lets time pass in it.

use std::time::{Duration, Instant};

use saltern_failover::{Policy, Selection};

use crate::clock::{Agenda, Time, between, ms, secs};
use crate::faults::{self, Planned};
use crate::invariants::{Ledger, Watchman};
use crate::master::{Later, Master, Process, Sabotage};
use crate::minion::{Minion, Timer};
use crate::net::{ConnId, Msg, Net, Order, Way};
use crate::report::{History, Plan, Stats, Violation};
use crate::trace::Trace;
use crate::work::Work;

/// Time between two looks at the invariants that are not checked as things happen.
const CHECK: Time = ms(250);

/// What can happen.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A connection request leaves a minion's host.
    Syn {
        conn: ConnId,
        tries: u32,
    },
    /// A connection request was answered.
    Answered {
        conn: ConnId,
    },
    /// Time for a retransmission.
    Pump {
        conn: ConnId,
        way: Way,
    },
    Arrive {
        conn: ConnId,
        way: Way,
        msg: Msg,
    },
    /// A kernel stops retransmitting.
    GaveUp {
        conn: ConnId,
        way: Way,
    },
    Master {
        master: usize,
        life: u64,
        later: Later,
    },
    Minion {
        minion: usize,
        life: u64,
        timer: Timer,
    },
    Fault(usize),
    Heal(usize),
    Publish,
    Again {
        master: usize,
        order: Order,
    },
    Check,
}

pub(crate) struct World {
    pub(crate) agenda: Agenda<Event>,
    /// The machine wants moments; this is the first.
    pub(crate) epoch: Instant,
    pub(crate) rng: fastrand::Rng,
    pub(crate) net: Net,
    pub(crate) masters: Vec<Master>,
    pub(crate) minions: Vec<Minion>,
    pub(crate) plan: Vec<Planned>,
    pub(crate) until: Time,
    pub(crate) faults_until: Time,
    pub(crate) ledger: Ledger,
    pub(crate) watchman: Watchman,
    pub(crate) stats: Stats,
    pub(crate) sabotage: Sabotage,
    pub(crate) trace_all: bool,
    pub(crate) violation: Option<Violation>,
    trace: Trace,
    numbers: u64,
}

impl World {
    pub(crate) fn new(seed: u64, plan: &Plan) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let masters = plan.masters.unwrap_or_else(|| rng.usize(2..=4));
        let minions = plan.minions.unwrap_or_else(|| rng.usize(1..=4));
        let until = secs(60).mul_f64(plan.minutes);
        let names: Vec<String> = (0..masters).map(|m| format!("m{m}")).collect();
        let net = Net::new(minions, masters, rng.fork());
        let mut policies = rng.fork();
        let minions: Vec<Minion> = (0..minions)
            .map(|_| {
                let policy = match plan.defaults {
                    true => Policy::new(names.clone()),
                    false => random_policy(names.clone(), &mut policies),
                };
                Minion::new(policy, policies.u64(..), Work::new(policies.u64(..)))
            })
            .collect();
        let mut world = World {
            agenda: Agenda::new(),
            epoch: Instant::now(),
            masters: (0..masters).map(|_| Master::new(minions.len(), 0)).collect(),
            watchman: Watchman::new(minions.len(), masters),
            net,
            minions,
            plan: Vec::new(),
            until,
            faults_until: until.saturating_sub(secs(90)),
            ledger: Ledger::default(),
            stats: Stats::default(),
            sabotage: plan.sabotage,
            trace_all: plan.trace,
            violation: None,
            trace: Trace::new(plan.trace),
            numbers: 0,
            rng,
        };
        if let Some(roads) = plan.roads {
            world.net.pave(roads.delay, roads.loss);
        }
        if plan.faults {
            faults::plan(&mut world);
        }
        world
    }

    /// Lets the history happen.
    pub(crate) fn run(mut self, seed: u64) -> History {
        for number in 0..self.plan.len() {
            self.agenda.at(self.plan[number].at, Event::Fault(number));
            self.agenda.at(self.plan[number].until, Event::Heal(number));
        }
        for master in 0..self.masters.len() {
            self.rotate(master);
        }
        self.agenda.at(secs(1), Event::Publish);
        self.agenda.at(CHECK, Event::Check);
        for minion in 0..self.minions.len() {
            self.tell(minion, saltern_failover::Input::Start);
        }
        while self.violation.is_none() {
            let Some(event) = self.agenda.next() else { break };
            if self.now() > self.until {
                break;
            }
            self.stats.events += 1;
            self.happen(event);
        }
        if self.violation.is_none() {
            self.final_check();
        }
        self.stats.simulated = self.now().min(self.until);
        let (lines, hash) = self.trace.finish();
        History { seed, stats: self.stats, violation: self.violation, trace: lines, hash }
    }

    pub(crate) fn now(&self) -> Time {
        self.agenda.now()
    }

    pub(crate) fn instant(&self) -> Instant {
        self.epoch + self.agenda.now()
    }

    /// A number never given before.
    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(crate) fn say(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.say(self.agenda.now(), what);
    }

    /// The minion an event is for, if it is for one that still is the same.
    fn recipient(&self, event: &Event) -> Option<usize> {
        match event {
            Event::Minion { minion, life, .. } => {
                (self.minions[*minion].life == *life).then_some(*minion)
            }
            Event::Arrive { conn, way: Way::Down, .. }
            | Event::Answered { conn }
            | Event::GaveUp { conn, way: Way::Up } => {
                let conn = self.net.conns.get(conn)?;
                let same = self.minions[conn.minion].life == conn.minion_life;
                (same && conn.minion_open).then_some(conn.minion)
            }
            _ => None,
        }
    }

    pub(crate) fn happen(&mut self, event: Event) {
        if let Some(m) = self.recipient(&event)
            && self.minions[m].stalled
        {
            self.minions[m].backlog.push_back(event);
            return;
        }
        match event {
            Event::Syn { conn, tries } => {
                if let Some(pause) = self.net.syn(&mut self.agenda, conn, tries) {
                    self.agenda.after(pause, Event::Answered { conn });
                }
            }
            Event::Answered { conn } => self.syn_answered(conn),
            Event::Pump { conn, way } => self.net.pump(&mut self.agenda, conn, way),
            Event::Arrive { conn, way: Way::Up, msg } => self.master_arrival(conn, msg),
            Event::Arrive { conn, way: Way::Down, msg } => {
                if let Some(m) = self.recipient(&Event::Answered { conn }) {
                    self.minion_arrival(m, conn, msg);
                } else if !matches!(msg, Msg::Fin) {
                    // The minion's host knows nothing of this connection.
                    self.net.send(&mut self.agenda, conn, Way::Up, Msg::Fin);
                } else if let Some(known) = self.net.conns.get_mut(&conn) {
                    known.minion_open = false;
                    self.net.forget(conn);
                }
            }
            Event::GaveUp { conn, way: Way::Up } => {
                if let Some(m) = self.recipient(&Event::Answered { conn }) {
                    self.line_ended(m, conn, false);
                }
                self.net.abandon(conn);
            }
            Event::GaveUp { conn, way: Way::Down } => self.master_gives_up(conn),
            Event::Master { master, life, later } => self.master_later(master, life, later),
            Event::Minion { minion, life, timer } => {
                if self.minions[minion].life == life {
                    self.minion_timer(minion, timer);
                }
            }
            Event::Fault(number) => self.strike(number),
            Event::Heal(number) => self.heal(number),
            Event::Publish => self.publish_something(),
            Event::Again { master, order } => self.publish(master, order),
            Event::Check => {
                self.check();
                self.agenda.after(CHECK, Event::Check);
            }
        }
    }

    fn syn_answered(&mut self, conn: ConnId) {
        let Some(m) = self.recipient(&Event::Answered { conn }) else { return };
        let master = self.net.conns.get(&conn).map_or(0, |c| c.master);
        if !self.net.host_up[master] {
            self.agenda.after(secs(1), Event::Syn { conn, tries: 1 });
        } else if self.master_accepts(conn) {
            if let Some(known) = self.net.conns.get_mut(&conn) {
                known.established = true;
            }
            self.connected(m, conn);
        } else {
            self.line_ended(m, conn, true);
        }
    }

    /// A job for everybody, now and then twice or through two masters.
    fn publish_something(&mut self) {
        let pause = between(&mut self.rng, ms(500), secs(6));
        self.agenda.after(pause, Event::Publish);
        // What begins too late cannot be finished before the end.
        if self.now() + secs(50) > self.until {
            return;
        }
        let running: Vec<usize> = (0..self.masters.len())
            .filter(|m| self.masters[*m].process == Process::Running)
            .collect();
        if running.is_empty() {
            return;
        }
        let master = running[self.rng.usize(..running.len())];
        let jid = self.number();
        let longest = if self.rng.u8(..) < 200 { secs(2) } else { secs(20) };
        let order = Order::Job { jid, takes: between(&mut self.rng, ms(1), longest) };
        self.stats.jobs += 1;
        self.publish(master, order);
        if self.rng.u8(..) < 40 {
            let master = self.rng.usize(..self.masters.len());
            let pause = between(&mut self.rng, Duration::ZERO, secs(15));
            self.agenda.after(pause, Event::Again { master, order });
        }
    }

    pub(crate) fn stall(&mut self, m: usize, on: bool) {
        self.minions[m].stalled = on && self.minions[m].alive;
        if on {
            return;
        }
        self.minions[m].thawed = self.now();
        let mut waiting: Vec<Event> = std::mem::take(&mut self.minions[m].backlog).into();
        // A runtime that wakes up looks at timers and sockets in no certain order.
        if self.rng.bool() {
            waiting.sort_by_key(|event| !matches!(event, Event::Minion { .. }));
        }
        for event in waiting {
            if self.recipient(&event) == Some(m) {
                self.happen(event);
            }
        }
    }
}

fn random_policy(names: Vec<String>, rng: &mut fastrand::Rng) -> Policy {
    let mut policy = Policy::new(names);
    policy.standby = rng.u8(..) < 200;
    policy.standby_interval = secs(rng.u64(30..=600));
    policy.selection = match rng.u8(..3) {
        0 => Selection::Listed,
        1 => Selection::Shuffled,
        _ => Selection::Distributed(format!("minion{}", rng.u32(..))),
    };
    if rng.u8(..) < 100 {
        policy.alive_interval = Some(secs(rng.u64(2..=30)));
    }
    if rng.u8(..) < 80 {
        policy.failback_interval = Some(secs(rng.u64(2..=30)));
    }
    policy
}
