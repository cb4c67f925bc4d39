//! A master of either kind, and its tools.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Address, Host, Output, Peer, Program, wait};

pub struct Master {
    pub peer: Peer,
    pub address: Address,
    /// Where it runs, when not on this machine's own network.
    pub host: Option<Host>,
    root: PathBuf,
    program: Option<Program>,
}

impl Master {
    /// Lays out a master's configuration below `root` without starting it.
    pub fn prepare(peer: Peer, root: &Path, extra: &str) -> Self {
        Master::prepare_on(peer, root, None, extra)
    }

    /// The same on a host of a network made for the test.
    pub fn prepare_on(peer: Peer, root: &Path, host: Option<&Host>, extra: &str) -> Self {
        let address = host.map_or_else(Address::fresh, Address::of);
        let host = host.cloned();
        let master = Master { peer, address, host, root: root.to_path_buf(), program: None };
        fs::create_dir_all(master.conf().join("master.d")).unwrap();
        for dir in ["srv/salt", "srv/pillar"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        let text = format!(
            "root_dir: {root}\ninterface: {address}\nuser: {user}\n\
             file_roots:\n  base: [{root}/srv/salt]\npillar_roots:\n  base: [{root}/srv/pillar]\n\
             sock_dir: {root}/s\npki_dir: {root}/pki\ncachedir: {root}/cache\n\
             log_file: {root}/log\nlog_level_logfile: debug\nworker_threads: 3\n\
             loop_interval: 1\n{extra}\n",
            root = root.display(),
            address = master.address,
            user = user(),
        );
        fs::write(master.conf().join("master"), text).unwrap();
        master
    }

    pub fn conf(&self) -> PathBuf {
        self.root.join("conf")
    }

    pub fn pki(&self) -> PathBuf {
        self.root.join("pki")
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Starts it and waits until both ports answer.
    pub fn start(&mut self) {
        self.start_at(&[4505, 4506]);
    }

    /// The same, waiting for these ports only: a drained master has one.
    pub fn start_at(&mut self, ports: &[u16]) {
        self.start_logging(ports, "info");
    }

    /// The same, with what goes to the console: benchmarks do not want to measure the log.
    pub fn start_logging(&mut self, ports: &[u16], level: &str) {
        self.start_as(self.tool("salt-master"), ports, level);
    }

    /// The same with so many open files at most, as `ulimit -n` sets it.
    pub fn start_with_files(&mut self, limit: usize) {
        let master = self.tool("salt-master");
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {limit} && exec \"$0\" \"$@\"")]);
        command.arg(master.get_program()).args(master.get_args());
        self.start_as(command, &[4505, 4506], "info");
    }

    fn start_as(&mut self, mut command: Command, ports: &[u16], level: &str) {
        command.args(["-l", level]);
        self.program = Some(Program::start("salt-master", command, &self.root.join("out")));
        wait::until("the master's ports", || {
            assert!(self.process().is_running(), "the master ended: {}", self.process().printed());
            ports.iter().all(|port| self.answers(*port)).then_some(())
        });
    }

    fn answers(&self, port: u16) -> bool {
        match &self.host {
            Some(host) => host.listens(port),
            None => self.address.answers(port),
        }
    }

    pub fn process(&mut self) -> &mut Program {
        self.program.as_mut().expect("the master is not started")
    }

    /// One of the master's own tools, ready for its arguments.
    pub fn tool(&self, name: &str) -> Command {
        let mut command = self.peer.program(name);
        command.arg("-c").arg(self.conf());
        match &self.host {
            Some(host) => host.command(&command),
            None => command,
        }
    }

    pub fn run(&self, tool: &str, args: &[&str]) -> Output {
        let mut command = self.tool(tool);
        command.args(args);
        Output::of(command)
    }

    /// `salt ... --out json --static` as JSON.
    pub fn salt(&self, args: &[&str]) -> serde_json::Value {
        let mut all = vec!["--out", "json", "--static", "-t", "30"];
        all.extend(args);
        let output = self.run("salt", &all);
        assert!(!output.stdout.is_empty(), "salt {args:?} printed nothing: {output:?}");
        output.json()
    }

    /// What is stored here of a job: by minion what it returned.
    pub fn lookup(&self, jid: &str) -> Vec<(String, serde_json::Value)> {
        let output = self.run("salt-run", &["jobs.lookup_jid", jid, "--out", "json"]);
        let reply: serde_json::Value = serde_json::from_str(&output.stdout).unwrap_or_default();
        let minions = reply.as_object().into_iter().flatten();
        minions.map(|(id, value)| (id.clone(), value.clone())).collect()
    }

    /// Ids in one of the key states (`minions`, `minions_pre`, `minions_rejected`, ...).
    pub fn keys(&self, state: &str) -> Vec<String> {
        let output = self.run("salt-key", &["-L", "--out", "json"]);
        output.json()[state]
            .as_array()
            .unwrap_or_else(|| panic!("no list {state} in {output:?}"))
            .iter()
            .map(|id| id.as_str().unwrap().to_owned())
            .collect()
    }

    pub fn wait_key(&self, state: &str, id: &str) {
        wait::until(&format!("{id} in {state}"), || {
            self.keys(state).iter().any(|k| k == id).then_some(())
        });
    }

    pub fn accept(&self, id: &str) {
        self.wait_key("minions_pre", id);
        let output = self.run("salt-key", &["-y", "-a", id]);
        assert_eq!(output.code, 0, "{output:?}");
    }

    /// Puts a key that the operator already trusts among the accepted ones.
    pub fn preseed(&self, id: &str, public_key: &Path) {
        let dir = self.pki().join("minions");
        fs::create_dir_all(&dir).unwrap();
        let text = fs::read_to_string(public_key).unwrap();
        fs::write(dir.join(id), text.trim_end()).unwrap();
    }

    /// Waits until the minion answers `test.ping` here.
    pub fn wait_ping(&self, id: &str) {
        let what = format!("{id} answers on {}", self.address);
        wait::until(&what, || self.pings(id).then_some(()));
    }

    /// Whether the minion answers `test.ping` here within three seconds.
    pub fn pings(&self, id: &str) -> bool {
        let output = self.run("salt", &["--out", "json", "--static", "-t", "3", id, "test.ping"]);
        let reply: serde_json::Value = serde_json::from_str(&output.stdout).unwrap_or_default();
        reply[id] == true
    }
}

fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
