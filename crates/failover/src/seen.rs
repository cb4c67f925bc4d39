//! The memory of job ids: a job that comes a second time, from another master or after a restart,
//! does not run again.

use std::collections::{HashSet, VecDeque};

/// The ids of the last jobs, shared by all masters of a minion. Those of jobs that have not ended
/// yet are kept however many come after them.
#[derive(Debug)]
pub struct Seen {
    order: VecDeque<String>,
    known: HashSet<String>,
    open: HashSet<String>,
    keep: usize,
}

impl Seen {
    /// Remembers the last `keep` ids (at least one) beside those of jobs under way.
    #[must_use]
    pub fn new(keep: usize) -> Self {
        let (order, known, open) = Default::default();
        Seen { order, known, open, keep: keep.max(1) }
    }

    /// Remembers the id; `false` when it was known.
    pub fn is_new(&mut self, jid: &str) -> bool {
        if self.open.contains(jid) || !self.known.insert(jid.to_owned()) {
            return false;
        }
        self.order.push_back(jid.to_owned());
        while self.order.len() > self.keep {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
        true
    }

    /// The job begins: its id is not forgotten before [`Seen::ended`].
    pub fn begun(&mut self, jid: &str) {
        self.open.insert(jid.to_owned());
    }

    /// The job has ended, and counts as the latest one.
    pub fn ended(&mut self, jid: &str) {
        if self.open.remove(jid) {
            self.is_new(jid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_known_once_and_forgotten_in_order() {
        let mut seen = Seen::new(2);
        assert!(seen.is_new("1"));
        assert!(!seen.is_new("1"));
        assert!(seen.is_new("2") && seen.is_new("3"));
        assert!(seen.is_new("1"), "pushed out by the later ones");
        assert!(!seen.is_new("3"));
        assert_eq!(seen.known.len(), 2);
    }

    #[test]
    fn a_job_under_way_is_not_forgotten() {
        let mut seen = Seen::new(1);
        assert!(seen.is_new("1"));
        seen.begun("1");
        assert!(seen.is_new("2") && seen.is_new("3"));
        assert!(!seen.is_new("1"));
        seen.ended("1");
        assert!(!seen.is_new("1"), "it was the last to end");
        assert!(seen.is_new("4") && seen.is_new("1"));
    }
}
