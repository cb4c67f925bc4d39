//! `status.master` and `status.ping_master`: Salt's questions about a master by name, and without
//! a name the minion's own view.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};

use saltern_value::{Map, Value};

use crate::bind::Bound;
use crate::context::Context;
use crate::error::Error;
use crate::exec::failover::brief;

/// Where masters publish unless `publish_port` says otherwise.
const PUBLISH_PORT: u16 = 4505;

/// The state of a connection that stands, in `/proc/net/tcp`.
const ESTABLISHED: &str = "01";

/// The events' names are Salt's.
fn tell(ctx: &Context<'_>, what: &str, master: &str) {
    ctx.host().fire_event(&format!("__master_{what}"), Map::from([("master", master)]));
}

/// Salt's meaning: whether any connection of this machine leads to an address of that name at the
/// publish port.
pub(super) fn master(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let Some(asked) = args.opt_text("master").filter(|name| !name.is_empty()) else {
        let shown = ctx.host().failover();
        if !shown.get("running").is_some_and(Value::truthy) {
            ctx.set_retcode(1);
        }
        return Ok(Value::Map(brief(&shown)));
    };
    let own = ctx.host().master().is_some_and(|own| own == asked);
    let addresses = if own { BTreeSet::new() } else { addresses(&asked) };
    if !own && addresses.is_empty() {
        return Ok(Value::Nil);
    }
    let port = ctx.opt("publish_port").as_int().and_then(|p| u16::try_from(p).ok());
    let connected = own || !connections(port.unwrap_or(PUBLISH_PORT)).is_disjoint(&addresses);
    if connected != args.truthy("connected") {
        tell(ctx, if connected { "connected" } else { "disconnected" }, &asked);
    }
    Ok(Value::Bool(connected))
}

/// Salt's meaning: any answer counts, and the event that a failback waits for is fired.
pub(super) fn ping_master(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let asked = args.opt_text("master").unwrap_or_default();
    if asked.is_empty() || !ctx.host().ping(&asked) {
        return Ok(Value::Bool(false));
    }
    tell(ctx, "failback", &asked);
    Ok(Value::Bool(true))
}

fn addresses(name: &str) -> BTreeSet<IpAddr> {
    let host = name.trim_start_matches('[').trim_end_matches(']');
    let found = (host, 0).to_socket_addrs().map(|all| all.map(|a| folded(a.ip())).collect());
    found.unwrap_or_default()
}

/// An IPv4 address in IPv6 clothes as what it is.
fn folded(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// The other ends of this machine's connections to that port.
fn connections(port: u16) -> BTreeSet<IpAddr> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .flat_map(|text| text.lines().filter_map(|l| remote(l, port)).collect::<Vec<_>>())
        .collect()
}

/// The other end of one line of `/proc/net/tcp`, if the connection stands and is to that port.
fn remote(line: &str, port: u16) -> Option<IpAddr> {
    let mut words = line.split_whitespace().skip(2);
    let (address, hex_port) = words.next()?.split_once(':')?;
    if words.next()? != ESTABLISHED || u16::from_str_radix(hex_port, 16).ok()? != port {
        return None;
    }
    // Words of four bytes, each in the order of this machine.
    let word = |at: usize| u32::from_str_radix(address.get(at..at + 8)?, 16).ok();
    if address.len() == 8 {
        return Some(IpAddr::V4(Ipv4Addr::from(word(0)?.to_ne_bytes())));
    }
    let mut bytes = [0; 16];
    for (i, chunk) in bytes.chunks_exact_mut(4).enumerate() {
        chunk.copy_from_slice(&word(i * 8)?.to_ne_bytes());
    }
    Some(folded(IpAddr::V6(Ipv6Addr::from(bytes))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn the_kernels_table_is_read() {
        let v4 = "   1: 0100007F:A01E 0A01A8C0:1199 01 00000000:00000000 02:000A 0 0 0 1 1 0";
        assert_eq!(remote(v4, 4505), Some("192.168.1.10".parse().unwrap()));
        assert_eq!(remote(v4, 4506), None);
        assert_eq!(remote(&v4.replace(" 01 ", " 06 "), 4505), None);
        let v6 = "   0: 00000000000000000000000001000000:A01E \
                  0000000000000000FFFF00000100007F:1199 01 0:0";
        assert_eq!(remote(v6, 4505), Some("127.0.0.1".parse().unwrap()));
        assert_eq!(remote("  sl  local_address rem_address   st", 4505), None);
    }
}
