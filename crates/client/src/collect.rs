//! Who has answered, whom to ask whether it is still at work, when to stop waiting. Pure: time is
//! an argument, nothing is sent from here (Salt's `get_iter_returns`).

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

/// What the collector wants done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing before this moment, unless something arrives.
    Wait(Instant),
    /// Ask these minions whether they still run the job (`saltutil.find_job`), then call
    /// [`Collector::asked`].
    Ask(Vec<String>),
    /// All that will come has come; these did not return.
    Finished(Vec<String>),
}

#[derive(Debug)]
enum Phase {
    /// Returns are awaited until the deadline.
    Returns { until: Instant },
    /// The question is out (or about to go out); answers are awaited until the deadline.
    Answers { until: Instant, open: BTreeSet<String>, running: bool },
}

/// The state of one job's collection. Every return costs the same, however many are expected.
#[derive(Debug)]
pub struct Collector {
    /// Expected and not returned yet.
    missing: BTreeSet<String>,
    found: HashSet<String>,
    phase: Phase,
    /// When the last return came.
    heard: Option<Instant>,
    timeout: Duration,
    gather: Duration,
}

/// While returns come closer to each other than this nobody is asked for his.
const QUIET: Duration = Duration::from_secs(1);

impl Collector {
    /// Starts to wait for `expected`: `timeout` (option `timeout`) before the first question,
    /// `gather` (option `gather_job_timeout`) for the answers to it.
    #[must_use]
    pub fn new(
        expected: impl IntoIterator<Item = String>,
        timeout: Duration,
        gather: Duration,
        now: Instant,
    ) -> Self {
        Collector {
            missing: expected.into_iter().collect(),
            found: HashSet::new(),
            phase: Phase::Returns { until: now + timeout },
            heard: None,
            timeout,
            gather,
        }
    }

    /// A return has arrived; `true` when it is the minion's first.
    pub fn returned(&mut self, id: &str, now: Instant) -> bool {
        if let Phase::Answers { open, .. } = &mut self.phase {
            open.remove(id);
        }
        self.heard = Some(now);
        self.missing.remove(id);
        self.found.insert(id.to_owned())
    }

    /// More minions turned out to be addressed (`minions` in an event of the job).
    pub fn expect(&mut self, ids: impl IntoIterator<Item = String>) {
        let found = &self.found;
        self.missing.extend(ids.into_iter().filter(|id| !found.contains(id)));
    }

    /// A minion has answered the question whether it still runs the job.
    pub fn answered(&mut self, id: &str, still_running: bool) {
        if let Phase::Answers { open, running, .. } = &mut self.phase {
            open.remove(id);
            *running |= still_running && !self.found.contains(id);
        }
    }

    /// The question went out.
    pub fn asked(&mut self, now: Instant) {
        let open = self.missing.clone();
        self.phase = Phase::Answers { until: now + self.gather, open, running: false };
    }

    /// What to do now.
    pub fn step(&mut self, now: Instant) -> Step {
        if self.missing.is_empty() {
            return Step::Finished(Vec::new());
        }
        // Where returns still come, those that are missing are on their way more likely than not.
        let quiet = self.heard.map(|heard| heard + QUIET.min(self.timeout));
        match &self.phase {
            Phase::Returns { until } if now < *until => Step::Wait(*until),
            Phase::Returns { .. } => match quiet {
                Some(quiet) if now < quiet => Step::Wait(quiet),
                _ => Step::Ask(self.missing()),
            },
            Phase::Answers { until, open, .. } if now < *until && !open.is_empty() => {
                Step::Wait(*until)
            }
            Phase::Answers { running: true, .. } => {
                let until = now + self.timeout;
                self.phase = Phase::Returns { until };
                Step::Wait(until)
            }
            // An empty answer may overtake the return itself: one more look at what is on its
            // way costs the caller nothing, because events are read before `step` is asked.
            Phase::Answers { .. } => Step::Finished(self.missing()),
        }
    }

    /// Whether that minion's return is awaited.
    #[must_use]
    pub fn is_missing(&self, id: &str) -> bool {
        self.missing.contains(id)
    }

    fn missing(&self) -> Vec<String> {
        self.missing.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);
    const GATHER: Duration = Duration::from_secs(10);

    fn collector(now: Instant) -> Collector {
        Collector::new(["a".to_owned(), "b".to_owned()], TIMEOUT, GATHER, now)
    }

    #[test]
    fn ends_when_all_have_returned() {
        let now = Instant::now();
        let mut c = collector(now);
        assert_eq!(c.step(now), Step::Wait(now + TIMEOUT));
        assert!(c.returned("a", now));
        assert!(!c.returned("a", now));
        assert!(c.returned("b", now));
        assert_eq!(c.step(now), Step::Finished(vec![]));
    }

    #[test]
    fn asks_the_silent_and_waits_for_those_at_work() {
        let now = Instant::now();
        let mut c = collector(now);
        c.returned("a", now);
        let late = now + TIMEOUT;
        assert_eq!(c.step(late), Step::Ask(vec!["b".to_owned()]));
        c.asked(late);
        assert_eq!(c.step(late), Step::Wait(late + GATHER));
        c.answered("b", true);
        assert_eq!(c.step(late), Step::Wait(late + TIMEOUT));
        c.returned("b", now);
        assert_eq!(c.step(late), Step::Finished(vec![]));
    }

    #[test]
    fn gives_up_on_those_that_do_not_run_it() {
        let now = Instant::now();
        let mut c = collector(now);
        c.asked(now);
        c.answered("a", false);
        c.answered("b", false);
        assert_eq!(c.step(now), Step::Finished(vec!["a".to_owned(), "b".to_owned()]));
        let mut mute = collector(now);
        mute.asked(now);
        assert_eq!(mute.step(now + GATHER), Step::Finished(vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn minions_named_later_are_awaited_too() {
        let now = Instant::now();
        let mut c = Collector::new([], TIMEOUT, GATHER, now);
        assert_eq!(c.step(now), Step::Finished(vec![]));
        c.expect(["z".to_owned()]);
        assert_eq!(c.step(now), Step::Wait(now + TIMEOUT));
    }

    #[test]
    fn nobody_is_asked_while_returns_come() {
        let now = Instant::now();
        let ids = |from: u32, to: u32| (from..to).map(|n| format!("m{n}"));
        let mut c = Collector::new(ids(0, 10_000), TIMEOUT, GATHER, now);
        // The last of many come a little after the timeout.
        let late = now + TIMEOUT;
        for id in ids(0, 9_990) {
            assert!(c.returned(&id, late));
        }
        assert_eq!(c.step(late), Step::Wait(late + QUIET));
        for id in ids(9_990, 9_999) {
            c.returned(&id, late + QUIET / 2);
        }
        assert_eq!(c.step(late + QUIET), Step::Wait(late + QUIET + QUIET / 2));
        // Only the one that is silent is asked.
        let quiet = late + 2 * QUIET;
        assert_eq!(c.step(quiet), Step::Ask(vec!["m9999".to_owned()]));
        assert!(c.is_missing("m9999") && !c.is_missing("m1"));
        c.expect(ids(9_998, 10_000));
        c.asked(quiet);
        c.returned("m9999", quiet);
        assert_eq!(c.step(quiet), Step::Finished(vec![]));
    }
}
