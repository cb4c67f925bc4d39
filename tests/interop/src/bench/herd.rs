//! The minions of a bench: as many processes of `saltern swarm` as their descriptors need, whose
//! lines are read the moment they come.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::daemon;
use crate::{Master, Peer, saltern};

/// Minions a process may have: each has a subscription and a request connection, and with a list
/// of masters the same again at the one it stands by at. 20,000 descriptors are allowed in many
/// places.
const ALONE: usize = 9000;
const STANDING_BY: usize = 4500;
const KEYS: usize = 256;
/// What a report that came so long after an event knows of it.
const UNSEEN: Duration = Duration::from_secs(3);

/// Minions that run until this is dropped.
pub struct Herd {
    pub count: usize,
    processes: Vec<Process>,
}

struct Process {
    child: Child,
    count: usize,
    seen: Arc<Mutex<Seen>>,
}

/// What a process said.
#[derive(Default)]
struct Seen {
    /// The last report of whatever kind.
    last: Value,
    /// When all of its minions were connected.
    connected: Vec<Instant>,
    /// When the last report came.
    at: Option<Instant>,
    ended: bool,
}

/// Which minions.
pub struct Kind<'a> {
    /// In their order.
    pub masters: &'a [&'a Master],
    pub id: &'a str,
    pub first: usize,
    pub count: usize,
    /// More options of `saltern swarm`.
    pub extra: &'a [&'a str],
    /// They get processor time after all others: in reality they are other machines.
    pub aside: bool,
}

impl Herd {
    pub fn start(kind: &Kind) -> Self {
        let pieces = processes(kind.masters.len(), kind.count);
        let piece = |number: usize| {
            let from = kind.count * number / pieces;
            let count = kind.count * (number + 1) / pieces - from;
            Process::start(kind, kind.first + from, count)
        };
        let processes = if kind.count == 0 { Vec::new() } else { (0..pieces).map(piece).collect() };
        Herd { count: kind.count, processes }
    }

    /// Minions of one master, named `swarm-00000` and on.
    pub fn of(master: &Master, count: usize, extra: &[&str]) -> Self {
        let id = "swarm-{n:05}";
        Herd::start(&Kind { masters: &[master], id, first: 0, count, extra, aside: false })
    }

    /// Waits until all have been connected since `since`; how many are when the wait ends.
    pub fn connected(&self, since: Instant, limit: f64) -> usize {
        let end = Instant::now() + Duration::from_secs_f64(limit);
        loop {
            if self.processes.iter().all(|p| p.connected_since(since)) {
                return self.count;
            }
            if Instant::now() > end || self.processes.iter().any(Process::has_ended) {
                return (self.sum("connected") as usize).min(self.count.saturating_sub(1));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The sum of a member of the last reports.
    pub fn sum(&self, member: &str) -> f64 {
        self.processes.iter().filter_map(|p| p.seen.lock().unwrap().last[member].as_f64()).sum()
    }

    /// The largest value of a member of a group, such as `latency_ms.answer.p99`.
    pub fn most(&self, path: &str) -> Option<f64> {
        let pointer = format!("/{}", path.replace('.', "/"));
        let value = |process: &Process| {
            process.seen.lock().unwrap().last.pointer(&pointer).and_then(Value::as_f64)
        };
        self.processes.iter().filter_map(value).reduce(f64::max)
    }

    /// Ends all and returns when they are gone.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        for process in &self.processes {
            let pid = process.child.id().to_string();
            let _ = Command::new("kill").args(["-TERM", &pid]).stderr(Stdio::null()).status();
        }
        let end = Instant::now() + Duration::from_secs(20);
        for process in &mut self.processes {
            while process.child.try_wait().unwrap().is_none() {
                if Instant::now() > end {
                    let _ = process.child.kill();
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        self.processes.clear();
    }
}

impl Drop for Herd {
    fn drop(&mut self) {
        self.end();
    }
}

impl Process {
    fn start(kind: &Kind, first: usize, count: usize) -> Self {
        let masters: Vec<String> = kind.masters.iter().map(|m| m.address.to_string()).collect();
        let mut command = match kind.aside {
            true => Command::new("nice"),
            false => Command::new(saltern()),
        };
        if kind.aside {
            command.args(["-n", "10"]).arg(saltern());
        }
        command.args(["swarm", "--masters", &masters.join(","), "--json", "--id", kind.id]);
        command.args(["--first", &first.to_string(), "-n", &count.to_string()]);
        command.args(["--key-pool", &KEYS.to_string(), "--key-dir"]).arg(daemon::kept("keys"));
        command.args(kind.extra);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let output = BufReader::new(child.stdout.take().unwrap());
        let notes = Arc::clone(&seen);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                notes.lock().unwrap().note(&line);
            }
            notes.lock().unwrap().ended = true;
        });
        Process { child, count, seen }
    }

    /// Whether all were connected after `since`. Minions that went elsewhere so fast that they
    /// were never seen without a master are told by the reports alone.
    fn connected_since(&self, since: Instant) -> bool {
        let seen = self.seen.lock().unwrap();
        let late = seen.at.is_some_and(|at| at > since + UNSEEN);
        let all = seen.last["connected"].as_u64() == Some(self.count as u64);
        seen.connected.iter().any(|at| *at >= since) || (late && all)
    }

    fn has_ended(&self) -> bool {
        self.seen.lock().unwrap().ended
    }
}

impl Seen {
    fn note(&mut self, line: &str) {
        let Ok(report) = serde_json::from_str::<Value>(line) else { return };
        if report["event"] == "connected" {
            self.connected.push(Instant::now());
        }
        self.last = report;
        self.at = Some(Instant::now());
    }
}

/// How many processes it takes for so many minions with so many masters.
pub fn processes(masters: usize, count: usize) -> usize {
    count.div_ceil(if masters > 1 { STANDING_BY } else { ALONE }).max(1)
}

/// Makes the pool of keys, once for all runs: making them is not what is measured.
pub fn keys() {
    let dir = daemon::kept("keys");
    let made = dir.join("made");
    if made.exists() {
        return;
    }
    eprintln!("bench: making {KEYS} key pairs, once, in {} ...", dir.display());
    let (_fleet, master) = daemon::running(Peer::Saltern);
    let begun = Instant::now();
    let herd = Herd::of(&master, KEYS, &[]);
    assert_eq!(herd.connected(begun, 600.0), KEYS, "the keys could not be made");
    std::fs::write(made, KEYS.to_string()).unwrap();
}
