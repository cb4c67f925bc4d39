//! This host's names, as Python's `socket` module finds them. Everything but [`nodename`] may ask
//! name servers and block for as long as the resolver does.

use std::fs;
use std::net::{IpAddr, ToSocketAddrs};

/// The host's name as the kernel has it (`hostname`).
#[must_use]
pub fn nodename() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// `socket.getfqdn(name)`: the first name with a dot among all names of the address behind
/// `name`; else that address's main name; else `name` itself.
#[must_use]
pub fn fqdn_of(name: &str) -> String {
    let Some(address) = addresses_of(name).into_iter().next() else { return name.to_owned() };
    let names = names_of(address);
    let dotted = names.iter().find(|n| n.contains('.'));
    dotted.or(names.first()).cloned().unwrap_or_else(|| name.to_owned())
}

/// The fully qualified name of this host: the resolver's canonical name of [`nodename`], else
/// [`fqdn_of`] it (Salt's `get_fqhostname`).
#[must_use]
pub fn fqdn() -> String {
    let name = nodename();
    canonical_name(&name).unwrap_or_else(|| fqdn_of(&name))
}

/// All addresses of a name, in the resolver's order, IPv4 before IPv6.
#[must_use]
pub fn addresses_of(name: &str) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = (name, 0)
        .to_socket_addrs()
        .map(|found| found.map(|a| a.ip()).collect())
        .unwrap_or_default();
    all.sort_by_key(IpAddr::is_ipv6);
    all.dedup();
    all
}

/// All names of an address: its line of `/etc/hosts`, or what name servers say.
#[must_use]
pub fn names_of(address: IpAddr) -> Vec<String> {
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let local = names_in_hosts(&hosts, address);
    if !local.is_empty() {
        return local;
    }
    let text = address.to_string();
    // A resolver without an answer gives the address back.
    dns_lookup::lookup_addr(&address).ok().filter(|name| *name != text).into_iter().collect()
}

fn canonical_name(name: &str) -> Option<String> {
    // AI_CANONNAME of Linux, both C libraries.
    const CANONICAL: i32 = 2;
    let hints = dns_lookup::AddrInfoHints {
        flags: CANONICAL,
        address: 0,
        socktype: dns_lookup::SockType::Stream.into(),
        protocol: 0,
    };
    let found = dns_lookup::getaddrinfo(Some(name), None, Some(hints)).ok()?;
    found.flatten().find_map(|info| info.canonname).filter(|name| !name.is_empty())
}

fn names_in_hosts(hosts: &str, address: IpAddr) -> Vec<String> {
    let mut names = Vec::new();
    for line in hosts.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        if words.next().and_then(|a| a.parse::<IpAddr>().ok()) == Some(address) {
            names.extend(words.map(str::to_owned));
            break;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_an_address_names_it() {
        let hosts = "127.0.0.1 localhost # home\n10.0.0.5\tweb web.example.org\n10.0.0.5 other\n";
        let names = |a: &str| names_in_hosts(hosts, a.parse().unwrap());
        assert_eq!(names("10.0.0.5"), ["web", "web.example.org"]);
        assert_eq!(names("127.0.0.1"), ["localhost"]);
        assert!(names("::1").is_empty());
    }

    #[test]
    fn every_host_has_a_name() {
        assert!(!nodename().is_empty());
        assert_eq!(addresses_of("127.0.0.1"), ["127.0.0.1".parse::<IpAddr>().unwrap()]);
    }
}
