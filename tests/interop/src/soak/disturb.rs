//! What happens to the fleet meanwhile: masters are restarted, swarms leave and come back, keys
//! are deleted and accepted again, session keys change. All chance comes from the seed.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::Plan;
use super::world::{Role, World};
use crate::Master;

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A master ends, in order or killed, and comes back.
    Restart,
    /// A whole swarm goes, and comes back.
    Churn,
    /// The keys of some minions are deleted; they sign in again and are accepted.
    KeysDeleted,
    /// A new session key, as after any deletion.
    SessionKey,
}

/// How often each is done, as a part of the time between two restarts.
const KINDS: [(Kind, f64); 4] =
    [(Kind::Restart, 1.0), (Kind::Churn, 0.45), (Kind::KeysDeleted, 0.6), (Kind::SessionKey, 0.7)];

/// Who is away.
#[derive(Clone, Copy)]
enum Away {
    Master(usize),
    Group(usize),
}

pub(super) struct Disturber {
    rng: Rng,
    /// When each kind is due next, and how often it is.
    due: Vec<(Instant, Duration, Kind)>,
    away: Vec<(Instant, Away)>,
    /// Seconds somebody stays away.
    lasts: std::ops::Range<f64>,
    /// By kind, how often.
    pub(super) made: BTreeMap<String, usize>,
    /// The last one, for people.
    pub(super) last: String,
}

impl Disturber {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut rng = Rng::with_seed(plan.seed ^ 0x5a17);
        let every = plan.restart_every();
        let due = KINDS.map(|(kind, part)| {
            let period = every * part;
            let first = period * (0.4 + 0.3 * rng.f64());
            let at = Instant::now() + Duration::from_secs_f64(first);
            (at, Duration::from_secs_f64(period), kind)
        });
        Disturber {
            rng,
            due: due.to_vec(),
            away: Vec::new(),
            lasts: 2.0..(every / 10.0).max(4.0),
            made: BTreeMap::new(),
            last: "nothing yet".to_owned(),
        }
    }

    /// Brings back who was away long enough and does what is due.
    pub(super) fn turn(&mut self, world: &mut World) {
        let now = Instant::now();
        let (back, away): (Vec<_>, _) = self.away.drain(..).partition(|(until, _)| *until <= now);
        self.away = away;
        back.into_iter().for_each(|(_, who)| bring_back(world, who));
        for number in 0..self.due.len() {
            let (at, period, kind) = self.due[number];
            if at <= now {
                self.due[number].0 = now + period;
                self.disturb(world, kind);
            }
        }
    }

    /// Brings back everybody.
    pub(super) fn heal(&mut self, world: &mut World) {
        self.away.drain(..).for_each(|(_, who)| bring_back(world, who));
    }

    fn disturb(&mut self, world: &mut World, kind: Kind) {
        let what = match kind {
            Kind::Restart => self.restart(world),
            Kind::Churn => self.churn(world),
            Kind::KeysDeleted => self.delete_keys(world),
            Kind::SessionKey => self.rotate(world),
        };
        let Some(what) = what else { return };
        *self.made.entry(format!("{kind:?}")).or_default() += 1;
        self.last = what;
    }

    fn until(&mut self) -> Instant {
        let (least, most) = (self.lasts.start, self.lasts.end);
        Instant::now() + Duration::from_secs_f64(least + self.rng.f64() * (most - least))
    }

    fn restart(&mut self, world: &mut World) -> Option<String> {
        if world.up.iter().any(|up| !up) {
            return None;
        }
        let number = self.rng.usize(..world.masters.len());
        let kill = self.rng.bool();
        world.up[number] = false;
        let process = world.masters[number].process();
        match kill {
            true => process.kill(),
            false => drop(process.stop()),
        }
        let until = self.until();
        self.away.push((until, Away::Master(number)));
        let how = if kill { "killed" } else { "stopped" };
        Some(format!("master {} {how}", number + 1))
    }

    fn churn(&mut self, world: &mut World) -> Option<String> {
        let running = |(_, group): &(usize, &super::world::Group)| {
            group.role != Role::Flapping && group.swarm.is_some()
        };
        let numbers: Vec<_> =
            world.groups.iter().enumerate().filter(running).map(|(number, _)| number).collect();
        let number = *numbers.get(self.rng.usize(..numbers.len().max(1)))?;
        let group = &mut world.groups[number];
        let name = group.plan.name.clone();
        group.swarm.take()?.stop();
        let until = self.until();
        self.away.push((until, Away::Group(number)));
        Some(format!("swarm {name} left"))
    }

    /// At all masters: who is signed in at one has a key at the others, too.
    fn delete_keys(&mut self, world: &mut World) -> Option<String> {
        let mut ids: Vec<_> = world.ids(None).into_iter().collect();
        self.rng.shuffle(&mut ids);
        ids.truncate(ids.len() / 20 + 1);
        for master in world.masters_up() {
            let output = master.run("salt-key", &["-y", "-d", &ids.join(",")]);
            assert_eq!(output.code, 0, "keys cannot be deleted: {output:?}");
        }
        Some(format!("{} keys deleted", ids.len()))
    }

    /// Deleting a key, even one that nobody uses, makes a new session key.
    fn rotate(&mut self, world: &mut World) -> Option<String> {
        let up: Vec<&Master> = world.masters_up().collect();
        let master = up.get(self.rng.usize(..up.len().max(1)))?;
        fs::copy(master.pki().join("master.pub"), master.pki().join("minions/nobody")).unwrap();
        let output = master.run("salt-key", &["-y", "-d", "nobody"]);
        assert_eq!(output.code, 0, "a session key cannot be changed: {output:?}");
        Some(format!("new session key at {}", master.address))
    }
}

fn bring_back(world: &mut World, who: Away) {
    match who {
        Away::Master(number) => {
            world.masters[number].start();
            world.up[number] = true;
        }
        Away::Group(number) => world.groups[number].start(),
    }
}
