//! A fleet of simulated minions (`saltern swarm --json`): started with options, followed through
//! the lines it prints, stopped for its summary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::peer::saltern;
use crate::tail::Tail;
use crate::{Fleet, Master, Program, wait};

/// How a swarm is started; the same one can be started again and keeps ids and keys.
#[derive(Clone)]
pub struct SwarmPlan {
    pub name: String,
    pub count: usize,
    dir: PathBuf,
    args: Vec<String>,
}

impl SwarmPlan {
    /// `count` minions `NAME-0`, `NAME-1`, ... of these masters, with one shared key.
    pub fn new(dir: &Path, name: &str, count: usize, masters: &[&Master]) -> Self {
        let hosts: Vec<_> = masters.iter().map(|m| m.address.to_string()).collect();
        let plan = SwarmPlan {
            name: name.to_owned(),
            count,
            dir: dir.to_path_buf(),
            args: vec!["--json".to_owned()],
        };
        let keys = dir.join(format!("{name}-keys"));
        plan.option("--masters", &hosts.join(","))
            .option("--count", &count.to_string())
            .option("--id", &format!("{name}-{{n}}"))
            .option("--key-dir", keys.to_str().unwrap())
    }

    /// The same in the directory of a fleet, named `swarm`.
    pub fn of(fleet: &Fleet, count: usize, masters: &[&Master]) -> Self {
        SwarmPlan::new(fleet.root(), "swarm", count, masters)
    }

    /// One more option; given again it has the new value.
    pub fn option(mut self, name: &str, value: &str) -> Self {
        let former = self.args.iter().position(|arg| arg == name);
        match former.and_then(|at| self.args.get_mut(at + 1)) {
            Some(former) => value.clone_into(former),
            None => self.args.extend([name.to_owned(), value.to_owned()]),
        }
        self
    }

    pub fn flag(mut self, name: &str) -> Self {
        self.args.push(name.to_owned());
        self
    }

    /// Has the minions check that the masters' keys are signed by this master's signing pair.
    pub fn verify(self, master: &Master) -> Self {
        let file = master.pki().join("master_sign.pub");
        self.option("--verify", file.to_str().unwrap())
    }

    /// The ids of its minions.
    pub fn ids(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.count).map(|number| format!("{}-{number}", self.name))
    }

    /// Starts it; its lines go to `NAME.jsonl` of the directory, a former run's are forgotten.
    pub fn start(&self) -> Swarm {
        let output = self.dir.join(format!("{}.jsonl", self.name));
        drop(fs::remove_file(&output));
        let mut command = Command::new(saltern());
        command.arg("swarm").args(&self.args);
        let program = Program::start("saltern swarm", command, &output);
        Swarm { count: self.count, program, lines: Tail::new(&output), last: Value::Null }
    }
}

/// A running swarm.
pub struct Swarm {
    pub count: usize,
    program: Program,
    lines: Tail,
    /// The newest line that says how many are connected.
    last: Value,
}

impl Swarm {
    pub fn process(&mut self) -> &mut Program {
        &mut self.program
    }

    /// What it said since the last look.
    pub fn events(&mut self) -> Vec<Value> {
        // Whatever else stands there is its log.
        let lines = self.lines.lines();
        let events: Vec<Value> =
            lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if let Some(last) = events.last() {
            self.last.clone_from(last);
        }
        events
    }

    /// The newest line; nothing before the first.
    pub fn now(&mut self) -> &Value {
        self.events();
        &self.last
    }

    /// Waits until a line says what is wanted, and returns that line.
    pub fn until(&mut self, what: &str, wanted: impl FnMut(&Value) -> bool) -> Value {
        self.within(wait::LONG, what, wanted)
    }

    /// The same with a limit of one's own.
    pub fn within(
        &mut self,
        limit: Duration,
        what: &str,
        mut wanted: impl FnMut(&Value) -> bool,
    ) -> Value {
        // The newest line counts, too, if it was read before.
        if wanted(self.now()) {
            return self.last.clone();
        }
        wait::within(limit, what, || {
            let ended = !self.program.is_running();
            let found = self.events().into_iter().find(&mut wanted);
            let printed = || self.program.printed();
            assert!(!ended || found.is_some(), "the swarm ended before {what}: {}", printed());
            found
        })
    }

    /// Waits until all of its minions are connected.
    pub fn wait_connected(&mut self) {
        let count = self.count;
        self.until(&format!("{count} minions to be connected"), |line| is(line, count));
    }

    /// SIGTERM; the summary it ends with.
    pub fn stop(mut self) -> Value {
        self.program.stop();
        self.end()
    }

    /// Waits for the end that its options set; the summary.
    pub fn finish(mut self, limit: Duration) -> Value {
        wait::within(limit, "the swarm to end", || self.program.exit_code());
        self.end()
    }

    fn end(&mut self) -> Value {
        self.events();
        let printed = || self.program.printed();
        assert_eq!(self.last["event"], "end", "a swarm ends with a summary: {}", printed());
        self.last.clone()
    }
}

fn is(line: &Value, connected: usize) -> bool {
    line["connected"].as_u64() == Some(connected as u64)
}
