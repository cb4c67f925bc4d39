//! Loopback addresses of one's own: every master gets a whole address, so all can use Salt's
//! standard ports, and two test runs on one machine do not meet.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use crate::Host;

/// An address in 127.0.0.0/8 that no other program of this run uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(Ipv4Addr);

impl Address {
    /// Takes a fresh one whose Salt ports are free.
    pub fn fresh() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(1);
        let run = (std::process::id() % 200) as u8 + 20;
        loop {
            let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
            let address = Address(Ipv4Addr::new(127, run, high, low));
            if [4505, 4506].iter().all(|port| TcpListener::bind(address.port(*port)).is_ok()) {
                return address;
            }
        }
    }

    /// That of a host in a network of its own.
    pub fn of(host: &Host) -> Self {
        Address(host.address)
    }

    pub fn port(self, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.0), port)
    }

    /// Whether somebody accepts connections there.
    pub fn answers(self, port: u16) -> bool {
        TcpStream::connect_timeout(&self.port(port), Duration::from_millis(500)).is_ok()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
