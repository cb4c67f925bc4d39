//! A real master on loopback ports of its own, and minions and tools that talk to it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of this")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use saltern_base::MinionId;
use saltern_config::load_master;
use saltern_crypto::{EncAlgo, PrivateKey, SealKey, SigAlgo};
use saltern_event::Subscription;
use saltern_master::{Master, MasterHandle, Refusal};
use saltern_transport::zeromq::{Requester, RequesterOptions, Subscriber, SubscriberOptions};
use saltern_value::{Map, Value, msgpack};
use saltern_wire::auth::Identity;
use saltern_wire::auth::client::{CachedKey, Credentials, Outcome, SignIn, Trust};
use saltern_wire::envelope::clear_request;
use saltern_wire::publish::{Opener, Publication, SignaturePolicy};
use saltern_wire::session::client::{ClientSession, OpenError};

/// Longer than anything here takes, on any machine; only a failing test waits as long.
pub const PATIENCE: Duration = Duration::from_secs(120);

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A master with its files.
pub struct Rig {
    pub root: PathBuf,
    master: Option<MasterHandle>,
    requester: Option<Requester>,
}

impl Rig {
    /// Starts a master; `options` are further lines of its configuration.
    pub fn start(options: &str) -> Rig {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("saltern-m-{}-{number}", std::process::id()));
        drop(fs::remove_dir_all(&root));
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::create_dir_all(root.join("srv/salt")).unwrap();
        fs::create_dir_all(root.join("srv/pillar")).unwrap();
        let config = format!(
            "root_dir: {}\ninterface: 127.0.0.1\nret_port: 0\npublish_port: 0\nid: m1_master\n\
             file_roots: {{base: [{1}/srv/salt]}}\npillar_roots: {{base: [{1}/srv/pillar]}}\n\
             timeout: 1\ngather_job_timeout: 1\n{options}\n",
            root.display(),
            root.display(),
        );
        fs::write(root.join("etc/master"), config).unwrap();
        let mut rig = Rig { root, master: None, requester: None };
        rig.begin();
        rig
    }

    /// Starts the master over the files that are there.
    pub fn begin(&mut self) {
        let loaded = load_master(&self.root.join("etc")).unwrap();
        let master = Master::start(loaded).unwrap_or_else(|e| panic!("{e}"));
        let address = master.request_address().to_string();
        self.requester = Some(Requester::new(address, RequesterOptions::default()));
        self.master = Some(master);
    }

    /// Ends the master properly; its files stay, but for those of the bus, which goes with the last
    /// of its threads.
    pub async fn end(&mut self) {
        self.requester = None;
        self.master.take().unwrap().shutdown().await;
        let bus = self.root.join("var/run/salt/master/master_event_pull.ipc");
        let gone = async {
            while bus.exists() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.expect("the bus is closed");
    }

    pub fn master(&self) -> &MasterHandle {
        self.master.as_ref().unwrap()
    }

    pub fn refused(&self, why: Refusal) -> u64 {
        self.master().counters().total(why)
    }

    pub fn pki(&self) -> PathBuf {
        self.root.join("etc/salt/pki/master")
    }

    pub fn cachedir(&self) -> PathBuf {
        self.root.join("var/cache/salt/master")
    }

    /// What the operator does with `salt-key -a`.
    pub fn accept(&self, id: &str) {
        fs::rename(self.pki().join("minions_pre").join(id), self.pki().join("minions").join(id))
            .unwrap();
    }

    /// Sends a body as it is.
    pub async fn send(&self, body: Vec<u8>) -> Vec<u8> {
        self.requester.as_ref().unwrap().request(body, PATIENCE).await.unwrap()
    }

    /// Sends a mapping as the whole body.
    pub async fn send_map(&self, outer: Map) -> Value {
        let body = msgpack::encode_map(&outer, msgpack::Encoding::OldRaw);
        msgpack::from_network(&self.send(body).await).unwrap()
    }

    /// Sends a clear command.
    pub async fn clear(&self, load: Map) -> Value {
        msgpack::from_network(&self.send(clear_request(load)).await).unwrap()
    }

    /// Sends a clear command with the root key.
    pub async fn tool(&self, mut load: Map) -> Value {
        load.insert("key", self.root_key());
        load.insert("user", "root");
        self.clear(load).await
    }

    pub fn root_key(&self) -> String {
        fs::read_to_string(self.cachedir().join(".root_key")).unwrap()
    }

    pub fn events(&self, prefix: &str) -> Subscription {
        self.master().bus().subscribe(prefix)
    }

    /// Runs a runner to its end.
    pub async fn run(&self, fun: &str, arg: Vec<Value>, kwarg: Map) -> (Value, bool) {
        let mut events = self.events("salt/run/");
        let load = Map::from([
            ("cmd", Value::from("runner")),
            ("fun", fun.into()),
            ("arg", Value::List(arg)),
            ("kwarg", Value::Map(kwarg)),
        ]);
        let answer = self.tool(load).await;
        let tag = answer.get("tag").and_then(Value::as_str).unwrap().to_owned() + "/ret";
        let data = await_event(&mut events, &tag).await;
        (data.get("return").cloned().unwrap(), data.get("success") == Some(&Value::Bool(true)))
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.master = None;
        drop(fs::remove_dir_all(&self.root));
    }
}

/// The data of the next event of exactly that tag.
pub async fn await_event(events: &mut Subscription, tag: &str) -> Map {
    let wait = async {
        loop {
            let event = events.next().await.expect("the bus is open");
            if event.tag == tag {
                return event.data.clone();
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("no event {tag}"))
}

/// A minion: its key, and what a sign-in gave it.
pub struct Minion {
    pub key: PrivateKey,
    pub identity: Identity,
    pub credentials: Option<Credentials>,
    pub known_master: CachedKey,
    pub trust: Trust,
}

impl Minion {
    pub fn new(id: &str) -> Minion {
        Minion::with_key(id, PrivateKey::generate(2048).unwrap())
    }

    pub fn with_key(id: &str, key: PrivateKey) -> Minion {
        let id = MinionId::parse(id).unwrap();
        let identity =
            Identity::new(id, key.clone(), EncAlgo::default(), SigAlgo::default()).unwrap();
        Minion {
            key,
            identity,
            credentials: None,
            known_master: CachedKey::Absent,
            trust: Trust::default(),
        }
    }

    /// A signed-in minion; the operator accepts it on the way.
    pub async fn accepted(rig: &Rig, id: &str) -> Minion {
        let mut minion = Minion::new(id);
        assert!(matches!(minion.sign_in(rig).await, Outcome::Pending));
        rig.accept(id);
        assert!(matches!(minion.sign_in(rig).await, Outcome::Accepted(_)));
        minion
    }

    pub async fn sign_in(&mut self, rig: &Rig) -> Outcome {
        self.sign_in_with(rig, None).await
    }

    pub async fn sign_in_with(&mut self, rig: &Rig, grains: Option<&Map>) -> Outcome {
        let (try_, body) = SignIn::begin(&self.identity, &self.known_master, grains).unwrap();
        let answer = rig.send(body).await;
        let outcome = try_.finish(&self.trust, &answer).unwrap();
        if let Outcome::Accepted(credentials) = &outcome {
            self.credentials = Some(Credentials::clone(credentials));
            if let Some(text) = &credentials.store_master_key {
                self.known_master = CachedKey::Text(text.clone());
            }
        }
        outcome
    }

    pub fn session(&self) -> ClientSession {
        ClientSession::new(&self.identity, self.credentials.as_ref().expect("signed in"))
    }

    pub async fn call(&self, rig: &Rig, load: Map) -> Result<Value, OpenError> {
        let session = self.session();
        let sealed = session.seal(load, SystemTime::now()).unwrap();
        session.open(&sealed.nonce, &rig.send(sealed.body).await)
    }

    /// Calls a command with text fields.
    pub async fn ask(&self, rig: &Rig, fields: &[(&str, &str)]) -> Value {
        self.call(rig, fields.iter().copied().collect()).await.unwrap()
    }

    pub async fn pillar(&self, rig: &Rig, grains: Map) -> Map {
        let session = self.session();
        let load = Map::from([
            ("cmd", Value::from("_pillar")),
            ("grains", Value::Map(grains)),
            ("ver", "2".into()),
        ]);
        let sealed = session.seal(load, SystemTime::now()).unwrap();
        session.open_pillar(&sealed.nonce, &rig.send(sealed.body).await).unwrap()
    }

    /// A request made by hand: outer id, session key and inner load are the caller's.
    pub fn forge(&self, outer_id: &str, session: &SealKey, load: &Map) -> Map {
        Map::from([
            ("enc", Value::from("aes")),
            ("load", session.seal_map(load, None).unwrap().into()),
            ("version", 3.into()),
            ("id", outer_id.into()),
        ])
    }

    pub fn token(&self) -> Vec<u8> {
        self.key.x931_sign(b"salt").unwrap()
    }

    pub async fn subscribe(&self, rig: &Rig) -> Listener {
        let options = SubscriberOptions {
            identity: self.identity.id().as_str().as_bytes().to_vec(),
            ..SubscriberOptions::default()
        };
        let address = rig.master().publish_address().to_string();
        let credentials = self.credentials.as_ref().expect("signed in");
        Listener {
            subscriber: Subscriber::connect(&address, options, &[b""]).await.unwrap(),
            opener: Opener::new(self.identity.id(), credentials, SignaturePolicy::Required),
        }
    }

    /// The load of a return.
    pub fn ret(jid: &str, fun: &str, value: impl Into<Value>) -> Map {
        Map::from([
            ("cmd", Value::from("_return")),
            ("jid", jid.into()),
            ("fun", fun.into()),
            ("fun_args", Value::List(Vec::new())),
            ("return", value.into()),
            ("retcode", 0.into()),
            ("success", true.into()),
        ])
    }
}

/// A minion's connection to the publish port.
pub struct Listener {
    subscriber: Subscriber,
    pub opener: Opener,
}

impl Listener {
    pub async fn frames(&mut self) -> Vec<Vec<u8>> {
        tokio::time::timeout(PATIENCE, self.subscriber.next()).await.expect("in time").unwrap()
    }

    pub async fn next(&mut self) -> Publication {
        let frames = self.frames().await;
        let payload = self.opener.payload(&frames).unwrap().to_vec();
        self.opener.open(&payload).unwrap().into_inner()
    }
}

/// Waits until the master sees that many subscribers, by asking it.
pub async fn await_present(rig: &Rig, ids: &[&str]) {
    let wanted = Value::List(ids.iter().map(|id| Value::from(*id)).collect());
    let wait = async {
        while rig.run("manage.present", Vec::new(), Map::new()).await.0 != wanted {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the minions are connected");
}

/// Every file below a directory, to see that nothing was written.
pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                dirs.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    files
}

/// The files of the master's keys and cache, without the databases that change by themselves.
pub fn kept(rig: &Rig) -> Vec<PathBuf> {
    let mut files = files_below(&rig.pki());
    files.extend(files_below(&rig.cachedir()));
    files.retain(|file| !file.to_string_lossy().contains(".sqlite"));
    files
}
