//! The job cache after many jobs: what a return takes there, what a look into it costs, and its
//! expiry while a small fleet works on.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::daemon;
use super::goal::Goal;
use super::herd::Herd;
use super::publisher::Publisher;
use super::sign_in::connected;
use super::trial::{Trial, Watch};
use super::{Bench, Plan};
use crate::{Master, Peer};

pub const BENCH: Bench = Bench {
    name: "job-cache",
    about: "jobs that all minions answer (100 at 10,000, else 20), a look at one, their expiry",
    sizes: &[1000, 10_000],
    quick: &[1000],
    per: (1000.0, "returns"),
    trials: (1, 1),
    measure,
    goals: |_, _| vec![Goal::All],
};

const KEPT: &str = "returns kept (salt '*' test.ping)";
const LOOK: &str = "salt-run jobs.lookup_jid of the last job";
const LIST: &str = "salt-run jobs.list_jobs";
const GONE: &str = "all of it expires after a restart";

/// Minions that work on meanwhile, and their names among those of before.
const FEW: usize = 100;
const THESE: &str = "swarm-000*";
const MIB: f64 = (1 << 20) as f64;
/// Time between two of their jobs, which shall not be what costs.
const PAUSE: Duration = Duration::from_millis(500);
/// After the last job is gone, without the files getting shorter for so long it has ended.
const STILL: Duration = Duration::from_secs(5);

fn measure(peer: Peer, size: usize, plan: &Plan) -> Vec<(&'static str, Trial)> {
    let jobs = if size >= 10_000 { 100 } else { 20 };
    let (_fleet, mut master) = daemon::running(peer);
    let herd = match connected(&master, size, plan) {
        Ok(herd) => herd,
        Err(trial) => return vec![(KEPT, *trial)],
    };
    let cache = master.root().join("cache");
    let before = bytes(&cache);
    let watch = Watch::master(&mut master);
    let mut publisher = Publisher::new(&master);
    let pings = (0..jobs).map_while(|_| publisher.ping("glob", "*", plan.limit()));
    let answered: usize = pings.map(|answer| answer.answered).sum();
    let full = bytes(&cache);
    let each = (full - before) / answered.max(1) as f64;
    let kept = watch.end(answered as f64, (jobs * size) as f64).with("bytes of disk each", each);
    herd.stop();
    drop(publisher);
    let mut rows = vec![(KEPT, kept)];
    let last = last_job(&master);
    for (what, call) in [(LIST, vec!["jobs.list_jobs"]), (LOOK, vec!["jobs.lookup_jid", &last])] {
        let watch = Watch::master(&mut master);
        let output = master.run("salt-run", &[&call[..], &["--out", "json"]].concat());
        let wanted = if what == LIST { jobs } else { size };
        let found = serde_json::from_str::<serde_json::Value>(&output.stdout).unwrap_or_default();
        let found = found.as_object().map_or(0, |found| found.len());
        rows.push((what, watch.end(found.min(wanted) as f64, wanted as f64)));
    }
    let gone = expiry(&mut master, &cache, &last, plan);
    rows.push((GONE, gone.with("MiB on disk before", full / MIB)));
    rows
}

fn last_job(master: &Master) -> String {
    let jobs = master.run("salt-run", &["jobs.list_jobs", "--out", "json"]);
    let jobs: serde_json::Value = serde_json::from_str(&jobs.stdout).unwrap_or_default();
    let pings =
        jobs.as_object().into_iter().flatten().filter(|(_, j)| j["Function"] == "test.ping");
    pings.map(|(jid, _)| jid.clone()).max().unwrap_or_default()
}

/// Restarts the master with a job cache that is all too old, and a few minions that go on.
fn expiry(master: &mut Master, cache: &Path, last: &str, plan: &Plan) -> Trial {
    let keep = "keep_jobs_seconds: 5\nloop_interval: 5\n";
    fs::write(master.conf().join("master.d/keep.conf"), keep).unwrap();
    master.process().stop();
    daemon::start(master);
    let watch = Watch::master(master);
    let begun = Instant::now();
    let herd = Herd::of(master, FEW, &[]);
    herd.connected(begun, plan.limit());
    let mut publisher = Publisher::new(master);
    let (mut least, mut progress) = (bytes(cache), Instant::now());
    let (mut lost, mut slowest, mut gone) = (0, 0.0_f64, None);
    while gone.is_none() || progress.elapsed() < STILL {
        let next = Instant::now() + PAUSE;
        match publisher.ping("glob", THESE, plan.limit()) {
            Some(answer) => {
                lost += FEW.saturating_sub(answer.answered);
                slowest = slowest.max(answer.seconds);
            }
            None => lost += FEW,
        }
        let now = bytes(cache);
        if now < 0.98 * least {
            (least, progress) = (now, Instant::now());
        }
        if gone.is_none() && master.lookup(last).is_empty() {
            (gone, progress) = (Some(begun.elapsed().as_secs_f64()), Instant::now());
        }
        if begun.elapsed().as_secs_f64() > plan.limit() {
            break;
        }
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let trial = watch.end(f64::from(gone.is_some()), 1.0);
    let trial = trial.with("MiB on disk after", least / MIB);
    let trial = trial.with("unanswered meanwhile", lost as f64);
    let trial = trial.with("slowest test.ping of 100 meanwhile s", slowest);
    Trial { seconds: gone, ..trial }
}

/// What the job cache takes on the disk: files and directories there whose name begins with `jobs`.
fn bytes(cache: &Path) -> f64 {
    let is_jobs =
        |path: &PathBuf| path.file_name().is_some_and(|n| n.as_bytes().starts_with(b"jobs"));
    let mut todo: Vec<PathBuf> = below(cache).filter(is_jobs).collect();
    let mut sum = 0;
    while let Some(path) = todo.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        sum += meta.blocks() * 512;
        if meta.is_dir() {
            todo.extend(below(&path));
        }
    }
    sum as f64
}

fn below(dir: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}
