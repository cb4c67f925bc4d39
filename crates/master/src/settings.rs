//! From options to the settings of the parts: every option is read here once, and a value that
//! cannot be used names its option.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use saltern_base::atomic_file;
use saltern_config::MasterOptions;
use saltern_crypto::{HashType, SigAlgo};
use saltern_event::BusOptions;
use saltern_fileserver::{FileServer, PushSettings};
use saltern_pillar::{Compiler, DiskFiles, MergeStrategy, Renderer};
use saltern_transport::zeromq::{Heartbeat, Places, PublisherOptions, RouterOptions};
use saltern_transport::{Keepalive, ListenOptions};
use saltern_value::{Map, Value};

use crate::StartError;
use crate::at_once;
use crate::jobs;
use crate::keys::autosign::Autosign;

fn wrong(name: &'static str, problem: impl Into<String>) -> StartError {
    StartError::Option { name, problem: problem.into() }
}

/// Refuses what this master cannot do instead of doing something else.
///
/// # Errors
/// Another transport than ZeroMQ, TLS, events over TCP.
pub(crate) fn check(opts: &MasterOptions) -> Result<(), StartError> {
    if opts.transport != "zeromq" {
        let problem = format!("{} is not supported, only zeromq", opts.transport);
        return Err(wrong("transport", problem));
    }
    if opts.ssl.truthy() {
        return Err(wrong("ssl", "TLS is not supported with the transport zeromq; remove it"));
    }
    if opts.ipc_mode != "ipc" {
        return Err(wrong("ipc_mode", format!("{} is not supported, only ipc", opts.ipc_mode)));
    }
    Ok(())
}

/// Where to listen.
///
/// # Errors
/// An `interface` that is no address of this host's and no name.
pub(crate) fn addresses(opts: &MasterOptions) -> Result<(SocketAddr, SocketAddr), StartError> {
    let ip = interface(opts)?;
    Ok((SocketAddr::new(ip, opts.ret_port), SocketAddr::new(ip, opts.publish_port)))
}

fn interface(opts: &MasterOptions) -> Result<IpAddr, StartError> {
    let text = opts.interface.trim().trim_start_matches('[').trim_end_matches(']');
    let wants_v6 = opts.ipv6 == Some(true);
    let ip = match text.parse::<IpAddr>() {
        Ok(ip) => ip,
        Err(_) => (text, 0)
            .to_socket_addrs()
            .map_err(|e| wrong("interface", format!("{text} is no address and no name: {e}")))?
            .map(|address| address.ip())
            .find(|ip| ip.is_ipv6() == wants_v6)
            .ok_or_else(|| wrong("interface", format!("{text} has no usable address")))?,
    };
    let any = ip == IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    Ok(if any && wants_v6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { ip })
}

fn listen(opts: &MasterOptions) -> ListenOptions {
    let seconds = |value: f64| (value > 0.0).then(|| Duration::from_secs_f64(value.min(1e6)));
    let keepalive = Keepalive {
        enabled: opts.tcp_keepalive,
        idle: seconds(opts.tcp_keepalive_idle),
        interval: seconds(opts.tcp_keepalive_intvl),
        count: (opts.tcp_keepalive_cnt > 0.0).then_some(opts.tcp_keepalive_cnt as u32),
    };
    // Salt's default is smaller than most fleets: when all of one come back at once, those for whom
    // there is no room try again after a second. The system bounds it (net.core.somaxconn).
    let backlog = match u32::try_from(opts.zmq_backlog) {
        Ok(BACKLOG) | Err(_) => BACKLOG_DEFAULT,
        Ok(backlog) => backlog,
    };
    ListenOptions { backlog, keepalive }
}

/// Salt's default of `zmq_backlog`, and ours.
const BACKLOG: u32 = 1000;
const BACKLOG_DEFAULT: u32 = 4096;

fn per_address(opts: &MasterOptions) -> usize {
    usize::try_from(opts.max_connections_per_address).unwrap_or(0)
}

fn accept_rate(opts: &MasterOptions) -> u32 {
    u32::try_from(opts.max_accepts_per_second).unwrap_or(0)
}

pub(crate) fn router(opts: &MasterOptions, places: &Arc<Places>) -> RouterOptions {
    RouterOptions {
        listen: listen(opts),
        max_per_address: per_address(opts),
        accept_rate: accept_rate(opts),
        places: Some(Arc::clone(places)),
        at_once: Some(at_once::answer),
        ..RouterOptions::default()
    }
}

pub(crate) fn publisher(opts: &MasterOptions, places: &Arc<Places>) -> PublisherOptions {
    let milliseconds = |value: i64| u64::try_from(value).ok().filter(|ms| *ms > 0);
    let default = PublisherOptions::default();
    // Salt 3006 has no heartbeat on its publish port; ours has the one of 3008 unless it is turned
    // off, because without it a minion that vanished stays connected for ever.
    let heartbeat = match (opts.zmq_heartbeat_ivl, opts.zmq_heartbeat_timeout) {
        (ivl, _) if ivl < 0 => None,
        (ivl, timeout) => match (milliseconds(ivl), milliseconds(timeout)) {
            (Some(ivl), Some(timeout)) => Some(Heartbeat {
                interval: Duration::from_millis(ivl),
                timeout: Duration::from_millis(timeout),
            }),
            _ => default.heartbeat,
        },
    };
    let hwm = usize::try_from(opts.pub_hwm).ok().filter(|hwm| *hwm > 0);
    PublisherOptions {
        listen: listen(opts),
        max_per_address: per_address(opts),
        accept_rate: accept_rate(opts),
        places: Some(Arc::clone(places)),
        hwm: hwm.unwrap_or(default.hwm),
        heartbeat,
        ..default
    }
}

pub(crate) fn bus(opts: &MasterOptions) -> BusOptions {
    let shared = !opts.publisher_acl.is_empty() || !opts.external_auth.is_empty();
    BusOptions {
        publish_mode: if shared { 0o660 } else { 0o600 },
        max_event_size: usize::try_from(opts.max_event_size).unwrap_or(1 << 20),
        ..BusOptions::default()
    }
}

pub(crate) fn jobs(opts: &MasterOptions) -> jobs::Settings {
    jobs::Settings {
        unique_jid: opts.unique_jid,
        keep: Duration::from_secs(u64::try_from(opts.keep_jobs_seconds).unwrap_or(0)),
        endtime: opts.job_cache_store_endtime,
        enabled: opts.job_cache,
    }
}

pub(crate) fn autosign(opts: &MasterOptions) -> Autosign {
    let minutes = u64::try_from(opts.autosign_timeout).unwrap_or(0);
    Autosign {
        auto_accept: opts.auto_accept,
        autosign_file: opts.autosign_file.clone(),
        autoreject_file: opts.autoreject_file.clone(),
        autosign_grains_dir: opts.autosign_grains_dir.clone(),
        // Zero means that stubs never grow old.
        timeout: if minutes == 0 { Duration::MAX } else { Duration::from_secs(minutes * 60) },
        pki_dir: opts.pki_dir.clone(),
        permissive: opts.permissive_pki_access,
    }
}

pub(crate) fn push(opts: &MasterOptions) -> PushSettings {
    PushSettings {
        allowed: opts.file_recv,
        max_megabytes: u64::try_from(opts.file_recv_max_size).unwrap_or(0),
    }
}

/// # Errors
/// An unknown `hash_type`.
pub(crate) fn files(opts: &MasterOptions) -> Result<saltern_fileserver::Settings, StartError> {
    let hash_type = HashType::parse(&opts.hash_type)
        .ok_or_else(|| wrong("hash_type", format!("there is no digest {}", opts.hash_type)))?;
    Ok(saltern_fileserver::Settings {
        roots: opts.file_roots.clone(),
        hash_type,
        buffer_size: usize::try_from(opts.file_buffer_size).unwrap_or(1 << 20).max(1),
        follow_symlinks: opts.fileserver_followsymlinks,
        ignore_symlinks: opts.fileserver_ignoresymlinks,
        ignore_regex: opts.file_ignore_regex.items.clone(),
        ignore_glob: opts.file_ignore_glob.items.clone(),
    })
}

/// The compiler of pillars. It reads below `pillar_roots` by the rules of the file server.
///
/// # Errors
/// An unknown merging strategy or `hash_type`.
pub(crate) fn pillar(opts: &MasterOptions, raw: &Map) -> Result<Compiler<DiskFiles>, StartError> {
    let strategy = opts.pillar_source_merging_strategy.as_str();
    let merge = MergeStrategy::parse(strategy).ok_or_else(|| {
        let known = "smart, recurse, overwrite, aggregate or none";
        let problem = format!("there is no strategy {strategy}; use {known}");
        wrong("pillar_source_merging_strategy", problem)
    })?;
    let settings = saltern_pillar::Settings {
        merge,
        merge_lists: opts.pillar_merge_lists,
        includes_override_sls: opts.pillar_includes_override_sls,
        top_name: opts.state_top.clone(),
        saltenv: opts.saltenv.clone(),
        pillarenv: opts.pillarenv.clone(),
        pillarenv_from_saltenv: raw.get("pillarenv_from_saltenv").is_some_and(Value::truthy),
        safe_render_error: opts.pillar_safe_render_error,
        master_opts: opts.pillar_opts.then(|| raw.clone()),
        nodegroups: opts.nodegroups.clone(),
        ext_pillar: opts.ext_pillar.clone(),
    };
    let renderer = Renderer::parse(&opts.renderer).unwrap_or_else(|| {
        log::warn!("renderer {} is not built; pillar is read as jinja|yaml", opts.renderer);
        Renderer::JinjaYaml
    });
    let roots = saltern_fileserver::Settings { roots: opts.pillar_roots.clone(), ..files(opts)? };
    let server = FileServer::new(roots)
        .map_err(|e| StartError::Option { name: "pillar_roots", problem: e.to_string() })?;
    Ok(Compiler::new(DiskFiles::new(&opts.pillar_roots, server, renderer), settings))
}

/// # Errors
/// An unknown `publish_signing_algorithm`.
pub(crate) fn signing(opts: &MasterOptions) -> Result<Option<SigAlgo>, StartError> {
    if !opts.sign_pub_messages {
        return Ok(None);
    }
    let name = &opts.publish_signing_algorithm;
    SigAlgo::parse(name).map(Some).ok_or_else(|| {
        let known = SigAlgo::ALL.map(SigAlgo::name).join(" or ");
        wrong("publish_signing_algorithm", format!("there is no {name}, use {known}"))
    })
}

/// # Errors
/// A `keysize` outside of what is safe and usable.
pub(crate) fn keysize(opts: &MasterOptions) -> Result<u32, StartError> {
    u32::try_from(opts.keysize)
        .ok()
        .filter(|bits| (2048..=16_384).contains(bits))
        .ok_or_else(|| wrong("keysize", format!("{} is not between 2048 and 16384", opts.keysize)))
}

/// Makes a directory and its parents (mode 0755 for those made), and sets the mode of the last.
///
/// # Errors
/// The file system's refusal.
pub(crate) fn make_dir(path: &Path, mode: u32) -> Result<(), StartError> {
    let failed = |source| StartError::File { path: path.to_owned(), action: "make", source };
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)
}

/// An empty file that exists while the master runs, and goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Marker(PathBuf);

impl Marker {
    /// Writes the file, replacing what a dead master left.
    ///
    /// # Errors
    /// The file system's refusal.
    pub(crate) fn write(path: PathBuf) -> Result<Self, StartError> {
        match atomic_file::write(&path, b"", 0o600) {
            Ok(()) => Ok(Marker(path)),
            Err(source) => Err(StartError::File { path, action: "write", source }),
        }
    }
}

impl Drop for Marker {
    fn drop(&mut self) {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::warn!("{} not removed: {error}", self.0.display());
            }
            _ => {}
        }
    }
}
