//! Brings a master up, in the order in which failures do the least harm: directories and keys,
//! stores, sockets, and only then what tells others that a master runs here.

use std::num::NonZero;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use saltern_config::{Loaded, MasterOptions};
use saltern_event::{Bus, BusPaths};
use saltern_fileserver::{FileServer, Receiver};
use saltern_store::cache::DataCache;
use saltern_store::jobs::{JobSettings, JobStore};
use saltern_store::pki::{
    KeyState, Pki, SigningFiles, open_master, open_master_sign, read_signature_file,
    signature_holds,
};
use saltern_store::requests::SeenRequests;
use saltern_store::root_key;
use saltern_store::sessions::Sessions;
use saltern_transport::zeromq::{Places, Publisher, Router};
use saltern_wire::command::RootKeys;
use saltern_wire::limits;
use saltern_wire::publish::Sealer;
use saltern_wire::session::ReplayGuard;
use tokio::sync::{Notify, Semaphore};

use crate::StartError;
use crate::context::{Net, Shared};
use crate::counters::Counters;
use crate::drain::Drain;
use crate::handlers::files::PIECES;
use crate::herd::Herd;
use crate::jobs::Jobs;
use crate::keys::signing::Signing;
use crate::keys::{Keys, SignatureSource};
use crate::losses::Losses;
use crate::open_files;
use crate::presence::Presence;
use crate::publish::Outlet;
use crate::readiness::Readiness;
use crate::settings::{self, Marker};
use crate::targets::Targets;

/// Everything a running master holds.
pub(crate) struct Parts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) router: Arc<Router>,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) markers: Vec<Marker>,
}

/// Starts everything but the tasks. Must be called inside a tokio runtime.
///
/// # Errors
/// [`StartError`]; nothing is left running then.
pub(crate) fn parts(loaded: Loaded<MasterOptions>) -> Result<Parts, StartError> {
    let Loaded { opts, raw, .. } = loaded;
    settings::check(&opts)?;
    settings::make_dir(&opts.cachedir, 0o755)?;
    settings::make_dir(&opts.sock_dir, 0o755)?;
    let pki = Arc::new(Pki::open(&opts.pki_dir, opts.permissive_pki_access)?);
    let keys = keys(&opts)?;
    let cache = Arc::new(DataCache::open(&opts.cachedir)?);
    // Returns of one minion come one after the other, each waiting for its answer, so a commit must
    // not wait for company; returns of many minions gather by themselves while one is under way.
    let job_settings = JobSettings { linger: Duration::ZERO, ..JobSettings::default() };
    let jobs = Jobs::new(JobStore::open(&opts.cachedir, job_settings)?, &settings::jobs(&opts));

    let soft = open_files::raise(opts.max_open_files);
    open_files::check(pki.ids(KeyState::Accepted)?.len(), soft);
    let places = Places::of_this_process();
    let (router, publisher) = sockets(&opts, &places)?;
    let bus = Bus::bind(&BusPaths::master(&opts.sock_dir), settings::bus(&opts))
        .map_err(|source| StartError::Bus { sock_dir: opts.sock_dir.clone(), source })?;

    log::info!("Preparing the root key for local communication");
    let root_keys = root_keys(&opts)?;
    let markers = markers(&opts)?;
    let signer = settings::signing(&opts)?.map(|algo| (keys.private().clone(), algo));
    let sealer = Sealer::new(keys.shared().key().clone(), signer);
    let cores = thread::available_parallelism().map_or(2, NonZero::get);
    let shared = Shared {
        sessions: Sessions::open(&opts.cachedir, session_age(&opts))?,
        files: FileServer::new(settings::files(&opts)?)
            .map_err(|e| StartError::Option { name: "file_roots", problem: e.to_string() })?,
        pieces: Semaphore::new(PIECES),
        receiver: Receiver::new(&opts.cachedir, settings::push(&opts)),
        pillar: settings::pillar(&opts, &raw)?,
        targets: Targets::new(
            Arc::clone(&pki),
            Arc::clone(&cache),
            opts.nodegroups.clone(),
            opts.minion_data_cache,
        ),
        presence: Presence::new(Arc::clone(&publisher), Arc::clone(&pki)),
        readiness: Readiness::open(&opts.cachedir, &pki)?,
        outlet: Outlet::new(sealer, Arc::clone(&publisher), opts.zmq_filtering),
        autosign: settings::autosign(&opts),
        counters: Counters::default(),
        losses: Losses::default(),
        running: crate::running::Running::default(),
        replay: Mutex::new(requests_seen(&opts)?),
        herd: Herd::new(usize::try_from(opts.failover_sign_in_queue).unwrap_or(0)),
        drain: Drain::open(&opts.cachedir, Arc::clone(&publisher)),
        sign_in: Default::default(),
        rotate: Notify::new(),
        peer_jobs: Mutex::default(),
        cores: Arc::new(Semaphore::new(cores.max(2))),
        publish_port: publisher.local_addr().port(),
        net: Net { router: Arc::clone(&router), publisher: Arc::clone(&publisher), places },
        minions: Mutex::default(),
        raw_opts: raw,
        opts,
        bus,
        pki,
        cache,
        jobs,
        keys,
        root_keys,
    };
    let shared = Arc::new(shared);
    Herd::start(&shared).map_err(StartError::Threads)?;
    Ok(Parts { shared, router, publisher, markers })
}

fn session_age(opts: &MasterOptions) -> Duration {
    let seconds = u64::try_from(opts.publish_session).unwrap_or(0);
    Duration::from_secs(if seconds == 0 { 86_400 } else { seconds })
}

/// The requests served before, by this run or a former one. They count as long as a session may.
fn requests_seen(opts: &MasterOptions) -> Result<(ReplayGuard, SeenRequests), StartError> {
    let (file, marks) =
        SeenRequests::open(&opts.cachedir, limits::REPLAY_ENTRIES, SystemTime::now())?;
    let mut guard = ReplayGuard::new(session_age(opts), limits::REPLAY_ENTRIES);
    let now = Instant::now();
    for (age, mark) in marks {
        guard.restore(mark, age, now);
    }
    Ok((guard, file))
}

/// The identity pair, and what vouches for it (failover.md §6).
fn keys(opts: &MasterOptions) -> Result<Keys, StartError> {
    let keysize = settings::keysize(opts)?;
    let pass = opts.key_pass.as_ref().map(|pass| pass.expose().as_str());
    let identity = open_master(&opts.pki_dir, keysize, pass)?;
    if identity.created {
        log::info!("Generating master keys: {}", opts.pki_dir.display());
    }
    let signature = if !opts.master_sign_pubkey {
        None
    } else if opts.master_use_pubkey_signature {
        let file = opts.master_pubkey_signature.as_deref();
        let signature = read_signature_file(&opts.pki_dir, file, &opts.id)?;
        let (dir, name) = (&opts.pki_dir, &opts.master_sign_key_name);
        if signature_holds(dir, name, &signature, &identity.public) == Some(false) {
            log::error!(
                "option master_use_pubkey_signature: the signature file in {} does not vouch for \
                 this master's key by {name}.pub, so minions that verify will refuse this master; \
                 remove it and make it anew with 'salt-key --gen-signature'",
                dir.display()
            );
        }
        Some(SignatureSource::File(signature))
    } else {
        let pass = opts.signing_key_pass.as_ref().map(|pass| pass.expose().as_str());
        let signing = open_master_sign(&opts.pki_dir, &opts.master_sign_key_name, keysize, pass)?;
        if signing.created {
            log::info!("Generating signing keys: {}", signing.private_path.display());
        }
        let files = SigningFiles::new(&opts.pki_dir, &opts.master_sign_key_name, pass)?;
        Some(SignatureSource::Signed(Box::new(Signing::new(
            files,
            signing.private,
            &opts.cachedir,
        ))))
    };
    Ok(Keys::new(identity, signature)?)
}

fn sockets(
    opts: &MasterOptions,
    places: &Arc<Places>,
) -> Result<(Arc<Router>, Arc<Publisher>), StartError> {
    let (requests, publications) = settings::addresses(opts)?;
    let failed = |address, option| move |source| StartError::Listen { address, option, source };
    let publisher = Publisher::bind(publications, settings::publisher(opts, places))
        .map_err(failed(publications, "publish_port"))?;
    let router = Router::bind(requests, settings::router(opts, places))
        .map_err(failed(requests, "ret_port"))?;
    log::info!("Starting the Salt Publisher on tcp://{}", publisher.local_addr());
    log::info!("Serving requests on tcp://{}", router.local_addr());
    Ok((Arc::new(router), Arc::new(publisher)))
}

/// A key for the master's user, and one for every user `publisher_acl` names.
fn root_keys(opts: &MasterOptions) -> Result<RootKeys, StartError> {
    let mut keys = RootKeys::new(&opts.user);
    keys.insert(&opts.user, root_key::create(&opts.cachedir, &opts.user)?);
    for user in opts.publisher_acl.keys().filter_map(|user| user.as_str()) {
        // Patterns and groups (`%`) name no file; Salt expands them, here users are named.
        let plain = !user.contains(['*', '?', '[', '%', '/', '\\', '.', '^', '(', '|', '+']);
        if plain && user != opts.user {
            keys.insert(user, root_key::create(&opts.cachedir, user)?);
        }
    }
    Ok(keys)
}

/// The files by which tools see that a master runs here (trap T15).
fn markers(opts: &MasterOptions) -> Result<Vec<Marker>, StartError> {
    Ok(vec![
        Marker::write(opts.sock_dir.join("publish_pull.ipc"))?,
        Marker::write(opts.sock_dir.join("workers.ipc"))?,
    ])
}
