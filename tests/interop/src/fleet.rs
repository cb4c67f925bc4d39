//! The small fleet most tests want: one or two masters, one minion, a directory of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Host, Master, Minion, Peer};

pub struct Fleet {
    pub master_peer: Peer,
    pub minion_peer: Peer,
    /// Whether its directory stays for people to look into.
    pub keep: bool,
    root: PathBuf,
}

impl Fleet {
    pub fn new(master_peer: Peer, minion_peer: Peer) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Short, because the path of a unix socket may have 107 bytes at most.
        let root = std::env::temp_dir().join(format!(
            "si-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        ));
        fs::create_dir_all(&root).unwrap();
        let keep = std::env::var_os("SALTERN_KEEP").is_some();
        Fleet { master_peer, minion_peer, keep, root }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A master that is not started yet; `name` is its directory.
    pub fn master(&self, name: &str, extra: &str) -> Master {
        Master::prepare(self.master_peer, &self.root.join(name), extra)
    }

    /// A minion that is not started yet; its id is also its directory.
    pub fn minion(&self, id: &str, masters: &[&Master], extra: &str) -> Minion {
        Minion::prepare(self.minion_peer, id, &self.root.join(id), masters, extra)
    }

    /// A minion on a host of a network made for the test; `master` is the text of that option.
    pub fn minion_on(&self, host: &Host, id: &str, master: &str, extra: &str) -> Minion {
        Minion::prepare_on(self.minion_peer, id, &self.root.join(id), Some(host), master, extra)
    }

    /// A master and a minion that answers it.
    pub fn pair(&self, master_extra: &str, minion_extra: &str) -> (Master, Minion) {
        let mut master = self.master("m1", master_extra);
        let mut minion = self.minion("min", &[&master], minion_extra);
        let public = minion.make_keys(&master);
        master.preseed("min", &public);
        master.start();
        minion.start();
        master.wait_ping("min");
        (master, minion)
    }

    /// Running masters with distinct keys that share the signing pair, one a host.
    pub fn signed_masters_on(&self, hosts: &[Host], extra: &str) -> Vec<Master> {
        let hosts: Vec<_> = hosts.iter().map(Some).collect();
        self.signed(&hosts, extra)
    }

    /// The same on this machine's own network.
    pub fn signed_masters_here(&self, count: usize, extra: &str) -> Vec<Master> {
        self.signed(&vec![None; count], extra)
    }

    fn signed(&self, hosts: &[Option<&Host>], extra: &str) -> Vec<Master> {
        let signed = "master_sign_pubkey: True";
        let mut masters: Vec<Master> = Vec::new();
        for (number, host) in hosts.iter().enumerate() {
            let dir = self.root.join(format!("m{}", number + 1));
            let mut master = Master::prepare_on(self.master_peer, &dir, *host, signed);
            // In a file of its own, so that it may also set what the first one sets.
            fs::write(master.conf().join("master.d/extra.conf"), extra).unwrap();
            if let Some(first) = masters.first() {
                fs::create_dir_all(master.pki()).unwrap();
                for file in ["master_sign.pem", "master_sign.pub"] {
                    fs::copy(first.pki().join(file), master.pki().join(file)).unwrap();
                }
            }
            master.start();
            masters.push(master);
        }
        masters
    }

    /// What an operator does before the first start: the minion has a key that all masters
    /// accept, and knows the key that signs theirs.
    pub fn introduce(&self, minion: &Minion, masters: &[Master]) {
        let public = minion.make_keys(&masters[0]);
        for master in masters {
            master.preseed(&minion.id, &public);
        }
        let sign = masters[0].pki().join("master_sign.pub");
        fs::copy(sign, minion.pki().join("master_sign.pub")).unwrap();
    }

    /// Two masters with distinct keys that share the signing pair, made as the recipe says.
    pub fn signed_masters(&self) -> (Master, Master) {
        let mut masters = self.signed_masters_here(2, "").into_iter();
        (masters.next().unwrap(), masters.next().unwrap())
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() || self.keep {
            eprintln!("kept for you: {}", self.root.display());
        } else {
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}
