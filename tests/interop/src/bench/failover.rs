//! `kill -9` of the master in use with `master_alive_interval: 5`: seconds until the minion has
//! run a job that was published by the next one.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Figure, Target};
use crate::{Fleet, Master, Minion, Output, Peer, wait};

const TRIALS: usize = 9;

/// Time between two deaths.
const SETTLE: Duration = Duration::from_secs(2);

pub fn run() -> Vec<Figure> {
    vec![Figure {
        what: "kill -9 of the master, until a job runs through the next",
        unit: "s",
        saltern: measure(Peer::Saltern),
        salt: measure(Peer::Salt3006),
        target: Target::Ratio(0.2),
    }]
}

fn measure(peer: Peer) -> Vec<f64> {
    let fleet = Fleet::new(peer, peer);
    let (mut first, mut second) = fleet.signed_masters();
    let extra = "master_type: failover\nverify_master_pubkey_sign: True\n\
                 master_alive_interval: 5\nretry_dns: 0\nmaster_tries: -1";
    let mut minion: Minion = fleet.minion("min", &[&first, &second], extra);
    let public = minion.make_keys(&first);
    first.preseed("min", &public);
    second.preseed("min", &public);
    fs::copy(first.pki().join("master_sign.pub"), minion.pki().join("master_sign.pub")).unwrap();
    minion.start();
    first.wait_ping("min");
    (0..TRIALS)
        .map(|trial| {
            let mark = fleet.root().join(format!("mark{trial}"));
            let mut stream = Stream::start(&second, &mark.display().to_string());
            let killed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            first.process().kill();
            let ran = wait::until("a job through the other master", || {
                stream.turn();
                let text = fs::read_to_string(&mark).ok()?;
                text.lines().next()?.parse::<f64>().ok()
            });
            drop(stream);
            // Connections that break at once would be another story than a master that dies.
            std::thread::sleep(SETTLE);
            first.start();
            std::mem::swap(&mut first, &mut second);
            first.wait_ping("min");
            ran - killed.as_secs_f64()
        })
        .collect()
}

/// Publishes a job that leaves a time stamp, ten times a second.
enum Stream {
    Ours { command: Box<dyn Fn() -> Command> },
    Python { child: std::process::Child },
}

impl Stream {
    fn start(master: &Master, mark: &str) -> Self {
        let job = format!("date +%s.%N >> {mark}");
        if master.peer == Peer::Saltern {
            let (peer, conf) = (master.peer, master.conf());
            let command = move || {
                let mut command = peer.program("salt");
                command.arg("-c").arg(&conf).args(["--async", "*", "cmd.run", &job]);
                command
            };
            return Stream::Ours { command: Box::new(command) };
        }
        let script = "import sys, time, salt.client\n\
                      c = salt.client.LocalClient(sys.argv[1])\n\
                      print('ready', flush=True)\n\
                      while True:\n    \
                          c.run_job('*', 'cmd.run', [sys.argv[2]], listen=False)\n    \
                          time.sleep(0.1)\n";
        let mut child = master
            .peer
            .program("python")
            .args(["-c", script])
            .arg(master.conf().join("master"))
            .arg(job)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let out = child.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).unwrap();
        Stream::Python { child }
    }

    /// Called by the waiting loop, ten times a second.
    fn turn(&mut self) {
        if let Stream::Ours { command } = self {
            drop(Output::of(command()));
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Stream::Python { child } = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
