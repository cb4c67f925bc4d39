//! A model of a master: keys, sessions, a key for publications that rotates, jobs, a store of
//! returns, and all the ways in which it can be unwell.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use saltern_failover::{Channel, Hard, Soft, Verdict};

use crate::clock::{Time, between, ms, secs};
use crate::net::{Answer, Ask, ConnId, Msg, Order, Publication, Way};
use crate::world::{Event, World};

/// What a master knows of a minion's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Accepted,
    Pending,
    Rejected,
    Denied,
}

/// Whether the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Process {
    Running,
    /// Stopped by a signal: the kernel still takes connections and bytes for it.
    Frozen,
    Dead,
}

/// Something a master does later.
#[derive(Clone, Debug)]
pub(crate) enum Later {
    Accept {
        minion: usize,
    },
    CloseSubscriptions,
    /// The answer to a request is ready.
    Answer {
        conn: ConnId,
        msg: Msg,
    },
}

/// Flaws put into the model on purpose, to see that they are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sabotage {
    /// The first acknowledgement of each return is lost although it was stored.
    pub swallow_acknowledgements: bool,
    /// Masters store a return as often as it comes.
    pub store_twice: bool,
    /// Minions run a job as often as it comes.
    pub run_twice: bool,
    /// Minions forget the returns of jobs when they restart.
    pub forget_spool: bool,
}

pub(crate) struct Master {
    pub(crate) life: u64,
    pub(crate) process: Process,
    /// Takes connections on this channel and never answers there.
    pub(crate) mute: [bool; 2],
    pub(crate) keys: Vec<Key>,
    sessions: BTreeMap<usize, u64>,
    aes: u64,
    pub(crate) draining: bool,
    drain_closed: bool,
    pub(crate) busy: Option<Duration>,
    pub(crate) full: bool,
    /// It shows a key nobody vouches for.
    pub(crate) foreign: bool,
    pub(crate) subscribers: BTreeSet<ConnId>,
    stored: BTreeSet<(u64, usize)>,
    backlog: VecDeque<(ConnId, Msg)>,
    pub(crate) answers_after: Time,
    /// Counts how often it lost its state.
    pub(crate) memory: usize,
    swallowed: BTreeSet<(u64, usize)>,
}

impl Master {
    pub(crate) fn new(minions: usize, aes: u64) -> Self {
        Master {
            life: 1,
            process: Process::Running,
            mute: [false; 2],
            keys: vec![Key::Accepted; minions],
            sessions: BTreeMap::new(),
            aes,
            draining: false,
            drain_closed: false,
            busy: None,
            full: false,
            foreign: false,
            subscribers: BTreeSet::new(),
            stored: BTreeSet::new(),
            backlog: VecDeque::new(),
            answers_after: ms(2),
            memory: 0,
            swallowed: BTreeSet::new(),
        }
    }

    /// Would it take this minion and serve it?
    pub(crate) fn welcomes(&self, minion: usize) -> bool {
        self.serves(minion)
            && !self.draining
            && self.busy.is_none()
            && !self.full
            && !self.foreign
            && self.answers_after <= ms(60)
    }

    /// Does it serve this minion, once that is connected?
    pub(crate) fn serves(&self, minion: usize) -> bool {
        self.process == Process::Running
            && self.mute == [false; 2]
            && self.keys[minion] == Key::Accepted
    }

    fn sign_in(&self, minion: usize) -> Verdict {
        let soft = Verdict::Soft;
        // A minion that is here already keeps its place, whatever others are told.
        let known = self.sessions.contains_key(&minion);
        if self.foreign {
            return Verdict::Hard(Hard::UntrustedKey);
        }
        match self.keys[minion] {
            Key::Pending => return soft(Soft::Pending),
            Key::Rejected => return soft(Soft::Rejected),
            Key::Denied => return soft(Soft::Denied),
            Key::Accepted => {}
        }
        if self.draining {
            return soft(Soft::Draining { retry_after: secs(5) });
        }
        match self.busy {
            Some(retry_after) => soft(Soft::Busy { retry_after }),
            None if self.full && !known => soft(Soft::Full),
            None => Verdict::Ok,
        }
    }
}

impl World {
    /// A connection request arrived; whether it is taken.
    pub(crate) fn master_accepts(&mut self, id: ConnId) -> bool {
        let Some(conn) = self.net.conns.get_mut(&id) else { return false };
        let master = &self.masters[conn.master];
        let closed = master.drain_closed && conn.channel == Channel::Publications;
        conn.master_open = master.process != Process::Dead && !closed;
        conn.master_open
    }

    /// Something arrived at the master's end of a connection.
    pub(crate) fn master_arrival(&mut self, id: ConnId, msg: Msg) {
        let Some(conn) = self.net.conns.get(&id) else { return };
        let number = conn.master;
        if !self.net.host_up[number] {
            return;
        }
        if !conn.master_open {
            // A host that knows nothing of the connection says so.
            self.net.send(&mut self.agenda, id, Way::Down, Msg::Fin);
            return;
        }
        match self.masters[number].process {
            Process::Running => self.master_takes(id, msg),
            Process::Frozen => self.masters[number].backlog.push_back((id, msg)),
            Process::Dead => {}
        }
    }

    fn master_takes(&mut self, id: ConnId, msg: Msg) {
        let Some(conn) = self.net.conns.get(&id) else { return };
        let (number, minion, channel) = (conn.master, conn.minion, conn.channel);
        if matches!(msg, Msg::Fin) {
            self.masters[number].subscribers.remove(&id);
            self.net.close_master(&mut self.agenda, id);
            return;
        }
        if self.masters[number].mute[channel as usize] {
            return;
        }
        let reply = match msg {
            Msg::Hello => Msg::Welcome,
            Msg::Ping => Msg::Pong,
            Msg::Subscribe => {
                self.masters[number].subscribers.insert(id);
                return;
            }
            Msg::Request(request, ask) => match self.master_answers(number, minion, &ask) {
                Some(answer) => Msg::Reply(request, answer),
                None => return,
            },
            _ => return,
        };
        let pause = match reply {
            Msg::Reply(..) => self.masters[number].answers_after.mul_f64(0.5 + self.rng.f64()),
            _ => Time::ZERO,
        };
        let life = self.masters[number].life;
        let later = Later::Answer { conn: id, msg: reply };
        self.agenda.after(pause, Event::Master { master: number, life, later });
    }

    fn master_answers(&mut self, number: usize, minion: usize, ask: &Ask) -> Option<Answer> {
        let fresh = self.number();
        let master = &mut self.masters[number];
        let known = |session: u64| master.sessions.get(&minion) == Some(&session);
        match *ask {
            Ask::Clear => Some(Answer::Done),
            Ask::SignIn => {
                let verdict = master.sign_in(minion);
                let mut session = 0;
                if verdict == Verdict::Ok {
                    // The session key of a minion lives on; only its end makes a new one.
                    session = *master.sessions.entry(minion).or_insert(fresh);
                }
                Some(Answer::SignIn { verdict, session, aes: master.aes })
            }
            Ask::Sealed { session } if known(session) => Some(Answer::Done),
            Ask::Return { session, jid, lost } if known(session) => {
                let first = master.stored.insert((jid, minion));
                let swallow = self.sabotage.swallow_acknowledgements
                    && self.masters[number].swallowed.insert((jid, minion));
                let stored = first || self.sabotage.store_twice;
                self.return_arrived(number, minion, jid, lost, stored);
                (!swallow).then_some(Answer::Done)
            }
            Ask::Sealed { .. } | Ask::Return { .. } => Some(Answer::Unknown),
        }
    }

    pub(crate) fn master_later(&mut self, number: usize, life: u64, later: Later) {
        if self.masters[number].life != life {
            return;
        }
        match later {
            Later::Accept { minion } => {
                self.say(format_args!("M{number} accepts the key of minion {minion}"));
                self.masters[number].keys[minion] = Key::Accepted;
            }
            Later::CloseSubscriptions => {
                let master = &mut self.masters[number];
                if !master.draining {
                    return;
                }
                master.drain_closed = true;
                let all = std::mem::take(&mut master.subscribers);
                self.say(format_args!("M{number} closes {} subscriptions", all.len()));
                for conn in all {
                    self.net.close_master(&mut self.agenda, conn);
                }
            }
            Later::Answer { conn, msg } => match self.masters[number].process {
                Process::Running => self.net.send(&mut self.agenda, conn, Way::Down, msg),
                // It goes out when the process runs again.
                Process::Frozen => {
                    let later = Later::Answer { conn, msg };
                    self.agenda.after(ms(500), Event::Master { master: number, life, later });
                }
                Process::Dead => {}
            },
        }
    }

    pub(crate) fn publish(&mut self, number: usize, order: Order) {
        let master = &self.masters[number];
        if master.process != Process::Running || master.mute[Channel::Publications as usize] {
            return;
        }
        let publication = Publication { aes: master.aes, order };
        for conn in master.subscribers.clone() {
            let msg = Msg::Publication(publication);
            self.net.send(&mut self.agenda, conn, Way::Down, msg);
        }
    }

    pub(crate) fn rotate(&mut self, number: usize) {
        let aes = self.number();
        self.masters[number].aes = aes;
        self.say(format_args!("M{number} has a new AES key, {aes}"));
    }

    /// Takes a minion's key off the accepted ones: its session ends, and the AES key with it.
    pub(crate) fn revoke(&mut self, number: usize, minion: usize, key: Key) {
        self.masters[number].keys[minion] = key;
        self.masters[number].sessions.remove(&minion);
        self.rotate(number);
    }

    /// The process ends: its kernel closes all connections, unless the host dies with it.
    pub(crate) fn master_dies(&mut self, number: usize, with_host: bool) {
        let master = &mut self.masters[number];
        master.process = Process::Dead;
        master.life += 1;
        master.subscribers.clear();
        master.backlog.clear();
        if with_host {
            self.net.host_up[number] = false;
        }
        let mine: Vec<ConnId> = self
            .net
            .conns
            .iter()
            .filter(|(_, c)| c.master == number && c.master_open)
            .map(|(id, _)| *id)
            .collect();
        for id in mine {
            if with_host {
                if let Some(conn) = self.net.conns.get_mut(&id) {
                    conn.master_open = false;
                }
                self.net.forget(id);
            } else {
                self.net.close_master(&mut self.agenda, id);
            }
        }
    }

    /// A new process; without its state the master knows no key, no session and no return.
    pub(crate) fn master_starts(&mut self, number: usize, keep: bool) {
        self.net.host_up[number] = true;
        let aes = self.number();
        let master = &mut self.masters[number];
        master.process = Process::Running;
        master.aes = aes;
        master.drain_closed = master.draining && keep;
        if !keep {
            master.sessions.clear();
            master.stored.clear();
            master.memory += 1;
            master.draining = false;
            master.keys.fill(Key::Pending);
        }
        let life = master.life;
        for minion in 0..self.minions.len() {
            if self.masters[number].keys[minion] != Key::Pending {
                continue;
            }
            let pause = between(&mut self.rng, secs(1), secs(20));
            let later = Later::Accept { minion };
            self.agenda.after(pause, Event::Master { master: number, life, later });
        }
    }

    pub(crate) fn master_thaws(&mut self, number: usize) {
        self.masters[number].process = Process::Running;
        for (conn, msg) in std::mem::take(&mut self.masters[number].backlog) {
            self.master_takes(conn, msg);
        }
    }

    pub(crate) fn drain(&mut self, number: usize, on: bool) {
        let master = &mut self.masters[number];
        (master.draining, master.drain_closed) = (on, false);
        if on {
            self.publish(number, Order::Leave { within: secs(8) });
            let life = self.masters[number].life;
            let later = Later::CloseSubscriptions;
            self.agenda.after(secs(12), Event::Master { master: number, life, later });
        }
    }
}
