//! The minion's options, each declared here or in `shared` and nowhere else.

use std::path::PathBuf;

use saltern_base::secret::Secret;
use saltern_value::{Map, Value};

use crate::option::Preset::{Bool, EmptyMap, Float, Int, List, Nil, Quiet, Roots as RootDirs, Str};
use crate::option::{OneOrMany, Roots, define_options};
use crate::shared::with_shared_options;

with_shared_options! { define_options {
    /// The minion's options, typed; the fields have the names of the options.
    MinionOptions, MINION;
    /// Name of this minion; found out from the host's names when not set.
    id: String = Str("") => Honoured;
    /// Domain put behind an id that does not end with it.
    append_domain: Option<String> = Quiet(&Nil) => Honoured;
    /// Keep the id that was found out in the file minion_id and use it from then on.
    minion_id_caching: bool = Bool(true) => Honoured;
    /// Turn an id that was found out into lower case.
    minion_id_lowercase: bool = Bool(false) => Honoured;
    /// Cut the domain (True: any, text: this one) from an id that was found out.
    minion_id_remove_domain: Value = Bool(false) => Honoured;
    /// Directories that get the id as their last part: pki_dir, cachedir, extension_modules, pidfile.
    append_minionid_config_dirs: Vec<String> = List(&[]) => Honoured;
    /// Address or addresses of the masters: host, host:port, IPv4, IPv6 or [IPv6]:port.
    master: OneOrMany = Str("salt") => Honoured;
    /// What a list of masters means: str (all at once), failover (one at a time), distributed (one, chosen by the id), func (master names a function of a module here that returns one address or a list), disable.
    master_type: String = Str("str") => Honoured;
    /// Port of the masters' request server when the address has none.
    master_port: u16 = Int(4506) => Honoured;
    /// Port of the masters' publisher; nothing means the one the master announces.
    publish_port: Option<u16> = Quiet(&Nil) => Honoured;
    /// How master addresses are read: default, or ip_only.
    master_uri_format: String = Str("default") => Honoured;
    /// Shuffle the list of masters once per start.
    random_master ["master_shuffle"]: bool = Bool(false) => Honoured;
    /// Seconds between checks that the master still answers; 0 checks the connection only.
    master_alive_interval: i64 = Int(0) => Honoured;
    /// Go back to the first master of the list when it answers again.
    master_failback: bool = Bool(false) => Honoured;
    /// Seconds between checks of the first master; 0 takes master_alive_interval.
    master_failback_interval: i64 = Int(0) => Honoured;
    /// How often the whole list of masters is tried; -1 for ever.
    master_tries: i64 = Int(1) => Moot;
    /// Saltern: seconds between two questions whether the master's publications still come (ZMTP PING); 0: none, only a closed connection is noticed.
    failover_heartbeat_interval: f64 = Float(1.5) => Honoured;
    /// Saltern: seconds between two questions whether the master still answers requests; 0: none, only requests that fail are noticed.
    failover_probe_interval: f64 = Float(1.5) => Honoured;
    /// Saltern: sign in at the other masters of the list beforehand, so that a switch is one subscription away.
    failover_standby: bool = Bool(true) => Honoured;
    /// Saltern: seconds between two such sign-ins at the same master, give or take a quarter.
    failover_standby_interval: f64 = Int(600) => Honoured;
    /// Saltern: bytes of returns and events kept below cachedir/spool until a master has them; then the oldest go.
    failover_spool_max_bytes: i64 = Int(67_108_864) => Honoured;
    /// Saltern: how many of them are kept.
    failover_spool_max_items: i64 = Int(10_000) => Honoured;
    /// Saltern: seconds after which one that no master took is dropped.
    failover_spool_max_age: f64 = Int(86_400) => Honoured;
    /// Fingerprint the master's key must have at the first sign-in.
    master_finger: String = Str("") => Honoured;
    /// Fingerprint of the master above a syndic.
    syndic_finger: String = Str("") => Moot;
    /// Find the master by asking the network; refused, since whoever answers first would be the master.
    discovery: Value = Bool(false) => Honoured;
    /// Interface whose address connections come from.
    source_interface_name: String = Str("") => Honoured;
    /// Address connections come from.
    source_address: String = Str("") => Honoured;
    /// Local port of the connection to the request server.
    source_ret_port: u16 = Int(0) => Honoured;
    /// Local port of the connection to the publisher.
    source_publish_port: u16 = Int(0) => Honoured;
    /// Connect to a master although files come from this host.
    use_master_when_local: bool = Bool(false) => Moot;
    /// Seconds between tries to resolve a master's name; 0 tries the next master at once.
    retry_dns: f64 = Float(30.0) => Moot;
    /// How often a master's name is tried; nothing means for ever.
    retry_dns_count: Option<i64> = Nil => Moot;
    /// Use 127.0.0.1 when a name cannot be resolved.
    resolve_dns_fallback: bool = Bool(true) => Moot;
    /// Seconds one try to sign in may take.
    auth_timeout: f64 = Int(5) => Honoured;
    /// Timeouts per sign-in until the next master is tried.
    auth_tries: i64 = Int(7) => Moot;
    /// Most rounds of sign-ins; 0 for ever.
    auth_retries: i64 = Quiet(&Int(0)) => Moot;
    /// Try the same master for ever after a timeout.
    auth_safemode: bool = Bool(false) => Moot;
    /// Seconds to wait while the key is pending, and between rounds over the masters.
    acceptance_wait_time: f64 = Float(10.0) => Honoured;
    /// Longest such wait; the wait grows up to it. 0: it does not grow.
    acceptance_wait_time_max: f64 = Float(0.0) => Honoured;
    /// Treat a rejected key as a pending one.
    rejected_retry: bool = Bool(false) => Moot;
    /// Seconds, at random up to this, before this minion signs in anew after its master changed its keys; not set: as many milliseconds as the master has minions, ten seconds at most.
    random_reauth_delay: i64 = Int(10) => Honoured;
    /// Seconds, at random up to this, before the first sign-in.
    random_startup_delay: i64 = Int(0) => Honoured;
    /// Encryption of the sign-in: OAEP-SHA1 or OAEP-SHA224.
    encryption_algorithm: String = Str("OAEP-SHA1") => Honoured;
    /// Signature of the sign-in: PKCS1v15-SHA1 or PKCS1v15-SHA224.
    signing_algorithm: String = Str("PKCS1v15-SHA1") => Honoured;
    /// Believe a master only when master_sign_key_name signed its key.
    verify_master_pubkey_sign: bool = Bool(false) => Honoured;
    /// Check that signature also when the master's key is the known one.
    always_verify_signature: bool = Bool(false) => Honoured;
    /// Saltern: what it means when a master signs its key although verify_master_pubkey_sign is off here: strict (another master is tried, as in Salt) or warn (used, with a warning at each sign-in), for switching signing on step by step.
    master_pubkey_sign_policy: String = Str("strict") => Honoured;
    /// Saltern: more verification keys in pki_dir besides master_sign_key_name, by file name; one match is enough.
    master_sign_keys: Vec<String> = List(&[]) => Honoured;
    /// Saltern: fingerprints (by any hash) of master keys that are never used again, whoever signed them.
    revoked_master_fingerprints: Vec<String> = List(&[]) => Honoured;
    /// Passphrase of minion.pem.
    key_pass: Option<Secret<String>> = Quiet(&Nil) => Honoured;
    /// Lowest wait in milliseconds between tries to connect.
    recon_default: f64 = Float(1000.0) => Moot;
    /// Longest wait in milliseconds between tries to connect.
    recon_max: f64 = Float(10000.0) => Moot;
    /// Draw the waits between tries to connect at random.
    recon_randomize: bool = Bool(true) => Moot;
    /// Seconds between tries to connect over the tcp transport.
    tcp_reconnect_backoff: f64 = Float(1.0) => Moot;
    /// Sign-ins tried when the tcp transport connects again.
    tcp_authentication_retries: i64 = Int(5) => Moot;
    /// Port of the local event bus for reading, when ipc_mode is tcp.
    tcp_pub_port: u16 = Int(4510) => Moot;
    /// Port of the local event bus for writing, when ipc_mode is tcp.
    tcp_pull_port: u16 = Int(4511) => Moot;
    /// Minutes between `ping` events to the master; 0: none.
    ping_interval: i64 = Int(0) => Honoured;
    /// Seconds between the ticks of the minion's clock.
    loop_interval: f64 = Float(1.0) => Moot;
    /// Seconds one request to the master may take.
    request_channel_timeout: f64 = Int(60) => Honoured;
    /// How often a request to the master is tried.
    request_channel_tries: i64 = Int(3) => Honoured;
    /// Least seconds one try to send a return may take.
    return_retry_timer: i64 = Int(5) => Honoured;
    /// Most seconds one try to send a return may take.
    return_retry_timer_max: i64 = Int(10) => Honoured;
    /// How often a return is sent until it is given up.
    return_retry_tries: i64 = Int(3) => Honoured;
    /// Keep a copy of each return below cachedir.
    cache_jobs: bool = Bool(false) => Honoured;
    /// Send returns to the master.
    pub_ret: bool = Bool(true) => Honoured;
    /// How many job ids are remembered so that no job runs twice.
    minion_jid_queue_hwm: i64 = Int(100) => Honoured;
    /// Command that starts the minion again.
    minion_restart_command: Vec<String> = List(&[]) => Moot;
    /// Start beacons before the first sign-in.
    beacons_before_connect: bool = Bool(false) => Moot;
    /// Start the schedule before the first sign-in.
    scheduler_before_connect: bool = Bool(false) => Moot;
    /// What to apply at start: highstate, sls or top.
    startup_states: String = Str("") => Later;
    /// The states that startup_states `sls` applies.
    sls_list: Vec<String> = List(&[]) => Later;
    /// The top file that startup_states `top` applies.
    top_file: String = Str("") => Later;
    /// Names of grains put into the start event.
    start_event_grains: Vec<String> = List(&[]) => Honoured;
    /// Fire `minion_start` besides `salt/minion/<id>/start`.
    enable_legacy_startup_events: bool = Bool(true) => Honoured;
    /// Send mine data at all.
    mine_enabled: bool = Bool(true) => Honoured;
    /// Minutes between two updates of the mine.
    mine_interval: i64 = Int(60) => Honoured;
    /// Send mine updates as job returns.
    mine_return_job: bool = Bool(false) => Later;
    /// Functions whose results the mine gets.
    mine_functions: Value = Quiet(&EmptyMap) => Honoured;
    /// Sign returns with the minion's key.
    minion_sign_messages: bool = Bool(false) => Honoured;
    /// Drop publications the master did not sign.
    sign_pub_messages: bool = Bool(false) => Honoured;
    /// Where files and pillar come from: remote (the master) or local (this host).
    file_client: String = Str("remote") => Honoured;
    /// Bytes per request when a file is fetched.
    file_buffer_size: i64 = Int(262_144) => Honoured;
    /// Directory of the keys.
    pki_dir: PathBuf = Str("/etc/salt/pki/minion") => Honoured;
    /// Directory of what can be fetched or made again.
    cachedir: PathBuf = Str("/var/cache/salt/minion") => Honoured;
    /// Directory of the sockets of the event bus.
    sock_dir: PathBuf = Str("/var/run/salt/minion") => Honoured;
    /// Directory of own modules fetched from the master.
    extension_modules: PathBuf = Str("/var/cache/salt/minion/extmods") => Honoured;
    /// The main configuration file.
    conf_file: PathBuf = Str("/etc/salt/minion") => Honoured;
    /// Jobs run by the clock: name to job.
    schedule: Map = EmptyMap => Honoured;
    /// More files to read, relative to the main file, in the order of their names.
    default_include: String = Str("minion.d/*.conf") => Honoured;
    /// File that holds the process id of the daemon.
    pidfile: PathBuf = Str("/var/run/salt-minion.pid") => Honoured;
    /// The log file.
    log_file: String = Str("/var/log/salt/minion") => Honoured;
    /// The log file of key matters.
    key_logfile: String = Quiet(&Str("/var/log/salt/key")) => Honoured;
    /// Grains set by hand: name to value.
    grains: Map = EmptyMap => Honoured;
    /// Grains that are not collected (globs).
    grains_blacklist: Vec<String> = List(&[]) => Honoured;
    /// Keep grains in a file between runs.
    grains_cache: bool = Bool(false) => Moot;
    /// Seconds such a file is used.
    grains_cache_expiration: i64 = Int(300) => Moot;
    /// Merge nested grains of several sources instead of replacing them.
    grains_deep_merge: bool = Bool(false) => Honoured;
    /// Minutes between two collections of the grains; 0: never again.
    grains_refresh_every: i64 = Int(0) => Honoured;
    /// Look up the names of all addresses for the grain fqdns.
    enable_fqdns_grains: bool = Bool(false) => Honoured;
    /// Collect the grains gpus and num_gpus.
    enable_gpu_grains: bool = Bool(true) => Honoured;
    /// Grains sent with the first sign-in, for autosign_grains_dir of the master.
    autosign_grains: Vec<String> = Quiet(&List(&[])) => Honoured;
    /// Modules that are not offered.
    disable_modules: Vec<String> = List(&[]) => Later;
    /// The only modules that are offered; empty: all.
    whitelist_modules: Vec<String> = List(&[]) => Later;
    /// Returners that are not offered.
    disable_returners: Vec<String> = List(&[]) => Later;
    /// Run jobs in processes of their own (Salt); jobs of Saltern are always tasks.
    multiprocessing: bool = Bool(true) => Moot;
    /// Most jobs at once; -1: as many as come.
    process_count_max: i64 = Int(-1) => Honoured;
    /// Account `salt-call` and jobs run as, by sudo.
    sudo_user: String = Str("") => Later;
    /// Refuse to start cmd functions in an unknown way (Salt's guard for renamed functions).
    cmd_safe: bool = Bool(true) => Moot;
    /// Globs of commands that cmd refuses to run.
    cmd_blacklist_glob: Vec<String> = Quiet(&List(&[])) => Honoured;
    /// Globs of the only commands that cmd runs; empty: all.
    cmd_whitelist_glob: Vec<String> = Quiet(&List(&[])) => Honoured;
    /// Backup of files that states replace: minion, master, both.
    backup_mode: String = Str("") => Later;
    /// Own functions that join several functions keep the order of the call.
    multifunc_ordered: bool = Bool(false) => Honoured;
    /// Returners that every job's result goes to besides the master.
    ext_job_cache: String = Str("") => Later;
    /// Watchers of this host: name to settings.
    beacons: Map = EmptyMap => Later;
    /// Groups of minions: name to target, for local matching.
    nodegroups: Map = Quiet(&EmptyMap) => Honoured;
} }
