//! Installs the package in a fresh Debian and follows the recipe there with the commands of the
//! units. The tree has a network of its own, so nothing leaves this machine and no port is taken.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::notify::Notifications;
use crate::run::{Done, output, root, run};

const SUITE: &str = "bookworm";

/// A fresh Debian, made once and kept; needs root, network namespaces, debootstrap and a mirror.
pub fn debian() -> Result<PathBuf, String> {
    let name = format!("sdebtry{}", std::process::id());
    for what in ["add", "del"] {
        run(Command::new("ip").args(["netns", what, &name]))?;
    }
    let kept = root().join(".cache").join(format!("debian-{SUITE}"));
    let mark = kept.join(".complete");
    if !mark.exists() {
        if kept.exists() {
            fs::remove_dir_all(&kept).map_err(|e| format!("{}: {e}", kept.display()))?;
        }
        run(Command::new("debootstrap")
            .args(["--variant=minbase", "--include=systemd", SUITE])
            .arg(&kept)
            .stdout(Stdio::null()))?;
        fs::write(&mark, "").map_err(|e| format!("{}: {e}", mark.display()))?;
    }
    Ok(kept)
}

/// Tries the package in a copy of that Debian.
pub fn install_and_use(package: &Path, debian: &Path) -> Done {
    let tree = Tree::copy_of(debian)?;
    let inside = tree.root.join("saltern.deb");
    fs::copy(package, &inside).map_err(|e| format!("{}: {e}", inside.display()))?;
    run_in(&tree, "dpkg -i /saltern.deb")?;
    run_in(&tree, "systemd-analyze verify salt-master.service salt-minion.service")?;
    run_in(&tree, "test -L /usr/bin/salt-call && salt-call --local test.ping")?;
    configure(&tree)?;
    let master = Service::start(&tree, "salt-master")?;
    run_in(&tree, "test -s /etc/salt/pki/master/master_sign.pem")?;
    let share = "cp /etc/salt/pki/master/master_sign.pub /etc/salt/pki/minion/";
    run_in(&tree, &format!("mkdir -p /etc/salt/pki/minion && {share}"))?;
    let minion = Service::start(&tree, "salt-minion")?;
    run_in(&tree, "for i in $(seq 100); do salt-key -y -a trial && break; sleep 0.2; done")?;
    run_in(
        &tree,
        "for i in $(seq 100); do salt -t 2 trial test.ping | grep -q True && exit 0; done; exit 1",
    )?;
    for service in [master, minion] {
        service.watchdog()?;
        service.stop()?;
    }
    run_in(&tree, "dpkg -r saltern && test ! -e /usr/bin/salt-master")?;
    run_in(&tree, "test -s /etc/salt/pki/master/master.pem")?;
    println!("the package works in a fresh Debian {SUITE}");
    Ok(())
}

/// Debian in a directory.
struct Tree {
    root: PathBuf,
    net: String,
}

impl Tree {
    fn copy_of(debian: &Path) -> Result<Self, String> {
        // Short: the path of a unix socket has at most 107 bytes.
        let tree = std::env::temp_dir().join(format!("sdeb-{}", std::process::id()));
        run(Command::new("cp").arg("-a").arg(debian).arg(&tree))?;
        let net = format!("sdeb{}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &net]))?;
        let tree = Tree { root: tree, net };
        run(Command::new("ip").args(["-n", &tree.net, "link", "set", "lo", "up"]))?;
        Ok(tree)
    }

    /// A command in the tree and its network.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.net, "chroot"]).arg(&self.root);
        command.args(program.split(' '));
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/root");
        command
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        drop(output(Command::new("ip").args(["netns", "del", &self.net])));
        drop(fs::remove_dir_all(&self.root));
    }
}

fn run_in(tree: &Tree, script: &str) -> Done {
    run(tree.command("sh -ec").arg(script))
}

fn configure(tree: &Tree) -> Done {
    let files = [
        ("master.d/master_sign_pubkey.conf", "master_sign_pubkey: True\n"),
        (
            "minion.d/masters.conf",
            "id: trial\nmaster: [127.0.0.1]\nmaster_type: failover\n\
             verify_master_pubkey_sign: True\nmaster_alive_interval: 30\nretry_dns: 0\n\
             acceptance_wait_time: 1\n",
        ),
    ];
    for (name, text) in files {
        let file = tree.root.join("etc/salt").join(name);
        fs::write(&file, text).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    Ok(())
}

/// A daemon, started by the command of its unit.
struct Service {
    name: &'static str,
    child: Child,
    heard: Notifications,
}

impl Service {
    fn start(tree: &Tree, name: &'static str) -> Result<Self, String> {
        let unit = tree.root.join("usr/lib/systemd/system").join(format!("{name}.service"));
        let unit = fs::read_to_string(&unit).map_err(|e| format!("{}: {e}", unit.display()))?;
        let start = unit
            .lines()
            .find_map(|line| line.strip_prefix("ExecStart="))
            .ok_or_else(|| format!("{name}.service has no ExecStart"))?;
        let socket = format!("/run/{name}.notify");
        let heard = Notifications::listen(&tree.root.join(&socket[1..]))?;
        eprintln!("+ {start} (in the tree)");
        let child = tree
            .command(start)
            .env("NOTIFY_SOCKET", &socket)
            .env("WATCHDOG_USEC", "3000000")
            .stdin(Stdio::null())
            .spawn()
            .map_err(|e| format!("{name}: {e}"))?;
        let service = Service { name, child, heard };
        service.heard.expect("READY=1")?;
        Ok(service)
    }

    fn watchdog(&self) -> Done {
        self.heard.expect("WATCHDOG=1")
    }

    /// Ends as systemd ends it: `ip` and `chroot` have become the daemon by now.
    fn stop(mut self) -> Done {
        let pid = self.child.id().to_string();
        run(Command::new("kill").args(["-TERM", &pid]))?;
        self.heard.expect("STOPPING=1")?;
        let status = self.child.wait().map_err(|e| e.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", self.name)) }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
