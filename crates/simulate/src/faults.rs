//! What goes wrong in a history: planned from the seed before it begins, so that no two faults
//! undo each other, and all have ended some time before the end.

use saltern_failover::Channel;

use crate::clock::{Time, between, ms, secs};
use crate::master::{Key, Process};
use crate::net::{ConnId, Road};
use crate::world::World;

/// One fault.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Kill {
        master: usize,
        host: bool,
        keep: bool,
    },
    Freeze {
        master: usize,
    },
    /// Takes connections and answers nothing: on one channel or on both.
    Mute {
        master: usize,
        channels: [bool; 2],
    },
    Foreign {
        master: usize,
    },
    SlowAnswers {
        master: usize,
        by: Time,
    },
    Busy {
        master: usize,
        retry_after: Time,
    },
    Full {
        master: usize,
    },
    Drain {
        master: usize,
    },
    Rotate {
        master: usize,
    },
    Revoke {
        master: usize,
        minion: usize,
        key: Key,
    },
    /// Nothing passes in these directions; for one minion or for all.
    Cut {
        master: usize,
        minion: Option<usize>,
        ways: [bool; 2],
    },
    Slow {
        master: usize,
        delay: Time,
        jitter: Time,
    },
    Lossy {
        master: usize,
        loss: f64,
    },
    /// A box on the way forgets the connections of a minion.
    Forget {
        minion: usize,
    },
    NameGone {
        master: usize,
    },
    /// The host has another address; the name follows when the fault ends.
    Move {
        master: usize,
    },
    Stall {
        minion: usize,
    },
    Restart {
        minion: usize,
        power: bool,
    },
    Ask {
        minion: usize,
        to: Option<usize>,
    },
    WallClock {
        minion: usize,
        hours: i64,
    },
}

/// A fault with its time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planned {
    pub(crate) at: Time,
    pub(crate) until: Time,
    pub(crate) fault: Fault,
}

impl Fault {
    fn kind(&self) -> &'static str {
        match self {
            Fault::Kill { host: true, .. } => "master's host dies",
            Fault::Kill { keep: true, .. } => "master killed",
            Fault::Kill { .. } => "master loses its state",
            Fault::Freeze { .. } => "master frozen",
            Fault::Mute { channels: [true, true], .. } => "master accepts, is silent",
            Fault::Mute { channels: [true, false], .. } => "publications silent",
            Fault::Mute { .. } => "requests silent",
            Fault::Foreign { .. } => "key not trusted",
            Fault::SlowAnswers { .. } => "master slow",
            Fault::Busy { .. } => "master busy",
            Fault::Full { .. } => "master full",
            Fault::Drain { .. } => "master drained",
            Fault::Rotate { .. } => "AES key rotated",
            Fault::Revoke { key: Key::Rejected, .. } => "minion's key rejected",
            Fault::Revoke { key: Key::Denied, .. } => "minion's key denied",
            Fault::Revoke { .. } => "minion's key deleted",
            Fault::Cut { ways: [true, true], .. } => "partition both ways",
            Fault::Cut { ways: [true, false], .. } => "partition to master",
            Fault::Cut { .. } => "partition to minion",
            Fault::Slow { .. } => "delay",
            Fault::Lossy { .. } => "loss",
            Fault::Forget { .. } => "connections forgotten",
            Fault::NameGone { .. } => "name has no address",
            Fault::Move { .. } => "address moves",
            Fault::Stall { .. } => "minion stalls",
            Fault::Restart { power: true, .. } => "minion's power cut",
            Fault::Restart { .. } => "minion restarts",
            Fault::Ask { .. } => "minion asked to leave",
            Fault::WallClock { .. } => "wall clock jumps",
        }
    }

    /// What it acts upon: two faults on the same would undo each other.
    fn target(&self) -> (u8, usize, usize) {
        match *self {
            Fault::Kill { master, .. }
            | Fault::Freeze { master }
            | Fault::Mute { master, .. }
            | Fault::Foreign { master } => (0, master, 0),
            Fault::SlowAnswers { master, .. } => (1, master, 0),
            Fault::Busy { master, .. } | Fault::Full { master } | Fault::Drain { master } => {
                (2, master, 0)
            }
            Fault::Rotate { master } => (3, master, 0),
            Fault::Revoke { master, minion, .. } => (4, master, minion),
            Fault::Cut { master, .. } => (5, master, 0),
            Fault::Slow { master, .. } => (6, master, 0),
            Fault::Lossy { master, .. } => (7, master, 0),
            Fault::Forget { minion } => (8, minion, 0),
            Fault::NameGone { master } | Fault::Move { master } => (9, master, 0),
            Fault::Stall { minion } | Fault::Restart { minion, .. } => (10, minion, 0),
            Fault::Ask { minion, .. } => (11, minion, 0),
            Fault::WallClock { minion, .. } => (12, minion, 0),
        }
    }
}

fn draw(world: &mut World, rough: bool) -> Fault {
    let master = world.rng.usize(..world.masters.len());
    let minion = world.rng.usize(..world.minions.len());
    let rng = &mut world.rng;
    let sides = |rng: &mut fastrand::Rng| {
        let both = [[true, true], [true, false], [false, true]];
        both[rng.usize(..both.len())]
    };
    match rng.u8(..if rough { 22 } else { 17 }) {
        0 | 1 => Fault::Kill { master, host: false, keep: true },
        2 => Fault::Kill { master, host: rng.bool(), keep: rng.bool() },
        3 | 4 => Fault::Freeze { master },
        5 => Fault::Mute { master, channels: sides(rng) },
        6 => Fault::Foreign { master },
        7 => Fault::Busy { master, retry_after: between(rng, ms(200), secs(5)) },
        8 => Fault::Full { master },
        9 => Fault::Drain { master },
        10 => Fault::Rotate { master },
        11 => {
            let keys = [Key::Rejected, Key::Pending, Key::Denied];
            Fault::Revoke { master, minion, key: keys[rng.usize(..keys.len())] }
        }
        12 | 13 => {
            let minion = rng.bool().then_some(minion);
            Fault::Cut { master, minion, ways: sides(rng) }
        }
        14 => Fault::Forget { minion },
        15 if rng.bool() => Fault::NameGone { master },
        15 => Fault::Move { master },
        16 if rng.bool() => Fault::Ask { minion, to: rng.bool().then_some(master) },
        16 => Fault::WallClock { minion, hours: rng.i64(-9..=9) },
        17 => Fault::Stall { minion },
        18 => Fault::Restart { minion, power: rng.bool() },
        19 => Fault::SlowAnswers { master, by: between(rng, ms(50), secs(4)) },
        20 => {
            let delay = between(rng, ms(10), ms(600));
            Fault::Slow { master, delay, jitter: delay.mul_f64(rng.f64()) }
        }
        _ => Fault::Lossy { master, loss: 0.01 + 0.2 * rng.f64() },
    }
}

/// Fills the world's plan.
pub(crate) fn plan(world: &mut World) {
    // A third of the histories has a network that is quick whenever it works at all.
    let rough = world.rng.u8(..3) > 0;
    let density = 2.0 + 18.0 * world.rng.f64();
    let end = world.faults_until;
    let mut at = secs(8);
    let mut plan: Vec<Planned> = Vec::new();
    loop {
        at += between(&mut world.rng, Time::ZERO, secs(1).mul_f64(density * 2.0));
        if at >= end {
            break;
        }
        let fault = draw(world, rough);
        let short = world.rng.u8(..) < 100;
        let longest = if short { secs(5) } else { secs(70) };
        let until = (at + between(&mut world.rng, ms(20), longest)).min(end);
        let clash = |other: &Planned| other.fault.target() == fault.target() && other.until >= at;
        if !plan.iter().any(clash) {
            plan.push(Planned { at, until, fault });
        }
    }
    world.plan = plan;
}

impl World {
    pub(crate) fn strike(&mut self, number: usize) {
        let Planned { fault, .. } = self.plan[number];
        *self.stats.faults.entry(fault.kind()).or_default() += 1;
        self.say(format_args!("FAULT {fault:?}"));
        match fault {
            Fault::Kill { master, host, .. } => self.master_dies(master, host),
            Fault::Freeze { master } => self.masters[master].process = Process::Frozen,
            Fault::Mute { master, channels } => self.masters[master].mute = channels,
            Fault::Foreign { master } => self.masters[master].foreign = true,
            Fault::SlowAnswers { master, by } => self.masters[master].answers_after = by,
            Fault::Busy { master, retry_after } => self.masters[master].busy = Some(retry_after),
            Fault::Full { master } => self.masters[master].full = true,
            Fault::Drain { master } => self.drain(master, true),
            Fault::Rotate { master } => self.rotate(master),
            Fault::Revoke { master, minion, key } => self.revoke(master, minion, key),
            Fault::Cut { master, minion, ways } => {
                for m in 0..self.minions.len() {
                    if minion.is_none_or(|only| only == m) {
                        for (road, cut) in self.net.paths[m][master].iter_mut().zip(ways) {
                            road.cut = cut;
                        }
                    }
                }
            }
            Fault::Slow { master, delay, jitter } => {
                self.pave(master, |road| (road.delay, road.jitter) = (delay, jitter));
            }
            Fault::Lossy { master, loss } => self.pave(master, |road| road.loss = loss),
            Fault::Forget { minion } => {
                let mine = self.net.conns.values_mut().filter(|conn| conn.minion == minion);
                mine.for_each(|conn| conn.forgotten = true);
            }
            Fault::NameGone { master } => self.net.names[master] = None,
            Fault::Move { master } => {
                self.net.homes.retain(|_, home| *home != master);
                let address = 1000 + u32::try_from(number).unwrap_or_default();
                self.net.homes.insert(address, master);
            }
            Fault::Stall { minion } => self.stall(minion, true),
            Fault::Restart { minion, power } => self.minion_dies(minion, power),
            Fault::Ask { minion, to } => self.ask_to_leave(minion, to),
            Fault::WallClock { minion, hours } => self.minions[minion].work.clock_jumps(hours),
        }
    }

    pub(crate) fn heal(&mut self, number: usize) {
        let Planned { fault, .. } = self.plan[number];
        self.say(format_args!("HEALED {fault:?}"));
        self.watchman.healed();
        match fault {
            Fault::Kill { master, keep, .. } => self.master_starts(master, keep),
            Fault::Freeze { master } => self.master_thaws(master),
            Fault::Mute { master, .. } => self.masters[master].mute = [false; 2],
            Fault::Foreign { master } => self.masters[master].foreign = false,
            Fault::SlowAnswers { master, .. } => self.masters[master].answers_after = ms(2),
            Fault::Busy { master, .. } => self.masters[master].busy = None,
            Fault::Full { master } => self.masters[master].full = false,
            Fault::Drain { master } => self.drain(master, false),
            Fault::Revoke { master, minion, .. } => {
                self.masters[master].keys[minion] = Key::Accepted;
            }
            Fault::Cut { master, .. } => self.pave(master, |road| road.cut = false),
            Fault::Slow { master, .. } => {
                self.pave(master, |road| {
                    (road.delay, road.jitter) = (Road::CLEAN.delay, Road::CLEAN.jitter);
                });
            }
            Fault::Lossy { master, .. } => self.pave(master, |road| road.loss = 0.0),
            Fault::NameGone { master } | Fault::Move { master } => {
                let home = self.net.homes.iter().find(|(_, home)| **home == master);
                self.net.names[master] = home.map(|(address, _)| *address);
            }
            Fault::Stall { minion } => self.stall(minion, false),
            Fault::Restart { minion, .. } => self.minion_starts(minion),
            Fault::Rotate { .. }
            | Fault::Forget { .. }
            | Fault::Ask { .. }
            | Fault::WallClock { .. } => {}
        }
    }

    fn pave(&mut self, master: usize, change: impl Fn(&mut Road)) {
        for paths in &mut self.net.paths {
            paths[master].iter_mut().for_each(&change);
        }
    }

    /// A kernel at the master's end stops retransmitting.
    pub(crate) fn master_gives_up(&mut self, id: ConnId) {
        let Some(conn) = self.net.conns.get_mut(&id) else { return };
        conn.master_open = false;
        let (master, channel) = (conn.master, conn.channel);
        if channel == Channel::Publications {
            self.masters[master].subscribers.remove(&id);
        }
        self.net.abandon(id);
    }
}
