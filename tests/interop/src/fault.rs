//! What is done to the packets of a host, as nftables rules.

use std::fmt::Write as _;

/// One fault of the network, seen from the host it is made at.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nothing comes in and nothing goes out.
    Silence,
    /// Nothing comes in.
    Deaf,
    /// Nothing goes out.
    Mute,
    /// Nothing to or from this port of the host.
    Port(u16),
    /// Nothing of the connections that others made to the host's Salt ports from these ports.
    Stale(Vec<u16>),
}

/// All faults as one table that replaces the former one. What the host says to itself is left
/// alone: its own tools work.
pub(crate) fn ruleset(faults: &[Fault]) -> String {
    let (mut input, mut output) = (String::new(), String::new());
    for fault in faults {
        match fault {
            Fault::Silence => {
                input.push_str("drop; ");
                output.push_str("drop; ");
            }
            Fault::Deaf => input.push_str("drop; "),
            Fault::Mute => output.push_str("drop; "),
            Fault::Port(port) => {
                let _ = write!(input, "tcp dport {port} drop; ");
                let _ = write!(output, "tcp sport {port} drop; ");
            }
            Fault::Stale(ports) => {
                let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
                let ports = ports.join(", ");
                let _ = write!(input, "tcp sport {{ {ports} }} tcp dport {{ 4505, 4506 }} drop; ");
                let _ = write!(output, "tcp sport {{ 4505, 4506 }} tcp dport {{ {ports} }} drop; ");
            }
        }
    }
    format!(
        "table inet saltern\ndelete table inet saltern\ntable inet saltern {{\n\
         chain incoming {{ type filter hook input priority 0; iifname \"lo\" accept; {input}}}\n\
         chain outgoing {{ type filter hook output priority 0; oifname \"lo\" accept; {output}}}\n\
         }}\n"
    )
}
