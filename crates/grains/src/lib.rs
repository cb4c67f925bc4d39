//! Grains: what a minion knows about its host, computed as Salt computes it on Linux, from files
//! and system calls alone (no programs are started).

mod hardware;
mod init;
mod names;
mod network;
mod os;
mod os_names;
mod pci;
mod process;
mod sysroot;
mod virt;

use std::path::Path;

use saltern_value::{Map, Value, merge, yaml};

use crate::sysroot::Sysroot;

/// The release of Salt whose behaviour, grains and answers this program has (`saltversion`).
pub const SALT_VERSION: &str = "3006.24";

/// What the grains depend on besides the host.
#[derive(Clone, Debug)]
pub struct Inputs<'a> {
    /// The directory the host's files are read below: `/`, or a made-up host in tests.
    pub root: &'a Path,
    /// The minion's id.
    pub id: &'a str,
    /// The master in use, or the option as it is set.
    pub master: Value,
    /// Directory of the main configuration file: its file `grains` holds static grains.
    pub conf_dir: &'a Path,
    /// Option `grains`.
    pub set: &'a Map,
    /// Option `grains_blacklist`.
    pub blacklist: &'a [String],
    /// Option `grains_deep_merge`.
    pub deep_merge: bool,
    /// Option `enable_gpu_grains`.
    pub gpus: bool,
    /// Option `enable_fqdns_grains`.
    pub fqdns: bool,
    /// Option `append_domain`.
    pub append_domain: Option<&'a str>,
}

/// A part of the grains that is computed in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Distribution, kernel, init system.
    Os,
    /// Processors, memory, firmware, disks, graphics, virtual machine.
    Hardware,
    /// Interfaces, addresses, gateways, resolver: nothing that asks another host.
    Network,
    /// Full names of this host: may ask name servers, and wait for them.
    Names,
    /// Id, master, versions and the process itself.
    Process,
    /// The file `grains` beside the configuration, and option `grains`.
    Static,
}

impl Group {
    /// All groups, in the order in which later ones win.
    pub const ALL: [Group; 6] =
        [Group::Os, Group::Hardware, Group::Network, Group::Names, Group::Process, Group::Static];
}

/// All grains. Asks name servers, so it can take as long as the resolver waits.
#[must_use]
pub fn collect(inputs: &Inputs<'_>) -> Map {
    collect_groups(inputs, &Group::ALL)
}

/// All grains that need no other host: milliseconds. [`collect_network_names`] has the rest.
#[must_use]
pub fn collect_fast(inputs: &Inputs<'_>) -> Map {
    let fast = Group::ALL.into_iter().filter(|g| *g != Group::Names);
    collect_groups(inputs, &fast.collect::<Vec<_>>())
}

/// The grains that may ask name servers: `fqdn`, `host`, `domain`, `localhost`, `fqdn_ip4`,
/// `fqdn_ip6`, `fqdns`. To be called where waiting does no harm; static grains of the same names
/// go before them.
#[must_use]
pub fn collect_network_names(inputs: &Inputs<'_>) -> Map {
    collect_groups(inputs, &[Group::Names])
}

/// The grains of some groups; of two groups with a grain of one name, the later one wins.
#[must_use]
pub fn collect_groups(inputs: &Inputs<'_>, groups: &[Group]) -> Map {
    let sysroot = Sysroot::new(inputs.root);
    let mut grains = Map::new();
    for group in groups {
        let mut found = match group {
            Group::Os => os_group(&sysroot),
            Group::Hardware => hardware::grains(&sysroot, inputs.gpus),
            Group::Network => network::grains(&sysroot),
            Group::Names => names::grains(inputs.fqdns),
            Group::Process => process::grains(&sysroot, inputs),
            Group::Static => static_file(inputs.conf_dir),
        };
        if !inputs.blacklist.is_empty() {
            found.retain(|name, _| !blacklisted(name, inputs.blacklist));
        }
        if inputs.deep_merge {
            merge::deep(&mut grains, found, false);
        } else {
            grains.extend(found);
        }
        if *group == Group::Static {
            grains.extend(inputs.set.clone());
        }
    }
    grains
}

fn os_group(sysroot: &Sysroot) -> Map {
    let mut grains = os::grains(sysroot);
    grains.extend(init::grains(sysroot));
    grains
}

fn blacklisted(name: &Value, blacklist: &[String]) -> bool {
    name.as_str().is_some_and(|n| blacklist.iter().any(|b| saltern_target::expr_match(n, b)))
}

/// The grains in the file `grains` of the configuration's directory; none when it is broken.
fn static_file(conf_dir: &Path) -> Map {
    let path = conf_dir.join("grains");
    let Ok(text) = std::fs::read_to_string(&path) else { return Map::new() };
    match yaml::load(&text) {
        Ok(Value::Map(grains)) => grains,
        Ok(empty) if !empty.truthy() => Map::new(),
        Ok(_) => {
            log::warn!("{} holds no mapping, so its grains are left out", path.display());
            Map::new()
        }
        Err(error) => {
            log::warn!("{} is left out: {}", path.display(), error.message);
            Map::new()
        }
    }
}
