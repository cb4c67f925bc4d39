//! Interfaces, addresses, gateways and the resolver's settings.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use saltern_base::interfaces::{Interface, interfaces};
use saltern_value::{Map, Value};

use crate::sysroot::Sysroot;

/// All grains of the network that need no other host.
pub(crate) fn grains(sysroot: &Sysroot) -> Map {
    let all = interfaces();
    let mut grains = addresses(&all);
    grains.extend(gateways(sysroot));
    if let Some(resolv) = sysroot
        .read("/run/systemd/resolve/resolv.conf")
        .or_else(|| sysroot.read("/etc/resolv.conf"))
    {
        grains.insert("dns", resolver(&resolv));
    }
    grains
}

fn addresses(all: &[Interface]) -> Map {
    let texts = |list: Vec<String>| Value::from(list);
    let v4 = |i: &Interface| i.v4.iter().map(|a| a.address.to_string()).collect::<Vec<_>>();
    let v6 = |i: &Interface| i.v6.iter().map(|(a, _)| a.to_string()).collect::<Vec<_>>();
    let by_name = |list: &dyn Fn(&Interface) -> Vec<String>| -> Value {
        all.iter().map(|i| (i.name.as_str(), texts(list(i)))).collect()
    };
    let hardware: Map =
        all.iter().filter_map(|i| Some((i.name.as_str(), i.mac.as_deref()?))).collect();
    let mut all_v4: Vec<Ipv4Addr> =
        all.iter().flat_map(|i| i.v4.iter().map(|a| a.address)).collect();
    let mut all_v6: Vec<Ipv6Addr> = all.iter().flat_map(|i| i.v6.iter().map(|(a, _)| *a)).collect();
    all_v4.sort();
    all_v4.dedup();
    all_v6.sort();
    all_v6.dedup();
    Map::from([
        ("ip_interfaces", by_name(&|i| [v4(i), v6(i)].concat())),
        ("ip4_interfaces", by_name(&v4)),
        ("ip6_interfaces", by_name(&v6)),
        ("hwaddr_interfaces", Value::Map(hardware)),
        ("ipv4", texts(all_v4.iter().map(ToString::to_string).collect())),
        ("ipv6", texts(all_v6.iter().map(ToString::to_string).collect())),
    ])
}

/// `ip4_gw`, `ip6_gw`: the gateway of the first default route, True for one without a gateway,
/// False for none; `ip_gw`: whether there is any.
fn gateways(sysroot: &Sysroot) -> Map {
    let v4 = sysroot.read("/proc/net/route").and_then(|table| default_v4(&table));
    let v6 = sysroot.read("/proc/net/ipv6_route").and_then(|table| default_v6(&table));
    let any = v4.is_some() || v6.is_some();
    let value = |found: Option<IpAddr>| match found {
        None => Value::Bool(false),
        Some(gateway) if gateway.is_unspecified() => Value::Bool(true),
        Some(gateway) => Value::from(gateway.to_string()),
    };
    Map::from([("ip_gw", Value::Bool(any)), ("ip4_gw", value(v4)), ("ip6_gw", value(v6))])
}

/// The default route with the least metric; the kernel writes addresses in the host's byte order.
fn default_v4(table: &str) -> Option<IpAddr> {
    let routes = table.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, destination, gateway, _, _, _, metric, mask, ..] = words.as_slice() else {
            return None;
        };
        let whole = *destination == "00000000" && *mask == "00000000";
        let gateway = u32::from_str_radix(gateway, 16).ok().filter(|_| whole)?;
        Some((metric.parse::<u32>().ok()?, Ipv4Addr::from(gateway.to_ne_bytes())))
    });
    routes.min_by_key(|(metric, _)| *metric).map(|(_, gateway)| IpAddr::V4(gateway))
}

fn default_v6(table: &str) -> Option<IpAddr> {
    const REJECT: u32 = 0x200;
    let routes = table.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [destination, length, _, _, gateway, metric, _, _, flags, interface] = words.as_slice()
        else {
            return None;
        };
        let hex = |text: &str| u32::from_str_radix(text, 16).ok();
        let whole = destination.bytes().all(|b| b == b'0') && *length == "00";
        let real = *interface != "lo" && hex(flags)? & REJECT == 0;
        let gateway = u128::from_str_radix(gateway, 16).ok().filter(|_| whole && real)?;
        Some((hex(metric)?, Ipv6Addr::from(gateway)))
    });
    routes.min_by_key(|(metric, _)| *metric).map(|(_, gateway)| IpAddr::V6(gateway))
}

/// `resolv.conf`, taken apart.
fn resolver(text: &str) -> Map {
    let mut servers: Vec<IpAddr> = Vec::new();
    let (mut domain, mut search) = (String::new(), Vec::new());
    let (mut sort, mut options): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let directive = words.next().unwrap_or_default().to_lowercase();
        let arguments: Vec<&str> = words.take_while(|word| !word.starts_with(['#', ';'])).collect();
        let Some(first) = arguments.first() else { continue };
        match directive.as_str() {
            "nameserver" => {
                let server = first.split('%').next().and_then(|a| a.parse().ok());
                servers.extend(server.filter(|s| !servers.contains(s)));
            }
            "domain" => domain = (*first).to_owned(),
            "search" => search = arguments.iter().map(|a| (*a).to_owned()).collect(),
            "sortlist" => sort.extend(arguments.iter().map(|a| (*a).to_owned())),
            "options" if !options.iter().any(|o| o == first) => options.push((*first).to_owned()),
            _ => {}
        }
    }
    let texts = |keep: fn(&IpAddr) -> bool| {
        let kept = servers.iter().filter(|s| keep(s));
        Value::from(kept.map(ToString::to_string).collect::<Vec<_>>())
    };
    Map::from([
        ("nameservers", texts(|_| true)),
        ("ip4_nameservers", texts(IpAddr::is_ipv4)),
        ("ip6_nameservers", texts(IpAddr::is_ipv6)),
        ("sortlist", Value::from(sort)),
        ("domain", Value::from(domain)),
        ("search", Value::from(search)),
        ("options", Value::from(options)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_routes() {
        let gateway = u32::from_ne_bytes([10, 0, 0, 1]);
        let table = format!(
            "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n\
             eth1 00000000 00000000 0001 0 0 600 00000000 0 0 0\n\
             eth0 00000000 {gateway:08X} 0003 0 0 100 00000000 0 0 0\n\
             eth0 0000000A 00000000 0001 0 0 0 00FFFFFF 0 0 0\n"
        );
        assert_eq!(default_v4(&table), Some("10.0.0.1".parse().unwrap()));
        let zero = "0".repeat(32);
        let gateway = "fd000000000000000000000000000001";
        let table = format!(
            "{zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\n\
             {zero} 00 {zero} 00 {gateway} 00000400 00000001 00000000 00000003     eth0\n"
        );
        assert_eq!(default_v6(&table), Some("fd00::1".parse().unwrap()));
        assert_eq!(default_v6(""), None);
    }

    #[test]
    fn the_resolvers_file() {
        let dns = resolver(
            "# made\nnameserver 10.0.0.53\nnameserver ::1 # own\nsearch a.b c\n\
             options ndots:2 edns0\nnameserver nonsense\nnameserver\n",
        );
        let text = saltern_value::json::to_string(&Value::Map(dns), None);
        assert_eq!(
            text,
            r#"{"nameservers": ["10.0.0.53", "::1"], "ip4_nameservers": ["10.0.0.53"], "ip6_nameservers": ["::1"], "sortlist": [], "domain": "", "search": ["a.b", "c"], "options": ["ndots:2"]}"#
        );
    }
}
