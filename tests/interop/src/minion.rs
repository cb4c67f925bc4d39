//! A minion of either kind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Host, Master, Output, Peer, Program};

pub struct Minion {
    pub peer: Peer,
    pub id: String,
    /// Where it runs, when not on this machine's own network.
    pub host: Option<Host>,
    root: PathBuf,
    program: Option<Program>,
}

impl Minion {
    /// Lays out a minion's configuration below `root` without starting it.
    pub fn prepare(peer: Peer, id: &str, root: &Path, masters: &[&Master], extra: &str) -> Self {
        let addresses: Vec<_> = masters.iter().map(|m| m.address.to_string()).collect();
        let master = match addresses.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        Minion::prepare_on(peer, id, root, None, &master, extra)
    }

    /// The same on a host of a network made for the test, with the text of the option `master`.
    pub fn prepare_on(
        peer: Peer,
        id: &str,
        root: &Path,
        host: Option<&Host>,
        master: &str,
        extra: &str,
    ) -> Self {
        let (host, root_dir) = (host.cloned(), root.to_path_buf());
        let minion = Minion { peer, id: id.to_owned(), host, root: root_dir, program: None };
        fs::create_dir_all(minion.conf().join("minion.d")).unwrap();
        fs::create_dir_all(minion.pki()).unwrap();
        // The waits of real Salt are cut so that a test does not last minutes; the meaning of
        // none of them changes.
        let text = format!(
            "root_dir: {root}\nid: {id}\nmaster: {master}\nsock_dir: {root}/s\n\
             pki_dir: {root}/pki\ncachedir: {root}/cache\nlog_file: {root}/log\n\
             log_level_logfile: debug\nenable_fqdns_grains: False\nenable_gpu_grains: False\n\
             acceptance_wait_time: 1\nrandom_reauth_delay: 1\nrecon_default: 200\n\
             recon_max: 500\nauth_timeout: 20\nmine_enabled: False\n{extra}\n",
            root = root.display(),
        );
        fs::write(minion.conf().join("minion"), text).unwrap();
        minion
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

    pub fn log(&self) -> String {
        fs::read_to_string(self.root.join("log")).unwrap_or_default()
    }

    pub fn start(&mut self) {
        let mut command = self.tool("salt-minion");
        command.args(["-l", "info"]);
        self.program = Some(Program::start("salt-minion", command, &self.root.join("out")));
    }

    pub fn is_started(&self) -> bool {
        self.program.is_some()
    }

    pub fn process(&mut self) -> &mut Program {
        self.program.as_mut().expect("the minion is not started")
    }

    pub fn call(&self, args: &[&str]) -> Output {
        let mut command = self.tool("salt-call");
        command.args(args);
        Output::of(command)
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = self.peer.program(name);
        command.arg("-c").arg(self.conf());
        match &self.host {
            Some(host) => host.command(&command),
            None => command,
        }
    }

    /// Makes the key pair before the first start, with the tools of `maker`, and returns the
    /// public key: an operator who lays out keys in advance does the same.
    pub fn make_keys(&self, maker: &Master) -> PathBuf {
        let dir = self.pki();
        let output = maker
            .run("salt-key", &["--gen-keys", "minion", "--gen-keys-dir", dir.to_str().unwrap()]);
        assert_eq!(output.code, 0, "{output:?}");
        dir.join("minion.pub")
    }
}
