//! Numbers that cannot be meant, such as a negative interval: each is warned of, with what is used
//! instead. The program starts all the same, so that a slip in one file costs no fleet its minions.

use saltern_value::{Map, Value};

use crate::known::Role;
use crate::load::Sources;

/// The least a number can be.
#[derive(Clone, Copy)]
enum Least {
    /// Zero has a meaning of its own.
    Zero,
    /// It must be more than zero.
    Positive,
}

/// Option, its least value, what happens with a smaller one.
type Row = (&'static str, Least, &'static str);

const MINION: &[Row] = &[
    ("acceptance_wait_time", Least::Positive, "1 s is used"),
    ("acceptance_wait_time_max", Least::Zero, "the wait does not grow"),
    ("auth_timeout", Least::Positive, "5 s are used"),
    ("failover_heartbeat_interval", Least::Zero, "no heartbeats are sent, as with 0"),
    ("failover_probe_interval", Least::Zero, "no probes are sent, as with 0"),
    ("failover_spool_max_age", Least::Positive, "86400 s are used"),
    ("failover_spool_max_bytes", Least::Positive, "67108864 is used"),
    ("failover_spool_max_items", Least::Positive, "10000 is used"),
    ("failover_standby_interval", Least::Positive, "600 s are used"),
    ("master_alive_interval", Least::Zero, "it counts as not set"),
    ("master_failback_interval", Least::Zero, "master_alive_interval is used"),
    ("master_port", Least::Positive, "no master can be reached without a port in its address"),
    ("ping_interval", Least::Zero, "it counts as not set"),
    ("random_reauth_delay", Least::Zero, "0 s are used"),
    ("random_startup_delay", Least::Zero, "0 s are used"),
    ("request_channel_timeout", Least::Positive, "60 s are used"),
    ("request_channel_tries", Least::Positive, "1 is used"),
    ("return_retry_tries", Least::Positive, "1 is used"),
];

const MASTER: &[Row] = &[
    ("failover_drain_time", Least::Zero, "minions are told to leave at once, as with 0"),
    ("failover_drain_timeout", Least::Zero, "master.drain --wait does not wait, as with 0"),
    ("failover_heartbeats_a_second", Least::Zero, "minions are told nothing, as with 0"),
    ("failover_probes_a_second", Least::Zero, "minions are told nothing, as with 0"),
    ("failover_sign_in_queue", Least::Positive, "1 is used"),
    ("ret_port", Least::Positive, "the system chooses a port that no minion knows"),
];

/// One sentence for each number in a file that is too small to be meant.
pub(crate) fn odd(raw: &Map, role: Role, sources: &Sources) -> Vec<String> {
    let rows = match role {
        Role::Master => MASTER,
        Role::Minion => MINION,
    };
    let odd = rows.iter().filter_map(|(option, least, instead)| {
        let value = raw.get(option).and_then(number)?;
        let fits = match least {
            Least::Zero => value >= 0.0,
            Least::Positive => value > 0.0,
        };
        let place = sources.get(*option).filter(|_| !fits)?;
        Some(format!("{place}: option '{option}' is {value}, which cannot be meant; {instead}"))
    });
    odd.collect()
}

fn number(value: &Value) -> Option<f64> {
    <f64 as crate::option::OptionValue>::read(value)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::error::Place;

    fn warned(role: Role, option: &'static str, value: Value) -> Vec<String> {
        let place = Place { file: PathBuf::from("/etc/salt/conf"), line: 3 };
        let sources = Sources::from([(option.to_owned(), place)]);
        odd(&Map::from([(option, value)]), role, &sources)
    }

    #[test]
    fn the_file_the_value_and_what_is_used_are_named() {
        let said = warned(Role::Minion, "failover_standby_interval", Value::Int(0));
        let wanted = "/etc/salt/conf line 3: option 'failover_standby_interval' is 0, which \
                      cannot be meant; 600 s are used";
        assert_eq!(said, [wanted]);
        let text = warned(Role::Minion, "master_alive_interval", Value::from("-5"));
        assert!(text[0].contains("is -5,"), "{text:?}");
        assert!(warned(Role::Master, "failover_drain_time", Value::Float(-0.5)).len() == 1);
    }

    #[test]
    fn what_can_be_meant_is_not_warned_of() {
        assert!(warned(Role::Minion, "failover_probe_interval", Value::Int(0)).is_empty());
        assert!(warned(Role::Minion, "auth_timeout", Value::Float(0.5)).is_empty());
        // The name belongs to the other program.
        assert!(warned(Role::Master, "auth_timeout", Value::Int(-1)).is_empty());
    }
}
