//! One trial: what it took, and what the kernel says of the master meanwhile.

use std::collections::BTreeMap;
use std::time::Instant;

use super::proc::{self, Memory};
use crate::Master;

/// What one trial came to.
#[derive(Clone, Debug, Default)]
pub struct Trial {
    /// Wall clock; none = it is not about that, or it did not end.
    pub seconds: Option<f64>,
    /// CPU seconds of the process tree.
    pub cpu: Option<f64>,
    /// Memory of the process tree at the end.
    pub memory: Option<Memory>,
    /// The machine's load average over a minute, at the end.
    pub load: f64,
    /// How many of what is counted were done, and how many were wanted.
    pub done: f64,
    pub wanted: f64,
    /// What else is worth a number, by name.
    pub more: BTreeMap<&'static str, f64>,
    /// What happened, if it is not what was wanted.
    pub note: Option<String>,
}

impl Trial {
    /// One that did not come to figures.
    pub fn failed(note: impl Into<String>) -> Self {
        Trial { note: Some(note.into()), wanted: 1.0, load: proc::load(), ..Trial::default() }
    }

    /// Whether everything that was wanted was done.
    pub fn complete(&self) -> bool {
        self.note.is_none() && self.done >= self.wanted
    }

    /// Adds a number with a name.
    pub fn with(mut self, name: &'static str, value: f64) -> Self {
        self.more.insert(name, value);
        self
    }

    /// Seconds for each of what was done.
    pub fn seconds_each(&self) -> Option<f64> {
        (self.done > 0.0).then_some(self.seconds? / self.done)
    }

    /// CPU seconds for so many of what was done.
    pub fn cpu_per(&self, units: f64) -> Option<f64> {
        (self.done > 0.0).then_some(self.cpu? * units / self.done)
    }
}

/// Watches a process tree during a trial.
pub struct Watch {
    pid: u32,
    cpu: f64,
    begun: Instant,
}

impl Watch {
    pub fn master(master: &mut Master) -> Self {
        Watch::process(master.process().pid())
    }

    pub fn process(pid: u32) -> Self {
        Watch { pid, cpu: proc::cpu_seconds(pid), begun: Instant::now() }
    }

    /// Ends the trial. One that is not complete has no duration.
    pub fn end(self, done: f64, wanted: f64) -> Trial {
        let seconds = self.begun.elapsed().as_secs_f64();
        let trial = Trial {
            cpu: Some(proc::cpu_seconds(self.pid) - self.cpu),
            memory: Some(proc::memory(self.pid)),
            load: proc::load(),
            done,
            wanted,
            ..Trial::default()
        };
        match done >= wanted {
            true => Trial { seconds: Some(seconds), ..trial },
            false => Trial {
                note: Some(format!("ended after {seconds:.0} s: {done} of {wanted}")),
                ..trial
            },
        }
    }
}
