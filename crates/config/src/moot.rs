//! Options that are set, but have nothing to change in Saltern: each is said once, with the reason.

use crate::load::{Loaded, specs};
use crate::option::Support;

/// Why: by the names of options that share a reason.
const REASONS: &[(&[&str], &str)] = &[
    (&["master_tries"], "masters are looked for as long as the process lives"),
    (&["syndic_finger"], "it concerns syndics, not minions"),
    (&["use_master_when_local"], "the daemon connects whatever file_client says"),
    (
        &["retry_dns", "retry_dns_count"],
        "each attempt resolves names anew, beside the others, so nothing waits for a name",
    ),
    (&["resolve_dns_fallback"], "127.0.0.1 is never meant by a name that does not resolve"),
    (
        &["auth_tries", "auth_retries"],
        "a failed sign-in goes on to the next master at once, and rounds never end",
    ),
    (
        &["auth_safemode"],
        "trying one master for ever would switch failover off; a list of one master does that",
    ),
    (&["rejected_retry"], "a rejected key is always asked about again and never ends the process"),
    (
        &["recon_default", "recon_max", "recon_randomize"],
        "a lost connection is followed by a new attempt, with pauses that grow where nobody answers",
    ),
    (
        &["tcp_reconnect_backoff", "tcp_authentication_retries"],
        "it concerns the transport tcp, which is not used",
    ),
    (&["tcp_pub_port", "tcp_pull_port"], "the local bus is on unix sockets"),
    (&["zmq_monitor"], "connections and their losses are in the log anyway"),
    (&["loop_interval"], "nothing is polled"),
    (&["minion_restart_command"], "no function restarts the minion; the service manager does"),
    (&["beacons_before_connect"], "there are no beacons yet"),
    (&["scheduler_before_connect"], "the schedule runs from the start, connected or not"),
    (&["con_cache"], "connections are counted where they are"),
    (&["worker_threads"], "the number of threads follows the processors"),
];

impl<T> Loaded<T> {
    /// One sentence for each option in a file that has another value than its default and nothing
    /// to change in Saltern. The program logs them once at level info: nothing is wrong.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let moot = specs(self.role).iter().filter(|s| s.support == Support::Moot);
        let set = moot.filter_map(|s| Some((s, self.sources.get(s.name)?)));
        set.filter(|(spec, _)| self.raw.get(spec.name) != Some(&spec.default.value()))
            .map(|(spec, place)| {
                let why = reason(spec.name).unwrap_or("it steers what Saltern does otherwise");
                format!("{place}: option '{}' changes nothing in Saltern: {why}", spec.name)
            })
            .collect()
    }
}

fn reason(name: &str) -> Option<&'static str> {
    REASONS.iter().find(|(names, _)| names.contains(&name)).map(|(_, why)| *why)
}

#[cfg(test)]
mod tests {
    use super::REASONS;
    use crate::known::Role;
    use crate::load::specs;
    use crate::option::Support;

    #[test]
    fn reasons_are_given_for_options_that_are_moot() {
        let moot = |name: &str| {
            [Role::Master, Role::Minion]
                .iter()
                .flat_map(|role| specs(*role))
                .any(|s| s.name == name && s.support == Support::Moot)
        };
        for name in REASONS.iter().flat_map(|(names, _)| *names) {
            assert!(moot(name), "{name} acts, or is not there");
        }
    }
}
