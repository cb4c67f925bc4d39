//! Publishes jobs and collects their returns as users do: with `salt`. Real Salt's tool needs a
//! second to start, which would count for nobody's master, so one process of Python does it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::{Master, Output};

const SCRIPT: &str = "\
import json, sys, time
import salt.client
client = salt.client.LocalClient(sys.argv[1])
print('ready', flush=True)
for line in sys.stdin:
    number, kind, target, job, timeout = json.loads(line)
    begun = time.monotonic()
    found = client.cmd(target, job[0], job[1:], tgt_type=kind, timeout=timeout)
    answered = sum(1 for v in found.values() if v is True or str(v).startswith('/'))
    print(json.dumps([number, answered, time.monotonic() - begun]), flush=True)
";

/// What came of a job.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub answered: usize,
    pub seconds: f64,
}

/// Publishes at one master.
pub struct Publisher {
    tool: Command,
    python: Option<Python>,
}

struct Python {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    /// Jobs ordered so far.
    jobs: usize,
}

impl Publisher {
    pub fn new(master: &Master) -> Self {
        let python = (!master.peer.is_saltern()).then(|| Python::start(master));
        Publisher { tool: master.tool("salt"), python }
    }

    /// `salt TARGET test.ping`; `kind` as Salt's client names it (`glob`, `list`, `grain`). None
    /// when there was no end within `limit` seconds.
    pub fn ping(&mut self, kind: &str, target: &str, limit: f64) -> Option<Answer> {
        self.run(kind, target, &["test.ping"], limit)
    }

    /// The same for another function that answers `True` or a path.
    pub fn run(&mut self, kind: &str, target: &str, job: &[&str], limit: f64) -> Option<Answer> {
        match &mut self.python {
            Some(python) => python.run(kind, target, job, limit),
            None => Some(self.tool(kind, target, job, limit)),
        }
    }

    fn tool(&self, kind: &str, target: &str, job: &[&str], limit: f64) -> Answer {
        let mut command = Command::new(self.tool.get_program());
        command.args(self.tool.get_args());
        match kind {
            "list" => command.arg("-L"),
            "grain" => command.arg("-G"),
            _ => &mut command,
        };
        let timeout = timeout(limit).to_string();
        command.args(["--out", "txt", "-t", &timeout, target]).args(job);
        let begun = Instant::now();
        let output = Output::of(command);
        let good = |line: &&str| line.ends_with(": True") || line.contains(": /");
        let answered = output.stdout.lines().filter(good).count();
        Answer { answered, seconds: begun.elapsed().as_secs_f64() }
    }
}

/// What the tool waits for returns before it asks who still works; generous, because a fleet on
/// two cores takes its time.
fn timeout(limit: f64) -> u64 {
    (limit / 4.0).clamp(1.0, 30.0) as u64
}

impl Python {
    fn start(master: &Master) -> Self {
        let mut command = master.peer.program("python");
        command.args(["-c", SCRIPT]).arg(master.conf().join("master"));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        let python = Python { input: child.stdin.take().unwrap(), child, lines, jobs: 0 };
        let ready = python.lines.recv_timeout(Duration::from_secs(120));
        assert!(ready.is_ok_and(|line| line == "ready"), "salt.client did not start");
        python
    }

    fn run(&mut self, kind: &str, target: &str, job: &[&str], limit: f64) -> Option<Answer> {
        let target = match kind {
            "list" => serde_json::json!(target.split(',').collect::<Vec<_>>()),
            _ => serde_json::json!(target),
        };
        self.jobs += 1;
        let job = serde_json::json!([self.jobs, kind, target, job, timeout(limit)]);
        writeln!(self.input, "{job}").ok()?;
        let end = Instant::now() + Duration::from_secs_f64(limit);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).ok()?;
            let (number, answered, seconds) = serde_json::from_str::<(usize, _, _)>(&line).ok()?;
            // The answer to a job that nobody waits for any more comes late.
            if number == self.jobs {
                return Some(Answer { answered, seconds });
            }
        }
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
