//! The master's options, each declared here or in `shared` and nowhere else.

use std::path::PathBuf;

use saltern_base::secret::Secret;
use saltern_value::{Map, Value};

use crate::option::Preset::{Bool, EmptyMap, Float, Int, List, Nil, Quiet, Roots as RootDirs, Str};
use crate::option::{OneOrMany, Roots, define_options};
use crate::shared::with_shared_options;

with_shared_options! { define_options {
    /// The master's options, typed; the fields have the names of the options.
    MasterOptions, MASTER;
    /// Name of this master; the host's name followed by _master when not set.
    id: String = Quiet(&Str("")) => Honoured;
    /// Domain put behind an id that does not end with it.
    append_domain: Option<String> = Quiet(&Nil) => Honoured;
    /// Keep the id that was found out in the file minion_id and use it from then on.
    minion_id_caching: bool = Quiet(&Bool(true)) => Honoured;
    /// Turn an id that was found out into lower case.
    minion_id_lowercase: bool = Quiet(&Bool(false)) => Honoured;
    /// Cut the domain (True: any, text: this one) from an id that was found out.
    minion_id_remove_domain: Value = Quiet(&Bool(false)) => Honoured;
    /// Port of the publisher.
    publish_port: u16 = Int(4505) => Honoured;
    /// Port of the request server.
    ret_port: u16 = Int(4506) => Honoured;
    /// Put a signature of the master's key into each answer to a sign-in; makes the signing pair if there is none.
    master_sign_pubkey: bool = Bool(false) => Honoured;
    /// Passphrase of the signing key.
    signing_key_pass: Option<Secret<String>> = Nil => Honoured;
    /// Passphrase of master.pem.
    key_pass: Option<Secret<String>> = Nil => Honoured;
    /// Send the signature of a file instead of signing.
    master_use_pubkey_signature: bool = Bool(false) => Honoured;
    /// Name of that file in pki_dir.
    master_pubkey_signature: Option<String> = Str("master_pubkey_signature") => Honoured;
    /// Signature of publications: PKCS1v15-SHA1 or PKCS1v15-SHA224.
    publish_signing_algorithm: String = Str("PKCS1v15-SHA1") => Honoured;
    /// Sign publications with the master's key.
    sign_pub_messages: bool = Bool(true) => Honoured;
    /// Seconds between two changes of the publication key, and life of a session key.
    publish_session: i64 = Int(86_400) => Honoured;
    /// Change the publication key as soon as a minion key is deleted or rejected.
    rotate_aes_key: bool = Bool(true) => Honoured;
    /// Publish `test.ping` after such a change.
    ping_on_rotate: bool = Bool(false) => Honoured;
    /// Lowest protocol version of a minion; 3 is the least Saltern speaks.
    minimum_auth_version: i64 = Int(3) => Honoured;
    /// How the session key is given to a minion; only 1 is in use.
    auth_mode: i64 = Int(1) => Honoured;
    /// Seconds a request may be old; 0: any age.
    request_server_ttl: i64 = Int(0) => Honoured;
    /// Seconds between changes of a separate request key; 0: no separate key.
    request_server_aes_session: i64 = Int(0) => Later;
    /// Refuse returns that are not signed.
    require_minion_sign_messages: bool = Bool(false) => Honoured;
    /// Drop returns whose signature is bad.
    drop_messages_signature_fail: bool = Bool(false) => Honoured;
    /// Most minions; the next ones are told that the master is full. 0: any number.
    max_minions: i64 = Int(0) => Honoured;
    /// Sign-ins that may wait to be served; more are told that the master is busy or full.
    failover_sign_in_queue: i64 = Quiet(&Int(20_000)) => Honoured;
    /// File that the counters of manage.health are written to every 15 seconds, in Prometheus' text format; empty: none.
    health_file: String = Quiet(&Str("")) => Honoured;
    /// Most questions a second, of all minions together, whether publications still come; minions pause longer the more they are. 0: no hint.
    failover_heartbeats_a_second: i64 = Quiet(&Int(4000)) => Honoured;
    /// The same for questions whether requests are answered.
    failover_probes_a_second: i64 = Quiet(&Int(1000)) => Honoured;
    /// Seconds over which minions leave a master that is drained.
    failover_drain_time: f64 = Quiet(&Float(30.0)) => Honoured;
    /// Seconds `salt-run master.drain wait=True` waits until the master is empty.
    failover_drain_timeout: f64 = Quiet(&Float(300.0)) => Honoured;
    /// Keep the ids of connected minions for that count.
    con_cache: bool = Bool(false) => Moot;
    /// Accept every new key.
    auto_accept: bool = Bool(false) => Honoured;
    /// File of ids (globs, regular expressions) whose keys are accepted.
    autosign_file: Option<PathBuf> = Quiet(&Nil) => Honoured;
    /// File of ids whose keys are rejected.
    autoreject_file: Option<PathBuf> = Quiet(&Nil) => Honoured;
    /// Directory with a file per grain that lists values whose minions are accepted.
    autosign_grains_dir: Option<PathBuf> = Quiet(&Nil) => Honoured;
    /// Minutes a key in the autosign directory of pki_dir is good for.
    autosign_timeout: i64 = Quiet(&Int(120)) => Honoured;
    /// Fire `salt/auth` events.
    auth_events: bool = Bool(true) => Honoured;
    /// Let a minion delete its own key.
    allow_minion_key_revoke: bool = Bool(true) => Honoured;
    /// Keep grains and pillar of each minion.
    minion_data_cache: bool = Bool(true) => Honoured;
    /// Fire `minion/refresh/<id>` when that data changed.
    minion_data_cache_events: bool = Bool(true) => Honoured;
    /// Keep that data when the key is deleted.
    preserve_minion_cache: bool = Bool(false) => Honoured;
    /// Keep results of jobs.
    job_cache: bool = Bool(true) => Honoured;
    /// Where results of jobs are kept: local_cache.
    master_job_cache: String = Str("local_cache") => Later;
    /// A returner that minions send results to directly.
    ext_job_cache: String = Str("") => Later;
    /// Seconds results of jobs are kept; 0: for ever.
    keep_jobs_seconds: i64 = Int(86_400) => Honoured;
    /// Note the time of the last return with each job.
    job_cache_store_endtime: bool = Bool(false) => Honoured;
    /// Backend of the data about minions: localfs.
    cache: String = Str("localfs") => Honoured;
    /// Returners that get every event.
    event_return: OneOrMany = Str("") => Later;
    /// Fire `salt/presence` events.
    presence_events: bool = Quiet(&Bool(false)) => Honoured;
    /// Tell which minions are connected by asking the kernel.
    detect_remote_minions: bool = Bool(false) => Later;
    /// Processes that answer requests (Salt); Saltern's master is one process.
    worker_threads: i64 = Int(5) => Moot;
    /// Publications waiting for one slow minion; further ones are dropped for it.
    pub_hwm: i64 = Int(1000) => Honoured;
    /// Connections waiting to be taken.
    zmq_backlog: i64 = Int(1000) => Honoured;
    /// Milliseconds between heartbeats on a connection of the publisher.
    zmq_heartbeat_ivl: i64 = Quiet(&Int(10000)) => Honoured;
    /// Milliseconds until a connection without heartbeat is closed.
    zmq_heartbeat_timeout: i64 = Quiet(&Int(30000)) => Honoured;
    /// Open files the master asks the system for.
    max_open_files: i64 = Int(100_000) => Honoured;
    /// Connections to each port from one address; more are closed at once. 0: any number.
    max_connections_per_address: i64 = Quiet(&Int(50_000)) => Honoured;
    /// Connections to each port accepted in a second, and at once after a pause; more wait in the
    /// system (`zmq_backlog`). 0: any number.
    max_accepts_per_second: i64 = Quiet(&Int(10_000)) => Honoured;
    /// Seconds a command waits for returns before it asks who still works on it.
    timeout: i64 = Int(5) => Honoured;
    /// Seconds that question waits for answers.
    gather_job_timeout: i64 = Int(10) => Honoured;
    /// Seconds a publication may take.
    publish_timeout: i64 = Int(30) => Honoured;
    /// Seconds between two rounds of upkeep.
    loop_interval: f64 = Float(60.0) => Honoured;
    /// Seconds between two rounds of slow upkeep.
    maintenance_interval: i64 = Int(3600) => Moot;
    /// Seconds between two looks at the file server's sources.
    fileserver_interval: i64 = Int(3600) => Moot;
    /// Seconds a list of files is used until it is made again.
    fileserver_list_cache_time: i64 = Quiet(&Int(20)) => Moot;
    /// Bytes per answer when a minion fetches a file.
    file_buffer_size: i64 = Int(1_048_576) => Honoured;
    /// Where files and pillar come from in programs on the master.
    file_client: String = Str("local") => Honoured;
    /// Bytes per message of `salt-cp --chunked`.
    salt_cp_chunk_size: i64 = Int(98_304) => Honoured;
    /// Groups of minions: name to compound target.
    nodegroups: Map = EmptyMap => Honoured;
    /// Which minions may run which functions on which others: id to functions.
    peer: Map = EmptyMap => Honoured;
    /// Which minions may run which runners: id to functions.
    peer_run: Map = Quiet(&EmptyMap) => Later;
    /// Who may log in by which means and what they may run.
    external_auth: Map = EmptyMap => Later;
    /// Seconds a log-in token is good for.
    token_expire: i64 = Int(43_200) => Later;
    /// Let users who may use sudo publish under their own name.
    sudo_acl: bool = Bool(false) => Later;
    /// Check a user's groups against publisher_acl.
    client_acl_verify: bool = Bool(true) => Later;
    /// Functions that answer events: tag to files.
    reactor: Value = List(&[]) => Later;
    /// More sources of pillar.
    ext_pillar: Vec<Value> = List(&[]) => Later;
    /// Say what is wrong with a pillar without its text.
    pillar_safe_render_error: bool = Bool(true) => Honoured;
    /// Keep compiled pillar.
    pillar_cache: bool = Bool(false) => Later;
    /// Sources of the top file besides state_top.
    master_tops: Map = EmptyMap => Later;
    /// Put the results of runners into the job cache.
    runner_returns: bool = Bool(true) => Honoured;
    /// Say the job id when a command starts.
    show_jid: bool = Bool(false) => Honoured;
    /// Say which minions did not answer in time.
    show_timeout: bool = Bool(true) => Honoured;
    /// Print a summary behind the results of a command.
    cli_summary: bool = Bool(false) => Honoured;
    /// Minions a batch starts with that do not count against `-b` at first.
    batch_safe_limit: i64 = Quiet(&Int(0)) => Honoured;
    /// Size of the batch that batch_safe_limit starts.
    batch_safe_size: i64 = Quiet(&Int(8)) => Honoured;
    /// Refuse a job id that is in use.
    unique_jid: bool = Bool(false) => Honoured;
    /// This master publishes for others below it.
    order_masters: bool = Bool(false) => Later;
    /// The master or masters above this one.
    syndic_master: OneOrMany = Str("masterofmasters") => Later;
    /// Name under which this master appears in jobs sent to syndics.
    master_id: Option<String> = Quiet(&Nil) => Later;
    /// Directory of the keys.
    pki_dir: PathBuf = Str("/etc/salt/pki/master") => Honoured;
    /// Directory of jobs, minion data and tokens.
    cachedir: PathBuf = Str("/var/cache/salt/master") => Honoured;
    /// Directory of the sockets of the event bus.
    sock_dir: PathBuf = Str("/var/run/salt/master") => Honoured;
    /// Directory of own modules.
    extension_modules: PathBuf = Str("/var/cache/salt/master/extmods") => Later;
    /// Directory of log-in tokens.
    token_dir: PathBuf = Str("/var/cache/salt/master/tokens") => Later;
    /// Directory of the keys of syndics.
    syndic_dir: PathBuf = Str("/var/cache/salt/master/syndics") => Later;
    /// Directory of queues.
    sqlite_queue_dir: PathBuf = Str("/var/cache/salt/master/queues") => Later;
    /// The main configuration file.
    conf_file: PathBuf = Str("/etc/salt/master") => Honoured;
    /// Jobs run by the clock: name to job.
    schedule: Map = EmptyMap => Later;
    /// More files to read, relative to the main file, in the order of their names.
    default_include: String = Str("master.d/*.conf") => Honoured;
    /// File that holds the process id of the daemon.
    pidfile: PathBuf = Str("/var/run/salt-master.pid") => Honoured;
    /// The log file.
    log_file: String = Str("/var/log/salt/master") => Honoured;
    /// The log file of salt-key.
    key_logfile: String = Str("/var/log/salt/key") => Honoured;
    /// The log file of salt-ssh.
    ssh_log_file: String = Str("/var/log/salt/ssh") => Later;
} }
