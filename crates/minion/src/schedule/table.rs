//! The schedule: which jobs there are, and which are due. Pure: both clocks are arguments. Intervals
//! follow the steady clock, so that a wall clock set anew neither repeats nor loses a job.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use saltern_base::localtime::local;
use saltern_base::time::Civil;
use saltern_value::{Map, Value};

use super::job::{Job, Trigger};

/// Calendar times missed by more than this (the machine slept, its clock was set) are not made up.
const CATCH_UP: u64 = 60;

/// Members of the schedule that are no jobs.
const NO_JOBS: [&str; 3] = ["enabled", "skip_function", "skip_during_range"];

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) steady: Instant,
    pub(crate) wall: SystemTime,
}

impl Now {
    pub(crate) fn read() -> Self {
        Now { steady: Instant::now(), wall: SystemTime::now() }
    }

    fn second(self) -> u64 {
        self.wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }
}

fn civil_at(second: u64) -> Civil {
    local(UNIX_EPOCH + Duration::from_secs(second)).civil
}

#[derive(Debug)]
struct Entry {
    job: Job,
    /// The next start of a job with an interval.
    due: Option<Instant>,
    running: usize,
}

/// The jobs of a minion: those of its own configuration and those of its pillar.
#[derive(Debug, Default)]
pub(crate) struct Table {
    opts: Map,
    pillar: Map,
    jobs: BTreeMap<String, Entry>,
    /// The last second for which the calendar was looked at.
    looked: u64,
    /// What is wrong with which job, so that it is said once.
    faults: BTreeMap<String, String>,
}

/// A job that is to start.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) name: String,
    pub(crate) job: Job,
    pub(crate) delay: Duration,
}

impl Table {
    /// A schedule with the jobs of the configuration.
    pub(crate) fn new(opts: Map, now: Now) -> Self {
        let mut table = Table { opts, looked: now.second(), ..Table::default() };
        table.rebuild(now);
        table
    }

    /// The jobs of the configuration, which the own functions change.
    pub(crate) fn opts(&self) -> &Map {
        &self.opts
    }

    /// Changes the jobs of the configuration.
    pub(crate) fn change(&mut self, now: Now, change: impl FnOnce(&mut Map)) {
        change(&mut self.opts);
        self.rebuild(now);
    }

    /// Changes the jobs of the pillar in memory only: the pillar's own are the master's business.
    pub(crate) fn change_pillar(&mut self, now: Now, change: impl FnOnce(&mut Map)) {
        change(&mut self.pillar);
        self.rebuild(now);
    }

    /// A pillar came. Jobs that are defined as before go on as if nothing had happened.
    pub(crate) fn set_pillar(&mut self, pillar: Map, now: Now) {
        if self.pillar != pillar {
            self.pillar = pillar;
            self.rebuild(now);
        }
    }

    /// Everything, or only what comes from one side (`opts`, `pillar`).
    pub(crate) fn listed(&self, side: Option<&str>) -> Map {
        match side {
            Some("pillar") => self.pillar.clone(),
            Some("opts") => self.opts.clone(),
            _ => {
                let mut all = self.pillar.clone();
                all.extend(self.opts.clone());
                all
            }
        }
    }

    fn rebuild(&mut self, now: Now) {
        let mut old = std::mem::take(&mut self.jobs);
        let mut faults = BTreeMap::new();
        for (name, definition) in self.listed(None).iter() {
            let (Some(name), Value::Map(definition)) = (name.as_str(), definition) else {
                continue;
            };
            if NO_JOBS.contains(&name) {
                continue;
            }
            match Job::read(definition) {
                Ok(job) => {
                    let entry = match old.remove(name) {
                        Some(entry) if entry.job.trigger == job.trigger => Entry { job, ..entry },
                        other => Entry {
                            due: first(&job, now),
                            running: other.map_or(0, |e| e.running),
                            job,
                        },
                    };
                    self.jobs.insert(name.to_owned(), entry);
                }
                Err(why) => {
                    if self.faults.get(name) != Some(&why) {
                        log::error!("The scheduled job {name} does not run: {why}");
                    }
                    faults.insert(name.to_owned(), why);
                }
            }
        }
        self.faults = faults;
    }

    fn enabled(&self) -> bool {
        self.listed(None).get("enabled").is_none_or(Value::truthy)
    }

    /// The jobs to start now. `random` gives numbers from 0 to 1.
    pub(crate) fn due(&mut self, now: Now, mut random: impl FnMut() -> f64) -> Vec<Due> {
        let enabled = self.enabled();
        let until = now.second();
        // A clock that was set back: go on from where it is now.
        let from = if self.looked > until { until } else { self.looked + 1 };
        let from = from.max(until.saturating_sub(CATCH_UP));
        self.looked = until;
        let calendar = self.jobs.values().any(|e| matches!(e.job.trigger, Trigger::At(_)));
        let seconds: Vec<Civil> =
            if calendar { (from..=until).map(civil_at).collect() } else { Vec::new() };
        let today = civil_at(until);
        let mut out = Vec::new();
        for (name, entry) in &mut self.jobs {
            let fires = match &entry.job.trigger {
                Trigger::Every(every) => {
                    let due = entry.due.is_some_and(|due| due <= now.steady);
                    if due {
                        entry.due = Some(now.steady + *every);
                    }
                    due
                }
                Trigger::At(calendar) => seconds.iter().any(|second| calendar.fires(second)),
            };
            if !fires || !enabled || !entry.job.enabled || !entry.job.allowed(&today) {
                continue;
            }
            if entry.running >= entry.job.maxrunning {
                log::info!("The scheduled job {name} still runs and is not started again");
                continue;
            }
            entry.running += 1;
            out.push(start(name, &entry.job, &mut random));
        }
        out
    }

    /// A job to be started by hand; `None` when there is none of that name.
    pub(crate) fn by_hand(&mut self, name: &str) -> Option<Due> {
        let entry = self.jobs.get_mut(name)?;
        entry.running += 1;
        Some(Due { name: name.to_owned(), job: entry.job.clone(), delay: Duration::ZERO })
    }

    /// A job has ended.
    pub(crate) fn ended(&mut self, name: &str) {
        if let Some(entry) = self.jobs.get_mut(name) {
            entry.running = entry.running.saturating_sub(1);
        }
    }

    /// How long nothing is due, at most.
    pub(crate) fn idle(&self, now: Now) -> Option<Duration> {
        let into_second = now.wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        let to_second =
            Duration::from_secs(1) - Duration::from_nanos(into_second.subsec_nanos().into());
        let to_minute = to_second + Duration::from_secs(59 - into_second.as_secs() % 60);
        let wait = |entry: &Entry| match &entry.job.trigger {
            Trigger::Every(_) => entry.due.map(|d| d.saturating_duration_since(now.steady)),
            Trigger::At(calendar) if calendar.by_minutes() => Some(to_minute),
            Trigger::At(_) => Some(to_second),
        };
        self.jobs.values().filter_map(wait).min()
    }

    /// When a job starts next, by the wall clock; looks a year ahead.
    pub(crate) fn next_start(&self, name: &str, now: Now) -> Option<SystemTime> {
        let entry = self.jobs.get(name)?;
        match &entry.job.trigger {
            Trigger::Every(_) => {
                let wait = entry.due?.saturating_duration_since(now.steady);
                Some(now.wall + wait)
            }
            Trigger::At(calendar) => {
                let minute = now.second() / 60 * 60;
                let minute = (0..366 * 24 * 60)
                    .map(|n| minute + n * 60)
                    .find(|m| calendar.fires_in_minute(&civil_at(*m)))?;
                let second = (minute..minute + 60).find(|s| calendar.fires(&civil_at(*s)))?;
                Some(UNIX_EPOCH + Duration::from_secs(second))
            }
        }
    }
}

fn first(job: &Job, now: Now) -> Option<Instant> {
    match job.trigger {
        Trigger::Every(_) if job.run_on_start => Some(now.steady),
        Trigger::Every(every) => Some(now.steady + every),
        Trigger::At(_) => None,
    }
}

fn start(name: &str, job: &Job, random: &mut impl FnMut() -> f64) -> Due {
    let (low, high) = job.splay;
    let delay = low + (high - low).mul_f64(random().clamp(0.0, 1.0));
    Due { name: name.to_owned(), job: job.clone(), delay }
}

#[cfg(test)]
mod tests {
    use super::*;
    use saltern_value::yaml;

    fn schedule(text: &str) -> Map {
        match yaml::load(text).unwrap() {
            Value::Map(map) => map,
            other => panic!("{other:?}"),
        }
    }

    fn begin() -> Now {
        // A full minute of the wall clock.
        Now { steady: Instant::now(), wall: UNIX_EPOCH + Duration::from_secs(1_795_361_460) }
    }

    fn later(now: Now, seconds: u64) -> Now {
        let step = Duration::from_secs(seconds);
        Now { steady: now.steady + step, wall: now.wall + step }
    }

    fn names(due: &[Due]) -> Vec<&str> {
        due.iter().map(|d| d.name.as_str()).collect()
    }

    #[test]
    fn intervals_count_from_the_start_and_a_new_pillar_does_not_move_them() {
        let now = begin();
        let mut table = Table::new(schedule("a: {function: test.ping, seconds: 10}"), now);
        let pillar = schedule("b: {function: test.ping, seconds: 30, run_on_start: True}");
        table.set_pillar(pillar.clone(), now);
        assert_eq!(names(&table.due(now, || 0.0)), ["b"]);
        table.ended("b");
        assert_eq!(names(&table.due(later(now, 9), || 0.0)), [""; 0]);
        // The same jobs again, and one more, as after a switch to another master.
        let mut other = pillar;
        other.extend(schedule("z: {function: test.ping, seconds: 600}"));
        table.set_pillar(other, later(now, 9));
        assert_eq!(table.idle(later(now, 9)), Some(Duration::from_secs(1)));
        assert_eq!(names(&table.due(later(now, 10), || 0.0)), ["a"]);
        assert_eq!(names(&table.due(later(now, 10), || 0.0)), [""; 0]);
        assert_eq!(names(&table.due(later(now, 20), || 0.0)), [""; 0], "it still runs");
        table.ended("a");
        assert_eq!(names(&table.due(later(now, 30), || 0.0)), ["a", "b"]);
    }

    #[test]
    fn the_calendar_fires_once_a_second_and_not_for_what_was_slept_through() {
        let now = begin();
        let mut table =
            Table::new(schedule("c: {function: test.ping, cron: '* * * * *', maxrunning: 9}"), now);
        assert_eq!(table.idle(later(now, 1)), Some(Duration::from_secs(59)));
        assert_eq!(names(&table.due(later(now, 61), || 0.0)), ["c"], "a second late");
        assert_eq!(names(&table.due(later(now, 61), || 0.0)), [""; 0]);
        assert_eq!(names(&table.due(later(now, 36_005), || 0.0)), ["c"], "once, not 600 times");
        let back = Now { wall: now.wall, ..later(now, 36_006) };
        assert_eq!(names(&table.due(back, || 0.0)), ["c"], "the clock was set back to :00");
    }

    #[test]
    fn a_wrong_job_does_not_stop_the_others() {
        let now = begin();
        let text = "a: {function: test.ping}\nb: {seconds: 1}\nenabled: True\n\
                    c: {function: test.ping, seconds: 1, when: 5pm}\n\
                    d: {function: test.ping, seconds: 1, splay: 4}\n\
                    e: {function: test.ping, seconds: 1, returner: mysql}\n\
                    f: {function: test.ping, seconds: 1, enabled: False}";
        let mut table = Table::new(schedule(text), now);
        let due = table.due(later(now, 1), || 0.5);
        assert_eq!(names(&due), ["d"]);
        assert_eq!(due[0].delay, Duration::from_secs(2));
        assert_eq!(table.faults.len(), 4);
        table.ended("d");
        table.change(later(now, 1), |opts| {
            opts.insert("enabled", false);
        });
        assert_eq!(names(&table.due(later(now, 9), || 0.0)), [""; 0]);
    }
}
