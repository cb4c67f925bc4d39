//! Two masters and a minion set up as the recipe says, and a stream of jobs that leave time
//! stamps.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::{Fleet, Master, Minion, Net, Output, Peer};

/// The dependencies of a trial; the network last, because it is dropped last.
pub(super) struct Pair {
    pub(super) minion: Minion,
    pub(super) first: Master,
    pub(super) second: Master,
    pub(super) fleet: Fleet,
    pub(super) _net: Net,
    marks: usize,
}

impl Pair {
    /// The minion is at the first master.
    pub(super) fn new(peer: Peer, interval: u64) -> Self {
        let net = Net::new("bench failover").unwrap();
        let fleet = Fleet::new(peer, peer);
        let mut masters = fleet.signed_masters_on(&[net.host(), net.host()], "");
        let list = format!("[{}, {}]", masters[0].address, masters[1].address);
        let mut minion = fleet.minion_on(&net.host(), "min", &list, &recipe(interval));
        salt_defaults(&minion);
        fleet.introduce(&minion, &masters);
        minion.start();
        masters[0].wait_ping("min");
        let second = masters.pop().unwrap();
        let first = masters.pop().unwrap();
        Pair { minion, first, second, fleet, _net: net, marks: 0 }
    }

    /// Does something to the first master; seconds until the second one's job runs.
    pub(super) fn until_second(
        &mut self,
        limit: f64,
        cause: impl FnOnce(&mut Master),
    ) -> Option<f64> {
        let mark = self.mark();
        let mut stream = Stream::start(&self.second, &mark);
        let begun = now();
        cause(&mut self.first);
        stream.first_run(begun, limit)
    }

    pub(super) fn mark(&mut self) -> PathBuf {
        self.marks += 1;
        self.fleet.root().join(format!("mark{}", self.marks))
    }

    /// The dead first master comes back and is the second one of the next trial.
    pub(super) fn swap(&mut self) {
        // Connections that break at once would be another story than a master that dies.
        std::thread::sleep(Duration::from_secs(2));
        self.first.start();
        std::mem::swap(&mut self.first, &mut self.second);
        self.first.wait_ping("min");
        // What is prepared in the background is prepared.
        std::thread::sleep(Duration::from_secs(4));
    }
}

/// The options of the recipe. `random_master` is left out: the trial has to know the first one.
pub(super) fn recipe(interval: u64) -> String {
    format!(
        "master_type: failover\nverify_master_pubkey_sign: True\nretry_dns: 0\n\
         master_alive_interval: {interval}\nmaster_failback: False\nping_interval: 10\n\
         request_channel_timeout: 60"
    )
}

/// Takes back the short cuts that the bench sets for tests.
pub(super) fn salt_defaults(minion: &Minion) {
    let text = "auth_timeout: 5\nacceptance_wait_time: 10\nrecon_default: 1000\n\
                recon_max: 10000\nrandom_reauth_delay: 10\n";
    fs::write(minion.conf().join("minion.d/bench.conf"), text).unwrap();
}

/// Publishes a job that leaves a time stamp, ten times a second or more.
pub(super) struct Stream<'a> {
    master: &'a Master,
    job: String,
    mark: PathBuf,
    python: Option<Child>,
}

impl<'a> Stream<'a> {
    pub(super) fn start(master: &'a Master, mark: &std::path::Path) -> Self {
        let job = format!("date +%s.%N >> {}", mark.display());
        let python = (master.peer != Peer::Saltern).then(|| python(master, &job));
        Stream { master, job, mark: mark.to_path_buf(), python }
    }

    /// Seconds from `begun` to the first run after it.
    pub(super) fn first_run(&mut self, begun: f64, limit: f64) -> Option<f64> {
        let end = Instant::now() + Duration::from_secs_f64(limit);
        while Instant::now() < end {
            if self.python.is_none() {
                let output = self.master.run("salt", &["--async", "*", "cmd.run", &self.job]);
                drop(output);
            }
            let text = fs::read_to_string(&self.mark).unwrap_or_default();
            let mut runs = text.lines().filter_map(|l| l.parse::<f64>().ok());
            if let Some(time) = runs.find(|time| *time >= begun) {
                return Some(time - begun);
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        None
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        if let Some(child) = &mut self.python {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The start of real Salt's tool lasts longer than what is measured, so one process publishes.
fn python(master: &Master, job: &str) -> Child {
    let script = "import sys, time, salt.client\n\
                  c = salt.client.LocalClient(sys.argv[1])\n\
                  print('ready', flush=True)\n\
                  while True:\n    \
                      c.run_job('*', 'cmd.run', [sys.argv[2]], listen=False)\n    \
                      time.sleep(0.1)\n";
    let mut command = master.peer.program("python");
    command.args(["-c", script]).arg(master.conf().join("master")).arg(job);
    let mut child = match &master.host {
        Some(host) => host.command(&command),
        None => command,
    }
    .stdout(Stdio::piped())
    .stderr(Stdio::null())
    .spawn()
    .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child
}

/// Publishes one job without waiting for returns; its id.
pub(super) fn publish(master: &Master, job: &str) -> String {
    let output: Output = master.run("salt", &["--async", "*", "cmd.run", job]);
    output.stdout.split_whitespace().last().unwrap_or_default().to_owned()
}

/// Seconds since 1970.
pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}
