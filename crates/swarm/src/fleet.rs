//! What all minions of a swarm share.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use saltern_base::Jid;
use saltern_crypto::PublicKey;
use saltern_target::{Expression, Options};
use saltern_value::{Map, Value, yaml};
use saltern_wire::auth::client::{CachedKey, Trust, VerificationKey};
use saltern_wire::publish::{OpenError, Opener, Publication};

use crate::plan::{Plan, fill};
use crate::stats::{Stats, more};
use crate::work::Kind;

/// Publications kept opened: as many as can be on their way at a time.
const OPENED: usize = 64;

/// Shared by all minions.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) plan: Plan,
    pub(crate) stats: Stats,
    pub(crate) trust: Trust,
    /// When the first minion was started.
    pub(crate) began: OnceLock<Instant>,
    /// Time from there until all were connected for the first time.
    pub(crate) connected_after: OnceLock<Duration>,
    /// How each minion behaves.
    pub(crate) kinds: Vec<Kind>,
    /// Which minions have answered.
    answered: Vec<AtomicBool>,
    /// What the job ids of a flood begin with: each run has its own.
    pub(crate) flood: String,
    /// Minions connected to each master.
    pub(crate) on: Vec<AtomicU64>,
    /// What the first sign-in at each master has shown, for trust at first use.
    known: Vec<Mutex<CachedKey>>,
    opened: Mutex<VecDeque<Kept>>,
    journal: Option<Mutex<BufWriter<File>>>,
}

/// A publication as every minion of the same master finds it.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) publication: Publication,
    /// Whom it means; `None` where that cannot be read, and nobody is meant.
    pub(crate) expression: Option<Expression>,
    /// Whether that takes a minion's grains.
    pub(crate) reads_grains: bool,
}

#[derive(Debug)]
struct Kept {
    mark: Arc<str>,
    payload: Vec<u8>,
    opened: Arc<Opened>,
}

impl Fleet {
    /// # Errors
    /// The journal cannot be opened.
    pub(crate) fn new(plan: Plan, kinds: Vec<Kind>) -> Result<Self, String> {
        let journal = plan.journal.as_ref().map(|path| {
            let file = File::options().append(true).create(true).open(path);
            file.map(|file| Mutex::new(BufWriter::new(file)))
                .map_err(|e| format!("--journal: {}: {e}", path.display()))
        });
        let journal = journal.transpose()?;
        let keys: Vec<VerificationKey> = plan
            .verify
            .iter()
            .map(|key: &PublicKey| VerificationKey {
                name: "master_sign.pub".to_owned(),
                key: key.clone(),
            })
            .collect();
        let trust = Trust {
            verify_master_pubkey_sign: !keys.is_empty(),
            verification_keys: keys,
            unexpected_signature: saltern_wire::auth::client::Mismatch::Warn,
            ..Trust::default()
        };
        Ok(Fleet {
            journal,
            on: plan.masters.iter().map(|_| AtomicU64::new(0)).collect(),
            known: plan.masters.iter().map(|_| Mutex::new(CachedKey::Absent)).collect(),
            opened: Mutex::default(),
            stats: Stats::default(),
            began: OnceLock::new(),
            connected_after: OnceLock::new(),
            answered: kinds.iter().map(|_| AtomicBool::new(false)).collect(),
            kinds,
            flood: Jid::at(SystemTime::now()).as_str().chars().take(14).collect(),
            trust,
            plan,
        })
    }

    /// Minions of that kind.
    pub(crate) fn of_kind(&self, kind: Kind) -> u64 {
        self.kinds.iter().filter(|one| **one == kind).count() as u64
    }

    /// Whether all are connected, but for those that are cut off on purpose just now.
    pub(crate) fn is_connected(&self) -> bool {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (connected, lost) = (load(&self.stats.connected), load(&self.stats.lost));
        let wanted = self.plan.wanted();
        if connected >= wanted {
            return true;
        }
        let each = if self.plan.hot { self.plan.masters.len() as u64 } else { 1 };
        connected + lost.min(self.of_kind(Kind::Flapping) * each) >= wanted
    }

    /// Notes that a minion has answered what it was asked.
    pub(crate) fn has_answered(&self, position: usize) {
        let answered = self.answered.get(position);
        if answered.is_some_and(|answered| !answered.swap(true, Ordering::Relaxed)) {
            more(&self.stats.minions_answered);
        }
    }

    /// Notes what became of a job. What cannot be written counts as an error.
    pub(crate) fn note(&self, what: char, jid: &str, id: &str) {
        let Some(journal) = &self.journal else { return };
        let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
        if writeln!(journal, "{what} {jid} {id}").is_err() {
            self.stats.error("journal: cannot be written");
        }
    }

    /// Writes out what was noted.
    pub(crate) fn flush(&self) {
        if let Some(journal) = &self.journal
            && journal.lock().unwrap_or_else(PoisonError::into_inner).flush().is_err()
        {
            self.stats.error("journal: cannot be written");
        }
    }

    pub(crate) fn known(&self, master: usize) -> CachedKey {
        let known =
            self.known.get(master).map(|k| k.lock().unwrap_or_else(PoisonError::into_inner));
        known.map_or(CachedKey::Absent, |known| known.clone())
    }

    pub(crate) fn remember(&self, master: usize, pem: &str) {
        if let Some(known) = self.known.get(master) {
            *known.lock().unwrap_or_else(PoisonError::into_inner) = CachedKey::Text(pem.to_owned());
        }
    }

    /// Opens a publication, or takes it from whoever has opened the same bytes with the same keys.
    pub(crate) fn open(
        &self,
        opener: &mut Opener,
        mark: &Arc<str>,
        payload: &[u8],
    ) -> Result<Arc<Opened>, OpenError> {
        {
            let kept = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
            let same = |one: &&Kept| one.payload == payload && one.mark == *mark;
            if let Some(found) = kept.iter().rev().find(same) {
                return Ok(found.opened.clone());
            }
        }
        let publication = opener.open(payload)?.into_inner();
        let delimiter = publication.map.get_str("delimiter").unwrap_or(":").to_owned();
        let options = Options { delimiter: &delimiter, ..Options::default() };
        let expression = Expression::parse(&publication.tgt_type, &publication.tgt, &options).ok();
        let reads_grains = expression.as_ref().is_some_and(|e| e.reads().grains);
        let opened = Arc::new(Opened { publication, expression, reads_grains });
        let mut kept = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(Kept {
            mark: mark.clone(),
            payload: payload.to_vec(),
            opened: opened.clone(),
        });
        if kept.len() > OPENED {
            kept.pop_front();
        }
        Ok(opened)
    }

    /// The grains of a minion.
    pub(crate) fn grains(&self, position: usize, id: &str) -> Map {
        let number = self.plan.first + position;
        let turn = number.checked_rem(self.plan.grains.len());
        let text = turn.and_then(|turn| self.plan.grains.get(turn)).map_or(GRAINS, String::as_str);
        let text = fill(text, number).replace("{id}", id);
        let mut grains = match yaml::load(&text) {
            Ok(Value::Map(grains)) => grains,
            _ => Map::new(),
        };
        grains.insert("id", id);
        grains
    }
}

/// What a simulated machine looks like unless the user says otherwise.
const GRAINS: &str = "\
os: Debian
os_family: Debian
osrelease: '12'
osmajorrelease: 12
oscodename: bookworm
kernel: Linux
cpuarch: x86_64
num_cpus: 2
mem_total: 2048
host: '{id}'
virtual: swarm
saltversion: 3006.24
";
