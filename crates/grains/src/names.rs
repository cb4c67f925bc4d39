//! What this host is called, as far as the resolver knows.

use std::collections::BTreeSet;
use std::net::IpAddr;

use saltern_base::{host, interfaces};
use saltern_value::{Map, Value};

/// `fqdn`, `host`, `domain`, `localhost`, `fqdn_ip4`, `fqdn_ip6` and `fqdns`.
pub(crate) fn grains(with_fqdns: bool) -> Map {
    let name = host::nodename();
    let fqdn = host::fqdn();
    let (short, domain) = fqdn.split_once('.').unwrap_or((&fqdn, ""));
    let found = host::addresses_of(&fqdn);
    let of = |keep: fn(&IpAddr) -> bool| {
        Value::from(found.iter().filter(|a| keep(a)).map(ToString::to_string).collect::<Vec<_>>())
    };
    let fqdns = if with_fqdns { all_names() } else { Vec::new() };
    Map::from([
        ("localhost", Value::from(name)),
        ("host", Value::from(short)),
        ("domain", Value::from(domain)),
        ("fqdn_ip4", of(IpAddr::is_ipv4)),
        ("fqdn_ip6", of(IpAddr::is_ipv6)),
        ("fqdns", Value::from(fqdns)),
        ("fqdn", Value::from(fqdn.as_str())),
    ])
}

/// The dotted names of all addresses of this host, sorted.
fn all_names() -> Vec<String> {
    let addresses = interfaces::outer_addresses();
    let names = addresses.into_iter().filter(|a| !a.is_unspecified()).flat_map(host::names_of);
    names.filter(|n| n.contains('.')).collect::<BTreeSet<_>>().into_iter().collect()
}
