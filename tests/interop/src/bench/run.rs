//! Runs the benches: sizes upwards, at each size trial by trial, in each trial one implementation
//! after the other, so that what else the machine does falls on all of them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::goal::{Verdict, of};
use super::plan::Plan;
use super::trial::Trial;
use super::{ALL, Bench};
use crate::Peer;

/// The trials of one figure at one size.
pub struct Row {
    pub bench: &'static Bench,
    pub what: &'static str,
    pub size: usize,
    /// Whom it was measured of, ours first.
    pub cells: Vec<Cell>,
}

/// The trials of one implementation.
pub struct Cell {
    pub peer: Peer,
    pub trials: Vec<Trial>,
}

impl Row {
    pub(super) fn trials(&self, peer: Peer) -> &[Trial] {
        self.cells.iter().find(|c| c.peer == peer).map_or(&[], |c| &c.trials)
    }

    /// What is to be reached and whether it is, compared with other sizes where real Salt did
    /// not bear this one.
    pub fn verdicts(&self, rows: &[Row]) -> Vec<Verdict> {
        let salts: Vec<&[Trial]> = [Peer::Salt3006, Peer::Salt3008]
            .iter()
            .filter_map(|peer| Some(self.comparable(rows, *peer)?.trials(*peer)))
            .collect();
        let goals = (self.bench.goals)(self.what, self.size);
        goals.iter().map(|goal| goal.judge(self.trials(Peer::Saltern), &salts)).collect()
    }

    /// This figure at this size, or the largest below at which `peer` came to an end.
    fn comparable<'a>(&self, rows: &'a [Row], peer: Peer) -> Option<&'a Row> {
        let same = |row: &&Row| {
            (row.bench.name, row.what) == (self.bench.name, self.what) && row.size <= self.size
        };
        let bore = |row: &&Row| row.trials(peer).iter().any(Trial::complete);
        rows.iter().filter(same).filter(bore).max_by_key(|row| row.size)
    }

    fn push(&mut self, peer: Peer, trial: Trial) {
        match self.cells.iter_mut().find(|cell| cell.peer == peer) {
            Some(cell) => cell.trials.push(trial),
            None => self.cells.push(Cell { peer, trials: vec![trial] }),
        }
    }
}

/// Runs what is wanted.
pub fn all(plan: &Plan) -> Vec<Row> {
    let mut rows = Vec::new();
    for bench in ALL.iter().filter(|bench| plan.wants(bench.name)) {
        for size in plan.sizes(bench) {
            at_size(bench, size, plan, &mut rows);
        }
    }
    super::daemon::clear();
    rows
}

fn at_size(bench: &'static Bench, size: usize, plan: &Plan, rows: &mut Vec<Row>) {
    let mut peers = plan.peers.clone();
    // What belongs to the machine is measured once.
    if bench.name == super::floors::BENCH.name {
        peers.truncate(1);
    }
    for trial in 0..plan.trials(bench) {
        for peer in &peers {
            if let Some(reason) = unbearable(bench, size, *peer, plan, rows) {
                if trial == 0 {
                    eprintln!("bench {} {size}: {}: {reason}", bench.name, peer.name());
                    keep(rows, bench, size, *peer, "", Trial::failed(reason));
                }
                continue;
            }
            eprintln!("bench {} {size}: {} (trial {}) ...", bench.name, peer.name(), trial + 1);
            for (what, trial) in measured(bench, *peer, size, plan) {
                eprintln!("  {}", super::table::progress(what, &trial));
                keep(rows, bench, size, *peer, what, trial);
            }
        }
        // Nobody is always the first.
        peers.rotate_left(1);
    }
    let place = |peer: Peer| plan.peers.iter().position(|p| *p == peer);
    rows.iter_mut().for_each(|row| row.cells.sort_by_key(|cell| place(cell.peer)));
}

/// The harness panics where something does not come about; the other benches go on.
fn measured(
    bench: &'static Bench,
    peer: Peer,
    size: usize,
    plan: &Plan,
) -> Vec<(&'static str, Trial)> {
    let measure = AssertUnwindSafe(|| (bench.measure)(peer, size, plan));
    catch_unwind(measure).unwrap_or_else(|cause| {
        let text = cause.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| cause.downcast_ref::<&str>().copied());
        let text = text.unwrap_or("no reason given").lines().next().unwrap_or_default();
        vec![("", Trial::failed(format!("failed: {text}")))]
    })
}

/// Why real Salt is not run at a size: a smaller one already took too long.
fn unbearable(bench: &Bench, size: usize, peer: Peer, plan: &Plan, rows: &[Row]) -> Option<String> {
    if peer.is_saltern() {
        return None;
    }
    if size > plan.salt_most() && bench.sizes.len() > 1 {
        return Some(format!("not run: a quick run ends at {} for Salt", plan.salt_most()));
    }
    for row in rows.iter().filter(|row| row.bench.name == bench.name && row.size < size) {
        let trials = row.trials(peer);
        if trials.is_empty() || row.size == 0 {
            continue;
        }
        if let Some(note) = trials.iter().find_map(|t| t.note.clone()) {
            return Some(format!("not run: at {}: {note}", row.size));
        }
        let took = of(trials, |t| t.seconds).unwrap_or_default();
        // What it does grows at least as the number of minions.
        if took * size as f64 / row.size as f64 > plan.limit() * 3.0 {
            return Some(format!("not run: {} took {took:.0} s", row.size));
        }
    }
    None
}

fn keep(
    rows: &mut Vec<Row>,
    bench: &'static Bench,
    size: usize,
    peer: Peer,
    what: &'static str,
    trial: Trial,
) {
    let same = |row: &Row| row.bench.name == bench.name && row.size == size;
    // What failed as a whole failed for all its figures.
    if what.is_empty() && rows.iter().any(same) {
        rows.iter_mut().filter(|row| same(row)).for_each(|row| row.push(peer, trial.clone()));
        return;
    }
    match rows.iter_mut().find(|row| same(row) && row.what == what) {
        Some(row) => row.push(peer, trial),
        None => {
            let mut row = Row { bench, what, size, cells: Vec::new() };
            row.push(peer, trial);
            rows.push(row);
        }
    }
}
