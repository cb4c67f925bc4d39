//! The options that master and minion have in common, with the same default on both sides.

/// Calls `$callback` with the rows given and the rows of both programs.
macro_rules! with_shared_options {
    ($callback:ident { $($own:tt)* }) => { $callback! { $($own)*
        /// Directory put before the paths of Salt's own layout: pki_dir, cachedir, sock_dir, pidfile, log_file and their kin.
        root_dir: PathBuf = Str("/") => Honoured;
        /// Account the program changes to after it started as root.
        user: String = Str("root") => Honoured;
        /// More files to read, one or a list, relative to this file; globs work.
        include: Value = Quiet(&List(&[])) => Honoured;
        /// Least severity printed on the console: all, garbage, trace, debug, profile, info, warning, error, critical, quiet.
        log_level: String = Str("warning") => Honoured;
        /// Least severity written to log_file; nothing means the same as log_level.
        log_level_logfile: Option<String> = Nil => Honoured;
        /// Format of a line on the console, with Python's %(name)s fields.
        log_fmt_console: String = Str("[%(levelname)-8s] %(message)s") => Honoured;
        /// Format of a line in log_file, with Python's %(name)s fields.
        log_fmt_logfile: String = Str("%(asctime)s,%(msecs)03d [%(name)-17s:%(lineno)-4d][%(levelname)-8s][%(process)d] %(message)s") => Honoured;
        /// How %(asctime)s looks on the console (strftime).
        log_datefmt ["log_datefmt_console"]: String = Str("%H:%M:%S") => Honoured;
        /// How %(asctime)s looks in log_file (strftime).
        log_datefmt_logfile: String = Str("%Y-%m-%d %H:%M:%S") => Honoured;
        /// Least severity by log name, for parts that should say more or less than the rest.
        log_granular_levels: Map = EmptyMap => Honoured;
        /// Directory of log_file when log_file itself is not set or relative.
        log_dir: Option<String> = Quiet(&Nil) => Honoured;
        /// Digest of file and key fingerprints: md5, sha1, sha224, sha256, sha384 or sha512.
        hash_type: String = Str("sha256") => Honoured;
        /// Size in bits of a new RSA key pair.
        keysize: i64 = Int(2048) => Honoured;
        /// How peers are reached: zeromq.
        transport: String = Str("zeromq") => Honoured;
        /// Address to listen on.
        interface: String = Str("0.0.0.0") => Honoured;
        /// Listen on and connect to IPv6 addresses first; nothing leaves it to the system.
        ipv6: Option<bool> = Nil => Honoured;
        /// How local programs reach the event bus: ipc (unix sockets).
        ipc_mode: String = Str("ipc") => Honoured;
        /// Kernel keepalive probes on connections.
        tcp_keepalive: bool = Bool(true) => Honoured;
        /// Seconds of silence before the first keepalive probe; -1 leaves it to the system.
        tcp_keepalive_idle: f64 = Float(300.0) => Honoured;
        /// Lost keepalive probes until a connection counts as dead; -1 leaves it to the system.
        tcp_keepalive_cnt: f64 = Float(-1.0) => Honoured;
        /// Seconds between keepalive probes; -1 leaves it to the system.
        tcp_keepalive_intvl: f64 = Float(-1.0) => Honoured;
        /// TLS below the transport.
        ssl: Value = Nil => Honoured;
        /// Log the state changes of the sockets.
        zmq_monitor: bool = Bool(false) => Moot;
        /// Send publications only to the connections whose minions are named in a list target.
        zmq_filtering: bool = Bool(false) => Honoured;
        /// Largest event in bytes.
        max_event_size: i64 = Int(1_048_576) => Honoured;
        /// Accept any peer key: for tests only.
        open_mode: bool = Bool(false) => Honoured;
        /// Let the group of the process read the keys.
        permissive_pki_access: bool = Bool(false) => Honoured;
        /// Name of the master's signing pair without ending, in pki_dir.
        master_sign_key_name: String = Str("master_sign") => Honoured;
        /// Check ownership and permissions of the directories at start and repair them.
        verify_env: bool = Bool(true) => Later;
        /// Environments and the directories their files are served from, first hit wins.
        file_roots: Roots = RootDirs(&["/srv/salt", "/srv/spm/salt"]) => Honoured;
        /// Environments and the directories their pillar comes from.
        pillar_roots: Roots = RootDirs(&["/srv/pillar", "/srv/spm/pillar"]) => Honoured;
        /// Sources of files, in order: roots.
        fileserver_backend: Vec<String> = List(&["roots"]) => Honoured;
        /// Follow symbolic links below file_roots.
        fileserver_followsymlinks: bool = Bool(true) => Honoured;
        /// Leave symbolic links out of the lists of files.
        fileserver_ignoresymlinks: bool = Bool(false) => Honoured;
        /// Regular expressions of served paths to leave out.
        file_ignore_regex: OneOrMany = List(&[]) => Honoured;
        /// Globs of served paths to leave out.
        file_ignore_glob: OneOrMany = List(&[]) => Honoured;
        /// Name of the file that says which states and pillar go to which minion.
        state_top: String = Str("top.sls") => Honoured;
        /// Environment whose top file decides for `base` when an environment has none.
        default_top: String = Str("base") => Honoured;
        /// How the top files of several environments go together.
        top_file_merging_strategy: String = Str("merge") => Later;
        /// Order in which environments are read.
        env_order: Vec<String> = List(&[]) => Later;
        /// How pillar of several sources is merged: smart, recurse, aggregate, overwrite, none.
        pillar_source_merging_strategy: String = Str("smart") => Honoured;
        /// Join lists when pillar is merged.
        pillar_merge_lists: bool = Bool(false) => Honoured;
        /// Whether `include` of a pillar file wins over the file itself.
        pillar_includes_override_sls: bool = Bool(false) => Honoured;
        /// Put the master's options into every pillar under `master`.
        pillar_opts: bool = Bool(false) => Honoured;
        /// Environment of states and files when a call names none.
        saltenv ["environment"]: Option<String> = Nil => Honoured;
        /// Environment of pillar when a call names none.
        pillarenv: Option<String> = Nil => Honoured;
        /// How an SLS file without its own `#!` line is read.
        renderer: String = Str("jinja|yaml") => Later;
        /// Take files that minions send with `cp.push`.
        file_recv: bool = Bool(false) => Honoured;
        /// Largest file taken by `cp.push`, in megabytes.
        file_recv_max_size: i64 = Int(100) => Honoured;
        /// Local users and the functions they may publish: user or regular expression to functions.
        publisher_acl ["client_acl"]: Map = EmptyMap => Honoured;
        /// Users and functions that publisher_acl never allows.
        publisher_acl_blacklist ["client_acl_blacklist"]: Map = EmptyMap => Honoured;
        /// Own long-running parts beside the program.
        engines: Vec<Value> = List(&[]) => Later;
        /// Print results in colour on a terminal.
        color: bool = Quiet(&Bool(true)) => Honoured;
        /// Print results with this outputter when neither the call nor the function names one.
        output: Option<String> = Quiet(&Nil) => Honoured;
        /// Write the output to this file instead of the terminal.
        output_file: Option<String> = Quiet(&Nil) => Honoured;
        /// Indent of JSON and nested output.
        output_indent: Value = Quiet(&Str("pretty")) => Honoured;
        /// How much of a state run is printed: full, terse, mixed, changes, filter.
        state_output: String = Str("full") => Honoured;
        /// Print changes of terse and mixed states too.
        state_output_diff: bool = Bool(false) => Honoured;
        /// Print the times of state runs.
        state_output_profile: bool = Bool(true) => Honoured;
        /// Print states that changed nothing.
        state_verbose: bool = Bool(true) => Honoured;
        /// Extra directories with own modules.
        module_dirs: Vec<String> = List(&[]) => Moot;
        /// Salt's feature switches by name.
        features: Map = EmptyMap => Later;
        /// Use only cryptography approved by FIPS 140.
        fips_mode: bool = Bool(false) => Later;
    } };
}
pub(crate) use with_shared_options;
