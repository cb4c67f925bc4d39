//! What is measured all the while: memory, descriptors and threads of every master, how many
//! minions it has, how long a small job takes.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::judge::{MEMORY_AT_REST, SPARE};
use super::world::World;
use super::{Plan, health};
use crate::{Master, wait};

/// One look at one master.
pub struct Sample {
    /// Seconds since the begin.
    pub at: f64,
    pub master: usize,
    /// The process: a restart makes another one.
    pub pid: u32,
    pub memory_mib: f64,
    pub descriptors: usize,
    /// Those of them that are connections.
    pub sockets: usize,
    pub threads: usize,
    /// Minions of swarms that are connected to it.
    pub minions: usize,
}

impl Sample {
    pub(super) fn json(&self) -> Value {
        json!({
            "at": self.at, "master": self.master, "pid": self.pid, "memory_mib": self.memory_mib,
            "descriptors": self.descriptors, "sockets": self.sockets, "threads": self.threads,
            "minions": self.minions,
        })
    }
}

/// A master at rest: before the first minion came, and after the last one went.
pub struct Rest {
    pub master: usize,
    pub descriptors_before: usize,
    pub descriptors: usize,
    pub memory_mib: f64,
}

impl Rest {
    /// Whether it has no more open, and holds no more, than a master without minions may.
    pub(super) fn is_reached(&self) -> bool {
        !self.keeps_open() && !self.keeps_memory()
    }

    pub(super) fn keeps_open(&self) -> bool {
        self.descriptors > self.descriptors_before + SPARE
    }

    pub(super) fn keeps_memory(&self) -> bool {
        self.memory_mib > MEMORY_AT_REST
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "master": self.master, "descriptors_before": self.descriptors_before,
            "descriptors": self.descriptors, "memory_mib": self.memory_mib,
        })
    }
}

pub(super) struct Sampler {
    next: Instant,
    turn: usize,
    /// Open descriptors of each master before anybody came.
    idle: Vec<usize>,
    pub(super) samples: Vec<Sample>,
    /// When, and how many milliseconds a job for ten minions took, the tool's start included.
    pub(super) latencies: Vec<(f64, f64)>,
    /// What waited at a master, now and then.
    pub(super) queues: Vec<Value>,
}

impl Sampler {
    /// Before anybody is connected.
    pub(super) fn new(world: &mut World) -> Self {
        let idle = world.masters.iter_mut().map(|m| descriptors(m.process().pid())).collect();
        let (samples, latencies, queues) = (Vec::new(), Vec::new(), Vec::new());
        Sampler { next: Instant::now(), turn: 0, idle, samples, latencies, queues }
    }

    /// Takes samples when it is time.
    pub(super) fn turn(&mut self, world: &mut World, begun: Instant, plan: &Plan) {
        if Instant::now() < self.next {
            return;
        }
        // A few hundred of each in a run of any length.
        let every = (plan.seconds / 500.0).clamp(2.0, 30.0);
        self.next = Instant::now() + Duration::from_secs_f64(every);
        let at = begun.elapsed().as_secs_f64();
        for number in 0..world.masters.len() {
            if world.up[number] {
                let sample = look(world, number, at);
                self.samples.push(sample);
            }
        }
        self.turn += 1;
        let number = self.turn % world.masters.len();
        let master = &world.masters[number];
        if world.up[number] {
            let waiting = health::queues(master);
            self.queues.push(json!({"at": at, "master": number, "waiting": waiting}));
        }
        if world.calm().is_some() {
            let master = &world.masters[number];
            let milliseconds = time_job(master, world);
            self.latencies.extend(milliseconds.map(|ms| (at, ms)));
        }
    }

    /// The newest figures of each master, in short.
    pub(super) fn shown(&self) -> String {
        let newest: Vec<_> = (0..self.idle.len())
            .filter_map(|number| self.samples.iter().rev().find(|s| s.master == number))
            .map(|s| format!("{}: {:.0} MiB {} fds", s.minions, s.memory_mib, s.descriptors))
            .collect();
        newest.join(", ")
    }

    /// Waits until the masters have no more open than before and have given memory back, `limit`
    /// at most; what they have then.
    pub(super) fn wait_rest(&self, world: &mut World, limit: Duration) -> Vec<Rest> {
        let end = Instant::now() + limit;
        loop {
            let rest = self.idle.iter().enumerate().map(|(master, idle)| {
                let pid = world.masters[master].process().pid();
                let (descriptors, memory_mib) = (descriptors(pid), memory_mib(pid));
                Rest { master, descriptors_before: *idle, descriptors, memory_mib }
            });
            let rest: Vec<_> = rest.collect();
            if rest.iter().all(Rest::is_reached) || Instant::now() > end {
                return rest;
            }
            wait::pause();
        }
    }
}

fn look(world: &mut World, number: usize, at: f64) -> Sample {
    let address = world.masters[number].address.to_string();
    let minions = world.at(&address);
    let pid = world.masters[number].process().pid();
    Sample {
        at,
        master: number,
        pid,
        memory_mib: memory_mib(pid),
        descriptors: descriptors(pid),
        sockets: sockets(pid),
        threads: fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count),
        minions,
    }
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

fn sockets(pid: u32) -> usize {
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { return 0 };
    let links = open.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

/// Proportional memory: pages that several masters share count by their share.
fn memory_mib(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let kib = text.lines().find_map(|line| line.strip_prefix("Pss:")?.split_whitespace().next());
    kib.and_then(|kib| kib.parse::<f64>().ok()).map_or(0.0, |kib| kib / 1024.0)
}

/// Milliseconds of `test.ping` for ten minions that are there.
fn time_job(master: &Master, world: &World) -> Option<f64> {
    let output = master.run("salt-run", &["manage.present", "--out", "json"]);
    let present: Value = serde_json::from_str(&output.stdout).ok()?;
    let steady = world.ids(None);
    let ids = present.as_array()?.iter().filter_map(Value::as_str);
    let ids: Vec<_> = ids.filter(|id| steady.contains(*id)).take(10).collect();
    if ids.is_empty() {
        return None;
    }
    let list = ids.join(",");
    let begun = Instant::now();
    let output = master.run("salt", &["-t", "10", "--out", "txt", "-L", &list, "test.ping"]);
    let took = begun.elapsed().as_secs_f64() * 1000.0;
    let answers = output.stdout.lines().filter(|line| line.ends_with(": True")).count();
    (answers == ids.len()).then_some(took)
}
