//! The network: paths that delay, lose and cut, and connections that behave as TCP does on them:
//! in order, retransmitted with growing pauses, closed by the end of a process but not by the
//! death of a host.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use saltern_failover::{Attempt, Channel, Probe, Verdict};

use crate::clock::{Agenda, Time, ms, secs};
use crate::world::Event;

/// First retransmission after this, as in every TCP; it doubles each time.
const RTO: Time = ms(200);
/// First retransmission of a connection request.
const SYN_RTO: Time = secs(1);
/// Longest pause between two retransmissions.
const RTO_MAX: Time = secs(60);
/// A connection whose end cannot reach the other for so long is given up by its kernel.
const GIVE_UP: Time = secs(180);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConnId(pub(crate) u64);

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From a minion to a master.
    Up,
    /// From a master to a minion.
    Down,
}

/// What travels.
#[derive(Clone, Debug)]
pub(crate) enum Msg {
    /// The greeting of the connecting side.
    Hello,
    /// The greeting of the other side.
    Welcome,
    /// Only on a subscription.
    Subscribe,
    Ping,
    Pong,
    /// A question; the answer carries the same number.
    Request(u64, Ask),
    Reply(u64, Answer),
    Publication(Publication),
    Fin,
}

#[derive(Clone, Debug)]
pub(crate) enum Ask {
    SignIn,
    /// The clear `ping`.
    Clear,
    /// Something cheap under this session key.
    Sealed {
        session: u64,
    },
    /// The return of a job under this session key.
    Return {
        session: u64,
        jid: u64,
        lost: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    SignIn {
        verdict: Verdict,
        session: u64,
        aes: u64,
    },
    Done,
    /// The session key is not (any more) known.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Publication {
    /// Number of the AES key it is sealed with.
    pub(crate) aes: u64,
    pub(crate) order: Order,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    Job {
        jid: u64,
        takes: Duration,
    },
    /// Leave this master: it is being emptied.
    Leave {
        within: Duration,
    },
}

/// One direction between a minion and a master.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Road {
    pub(crate) delay: Time,
    pub(crate) jitter: Time,
    pub(crate) loss: f64,
    pub(crate) cut: bool,
}

impl Road {
    pub(crate) const CLEAN: Road = Road { delay: ms(1), jitter: ms(2), loss: 0.0, cut: false };

    /// Good enough that an answer always comes soon.
    pub(crate) fn is_good(&self) -> bool {
        !self.cut && self.loss <= 0.001 && self.delay + self.jitter <= ms(60)
    }
}

/// Whose connection it is at the minion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Link(Attempt),
    /// Probes of a master through a connection of their own.
    Prober(usize),
}

/// One direction of a connection.
#[derive(Default)]
struct Pipe {
    queue: VecDeque<Msg>,
    rto: Time,
    /// Since when the first of the queue is being retransmitted.
    stuck: Option<Time>,
    last: Time,
}

/// One TCP connection.
pub(crate) struct Conn {
    pub(crate) minion: usize,
    pub(crate) minion_life: u64,
    pub(crate) master: usize,
    pub(crate) address: u32,
    pub(crate) channel: Channel,
    pub(crate) purpose: Purpose,
    /// The minion's end is connected.
    pub(crate) established: bool,
    pub(crate) minion_open: bool,
    pub(crate) master_open: bool,
    /// Some box on the way forgot it: nothing passes any more, either way.
    pub(crate) forgotten: bool,
    up: Pipe,
    down: Pipe,
}

/// Everything between minions and masters.
pub(crate) struct Net {
    /// By minion, then master: up and down.
    pub(crate) paths: Vec<Vec<[Road; 2]>>,
    pub(crate) conns: BTreeMap<ConnId, Conn>,
    /// Which master's host has an address.
    pub(crate) homes: BTreeMap<u32, usize>,
    /// The address a master's name leads to.
    pub(crate) names: Vec<Option<u32>>,
    pub(crate) host_up: Vec<bool>,
    next: u64,
    pub(crate) rng: fastrand::Rng,
}

impl Net {
    pub(crate) fn new(minions: usize, masters: usize, rng: fastrand::Rng) -> Self {
        let addresses = 0..u32::try_from(masters).unwrap_or(u32::MAX);
        Net {
            paths: vec![vec![[Road::CLEAN; 2]; masters]; minions],
            conns: BTreeMap::new(),
            homes: addresses.clone().zip(0..).collect(),
            names: addresses.map(Some).collect(),
            host_up: vec![true; masters],
            next: 0,
            rng,
        }
    }

    /// A connection request is on its way; the master is known once it arrives.
    pub(crate) fn connect(
        &mut self,
        agenda: &mut Agenda<Event>,
        who: (usize, u64),
        to: (usize, u32),
        channel: Channel,
        purpose: Purpose,
    ) -> ConnId {
        self.next += 1;
        let id = ConnId(self.next);
        let conn = Conn {
            minion: who.0,
            minion_life: who.1,
            master: to.0,
            address: to.1,
            channel,
            purpose,
            established: false,
            minion_open: true,
            master_open: false,
            forgotten: false,
            up: Pipe { rto: RTO, ..Pipe::default() },
            down: Pipe { rto: RTO, ..Pipe::default() },
        };
        self.conns.insert(id, conn);
        agenda.after(Time::ZERO, Event::Syn { conn: id, tries: 0 });
        id
    }

    fn road(&self, conn: &Conn, way: Way) -> Road {
        let pair = self.paths[conn.minion][conn.master];
        if way == Way::Up { pair[0] } else { pair[1] }
    }

    fn delay(&mut self, road: Road) -> Time {
        road.delay + road.jitter.mul_f64(self.rng.f64())
    }

    /// A SYN goes out: the time until the answer to it is back, and whether somebody is at home;
    /// `None` when one of the two was lost, and another was put on the agenda.
    pub(crate) fn syn(
        &mut self,
        agenda: &mut Agenda<Event>,
        id: ConnId,
        tries: u32,
    ) -> Option<Time> {
        let conn = self.conns.get(&id)?;
        if !conn.minion_open || conn.established {
            return None;
        }
        let home = self.homes.get(&conn.address).copied();
        let reached = home == Some(conn.master) && self.host_up[conn.master];
        let (up, down) = (self.road(conn, Way::Up), self.road(conn, Way::Down));
        let lost = self.rng.f64() < up.loss || self.rng.f64() < down.loss;
        if !reached || up.cut || down.cut || lost {
            let pause = SYN_RTO * (1 << tries.min(6));
            agenda.after(pause, Event::Syn { conn: id, tries: tries + 1 });
            return None;
        }
        Some(self.delay(up) + self.delay(down))
    }

    /// Hands a message to the kernel of the sender.
    pub(crate) fn send(&mut self, agenda: &mut Agenda<Event>, id: ConnId, way: Way, msg: Msg) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let pipe = conn.pipe(way);
        pipe.queue.push_back(msg);
        if pipe.stuck.is_none() {
            self.pump(agenda, id, way);
        }
    }

    /// Sends what waits, until something is lost.
    pub(crate) fn pump(&mut self, agenda: &mut Agenda<Event>, id: ConnId, way: Way) {
        loop {
            let Some(conn) = self.conns.get(&id) else { return };
            let road = self.road(conn, way);
            let down = !self.host_up[conn.master];
            let moved = self.homes.get(&conn.address) != Some(&conn.master);
            let lost = road.cut || down || moved || conn.forgotten || self.rng.f64() < road.loss;
            let delay = self.delay(road);
            let now = agenda.now();
            let Some(conn) = self.conns.get_mut(&id) else { return };
            let pipe = conn.pipe(way);
            let Some(msg) = pipe.queue.front() else {
                (pipe.stuck, pipe.rto) = (None, RTO);
                return;
            };
            if lost {
                let since = *pipe.stuck.get_or_insert(now);
                if now > since + GIVE_UP {
                    agenda.after(Time::ZERO, Event::GaveUp { conn: id, way });
                    return;
                }
                agenda.after(pipe.rto, Event::Pump { conn: id, way });
                pipe.rto = (pipe.rto * 2).min(RTO_MAX);
                return;
            }
            let at = (now + delay).max(pipe.last + Duration::from_micros(1));
            pipe.last = at;
            let msg = msg.clone();
            pipe.queue.pop_front();
            (pipe.stuck, pipe.rto) = (None, RTO.max(road.delay * 3));
            agenda.at(at, Event::Arrive { conn: id, way, msg });
        }
    }

    /// The minion's process closes its end; the master hears of it if the network lets it.
    pub(crate) fn close_minion(&mut self, agenda: &mut Agenda<Event>, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if std::mem::take(&mut conn.minion_open) && conn.master_open {
            self.send(agenda, id, Way::Up, Msg::Fin);
        }
        self.forget(id);
    }

    /// The master's process closes its end.
    pub(crate) fn close_master(&mut self, agenda: &mut Agenda<Event>, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if std::mem::take(&mut conn.master_open) && conn.minion_open {
            self.send(agenda, id, Way::Down, Msg::Fin);
        }
        self.forget(id);
    }

    /// Neither end can reach the other any more; each has to find out for itself.
    pub(crate) fn abandon(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.forgotten = true;
            for pipe in [&mut conn.up, &mut conn.down] {
                pipe.queue.clear();
            }
        }
        self.forget(id);
    }

    /// Makes all paths alike.
    pub(crate) fn pave(&mut self, delay: Time, loss: f64) {
        for road in self.paths.iter_mut().flatten().flatten() {
            *road = Road { delay, jitter: delay.mul_f64(0.1), loss, cut: false };
        }
    }

    /// Drops what neither end knows any more.
    pub(crate) fn forget(&mut self, id: ConnId) {
        if self.conns.get(&id).is_some_and(|c| !c.minion_open && !c.master_open) {
            self.conns.remove(&id);
        }
    }
}

impl Conn {
    fn pipe(&mut self, way: Way) -> &mut Pipe {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }
}

/// What a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    SignIn(Attempt),
    /// The session or AES key of a connection in use is not taken any more.
    Renew(Attempt),
    Probe(Probe),
    Prove(Attempt, Probe),
    Return(Attempt, u64),
    /// The first request over a connection just taken into use.
    Pillar(Attempt),
}
