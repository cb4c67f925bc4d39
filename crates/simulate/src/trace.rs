//! What happened, line by line: the last lines are kept for a report, all of them are hashed, so
//! that two runs of one seed can be compared.

use std::collections::VecDeque;
use std::fmt;

use crate::clock::Time;

/// Lines kept for the report of a violation.
const KEPT: usize = 60;

/// The story of one history.
pub(crate) struct Trace {
    lines: VecDeque<String>,
    all: bool,
    hash: u64,
}

impl Trace {
    /// With `all` every line is kept, not only the last ones.
    pub(crate) fn new(all: bool) -> Self {
        Trace { lines: VecDeque::new(), all, hash: 0xcbf2_9ce4_8422_2325 }
    }

    pub(crate) fn say(&mut self, now: Time, what: fmt::Arguments<'_>) {
        let line = format!("{:12.6} {what}", now.as_secs_f64());
        for byte in line.bytes() {
            // FNV-1a: the same everywhere and always.
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if !self.all && self.lines.len() >= KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(crate) fn finish(self) -> (Vec<String>, u64) {
        (self.lines.into(), self.hash)
    }
}
