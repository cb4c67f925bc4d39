//! Which fault is made where and when; all chance comes from the seed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::world::{Node, World, now};
use crate::{Fault, Host, Master, Minion, Program, Quality};

/// Seconds a fault lasts.
const LASTS: std::ops::Range<u64> = 3..16;

/// Seconds between the beginnings of two faults.
const PAUSE: std::ops::Range<u64> = 1..5;

/// So many masters at most are at fault together: nobody can be connected to none.
const MASTERS: usize = 2;

/// What a fault is made at.
#[derive(Clone, Copy)]
enum Place {
    Master(usize),
    Minion(usize),
}

/// What is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Killed,
    Frozen,
    Restarted,
    CutOff,
    Deaf,
    Mute,
    PublishPort,
    RequestPort,
    ForgottenByNat,
    BadLink,
    Drained,
    KeyRotated,
}

/// Kinds of faults with how often each is chosen.
const AT_MASTERS: &[(Kind, u32)] = &[
    (Kind::Killed, 3),
    (Kind::Frozen, 3),
    (Kind::Restarted, 2),
    (Kind::CutOff, 2),
    (Kind::Deaf, 1),
    (Kind::Mute, 1),
    (Kind::PublishPort, 1),
    (Kind::RequestPort, 1),
    (Kind::ForgottenByNat, 2),
    (Kind::BadLink, 2),
    (Kind::Drained, 2),
    (Kind::KeyRotated, 2),
];
const AT_MINIONS: &[(Kind, u32)] = &[
    (Kind::Killed, 3),
    (Kind::Restarted, 1),
    (Kind::Frozen, 1),
    (Kind::CutOff, 2),
    (Kind::Deaf, 1),
    (Kind::Mute, 1),
    (Kind::BadLink, 2),
];

impl Kind {
    /// Whether the program can work on meanwhile.
    fn is_bearable(self) -> bool {
        matches!(self, Kind::BadLink | Kind::KeyRotated | Kind::ForgottenByNat)
    }

    /// Whether there is nothing that could answer, not even on the same host.
    fn ends_program(self) -> bool {
        matches!(self, Kind::Killed | Kind::Frozen | Kind::Restarted)
    }
}

pub(super) struct Injector {
    rng: Rng,
    next: Instant,
    active: Vec<(Instant, Place, Kind)>,
    /// By name, how often.
    pub(super) made: BTreeMap<String, usize>,
}

impl Injector {
    pub(super) fn new(seed: u64) -> Self {
        let made = BTreeMap::new();
        Injector { rng: Rng::with_seed(seed), next: Instant::now(), active: Vec::new(), made }
    }

    /// Ends what has lasted long enough and makes a new fault when it is time.
    pub(super) fn turn(&mut self, world: &mut World) {
        let now = Instant::now();
        let (over, active) = self.active.drain(..).partition(|(until, ..)| *until <= now);
        self.active = active;
        let over: Vec<_> = over;
        for (_, place, kind) in over {
            end(world, place, kind);
        }
        if now >= self.next {
            self.next = now + Duration::from_secs(self.rng.u64(PAUSE));
            self.begin(world);
        }
    }

    /// Ends all faults.
    pub(super) fn heal_all(&mut self, world: &mut World) {
        for (_, place, kind) in self.active.drain(..) {
            end(world, place, kind);
        }
    }

    fn begin(&mut self, world: &mut World) {
        let at_fault = world.masters.iter().filter(|m| m.faulty).count();
        let at_master = self.rng.bool() && at_fault < MASTERS;
        let (kinds, count) = match at_master {
            true => (AT_MASTERS, world.masters.len()),
            false => (AT_MINIONS, world.minions.len()),
        };
        let kind = choose(&mut self.rng, kinds);
        let number = self.rng.usize(..count);
        let place = if at_master { Place::Master(number) } else { Place::Minion(number) };
        let until = Instant::now() + Duration::from_secs(self.rng.u64(LASTS));
        let begun = match place {
            Place::Master(number) => at(&mut world.masters[number], kind),
            Place::Minion(number) => at(&mut world.minions[number], kind),
        };
        if begun {
            let who = if at_master { "master" } else { "minion" };
            *self.made.entry(format!("{who} {kind:?}")).or_default() += 1;
            self.active.push((until, place, kind));
        }
    }
}

fn choose(rng: &mut Rng, kinds: &[(Kind, u32)]) -> Kind {
    let mut ticket = rng.u32(..kinds.iter().map(|(_, weight)| weight).sum::<u32>());
    for (kind, weight) in kinds {
        match ticket.checked_sub(*weight) {
            Some(rest) => ticket = rest,
            None => return *kind,
        }
    }
    unreachable!("the ticket is below the sum")
}

/// Makes a fault, unless one is in force there.
fn at<T: Daemon>(node: &mut Node<T>, kind: Kind) -> bool {
    if node.faulty {
        return false;
    }
    let begun = now();
    let program = &mut node.program;
    match kind {
        Kind::Killed => program.process().kill(),
        Kind::Frozen => program.process().signal("STOP"),
        Kind::Restarted => drop(program.process().stop()),
        Kind::CutOff => program.host().fault(Fault::Silence),
        Kind::Deaf => program.host().fault(Fault::Deaf),
        Kind::Mute => program.host().fault(Fault::Mute),
        Kind::PublishPort => program.host().fault(Fault::Port(4505)),
        Kind::RequestPort => program.host().fault(Fault::Port(4506)),
        Kind::ForgottenByNat => {
            program.host().forget_connections();
        }
        Kind::BadLink => {
            let quality = Quality { delay: 50, jitter: 20, loss: 5, reorder: 5 };
            program.host().quality(quality);
        }
        Kind::Drained | Kind::KeyRotated => program.command(kind),
    }
    node.faulty = true;
    node.runs = !kind.ends_program();
    if !kind.is_bearable() {
        node.faults.push((begun, f64::INFINITY));
    }
    true
}

fn end(world: &mut World, place: Place, kind: Kind) {
    match place {
        Place::Master(number) => mend(&mut world.masters[number], kind),
        Place::Minion(number) => mend(&mut world.minions[number], kind),
    }
}

fn mend<T: Daemon>(node: &mut Node<T>, kind: Kind) {
    let program = &mut node.program;
    match kind {
        Kind::Killed | Kind::Restarted => {
            program.start();
            node.starts += 1;
        }
        Kind::Frozen => program.process().signal("CONT"),
        Kind::Drained => program.undo(),
        Kind::KeyRotated => {}
        _ => program.host().heal(),
    }
    node.faulty = false;
    node.runs = true;
    if let Some((_, end)) = node.faults.last_mut().filter(|(_, end)| end.is_infinite()) {
        *end = now();
    }
}

/// What masters and minions have in common here.
trait Daemon {
    fn process(&mut self) -> &mut Program;
    fn start(&mut self);
    fn host(&self) -> &Host;
    /// A fault that is made with the master's tools.
    fn command(&mut self, kind: Kind);
    /// Ends it.
    fn undo(&mut self);
}

impl Daemon for Master {
    fn process(&mut self) -> &mut Program {
        Master::process(self)
    }

    fn start(&mut self) {
        Master::start(self);
    }

    fn host(&self) -> &Host {
        self.host.as_ref().unwrap()
    }

    fn command(&mut self, kind: Kind) {
        let output = match kind {
            Kind::Drained => self.run("salt-run", &["master.drain", "within=3"]),
            // Deleting a key, even one that nobody uses, makes a new session key.
            _ => {
                let key = self.pki().join("minions/nobody");
                std::fs::copy(self.pki().join("master.pub"), key).unwrap();
                self.run("salt-key", &["-y", "-d", "nobody"])
            }
        };
        assert_eq!(output.code, 0, "{kind:?}: {output:?}");
    }

    fn undo(&mut self) {
        let output = self.run("salt-run", &["master.undrain"]);
        assert_eq!(output.code, 0, "{output:?}");
    }
}

impl Daemon for Minion {
    fn process(&mut self) -> &mut Program {
        Minion::process(self)
    }

    fn start(&mut self) {
        Minion::start(self);
    }

    fn host(&self) -> &Host {
        self.host.as_ref().unwrap()
    }

    fn command(&mut self, kind: Kind) {
        panic!("a minion cannot be {kind:?}");
    }

    fn undo(&mut self) {}
}
