//! `ipcidr` targets: an address or a network against the `ipv4` and `ipv6` grains.

use std::net::{IpAddr, Ipv4Addr};

use saltern_value::{Map, Value};

use crate::TargetError;

/// An address or a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IpTarget {
    Address(IpAddr),
    /// Address with no host bits, and the length of the prefix.
    Network(IpAddr, u32),
}

impl IpTarget {
    pub(crate) fn parse(text: &str) -> Result<Self, TargetError> {
        if let Ok(address) = text.parse() {
            return Ok(IpTarget::Address(address));
        }
        text.split_once('/').and_then(|(address, mask)| network(address, mask)).ok_or_else(|| {
            TargetError::Invalid(format!(
                "{text:?} is neither an IP address nor a network without host bits"
            ))
        })
    }

    /// Whether one of the grains of the same family is meant.
    pub(crate) fn matches(self, grains: &Map) -> bool {
        let (IpTarget::Address(own) | IpTarget::Network(own, _)) = self;
        let family = if own.is_ipv4() { "ipv4" } else { "ipv6" };
        match grains.get(family) {
            Some(Value::List(items)) => items.iter().any(|item| self.holds(item)),
            Some(single) => self.holds(single),
            None => false,
        }
    }

    fn holds(self, item: &Value) -> bool {
        let Some(address) = item.as_str().and_then(|s| s.parse::<IpAddr>().ok()) else {
            return false;
        };
        match self {
            IpTarget::Address(own) => own == address,
            IpTarget::Network(network, prefix) => {
                let (network, width) = bits(network);
                let (address, other) = bits(address);
                width == other && mask_host(address, width, prefix) == network
            }
        }
    }
}

/// The address as a number, and its width in bits.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(a) => (u128::from(a.to_bits()), 32),
        IpAddr::V6(a) => (a.to_bits(), 128),
    }
}

fn mask_host(address: u128, width: u32, prefix: u32) -> u128 {
    let host = width - prefix.min(width);
    if host == 128 { 0 } else { address >> host << host }
}

fn network(address: &str, mask: &str) -> Option<IpTarget> {
    let address: IpAddr = address.parse().ok()?;
    let (number, width) = bits(address);
    let prefix = if !mask.is_empty() && mask.bytes().all(|b| b.is_ascii_digit()) {
        mask.parse::<u32>().ok()?
    } else {
        // IPv4 also takes a net mask or its complement.
        let mask = mask.parse::<Ipv4Addr>().ok().filter(|_| width == 32)?.to_bits();
        if mask.leading_ones() + mask.trailing_zeros() == 32 {
            mask.leading_ones()
        } else if mask.leading_zeros() + mask.trailing_ones() == 32 {
            mask.leading_zeros()
        } else {
            return None;
        }
    };
    (prefix <= width && mask_host(number, width, prefix) == number)
        .then_some(IpTarget::Network(address, prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_as_in_python() {
        for good in [
            "10.0.0.0/8",
            "10.1.2.3/32",
            "0.0.0.0/0",
            "10.0.0.0/255.0.0.0",
            "10.0.0.0/0.255.255.255",
            "::/0",
            "fd00::/64",
        ] {
            assert!(matches!(IpTarget::parse(good), Ok(IpTarget::Network(..))), "{good}");
        }
        for bad in [
            "10.1.2.3/8",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0/8",
            "010.0.0.0/8",
            "x",
            "fd00::/129",
            "10.0.0.0/255.0.255.0",
            "fd00::/255.0.0.0",
        ] {
            assert!(IpTarget::parse(bad).is_err(), "{bad}");
        }
    }
}
