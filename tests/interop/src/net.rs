//! A network of one's own: one namespace per host, all plugged into a bridge in a further
//! namespace, so that no fault made here touches the machine or another test.

use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use crate::fault::{Fault, ruleset};
use crate::skip::skipped;
use crate::wire::Wire;

/// What all names of our namespaces begin with; the id of the process that made them follows.
const MARK: &str = "salternet";

/// The network; what it consists of is removed when it is dropped. Make it before the programs
/// that run in it: they have to be dropped first.
pub struct Net {
    tag: String,
    hosts: AtomicU32,
}

/// How a link carries packets, both ways together (half of the delay each way).
#[derive(Clone, Copy, Debug, Default)]
pub struct Quality {
    /// Milliseconds each packet is late in each direction.
    pub delay: u32,
    /// Milliseconds by which `delay` varies.
    pub jitter: u32,
    /// Percent of packets lost in each direction.
    pub loss: u32,
    /// Percent of packets that overtake the others, which are late by `delay`.
    pub reorder: u32,
}

/// One host of a [`Net`].
#[derive(Clone)]
pub struct Host {
    pub address: Ipv4Addr,
    namespace: String,
    switch: String,
    port: String,
    faults: Arc<Mutex<Vec<Fault>>>,
    wire: Arc<Mutex<Option<Wire>>>,
}

impl Net {
    /// A network without hosts; says loudly why there can be none here.
    pub fn new(what: &str) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if let Err(reason) = possible() {
            skipped(&format!("network faults: {what}"), &reason);
            return None;
        }
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let net = Net { tag: format!("{MARK}-{}-{id}", std::process::id()), hosts: 0.into() };
        let switch = net.switch();
        ip(&["netns", "add", &switch]);
        ip(&["-n", &switch, "link", "add", "br0", "type", "bridge"]);
        ip(&["-n", &switch, "link", "set", "br0", "up"]);
        Some(net)
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.tag)
    }

    /// A further host, up and reachable by the others.
    pub fn host(&self) -> Host {
        let number = self.hosts.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(number < 250, "too many hosts in one test network");
        let (switch, namespace) = (self.switch(), format!("{}-{number}", self.tag));
        let port = format!("p{number}");
        let address = Ipv4Addr::new(10, 77, 0, number as u8);
        // Before the namespace: `ip netns exec` mounts what is there over /etc.
        let etc = etc(&namespace);
        fs::create_dir_all(&etc).unwrap();
        fs::write(etc.join("hosts"), "127.0.0.1 localhost\n").unwrap();
        // Nobody answers there, and says so at once.
        let resolver = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n";
        fs::write(etc.join("resolv.conf"), resolver).unwrap();
        ip(&["netns", "add", &namespace]);
        ip(&["-n", &namespace, "link", "set", "lo", "up"]);
        let peer = ["peer", "name", "eth0", "netns", &namespace];
        ip(&[&["-n", &switch, "link", "add", &port, "type", "veth"], &peer[..]].concat());
        ip(&["-n", &switch, "link", "set", &port, "master", "br0", "up"]);
        ip(&["-n", &namespace, "address", "add", &format!("{address}/24"), "dev", "eth0"]);
        // One frame a packet, so that the relay of a bad link sees what a real one would.
        ip(&["-n", &namespace, "link", "set", "eth0", "gso_max_segs", "1", "up"]);
        Host { address, namespace, switch, port, faults: Arc::default(), wire: Arc::default() }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        remove(&format!("{}-", self.tag));
    }
}

impl Host {
    /// A further address of this host.
    pub fn alias(&self, last: u8) -> Ipv4Addr {
        let address = Ipv4Addr::new(10, 77, 0, last);
        ip(&["-n", &self.namespace, "address", "add", &format!("{address}/24"), "dev", "eth0"]);
        address
    }

    /// The same command, run on this host. The process keeps its id: `ip` becomes the program.
    pub fn command(&self, command: &Command) -> Command {
        let mut wrapped = Command::new("ip");
        wrapped.args(["netns", "exec", &self.namespace]).arg(command.get_program());
        wrapped.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(name, value),
                None => wrapped.env_remove(name),
            };
        }
        wrapped
    }

    /// Whether a program of this host listens on a TCP port.
    pub fn listens(&self, port: u16) -> bool {
        let local = format!(":{port:04X}");
        self.sockets().iter().any(|s| s.state == "0A" && s.local.ends_with(&local))
    }

    /// Adds a fault to those in force.
    pub fn fault(&self, fault: Fault) {
        self.faults.lock().unwrap().push(fault);
        self.apply();
    }

    /// A NAT in between forgets its connections: those that exist now to the two ports of a
    /// master are dropped silently, both ways; new ones pass. Returns how many there were.
    pub fn forget_connections(&self) -> usize {
        let ports: Vec<u16> = self
            .sockets()
            .iter()
            .filter(|s| s.state == "01")
            .filter(|s| s.local.ends_with(":1199") || s.local.ends_with(":119A"))
            .filter_map(|s| u16::from_str_radix(s.remote.rsplit_once(':')?.1, 16).ok())
            .collect();
        let count = ports.len();
        if count > 0 {
            self.fault(Fault::Stale(ports));
        }
        count
    }

    /// Ends all faults, a pulled cable and a bad link included.
    pub fn heal(&self) {
        self.faults.lock().unwrap().clear();
        self.apply();
        self.link(true);
        self.good();
    }

    /// Plugs the cable in or pulls it: at the other end, so that the addresses stay.
    pub fn link(&self, up: bool) {
        ip(&["-n", &self.switch, "link", "set", &self.port, if up { "up" } else { "down" }]);
    }

    /// Makes the link a bad one: with netem where the kernel has it, else with a relay of ours
    /// that does the same to each frame. Says which.
    pub fn quality(&self, quality: Quality) -> &'static str {
        self.good();
        if netem(&self.switch, &self.port, quality) {
            // The other direction, on the host's own side.
            assert!(netem(&self.namespace, "eth0", quality));
            return "netem";
        }
        *self.wire.lock().unwrap() = Some(Wire::start(&self.switch, &self.port, quality));
        "a relay (this kernel has no netem)"
    }

    /// Ends what [`Host::quality`] began.
    fn good(&self) {
        if let Some(wire) = self.wire.lock().unwrap().take() {
            wire.end();
        }
        for (namespace, device) in [(&self.switch, self.port.as_str()), (&self.namespace, "eth0")] {
            let _ = quiet(
                Command::new("ip")
                    .args(["netns", "exec", namespace])
                    .args(["tc", "qdisc", "del", "dev", device, "root"]),
            );
        }
    }

    /// What names mean on this host from now on: lines of `/etc/hosts`.
    pub fn names(&self, names: &[(&str, Ipv4Addr)]) {
        let mut text = "127.0.0.1 localhost\n".to_owned();
        for (name, address) in names {
            text.push_str(&format!("{address} {name}\n"));
        }
        // In place: a new file would not be the one that is mounted.
        fs::write(etc(&self.namespace).join("hosts"), text).unwrap();
    }

    fn apply(&self) {
        let faults = self.faults.lock().unwrap();
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.namespace, "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let rules = ruleset(&faults);
        child.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "nft refused:\n{rules}");
    }

    fn sockets(&self) -> Vec<Socket> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, "cat", "/proc/net/tcp", "/proc/net/tcp6"]);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace().skip(1).map(str::to_owned);
                Some(Socket { local: words.next()?, remote: words.next()?, state: words.next()? })
            })
            .collect()
    }
}

/// A line of `/proc/net/tcp`: addresses and state as the kernel prints them, in hexadecimal.
struct Socket {
    local: String,
    remote: String,
    state: String,
}

fn netem(namespace: &str, device: &str, quality: Quality) -> bool {
    let Quality { delay, jitter, loss, reorder } = quality;
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, "tc", "qdisc", "replace", "dev", device, "root"]);
    command.args(["netem", "delay", &format!("{delay}ms"), &format!("{jitter}ms")]);
    command.args(["loss", &format!("{loss}%")]);
    if reorder > 0 {
        command.args(["reorder", &format!("{reorder}%")]);
    }
    quiet(&mut command)
}

/// Whether networks can be made here; also removes what dead test runs left.
fn possible() -> Result<(), String> {
    static ONCE: std::sync::OnceLock<Result<(), String>> = std::sync::OnceLock::new();
    ONCE.get_or_init(|| {
        for (tool, package) in [("ip", "iproute2"), ("tc", "iproute2"), ("nft", "nftables")] {
            if !quiet(Command::new(tool).arg("-V")) {
                return Err(format!("{tool} is missing (Debian package {package})"));
            }
        }
        if !nix::unistd::Uid::effective().is_root() {
            return Err("network namespaces can be made by root only".to_owned());
        }
        sweep();
        let probe = format!("{MARK}-{}-probe", std::process::id());
        let tried = trial(&probe);
        remove(&probe);
        tried
    })
    .clone()
}

/// One of each thing a network consists of.
fn trial(name: &str) -> Result<(), String> {
    let steps: [&[&str]; 4] = [
        &["netns", "add", name],
        &["-n", name, "link", "add", "br0", "type", "bridge"],
        &["-n", name, "link", "add", "v0", "type", "veth", "peer", "name", "v1"],
        &["netns", "exec", name, "nft", "add", "table", "inet", "trial"],
    ];
    for step in steps {
        let output = Command::new("ip").args(step).output().map_err(|e| e.to_string())?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("`ip {}` is not allowed here: {}", step.join(" "), said.trim()));
        }
    }
    Ok(())
}

/// Removes the networks of test runs that ended without doing so.
fn sweep() {
    for name in namespaces() {
        let Some(rest) = name.strip_prefix(MARK).and_then(|r| r.strip_prefix('-')) else {
            continue;
        };
        let owner = rest.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(owner).exists() {
            remove(&name);
        }
    }
}

/// Removes the namespaces whose names begin so, and what still runs in them.
fn remove(prefix: &str) {
    for name in namespaces().iter().filter(|n| n.starts_with(prefix)) {
        let output = Command::new("ip").args(["netns", "pids", name]).output();
        let pids = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
        for pid in pids.unwrap_or_default().split_whitespace() {
            let _ = quiet(Command::new("kill").args(["-KILL", pid]));
        }
        let _ = quiet(Command::new("ip").args(["netns", "del", name]));
        let _ = fs::remove_dir_all(etc(name));
    }
}

fn namespaces() -> Vec<String> {
    let output = Command::new("ip").args(["netns", "list"]).output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    text.lines().filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect()
}

/// Where `ip netns exec` takes a namespace's files of `/etc` from.
fn etc(namespace: &str) -> PathBuf {
    Path::new("/etc/netns").join(namespace)
}

pub(crate) fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().unwrap();
    assert!(output.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Whether a command that may fail succeeded.
fn quiet(command: &mut Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|s| s.success())
}
