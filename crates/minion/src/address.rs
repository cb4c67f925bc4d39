//! Where a master listens, read from one entry of `master`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// One entry of `master`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// As configured; the name in events, logs and grains.
    name: String,
    host: String,
    port: u16,
}

const BAD_PORT: &str = "its port is no number from 1 to 65535";

/// An entry that is no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadAddress {
    entry: String,
    why: &'static str,
}

impl fmt::Display for BadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "option master: '{}' is not usable: {}", self.entry, self.why)
    }
}

impl Address {
    /// Reads `host`, `host:port`, an IPv4 or IPv6 address, or `[v6]:port`. With `ip_only`
    /// (`master_uri_format`) the entry must be a bare IP address.
    pub(crate) fn parse(entry: &str, port: u16, ip_only: bool) -> Result<Self, BadAddress> {
        let bad = |why| BadAddress { entry: entry.to_owned(), why };
        let text = entry.trim();
        if text.is_empty() {
            return Err(bad("it is empty"));
        }
        if ip_only && text.parse::<IpAddr>().is_err() {
            return Err(bad("master_uri_format is ip_only and this is no IP address"));
        }
        if text.contains(|c: char| c == ',' || c.is_whitespace()) {
            return Err(bad("it is one address; write several as a list: [m1, m2]"));
        }
        if text.contains('/') {
            return Err(bad("write the host alone, or host:port"));
        }
        let (host, port) = if text.parse::<Ipv6Addr>().is_ok() {
            (text, port)
        } else if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or_else(|| bad("the ']' is missing"))?;
            host.parse::<Ipv6Addr>().map_err(|_| bad("no IPv6 address between the brackets"))?;
            match rest.strip_prefix(':') {
                None if rest.is_empty() => (host, port),
                None => return Err(bad("only ':port' may follow the ']'")),
                Some(digits) => (host, read_port(digits).ok_or_else(|| bad(BAD_PORT))?),
            }
        } else if let Some((host, digits)) = text.rsplit_once(':') {
            if host.is_empty() || host.contains(':') {
                return Err(bad("write an IPv6 address with a port as [address]:port"));
            }
            (host, read_port(digits).ok_or_else(|| bad(BAD_PORT))?)
        } else {
            (text, port)
        };
        Ok(Address { name: text.to_owned(), host: host.to_owned(), port })
    }

    /// The entry as configured.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The host alone: what Salt's tools know a master by.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Where requests go.
    pub(crate) fn requests(&self) -> String {
        endpoint(&self.host, self.port)
    }

    /// Where publications come from.
    pub(crate) fn publications(&self, port: u16) -> String {
        endpoint(&self.host, port)
    }
}

fn read_port(digits: &str) -> Option<u16> {
    digits.parse().ok().filter(|port| *port != 0)
}

fn endpoint(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(entry: &str) -> String {
        Address::parse(entry, 4506, false).unwrap().requests()
    }

    #[test]
    fn every_form_of_an_entry() {
        assert_eq!(requests("salt"), "salt:4506");
        assert_eq!(requests("m1.example:4999"), "m1.example:4999");
        assert_eq!(requests("192.0.2.1"), "192.0.2.1:4506");
        assert_eq!(requests("2001:db8::1"), "[2001:db8::1]:4506");
        assert_eq!(requests("[2001:db8::1]:4999"), "[2001:db8::1]:4999");
        assert_eq!(requests("[2001:db8::1]"), "[2001:db8::1]:4506");
        let m1 = Address::parse("m1:4999", 4506, false).unwrap();
        assert_eq!((m1.name(), m1.host()), ("m1:4999", "m1"));
        assert_eq!(m1.publications(4505), "m1:4505");
    }

    #[test]
    fn what_is_no_address_is_told() {
        let ports = ["m1:", "m1:0", "m1:70000", "m1:x"];
        let others = ["", "  ", "[::1", "[m1]:1", "[::1]x", ":1", "m1, m2", "m1 m2", "tcp://m1:1"];
        for bad in ports.iter().chain(&others) {
            assert!(Address::parse(bad, 4506, false).is_err(), "{bad}");
        }
        assert!(Address::parse("m1", 4506, true).is_err());
        assert!(Address::parse("192.0.2.1", 4506, true).is_ok());
    }
}
