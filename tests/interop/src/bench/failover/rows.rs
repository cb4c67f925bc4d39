//! The rows of the table.

use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::pair::{Pair, Stream, now, publish, recipe, salt_defaults};
use super::{Cell, Goal, Plan};
use crate::{Fault, Fleet, Master, Net, Peer, wait};

/// Measures one row of one implementation, so many trials.
pub(super) type Measure = fn(Peer, usize, &Plan) -> Cell;

pub(super) const ALL: &[(&str, Goal, Measure)] = &[
    ("SIGKILL, interval 5", KILL, |peer, trials, plan| killed(peer, trials, plan, 5)),
    ("SIGKILL, interval 30", KILL, |peer, trials, plan| killed(peer, trials, plan, 30)),
    ("SIGKILL, interval not set", KILL, |peer, trials, plan| killed(peer, trials, plan, 0)),
    ("SIGSTOP", SILENT, |peer, trials, plan| {
        silent(peer, trials, plan, |master| master.process().signal("STOP"))
    }),
    ("packets dropped", SILENT, |peer, trials, plan| {
        silent(peer, trials, plan, |master| master.host.as_ref().unwrap().fault(Fault::Silence))
    }),
    ("returns of running jobs", RETURNS, returns),
    ("all masters down, then one back", BACK, all_down),
    ("10 masters, 9 black-holed, cold start", COLD, cold),
];

const KILL: Goal = Goal { median: 0.3, worst: 2.0, text: "median 0.3 s, worst 2 s" };
const SILENT: Goal = Goal { median: 6.0, worst: 6.0, text: "worst 6 s" };
const RETURNS: Goal =
    Goal { median: f64::INFINITY, worst: f64::INFINITY, text: "all delivered, each once" };
const BACK: Goal = Goal { median: 5.0, worst: 5.0, text: "same pid, worst 5 s" };
const COLD: Goal = Goal { median: 3.0, worst: 3.0, text: "worst 3 s" };

/// Jobs that run at the same moment. Each of real Salt's is a process of its own.
fn together(peer: Peer) -> usize {
    if peer == Peer::Saltern { 50 } else { 5 }
}

fn killed(peer: Peer, trials: usize, plan: &Plan, interval: u64) -> Cell {
    // What real Salt does without an interval: it has no alive check then.
    let mut pair = Pair::new(peer, interval);
    std::thread::sleep(Duration::from_secs(4));
    let mut times = Vec::new();
    for trial in 0..trials {
        let took = pair.until_second(plan.limit, |master| master.process().kill());
        times.push(took);
        if trial + 1 == trials {
            break;
        }
        match took {
            Some(_) => pair.swap(),
            None => pair = Pair::new(peer, interval),
        }
    }
    Cell { peer, trials: times, note: String::new() }
}

fn silent(peer: Peer, trials: usize, plan: &Plan, fault: fn(&mut Master)) -> Cell {
    let trial = |_| {
        let mut pair = Pair::new(peer, 5);
        std::thread::sleep(Duration::from_secs(4));
        pair.until_second(plan.limit, fault)
    };
    Cell { peer, trials: (0..trials).map(trial).collect(), note: String::new() }
}

/// Jobs run when their master is killed; it comes back later, as the host of a crashed one does.
fn returns(peer: Peer, trials: usize, plan: &Plan) -> Cell {
    let (mut sent, mut delivered, mut twice, mut late) = (0, 0, 0, 0);
    let mut pair = Pair::new(peer, 5);
    for trial in 0..trials {
        let mark = pair.mark();
        let job = format!("echo >> {}; sleep 2", mark.display());
        let jobs: Vec<String> = (0..together(peer)).map(|_| publish(&pair.first, &job)).collect();
        wait::until("the jobs to run", || {
            (fs::read_to_string(&mark).unwrap_or_default().lines().count() >= jobs.len())
                .then_some(())
        });
        pair.first.process().kill();
        // The other one has to store them: who says that the dead one ever comes back?
        let (mut missing, mut found) = (jobs.clone(), Vec::new());
        let end = Instant::now() + Duration::from_secs_f64(plan.limit.min(30.0));
        while !missing.is_empty() && Instant::now() < end {
            let (there, not): (Vec<_>, Vec<_>) =
                missing.into_iter().partition(|jid| has(&pair.second, jid));
            found.extend(there);
            missing = not;
            wait::pause();
        }
        pair.first.start();
        wait::pause();
        late += missing.iter().filter(|jid| has(&pair.first, jid)).count();
        twice += found.iter().filter(|jid| has(&pair.first, jid)).count();
        let runs = fs::read_to_string(&mark).unwrap_or_default().lines().count();
        twice += runs.saturating_sub(jobs.len());
        sent += jobs.len();
        delivered += found.len();
        if trial + 1 < trials {
            // The minion may be at either; the next trial has to know.
            pair = Pair::new(peer, 5);
        }
    }
    let note = format!(
        "{delivered} of {sent} delivered, {twice} twice, {late} more when the dead master was back"
    );
    Cell { peer, trials: Vec::new(), note }
}

fn has(master: &Master, jid: &str) -> bool {
    let output = master.run("salt-run", &["jobs.lookup_jid", jid, "--out", "json"]);
    let reply: serde_json::Value = serde_json::from_str(&output.stdout).unwrap_or_default();
    reply.get("min").is_some()
}

fn all_down(peer: Peer, trials: usize, plan: &Plan) -> Cell {
    let (mut times, mut same) = (Vec::new(), 0);
    let mut pair = Pair::new(peer, 5);
    let pid = pair.minion.process().pid();
    for trial in 0..trials {
        pair.first.process().kill();
        pair.second.process().kill();
        std::thread::sleep(Duration::from_secs(plan.down));
        pair.second.start();
        let begun = now();
        let mark = pair.mark();
        let alive = pair.minion.process().is_running() && pair.minion.process().pid() == pid;
        let took = match alive {
            true => Stream::start(&pair.second, &mark).first_run(begun, plan.limit),
            false => None,
        };
        same += usize::from(alive);
        times.push(took);
        if !alive {
            // A dead process stays dead: further trials would say the same.
            break;
        }
        if trial + 1 < trials {
            pair.first.start();
        }
    }
    let note = format!("same pid {same} of {}", times.len());
    Cell { peer, trials: times, note }
}

fn cold(peer: Peer, trials: usize, plan: &Plan) -> Cell {
    let trial = |_| {
        let net = Net::new("bench failover").unwrap();
        let fleet = Fleet::new(peer, peer);
        let hole = net.host();
        hole.fault(Fault::Deaf);
        let mut list: Vec<Ipv4Addr> = (200..209).map(|last| hole.alias(last)).collect();
        let masters = fleet.signed_masters_on(&[net.host()], "");
        list.push(masters[0].host.as_ref().unwrap().address);
        let list: Vec<_> = list.iter().map(Ipv4Addr::to_string).collect();
        let list = format!("[{}]", list.join(", "));
        let mut minion = fleet.minion_on(&net.host(), "min", &list, &recipe(5));
        salt_defaults(&minion);
        fleet.introduce(&minion, &masters);
        let mark = fleet.root().join("mark");
        let mut stream = Stream::start(&masters[0], &mark);
        let begun = now();
        minion.start();
        // Nine times what one costs: longer than any other row.
        let took = stream.first_run(begun, plan.limit * 3.0);
        drop(stream);
        drop(minion);
        took
    };
    Cell { peer, trials: (0..trials).map(trial).collect(), note: String::new() }
}
