//! What has to hold. A promise about loss, descriptors or gross growth of memory is judged in
//! every run; slow growth and latency only in one that is long enough to tell them from the noise
//! of a small, busy machine.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::disturb::Disturber;
use super::ledger::Ledger;
use super::sample::{Rest, Sample, Sampler};
use super::{Plan, health};

/// Descriptors a master may have more at rest than before the first minion came: the job cache's
/// files, and connections of tools that are about to end.
pub(super) const SPARE: usize = 24;

/// MiB a master may have at any time beside what each connected minion may cost it: the program,
/// its job cache and what is under way at the busiest moment.
const MEMORY_AT_MOST: f64 = 200.0;

/// MiB for each connected minion, at any time.
const MEMORY_A_MINION: f64 = 0.025;

/// MiB a master may keep when all minions have gone and the bursts are over: 15 of a new one, the
/// job cache's pages (two connections with 2 MiB at most each), and what the heaps its threads share
/// keep because something small lives on in each page.
pub(super) const MEMORY_AT_REST: f64 = 60.0;

/// Connections a master may have for each minion there is, wherever it is connected, and beside
/// these: a subscription and one for requests; tools, and connections that are being made anew.
const CONNECTIONS: (usize, usize) = (2, 100);

/// Between first and last third: the part and the MiB that memory may grow by. The pages of the
/// job cache, which are bounded, fill in the first minutes; what is left is the allocator's.
const MEMORY_GROWTH: (f64, f64) = (0.10, 8.0);

/// Between first and last third: the part and the milliseconds that the median of latencies may
/// grow by.
const LATENCY_GROWTH: (f64, f64) = (0.5, 50.0);

/// The first part of a run, or of a master's life, is warming up and is left out.
const WARM_UP: f64 = 0.1;

/// What has to hold, and whether it did.
pub struct Promise {
    pub name: &'static str,
    pub kept: bool,
    /// The figures it was judged by.
    pub detail: String,
}

impl Promise {
    /// Kept if there is nothing to complain of.
    fn none(name: &'static str, complaints: &[String]) -> Self {
        let shown = complaints.iter().take(5).map(String::as_str).collect::<Vec<_>>().join("; ");
        let detail = match complaints.len() {
            0 => "none".to_owned(),
            count @ 1..=5 => format!("{count}: {shown}"),
            count => format!("{count}: {shown}; ..."),
        };
        Promise { name, kept: complaints.is_empty(), detail }
    }

    pub(super) fn json(&self) -> Value {
        json!({"promise": self.name, "kept": self.kept, "detail": self.detail})
    }
}

/// All that is judged.
pub(super) struct Evidence<'a> {
    pub(super) plan: &'a Plan,
    pub(super) ledger: &'a Ledger,
    pub(super) sampler: &'a Sampler,
    pub(super) disturber: &'a Disturber,
    pub(super) health: &'a [Value],
    pub(super) ends: &'a [(String, Value)],
    pub(super) rest: &'a [Rest],
}

pub(super) fn judge(evidence: &Evidence) -> Vec<Promise> {
    let (ledger, samples, plan) = (evidence.ledger, &evidence.sampler.samples, evidence.plan);
    let unexplained = health::unexplained(evidence.health, &evidence.disturber.made);
    let mut promises = vec![
        Promise::none("no return was lost", &ledger.lost),
        Promise::none("every job reached all it was meant for in calm times", &ledger.unreached),
        Promise::none("nothing ran twice or came back changed", &ledger.wrong),
        Promise::none("every answer of a swarm was acknowledged", &unanswered(evidence.ends)),
        Promise::none("descriptors of minions that left are closed", &kept_open(evidence.rest)),
        Promise::none(
            "connections are bounded by the minions there are",
            &crowded(samples, plan.minions),
        ),
        Promise::none("memory is bounded by the minions connected", &too_large(samples)),
        Promise::none("memory of bursts comes back", &at_rest(evidence.rest)),
        Promise::none("nothing in manage.health is unexplained", &unexplained),
    ];
    if plan.judges_time() {
        promises.extend(grown(samples));
        promises.push(latency(&evidence.sampler.latencies));
    }
    promises
}

fn unanswered(ends: &[(String, Value)]) -> Vec<String> {
    // Who flaps may be away when its answer is due.
    let steady = ends.iter().filter(|(name, _)| name != "flap");
    let open = steady.filter(|(_, end)| end["unanswered"].as_u64() != Some(0));
    open.map(|(name, end)| format!("{name} has {} unanswered", end["unanswered"])).collect()
}

fn kept_open(rest: &[Rest]) -> Vec<String> {
    let more = rest.iter().filter(|r| r.keeps_open());
    let tell = |r: &Rest| {
        let (master, now, before) = (r.master + 1, r.descriptors, r.descriptors_before);
        format!("master {master}: {now} at rest, {before} before")
    };
    more.map(tell).collect()
}

fn at_rest(rest: &[Rest]) -> Vec<String> {
    let more = rest.iter().filter(|r| r.keeps_memory());
    more.map(|r| format!("master {}: {:.0} MiB", r.master + 1, r.memory_mib)).collect()
}

fn crowded(samples: &[Sample], minions: usize) -> Vec<String> {
    let bound = CONNECTIONS.0 * minions + CONNECTIONS.1;
    let more = samples.iter().filter(|s| s.sockets > bound);
    more.map(|s| format!("master {}: {} at {:.0} s", s.master + 1, s.sockets, s.at)).collect()
}

fn too_large(samples: &[Sample]) -> Vec<String> {
    let bound = |s: &Sample| MEMORY_AT_MOST + MEMORY_A_MINION * s.minions as f64;
    let large = samples.iter().filter(|s| s.memory_mib > bound(s));
    let tell = |s: &Sample| {
        let (mib, at, minions) = (s.memory_mib, s.at, s.minions);
        format!("master {} with {minions} minions: {mib:.0} MiB at {at:.0} s", s.master + 1)
    };
    large.map(tell).collect()
}

/// A figure that has to stay flat.
struct Figure {
    name: &'static str,
    of: fn(&Sample) -> f64,
    /// The part and the amount it may grow by.
    growth: (f64, f64),
    /// What one more connected minion may add.
    minion: f64,
}

const FIGURES: [Figure; 3] = [
    Figure {
        name: "memory stays flat",
        of: |s| s.memory_mib,
        growth: MEMORY_GROWTH,
        minion: MEMORY_A_MINION,
    },
    // Connections come and go with the minions; those that are forgotten show at rest.
    Figure {
        name: "other descriptors stay flat",
        of: |s| s.descriptors.saturating_sub(s.sockets) as f64,
        growth: (0.0, 8.0),
        minion: 0.0,
    },
    // Threads for what blocks come with bursts and end after some seconds.
    Figure { name: "threads stay flat", of: |s| s.threads as f64, growth: (0.5, 8.0), minion: 0.0 },
];

/// Every figure of each master process that lived long enough, first third against last third.
fn grown(samples: &[Sample]) -> impl Iterator<Item = Promise> {
    let pids: BTreeSet<u32> = samples.iter().map(|s| s.pid).collect();
    FIGURES.iter().map(move |figure| {
        let lives = pids.iter().map(|pid| samples.iter().filter(|s| s.pid == *pid).collect());
        let complaints: Vec<_> = lives.filter_map(|life: Vec<_>| growth(figure, &life)).collect();
        Promise::none(figure.name, &complaints)
    })
}

/// By how much a figure grew more than it may.
fn growth(figure: &Figure, life: &[&Sample]) -> Option<String> {
    let (first, last) = thirds(life).filter(|(first, _)| first.len() >= 10)?;
    let middle = |part: &[&Sample], of: fn(&Sample) -> f64| median(part.iter().map(|s| of(s)));
    let minions = |s: &Sample| s.minions as f64;
    let more = (middle(last, minions) - middle(first, minions)).max(0.0);
    let (before, after) = (middle(first, figure.of), middle(last, figure.of));
    let bound = before * (1.0 + figure.growth.0) + figure.growth.1 + figure.minion * more;
    let master = last.first()?.master + 1;
    (after > bound).then(|| format!("master {master}: from {before:.0} to {after:.0}"))
}

fn latency(latencies: &[(f64, f64)]) -> Promise {
    let name = "latency stays flat";
    let Some((first, last)) = thirds(latencies) else {
        let detail = "no job of ten minions could be timed".to_owned();
        return Promise { name, kept: false, detail };
    };
    let middle = |part: &[(f64, f64)]| median(part.iter().map(|(_, ms)| *ms));
    let (before, after) = (middle(first), middle(last));
    let kept = after <= before * (1.0 + LATENCY_GROWTH.0) + LATENCY_GROWTH.1;
    Promise { name, kept, detail: format!("median from {before:.0} to {after:.0} ms") }
}

/// First and last third of what comes after warming up.
fn thirds<T>(all: &[T]) -> Option<(&[T], &[T])> {
    let warm = all.get((all.len() as f64 * WARM_UP).ceil() as usize..)?;
    let third = warm.len() / 3;
    (third > 0).then(|| (&warm[..third], &warm[warm.len() - third..]))
}

/// The middle one; 0 of none.
pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    quantile(values, 0.5)
}

/// The value that this part of all is below; 0 of none.
pub(super) fn quantile(values: impl Iterator<Item = f64>, part: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let place = (values.len().saturating_sub(1) as f64 * part).round() as usize;
    values.get(place).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: usize) -> Sample {
        let (master, pid, minions) = (0, 1, 500);
        let (memory_mib, descriptors, sockets, threads) = (60.0, 1040, 1000, 9);
        Sample { at: at as f64, master, pid, memory_mib, descriptors, sockets, threads, minions }
    }

    /// The samples of one process, each changed as told.
    fn life(change: impl Fn(usize, &mut Sample)) -> Vec<Sample> {
        let one = |n| {
            let mut sample = sample(n);
            change(n, &mut sample);
            sample
        };
        (0..100).map(one).collect()
    }

    fn broken(samples: &[Sample]) -> Vec<&'static str> {
        grown(samples).filter(|promise| !promise.kept).map(|promise| promise.name).collect()
    }

    fn rest(descriptors: usize, memory_mib: f64) -> [Rest; 1] {
        [Rest { master: 0, descriptors_before: 30, descriptors, memory_mib }]
    }

    #[test]
    fn a_leak_is_growth_and_more_minions_are_not() {
        assert_eq!(broken(&life(|_, _| ())), [""; 0]);
        let leak = life(|n, s| s.memory_mib += n as f64 / 2.0);
        assert_eq!(broken(&leak), ["memory stays flat"]);
        let fleet = life(|n, s| {
            s.minions = if n < 50 { 500 } else { 2000 };
            s.memory_mib += 0.02 * s.minions as f64;
            s.sockets = 2 * s.minions;
            s.descriptors = s.sockets + 40;
        });
        assert_eq!(broken(&fleet), [""; 0]);
    }

    #[test]
    fn files_and_threads_that_pile_up_are_growth() {
        let files = life(|n, s| s.descriptors += n / 5);
        assert_eq!(broken(&files), ["other descriptors stay flat"]);
        assert_eq!(broken(&life(|n, s| s.threads += n / 3)), ["threads stay flat"]);
    }

    #[test]
    fn a_new_process_is_another_life() {
        let two = life(|n, s| {
            (s.pid, s.memory_mib) = if n < 50 { (1, 40.0) } else { (2, 90.0) };
        });
        assert_eq!(broken(&two), [""; 0]);
    }

    #[test]
    fn a_burst_in_the_middle_is_no_growth() {
        let burst = life(|n, s| {
            if (40..60).contains(&n) {
                s.memory_mib = 400.0;
            }
        });
        assert_eq!(broken(&burst), [""; 0]);
        assert!(!too_large(&burst).is_empty());
        assert!(too_large(&life(|_, _| ())).is_empty());
    }

    #[test]
    fn connections_are_bounded_by_the_fleet_wherever_it_is() {
        assert!(crowded(&life(|_, s| s.minions = 0), 500).is_empty());
        assert!(!crowded(&life(|n, s| s.sockets += 2 * n), 500).is_empty());
    }

    #[test]
    fn at_rest_nothing_is_kept() {
        assert!(kept_open(&rest(30 + SPARE, 20.0)).is_empty());
        assert!(!kept_open(&rest(31 + SPARE, 20.0)).is_empty());
        assert!(at_rest(&rest(30, MEMORY_AT_REST)).is_empty());
        assert!(!at_rest(&rest(30, MEMORY_AT_REST + 1.0)).is_empty());
        assert!(rest(30, 20.0)[0].is_reached());
        assert!(!rest(31 + SPARE, 20.0)[0].is_reached());
        assert!(!rest(30, MEMORY_AT_REST + 1.0)[0].is_reached());
    }

    #[test]
    fn latency_is_compared_by_medians() {
        let of = |late: f64| -> Vec<(f64, f64)> {
            (0..90).map(|n| (f64::from(n), if n < 60 { 100.0 } else { late })).collect()
        };
        assert!(latency(&of(150.0)).kept);
        assert!(!latency(&of(250.0)).kept);
        assert!(!latency(&[]).kept);
    }
}
