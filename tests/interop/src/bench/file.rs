//! A large file to one minion, and a smaller one to a hundred at once. The minions are whole
//! programs of Saltern in all cases.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::goal::Goal;
use super::master::{all_answer, minions};
use super::publisher::Publisher;
use super::trial::Watch;
use super::{Bench, Plan, Trial, daemon, floors};
use crate::{Fleet, Master, Peer};

pub const BENCH: Bench = Bench {
    name: "file",
    about: "100 MiB to one minion, 4 MiB to each of 100",
    sizes: &[1, 100],
    quick: &[1, 100],
    per: (100.0, "MiB"),
    trials: (3, 1),
    measure,
    goals: |_, size| {
        let floor = floors::seal_mib_seconds();
        let bare = Goal::CpuOfFloor { times: 1.5, floor, name: "bare AES-CBC and HMAC" };
        let all = [Goal::All, bare, Goal::CpuOfSalt(1.0 / 2.5)];
        let wall = (size == 1).then_some(Goal::SecondsOfSalt(1.0 / 3.0));
        all.into_iter().chain(wall).collect()
    },
};

fn measure(peer: Peer, size: usize, plan: &Plan) -> Vec<(&'static str, Trial)> {
    let (fleet, mut master) = daemon::running(peer);
    let _minions = minions(&fleet, &master, size);
    let mut publisher = Publisher::new(&master);
    all_answer(&mut publisher, size);
    let (what, mib) = match size {
        1 => ("100 MiB to a minion (cp.get_file)", 100),
        _ => ("4 MiB to each minion (cp.cache_file)", 4),
    };
    noise(&master.root().join("srv/salt/big"), mib);
    let trial = copy(&fleet, &mut master, &mut publisher, (size, mib), plan.limit());
    let rate = trial.seconds.map(|seconds| (mib * size) as f64 / seconds);
    vec![(what, rate.into_iter().fold(trial, |t, rate| t.with("MiB a second", rate)))]
}

/// Orders the copies and looks how many of them are there and right.
fn copy(
    fleet: &Fleet,
    master: &mut Master,
    publisher: &mut Publisher,
    (count, mib): (usize, usize),
    limit: f64,
) -> Trial {
    // Minions on one machine share its files: to many it goes into the cache of each.
    let place = fleet.root().join("copy");
    let cache = |n| fleet.root().join(format!("min{n}/cache/files/base/big"));
    let (job, places): (Vec<&str>, Vec<PathBuf>) = match count {
        1 => (vec!["cp.get_file", "salt://big", place.to_str().unwrap()], vec![place.clone()]),
        _ => (vec!["cp.cache_file", "salt://big"], (0..count).map(cache).collect()),
    };
    let watch = Watch::master(master);
    let answer = publisher.run("glob", "*", &job, limit);
    let original = fs::read(master.root().join("srv/salt/big")).unwrap();
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
    Trial { seconds: trial.seconds.and(answer.map(|a| a.seconds)), note, ..trial }
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
