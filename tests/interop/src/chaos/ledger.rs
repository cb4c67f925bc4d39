//! What was sent, what ran and what came back. A job leaves a mark in a file when it begins; what
//! has a mark must have exactly one return.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::faults::Injector;
use super::report::Report;
use super::world::{World, now};
use super::{BEAT, Plan};
use crate::{Master, wait};

pub(super) struct Ledger {
    marks: PathBuf,
    /// The namespace of each minion, as [`mark`] sees it.
    places: BTreeMap<String, usize>,
    /// The job id of each number; none when publishing failed and it is not known whether the job
    /// went out.
    jids: Vec<Option<String>>,
    begun: f64,
    /// When the last job was sent.
    ended: f64,
}

/// One job of a known id that began.
struct Run {
    jid: String,
    minion: usize,
    time: f64,
}

/// Written by a job when it begins: its number, where it runs, the time.
pub fn mark(file: &Path, number: &str) {
    let place = fs::read_link("/proc/self/ns/net").unwrap();
    let line = format!("{number} {} {}\n", place.display(), now());
    let mut file = File::options().create(true).append(true).open(file).unwrap();
    file.write_all(line.as_bytes()).unwrap();
}

impl Ledger {
    pub(super) fn new(world: &mut World) -> Self {
        let places = world.minions.iter_mut().enumerate().map(|(number, node)| {
            let pid = node.program.process().pid();
            let place = fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
            (place.display().to_string(), number)
        });
        Ledger {
            marks: world.fleet.root().join("marks"),
            places: places.collect(),
            jids: Vec::new(),
            begun: now(),
            ended: now(),
        }
    }

    /// One job to everybody through each master that runs, whatever its network does: minions may
    /// still be there. Some take long enough for the
    /// master to be another one when they end.
    pub(super) fn publish(&mut self, world: &World, program: &Path) {
        for node in world.masters.iter().filter(|m| m.runs) {
            let lasts = ["0", "0", "0", "1", "4"][fastrand::usize(..5)];
            let job = format!(
                "{} --mark {} {}; sleep {lasts}",
                program.display(),
                self.marks.display(),
                self.jids.len()
            );
            let output = node.program.run("salt", &["--async", "*", "cmd.run", &job]);
            let jid = output.stdout.split_whitespace().last().map(str::to_owned);
            self.jids.push(jid.filter(|_| output.code == 0));
        }
        self.ended = now();
    }

    /// Waits for returns that are still in spools and counts.
    pub(super) fn settle(
        self,
        world: &World,
        faults: &Injector,
        plan: &Plan,
        limit: Duration,
    ) -> Report {
        let ended = self.ended;
        let end = Instant::now() + limit;
        let mut stored = Stored::default();
        let mut asked: Vec<String> = self.jids.iter().flatten().cloned().collect();
        asked.sort();
        let sent = asked.len();
        let runs = loop {
            stored.look(world, &asked);
            // Again each time: a publication that was held may be run late.
            let runs = self.runs();
            let missing: BTreeSet<_> = runs
                .iter()
                .filter(|r| !stored.has(&r.jid, &world.minions[r.minion].program.id))
                .map(|r| r.jid.clone())
                .collect();
            if missing.is_empty() || Instant::now() > end {
                break runs;
            }
            asked = missing.into_iter().collect();
            wait::pause();
        };
        let mut times: BTreeMap<(&str, usize), usize> = BTreeMap::new();
        for run in &runs {
            *times.entry((&run.jid, run.minion)).or_default() += 1;
        }
        let id = |minion: usize| world.minions[minion].program.id.as_str();
        let lost = times.keys().filter(|(jid, minion)| !stored.has(jid, id(*minion)));
        let lost = lost.map(|(jid, minion)| format!("{jid} of {}", id(*minion))).collect();
        let twice = times.iter().filter(|(_, count)| **count > 1);
        let twice = twice.map(|((jid, minion), _)| format!("{jid} by {}", id(*minion))).collect();
        Report {
            seed: plan.seed,
            seconds: ended - self.begun,
            faults: faults.made.clone(),
            switches: switches(world),
            gaps: self.gaps(world, &runs, ended),
            sent,
            unsure: self.jids.len() - sent,
            ran: times.len(),
            stored: stored.pairs.len(),
            copies: stored.pairs.values().filter(|masters| **masters > 1).count(),
            lost,
            duplicated: twice,
        }
    }

    fn runs(&self) -> Vec<Run> {
        let text = fs::read_to_string(&self.marks).unwrap_or_default();
        let run = |line: &str| {
            let mut words = line.split(' ');
            let (number, place, time) = (words.next()?, words.next()?, words.next()?);
            let minion = *self.places.get(place)?;
            let jid = self.jids.get(number.parse::<usize>().ok()?)?.clone();
            Some(Run { jid: jid?, minion, time: time.parse().ok()? })
        };
        text.lines().filter_map(run).collect()
    }

    /// The longest time each minion was without a job although it was well itself, less the time
    /// between two jobs.
    fn gaps(&self, world: &World, runs: &[Run], ended: f64) -> BTreeMap<String, f64> {
        let mut gaps = BTreeMap::new();
        for (number, node) in world.minions.iter().enumerate() {
            let mut times: Vec<f64> =
                runs.iter().filter(|r| r.minion == number).map(|r| r.time).collect();
            times.sort_by(f64::total_cmp);
            times.push(ended);
            let (mut last, mut longest) = (self.begun, 0.0_f64);
            for time in times {
                // What was before the end of a fault of its own does not count.
                let own = node.faults.iter().filter(|(begun, _)| *begun < time);
                let well = own.fold(last, |last, (_, end)| last.max(end.min(time)));
                longest = longest.max(time - well - BEAT.as_secs_f64());
                last = last.max(time);
            }
            gaps.insert(node.program.id.clone(), longest.max(0.0));
        }
        gaps
    }
}

/// Returns found at masters: by job and minion, at how many.
#[derive(Default)]
struct Stored {
    pairs: BTreeMap<(String, String), usize>,
}

impl Stored {
    fn has(&self, jid: &str, minion: &str) -> bool {
        self.pairs.contains_key(&(jid.to_owned(), minion.to_owned()))
    }

    /// Asks every master for these jobs, all masters side by side.
    fn look(&mut self, world: &World, jids: &[String]) {
        let masters: Vec<&Master> = world.masters.iter().map(|m| &m.program).collect();
        let found: Vec<Vec<(String, String)>> = std::thread::scope(|scope| {
            let asked = masters.iter().map(|m| scope.spawn(move || returns(m, jids)));
            let asked: Vec<_> = asked.collect();
            asked.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        self.pairs.retain(|(jid, _), _| jids.binary_search(jid).is_err());
        for pair in found.into_iter().flatten() {
            *self.pairs.entry(pair).or_default() += 1;
        }
    }
}

fn returns(master: &Master, jids: &[String]) -> Vec<(String, String)> {
    let of = |jid: &String| {
        let found = master.lookup(jid).into_iter();
        found.map(|(minion, _)| (jid.clone(), minion)).collect::<Vec<_>>()
    };
    jids.iter().flat_map(of).collect()
}

/// How often minions took a master, less their starts.
fn switches(world: &World) -> usize {
    let count = |node: &super::world::Node<crate::Minion>| {
        let taken = node.program.log().matches("Connected to the Salt Master").count();
        taken.saturating_sub(node.starts)
    };
    world.minions.iter().map(count).sum()
}
