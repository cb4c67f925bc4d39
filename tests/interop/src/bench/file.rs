//! A large file to one minion, and a smaller one to a hundred at once. The minions are whole
//! programs, of Saltern for every master; in one row real Salt's master has one of real Salt.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::goal::Goal;
use super::master::{all_answer, minions};
use super::publisher::Publisher;
use super::trial::Watch;
use super::{Bench, Plan, Trial, daemon, floors};
use crate::{Fleet, Master, Minion, Peer};

pub const BENCH: Bench = Bench {
    name: "file",
    about: "100 MiB to one minion, 4 MiB to each of 100",
    sizes: &[1, 100],
    quick: &[1, 100],
    per: (100.0, "MiB"),
    trials: (3, 1),
    measure,
    goals: |what, size| {
        let floor = floors::seal_mib_seconds();
        let bare = Goal::CpuOfFloor { times: 1.5, floor, name: "bare AES-CBC and HMAC" };
        let all = [Goal::All, bare, Goal::CpuOfSalt(1.0 / 2.5)];
        let wall = (size == 1 && what != AGAIN).then_some(Goal::SecondsOfSalt(1.0 / 3.0));
        all.into_iter().chain(wall).collect()
    },
};

const ONE: &str = "100 MiB to a minion (cp.get_file)";
/// Without the hash of a file that the master has not seen before.
const AGAIN: &str = "the same file again";
/// What a user of either has: Salt's minion asks for one piece after the other, ours for some at
/// once, of every master.
const OWN: &str = "100 MiB to a minion of the master's own kind";
const MANY: &str = "4 MiB to each minion (cp.cache_file)";

fn measure(peer: Peer, size: usize, plan: &Plan) -> Vec<(&'static str, Trial)> {
    let mut setup = Setup::new((peer, Peer::Saltern), size);
    if size > 1 {
        return vec![(MANY, setup.each(plan.limit()))];
    }
    let one = setup.one("copy", plan.limit());
    let again = setup.one("second", plan.limit());
    let own = match peer {
        Peer::Saltern => one.clone(),
        salt => {
            drop(setup);
            Setup::new((salt, salt), 1).one("copy", plan.limit())
        }
    };
    vec![(ONE, one), (AGAIN, again), (OWN, own)]
}

/// A master with a file and minions that answer it.
struct Setup {
    // In the order in which they end.
    publisher: Publisher,
    minions: Vec<Minion>,
    master: Master,
    fleet: Fleet,
    mib: usize,
}

impl Setup {
    fn new((peer, minion): (Peer, Peer), size: usize) -> Self {
        let (fleet, master) = daemon::running_for(peer, minion);
        let minions = minions(&fleet, &master, size);
        let mut publisher = Publisher::new(&master);
        all_answer(&mut publisher, size);
        let mib = if size == 1 { 100 } else { 4 };
        noise(&master.root().join("srv/salt/big"), mib);
        // Files of a state tree are older than the moment in which a change would not show in
        // their times, for which our master takes none of them at its word.
        thread::sleep(Duration::from_secs(2));
        Setup { publisher, minions, master, fleet, mib }
    }

    fn one(&mut self, name: &str, limit: f64) -> Trial {
        let place = self.fleet.root().join(name);
        let job = ["cp.get_file", "salt://big", place.to_str().unwrap()];
        self.copy(&job, std::slice::from_ref(&place), limit)
    }

    /// Minions on one machine share its files: to many it goes into the cache of each.
    fn each(&mut self, limit: f64) -> Trial {
        let cache = |n| self.fleet.root().join(format!("min{n}/cache/files/base/big"));
        let places: Vec<PathBuf> = (0..self.minions.len()).map(cache).collect();
        self.copy(&["cp.cache_file", "salt://big"], &places, limit)
    }

    /// Orders the copies and looks how many of them are there and right.
    fn copy(&mut self, job: &[&str], places: &[PathBuf], limit: f64) -> Trial {
        let (mib, count) = (self.mib, places.len());
        let watch = Watch::master(&mut self.master);
        let answer = self.publisher.run("glob", "*", job, limit);
        let original = fs::read(self.master.root().join("srv/salt/big")).unwrap();
        // The watch must not wait for the comparison: it costs the master nothing.
        let there =
            |path: &&PathBuf| fs::metadata(path).is_ok_and(|m| m.len() as usize == original.len());
        let done = places.iter().filter(there).count();
        let trial = watch.end((done * mib) as f64, (count * mib) as f64);
        let wrong = |path: &&PathBuf| fs::read(path).is_ok_and(|bytes| bytes != original);
        let note = match places.iter().filter(wrong).count() {
            0 => trial.note.clone(),
            wrong => Some(format!("{wrong} copies differ from the original")),
        };
        let trial = Trial { seconds: trial.seconds.and(answer.map(|a| a.seconds)), note, ..trial };
        let rate = trial.seconds.map(|seconds| (mib * count) as f64 / seconds);
        rate.into_iter().fold(trial, |trial, rate| trial.with("MiB a second", rate))
    }
}

fn noise(path: &Path, mib: usize) {
    let mut random = File::open("/dev/urandom").unwrap();
    let mut file = File::create(path).unwrap();
    let mut piece = vec![0; 1 << 20];
    for _ in 0..mib {
        random.read_exact(&mut piece).unwrap();
        file.write_all(&piece).unwrap();
    }
}
