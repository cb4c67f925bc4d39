//! The minion's options in the form this crate works with, checked once at the start.

use std::fmt;
use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use saltern_base::MinionId;
use saltern_base::id::InvalidId;
use saltern_config::{MinionOptions, Sources};
use saltern_crypto::{EncAlgo, HashType, SigAlgo};
use saltern_failover::{Policy, Selection};
use saltern_transport::zeromq::{RequesterOptions, SubscriberOptions};
use saltern_transport::{ConnectOptions, IpFamily, Keepalive};
use saltern_value::{Map, Value};

use crate::address::Address;

/// Salt's exit code for settings no program can work with.
pub(crate) const EXIT_CONFIG: i32 = 42;

/// Time for connecting and subscribing after the sign-in.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a minion cannot start.
#[derive(Debug)]
pub struct StartError {
    /// One sentence with the file or option and the way out.
    pub message: String,
    /// What the program should exit with, as Salt does.
    pub exit_code: i32,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StartError {}

impl StartError {
    pub(crate) fn new(exit_code: i32, message: impl Into<String>) -> Self {
        StartError { message: message.into(), exit_code }
    }

    /// Names file and line of the option that the message begins with, where it was set.
    pub(crate) fn placed(mut self, sources: &Sources) -> Self {
        let option = self.message.strip_prefix("option ").and_then(|rest| rest.split(':').next());
        if let Some(place) = option.and_then(|name| sources.get(name)) {
            self.message = format!("{place}: {}", self.message);
        }
        self
    }
}

/// How the masters of the list are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Each of them, all the time (`str`).
    Hot,
    /// One at a time (`failover`, `distributed`).
    OneOf,
    /// None at all (`disable`).
    Disabled,
}

/// The options, checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) id: MinionId,
    pub(crate) mode: Mode,
    pub(crate) masters: Vec<Address>,
    pub(crate) enc_algo: EncAlgo,
    pub(crate) sig_algo: SigAlgo,
    pub(crate) hash_type: HashType,
    pub(crate) auth_timeout: Duration,
    /// One try of a request.
    pub(crate) request_timeout: Duration,
    pub(crate) request_tries: u32,
    /// `random_reauth_delay`, where it is set.
    pub(crate) reauth_spread: Option<Duration>,
    /// Whether heartbeat and probe interval are set: then no master can make them longer.
    pub(crate) fixed_paces: (bool, bool),
    pub(crate) acceptance_wait: Duration,
    /// One try to send a return takes a random time between these.
    pub(crate) return_timer: (Duration, Duration),
    pub(crate) return_tries: u32,
    /// What the spool keeps at most.
    pub(crate) spool_bytes: u64,
    pub(crate) spool_items: usize,
    pub(crate) spool_age: Duration,
    /// Jobs at a time.
    pub(crate) jobs_at_once: usize,
    /// Job ids remembered so that none runs twice.
    pub(crate) jids_remembered: usize,
    keepalive: Keepalive,
    family: IpFamily,
    source: Source,
}

/// The local end of connections.
#[derive(Clone, Copy, Debug, Default)]
struct Source {
    address: Option<IpAddr>,
    /// `source_ret_port`; 0 for any.
    requests: u16,
    /// `source_publish_port`; 0 for any.
    publications: u16,
}

/// Jobs at a time when `process_count_max` does not say: each takes a thread while it runs.
const JOBS_AT_ONCE: usize = 256;

/// What the spool keeps where the options make no sense.
const SPOOL_BYTES: u64 = 64 << 20;
const SPOOL_ITEMS: usize = 10_000;

/// Seconds as a duration; what makes no sense becomes `fallback`.
pub(crate) fn seconds(value: f64, fallback: u64) -> Duration {
    Duration::try_from_secs_f64(value)
        .ok()
        .filter(|d| !d.is_zero())
        .unwrap_or(Duration::from_secs(fallback))
}

impl Settings {
    /// Checks the options. `masters` are the entries of `master`, or what the function named
    /// there has returned.
    pub(crate) fn new(opts: &MinionOptions, masters: &[String]) -> Result<Self, StartError> {
        let id = MinionId::parse(&opts.id).map_err(|e| bad_id(&opts.id, &e))?;
        let mode = mode(opts)?;
        if opts.transport != "zeromq" && opts.transport != "detect" {
            let text =
                format!("option transport: '{}' is not available here; set zeromq", opts.transport);
            return Err(StartError::new(1, text));
        }
        if opts.discovery.truthy() {
            let text = "option discovery: masters are not looked for by asking the network, since \
                        whoever answers first would be the master; name them in master";
            return Err(StartError::new(1, text));
        }
        let addresses = addresses(opts, masters, &mode)?;
        let algorithm = |option, value| {
            let text = format!("option {option}: '{value}' is not known; see the documentation");
            StartError::new(1, text)
        };
        Ok(Settings {
            id,
            mode,
            masters: addresses,
            enc_algo: EncAlgo::parse(&opts.encryption_algorithm)
                .ok_or_else(|| algorithm("encryption_algorithm", &opts.encryption_algorithm))?,
            sig_algo: SigAlgo::parse(&opts.signing_algorithm)
                .ok_or_else(|| algorithm("signing_algorithm", &opts.signing_algorithm))?,
            hash_type: HashType::parse(&opts.hash_type)
                .ok_or_else(|| algorithm("hash_type", &opts.hash_type))?,
            auth_timeout: seconds(opts.auth_timeout, 5),
            request_timeout: seconds(opts.request_channel_timeout, 60),
            request_tries: u32::try_from(opts.request_channel_tries).unwrap_or(1).clamp(1, 100),
            fixed_paces: (false, false),
            reauth_spread: None,
            acceptance_wait: seconds(opts.acceptance_wait_time, 1),
            return_timer: return_timer(opts),
            return_tries: u32::try_from(opts.return_retry_tries).unwrap_or(1).max(1),
            spool_bytes: positive(opts.failover_spool_max_bytes).unwrap_or(SPOOL_BYTES),
            spool_items: positive(opts.failover_spool_max_items)
                .and_then(|items| usize::try_from(items).ok())
                .unwrap_or(SPOOL_ITEMS),
            spool_age: seconds(opts.failover_spool_max_age, 86_400),
            jobs_at_once: usize::try_from(opts.process_count_max)
                .ok()
                .filter(|n| *n > 0)
                .unwrap_or(JOBS_AT_ONCE),
            jids_remembered: usize::try_from(opts.minion_jid_queue_hwm).unwrap_or(100),
            keepalive: keepalive(opts),
            family: match opts.ipv6 {
                None => IpFamily::Any,
                Some(true) => IpFamily::V6First,
                Some(false) => IpFamily::V4Only,
            },
            source: Source::default(),
        })
    }

    /// Takes what needs more than the options to be known: `random_reauth_delay` counts where the
    /// configuration has it, the local end of connections may be named by its interface.
    pub(crate) fn complete(
        &mut self,
        opts: &MinionOptions,
        is_set: impl Fn(&str) -> bool,
        grains: &Map,
    ) {
        if is_set("random_reauth_delay") {
            let seconds = u64::try_from(opts.random_reauth_delay).unwrap_or(0);
            self.reauth_spread = Some(Duration::from_secs(seconds));
        }
        self.fixed_paces =
            (is_set("failover_heartbeat_interval"), is_set("failover_probe_interval"));
        self.source = Source {
            address: source_address(opts, grains),
            requests: opts.source_ret_port,
            publications: opts.source_publish_port,
        };
    }

    /// How connections are made, from this local port.
    fn connect(&self, source_port: u16) -> ConnectOptions {
        ConnectOptions {
            family: self.family,
            keepalive: self.keepalive,
            source: self.source.address,
            source_port,
            ..Default::default()
        }
    }

    /// For requests to a master.
    pub(crate) fn requester(&self) -> RequesterOptions {
        RequesterOptions { connect: self.connect(self.source.requests), ..Default::default() }
    }

    /// For requests beside those of a connection: a fixed local port can be used once only.
    pub(crate) fn prober(&self) -> RequesterOptions {
        RequesterOptions { connect: self.connect(0), ..Default::default() }
    }

    /// For a master's publications.
    pub(crate) fn subscriber(&self) -> SubscriberOptions {
        SubscriberOptions {
            connect: self.connect(self.source.publications),
            timeout: SUBSCRIBE_TIMEOUT,
            identity: self.id.as_str().as_bytes().to_vec(),
            // The failover machine judges silence.
            heartbeat: None,
            ..Default::default()
        }
    }

    /// The settings of the machines that choose masters: one for a list used one at a time, else
    /// one for each master. Each comes with the positions of its masters in the whole list.
    pub(crate) fn policies(&self, opts: &MinionOptions) -> Vec<(Policy, Vec<usize>)> {
        let names: Vec<String> = self.masters.iter().map(|a| a.name().to_owned()).collect();
        match self.mode {
            Mode::Disabled => Vec::new(),
            Mode::OneOf => {
                let positions = (0..names.len()).collect();
                vec![(self.policy(opts, names), positions)]
            }
            Mode::Hot => names
                .into_iter()
                .enumerate()
                .map(|(i, name)| (self.policy(opts, vec![name]), vec![i]))
                .collect(),
        }
    }

    fn policy(&self, opts: &MinionOptions, masters: Vec<String>) -> Policy {
        let interval = |value: i64| positive(value).map(Duration::from_secs);
        let alive_interval = interval(opts.master_alive_interval);
        let several = masters.len() > 1;
        let failback = several && opts.master_failback && alive_interval.is_some();
        let selection = match opts.master_type.as_str() {
            "distributed" => Selection::Distributed(self.id.as_str().to_owned()),
            _ if opts.random_master => Selection::Shuffled,
            _ => Selection::Listed,
        };
        Policy {
            selection,
            alive_interval,
            failback_interval: failback
                .then(|| interval(opts.master_failback_interval).or(alive_interval))
                .flatten(),
            attempt_timeout: self.auth_timeout + SUBSCRIBE_TIMEOUT,
            acceptance_wait: self.acceptance_wait,
            acceptance_wait_max: Duration::try_from_secs_f64(opts.acceptance_wait_time_max)
                .unwrap_or_default(),
            heartbeat_interval: every(opts.failover_heartbeat_interval),
            probe_interval: every(opts.failover_probe_interval),
            heartbeat_fixed: self.fixed_paces.0,
            probe_fixed: self.fixed_paces.1,
            standby: opts.failover_standby,
            standby_interval: seconds(opts.failover_standby_interval, 600),
            ..Policy::new(masters)
        }
    }
}

/// What is more than zero.
fn positive(value: i64) -> Option<u64> {
    u64::try_from(value).ok().filter(|v| *v > 0)
}

/// Seconds between two of something; 0 and what makes no sense: never.
fn every(value: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(value).ok().filter(|d| !d.is_zero())
}

/// `source_interface_name`, else `source_address`. As in Salt a name or address that this machine
/// does not have is warned of, and then the system chooses.
fn source_address(opts: &MinionOptions, grains: &Map) -> Option<IpAddr> {
    let name = opts.source_interface_name.as_str();
    if !name.is_empty() {
        let of = |grain: &str| {
            let all = grains.get(grain).and_then(|all| all.get(name)).and_then(Value::as_list);
            all.into_iter().flatten().find_map(|text| text.as_str()?.parse::<IpAddr>().ok())
        };
        let found = of("ip4_interfaces").or_else(|| of("ip6_interfaces"));
        if found.is_none() {
            log::warn!(
                "option source_interface_name: the interface {name} is not here or has no \
                 address; connections come from any"
            );
        }
        return found;
    }
    let text = opts.source_address.as_str();
    let address = text.parse::<IpAddr>().ok();
    if address.is_none() && !text.is_empty() {
        log::warn!("option source_address: '{text}' is no IP address; connections come from any");
    }
    if address.is_some_and(|ip| UdpSocket::bind((ip, 0)).is_err()) {
        log::warn!(
            "option source_address: {text} is not an address of this host; until it is, \
             connections come from any"
        );
    }
    address
}

fn bad_id(id: &str, error: &InvalidId) -> StartError {
    StartError::new(1, format!("option id: '{id}' cannot be a minion's id: {error}"))
}

fn mode(opts: &MinionOptions) -> Result<Mode, StartError> {
    match opts.master_type.as_str() {
        "str" | "func" => Ok(Mode::Hot),
        "failover" | "distributed" => Ok(Mode::OneOf),
        "disable" => Ok(Mode::Disabled),
        other => Err(StartError::new(
            1,
            format!(
                "option master_type: '{other}' is not known; set str, failover, distributed, \
                 func or disable"
            ),
        )),
    }
}

fn addresses(
    opts: &MinionOptions,
    masters: &[String],
    mode: &Mode,
) -> Result<Vec<Address>, StartError> {
    if *mode == Mode::Disabled {
        return Ok(Vec::new());
    }
    let ip_only = opts.master_uri_format == "ip_only";
    let mut addresses: Vec<Address> = Vec::new();
    for entry in masters {
        let address = Address::parse(entry, opts.master_port, ip_only)
            .map_err(|e| StartError::new(EXIT_CONFIG, e.to_string()))?;
        // The same master twice would only be asked twice.
        if addresses.iter().any(|a| a.requests() == address.requests()) {
            log::warn!("option master: {entry} is named twice; the second time is ignored");
        } else {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        let text = "option master: no master is named; set the address of at least one";
        return Err(StartError::new(EXIT_CONFIG, text));
    }
    Ok(addresses)
}

/// Salt's rule: negative values mean the default, and the upper bound is at least the lower one.
fn return_timer(opts: &MinionOptions) -> (Duration, Duration) {
    let low = u64::try_from(opts.return_retry_timer).unwrap_or(5).max(1);
    let high = u64::try_from(opts.return_retry_timer_max).unwrap_or(10).max(low);
    (Duration::from_secs(low), Duration::from_secs(high))
}

fn keepalive(opts: &MinionOptions) -> Keepalive {
    let time = |v: f64| Duration::try_from_secs_f64(v).ok().filter(|d| !d.is_zero());
    let count = opts.tcp_keepalive_cnt;
    Keepalive {
        enabled: opts.tcp_keepalive,
        idle: time(opts.tcp_keepalive_idle),
        interval: time(opts.tcp_keepalive_intvl),
        count: (count >= 1.0).then_some(count as u32),
    }
}
