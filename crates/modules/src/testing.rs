//! Helpers of unit tests: scratch directories, and a host that answers from memory.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use saltern_value::{Map, Value};

use crate::call::{Call, Outcome};
use crate::host::{EventStream, Host, HostError, Refresh};
use crate::jobs::JobTable;
use crate::registry::Registry;

/// A directory that goes away with the value.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let unique = COUNTER.fetch_add(1, Ordering::Relaxed);
        let dir =
            std::env::temp_dir().join(format!("saltern-modules-{}-{unique}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        TempDir(dir.canonicalize().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn join(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A host in memory.
pub(crate) struct TestHost {
    pub(crate) dir: TempDir,
    pub(crate) opts: Map,
    pub(crate) grains: Map,
    pub(crate) pillar: Map,
    pub(crate) local: bool,
    pub(crate) answers: Mutex<VecDeque<Result<Value, HostError>>>,
    pub(crate) requests: Mutex<Vec<Map>>,
    pub(crate) fired: Mutex<Vec<(String, Map)>>,
    pub(crate) refreshed: Mutex<Vec<Refresh>>,
    pub(crate) bus: Arc<Mutex<VecDeque<(String, Map)>>>,
    pub(crate) printed: Mutex<Vec<String>>,
    pub(crate) failover: Map,
    pub(crate) switched: Mutex<Vec<String>>,
    jobs: JobTable,
}

impl TestHost {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new();
        let opts = Map::from([
            ("id", Value::from("m1")),
            ("cachedir", Value::from(dir.join("cache"))),
            ("conf_file", Value::from(dir.join("conf/minion"))),
            ("hash_type", Value::from("sha256")),
            ("file_buffer_size", Value::Int(1_048_576)),
        ]);
        std::fs::create_dir_all(dir.path().join("conf")).unwrap();
        TestHost {
            jobs: JobTable::new(&dir.path().join("cache"), true),
            dir,
            opts,
            grains: Map::new(),
            pillar: Map::new(),
            local: false,
            answers: Mutex::default(),
            requests: Mutex::default(),
            fired: Mutex::default(),
            refreshed: Mutex::default(),
            bus: Arc::default(),
            printed: Mutex::default(),
            failover: Map::from([
                ("running", Value::from(true)),
                ("master", "127.0.0.1".into()),
                ("masters", Map::new().into()),
            ]),
            switched: Mutex::default(),
        }
    }

    pub(crate) fn answer(&self, value: impl Into<Value>) {
        self.answers.lock().unwrap().push_back(Ok(value.into()));
    }
}

impl Host for TestHost {
    fn opts(&self) -> Arc<Map> {
        Arc::new(self.opts.clone())
    }
    fn grains(&self) -> Arc<Map> {
        Arc::new(self.grains.clone())
    }
    fn pillar(&self) -> Arc<Map> {
        Arc::new(self.pillar.clone())
    }
    fn compile_pillar(
        &self,
        _: Option<&str>,
        _: Option<&str>,
        overrides: Option<&Map>,
    ) -> Result<Map, HostError> {
        let mut pillar = self.pillar.clone();
        pillar.extend(overrides.cloned().unwrap_or_default());
        Ok(pillar)
    }
    fn request(&self, load: Map, _: Option<Duration>) -> Result<Value, HostError> {
        if self.local {
            return Registry::standard().answer_locally(&load, &self.opts);
        }
        self.requests.lock().unwrap().push(load);
        self.answers.lock().unwrap().pop_front().unwrap_or(Err(HostError::NoMaster))
    }
    fn fire_event(&self, tag: &str, data: Map) -> bool {
        self.fired.lock().unwrap().push((tag.to_owned(), data));
        true
    }
    fn events(&self) -> Result<Box<dyn EventStream>, HostError> {
        Ok(Box::new(TestBus(self.bus.clone())))
    }
    fn emit(&self, line: &str) {
        self.printed.lock().unwrap().push(line.to_owned());
    }
    fn jobs(&self) -> &JobTable {
        &self.jobs
    }
    fn refresh(&self, what: Refresh, _: bool) -> bool {
        self.refreshed.lock().unwrap().push(what);
        true
    }
    fn master(&self) -> Option<String> {
        Some("127.0.0.1".to_owned())
    }
    fn is_local(&self) -> bool {
        self.local
    }
    fn failover(&self) -> Map {
        self.failover.clone()
    }
    fn switch(&self, to: Option<&str>, within: Duration, drain: bool) -> Result<Map, HostError> {
        let asked = format!("{} {} {drain}", to.unwrap_or("-"), within.as_secs());
        self.switched.lock().unwrap().push(asked);
        Ok(Map::from([("result", true)]))
    }
    fn ping(&self, master: &str) -> bool {
        master == "127.0.0.1"
    }
}

struct TestBus(Arc<Mutex<VecDeque<(String, Map)>>>);

impl EventStream for TestBus {
    fn next(&mut self, _: Option<Duration>) -> Result<Option<(String, Map)>, HostError> {
        let next = self.0.lock().unwrap().pop_front();
        next.map(Some).ok_or(HostError::NoMaster)
    }
}

/// Runs a function as a published job would, with arguments as the command line types them.
pub(crate) fn run_on(host: &Arc<TestHost>, fun: &str, args: &[&str]) -> Outcome {
    let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
    let (positional, keywords) = crate::args::parse_args(&args, &[]);
    let call = Call::new(fun, positional, keywords);
    run_call(host, &call)
}

/// Runs a call.
pub(crate) fn run_call(host: &Arc<TestHost>, call: &Call) -> Outcome {
    let host: Arc<dyn Host> = host.clone();
    Registry::standard().run(call, &host)
}

/// Runs a function on a fresh host.
pub(crate) fn run(fun: &str, args: &[&str]) -> Outcome {
    run_on(&Arc::new(TestHost::new()), fun, args)
}

/// The value of a run that must succeed.
pub(crate) fn ok(fun: &str, args: &[&str]) -> Value {
    let outcome = run(fun, args);
    assert_eq!(outcome.failure, None, "{fun}: {:?}", outcome.value);
    outcome.value
}
