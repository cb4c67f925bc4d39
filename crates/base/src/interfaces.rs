//! The network interfaces of this host and their addresses, from the kernel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name, such as `eth0`.
    pub name: String,
    /// Whether it is switched on.
    pub up: bool,
    /// Its hardware address, `aa:bb:cc:dd:ee:ff`.
    pub mac: Option<String>,
    /// IPv4 addresses in the kernel's order.
    pub v4: Vec<V4>,
    /// IPv6 addresses in the kernel's order, with the length of their prefix.
    pub v6: Vec<(Ipv6Addr, u32)>,
}

/// An IPv4 address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V4 {
    /// The address.
    pub address: Ipv4Addr,
    /// Its netmask.
    pub netmask: Option<Ipv4Addr>,
    /// Its broadcast address.
    pub broadcast: Option<Ipv4Addr>,
}

/// All interfaces in the kernel's order; none when the kernel does not tell.
#[must_use]
pub fn interfaces() -> Vec<Interface> {
    let mut all: Vec<Interface> = Vec::new();
    let Ok(list) = getifaddrs() else { return all };
    for item in list {
        // Labels such as eth0:1 are addresses of eth0.
        let name = item.interface_name.split(':').next().unwrap_or_default();
        let index = all.iter().position(|i| i.name == name).unwrap_or_else(|| {
            all.push(Interface { name: name.to_owned(), ..Interface::default() });
            all.len() - 1
        });
        let Some(interface) = all.get_mut(index) else { continue };
        interface.up = item.flags.contains(InterfaceFlags::IFF_UP);
        let Some(address) = item.address else { continue };
        if let Some(link) = address.as_link_addr() {
            interface.mac = link.addr().map(mac_text);
        } else if let Some(v4) = address.as_sockaddr_in() {
            let broadcast = item.flags.contains(InterfaceFlags::IFF_BROADCAST);
            interface.v4.push(V4 {
                address: v4.ip(),
                netmask: item.netmask.as_ref().and_then(v4_of),
                broadcast: item.broadcast.as_ref().filter(|_| broadcast).and_then(v4_of),
            });
        } else if let Some(v6) = address.as_sockaddr_in6() {
            let mask = item.netmask.as_ref().and_then(|m| m.as_sockaddr_in6().map(|m| m.ip()));
            let prefix = mask.map_or(128, |mask| u128::from(mask).count_ones());
            interface.v6.push((v6.ip(), prefix));
        }
    }
    all
}

/// Addresses of all interfaces that are no loopback ones, IPv4 first.
#[must_use]
pub fn outer_addresses() -> Vec<IpAddr> {
    let all = interfaces();
    let v4 = all.iter().flat_map(|i| &i.v4).map(|a| IpAddr::V4(a.address));
    let v6 = all.iter().flat_map(|i| &i.v6).map(|(a, _)| IpAddr::V6(*a));
    v4.chain(v6).filter(|a| !a.is_loopback()).collect()
}

fn v4_of(address: &SockaddrStorage) -> Option<Ipv4Addr> {
    address.as_sockaddr_in().map(nix::sys::socket::SockaddrIn::ip)
}

fn mac_text(bytes: [u8; 6]) -> String {
    bytes.map(|b| format!("{b:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_there() {
        let home = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let all = interfaces();
        assert!(all.iter().flat_map(|i| &i.v4).any(|a| IpAddr::V4(a.address) == home));
        assert!(!outer_addresses().contains(&home));
    }
}
