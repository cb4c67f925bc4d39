//! What was sent, who took it and what is stored. Swarms write down each job they take and each
//! return that was acknowledged; real minions leave marks. What was taken must be stored at some
//! master; while nothing is disturbed everybody concerned must have taken it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::rounds::{Job, Round};
use super::world::World;
use crate::tail::Tail;
use crate::wait;

/// Returns are looked for this long after the job at the earliest.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// A return that is not stored by then is lost: all masters were there long enough.
const PATIENCE: Duration = Duration::from_secs(150);

/// A job that a minion of a swarm took.
struct Taken {
    acknowledged: bool,
    group: usize,
    /// Which process of the group took it.
    start: usize,
}

impl Taken {
    /// Whether the process that took it ended before it could answer.
    fn is_excused(&self, world: &World) -> bool {
        !self.acknowledged && world.groups[self.group].starts > self.start
    }
}

pub(super) struct Ledger {
    /// The one that was looked at longest ago comes first.
    pub(super) open: VecDeque<Entry>,
    /// Rounds so far.
    pub(super) rounds: usize,
    /// Answers found, one for each job and minion.
    pub(super) stored: usize,
    /// Taken or acknowledged, and stored nowhere.
    pub(super) lost: Vec<String>,
    /// Not taken although nobody was away.
    pub(super) unreached: Vec<String>,
    /// Run twice, or with another content than it has to have.
    pub(super) wrong: Vec<String>,
    /// Jobs that swarms wrote down as taken.
    pub(super) written: usize,
    /// Rounds during which nobody was away.
    pub(super) calm: usize,
    /// Taken by a process that was ended before it could answer.
    pub(super) excused: usize,
    taken: HashMap<String, BTreeMap<String, Taken>>,
    journals: Vec<Tail>,
}

/// A round that is not settled.
pub(super) struct Entry {
    round: Round,
    looked: Instant,
    /// By job: the minions whose answers are stored.
    found: BTreeMap<String, BTreeSet<String>>,
}

impl Ledger {
    pub(super) fn new(world: &World) -> Self {
        Ledger {
            open: VecDeque::new(),
            rounds: 0,
            stored: 0,
            lost: Vec::new(),
            unreached: Vec::new(),
            wrong: Vec::new(),
            written: 0,
            calm: 0,
            excused: 0,
            taken: HashMap::new(),
            journals: world.groups.iter().map(|group| Tail::new(&group.journal)).collect(),
        }
    }

    pub(super) fn open(&mut self, round: Round) {
        self.rounds += 1;
        for job in &round.jobs {
            self.taken.insert(job.jid.clone(), BTreeMap::new());
        }
        let (looked, found) = (round.at, BTreeMap::new());
        self.open.push_back(Entry { round, looked, found });
    }

    /// Looks after the round that was looked at longest ago.
    pub(super) fn look(&mut self, world: &mut World) {
        self.read_journals(world);
        let due = self.open.front().is_some_and(|entry| entry.looked.elapsed() >= FIRST_LOOK);
        let Some(mut entry) = self.open.pop_front_if(|_| due) else { return };
        if !self.settled(&mut entry, world) {
            entry.looked = Instant::now();
            self.open.push_back(entry);
        }
    }

    /// Waits until all rounds are settled or are given up.
    pub(super) fn settle(&mut self, world: &mut World, limit: Duration) {
        let end = Instant::now() + limit;
        while !self.open.is_empty() && Instant::now() < end {
            for _ in 0..self.open.len() {
                self.look(world);
            }
            wait::pause();
        }
        for entry in std::mem::take(&mut self.open) {
            self.close(&entry, world);
        }
    }

    /// Looks for answers of one round; whether nothing more is to be expected.
    fn settled(&mut self, entry: &mut Entry, world: &mut World) -> bool {
        self.find(entry, world);
        let over = entry.round.at.elapsed() >= PATIENCE;
        let whole = self.missing(entry, world).is_empty() && unreached(entry, world).is_empty();
        if over || whole {
            self.close(entry, world);
        }
        over || whole
    }

    fn close(&mut self, entry: &Entry, world: &mut World) {
        let what = entry.round.what;
        let lost = self.missing(entry, world);
        self.lost.extend(lost.iter().map(|(jid, id)| format!("{what}: job {jid} of {id}")));
        let unreached = unreached(entry, world);
        self.unreached.extend(unreached.iter().map(|id| format!("{what}: {id}")));
        self.calm += usize::from(is_calm(entry, world));
        self.stored += entry.found.values().map(BTreeSet::len).sum::<usize>();
        for job in &entry.round.jobs {
            let taken = self.taken.remove(&job.jid).unwrap_or_default();
            self.written += taken.len();
            self.excused += taken.values().filter(|taken| taken.is_excused(world)).count();
            for file in job.mark.iter().chain(&job.copy) {
                drop(fs::remove_file(file));
            }
        }
    }

    /// Asks all masters for the answers that are still to come.
    fn find(&mut self, entry: &mut Entry, world: &World) {
        for job in &entry.round.jobs {
            let found = entry.found.entry(job.jid.clone()).or_default();
            for (id, value) in world.masters_up().flat_map(|master| master.lookup(&job.jid)) {
                if !found.insert(id.clone()) {
                    continue;
                }
                if let Some(problem) = problem(&entry.round, job, world, &value) {
                    let what = entry.round.what;
                    self.wrong.push(format!("{what}: job {} of {id}: {problem}", job.jid));
                }
            }
        }
    }

    /// What was taken and is stored nowhere.
    fn missing(&self, entry: &Entry, world: &World) -> Vec<(String, String)> {
        let mut missing = Vec::new();
        for job in &entry.round.jobs {
            let found = entry.found.get(&job.jid);
            let taken = self.taken.get(&job.jid).into_iter().flatten();
            let due = taken.filter(|(_, taken)| !taken.is_excused(world));
            let due = due.map(|(id, _)| id.as_str());
            let ran = job.mark.as_deref().filter(|mark| runs(mark) > 0).and_then(minion_of);
            let due = due.chain(ran).filter(|id| !found.is_some_and(|found| found.contains(*id)));
            missing.extend(due.map(|id| (job.jid.clone(), id.to_owned())));
        }
        missing
    }

    fn read_journals(&mut self, world: &World) {
        for (number, journal) in self.journals.iter_mut().enumerate() {
            for line in journal.lines() {
                let words: Vec<&str> = line.split(' ').collect();
                let [what, jid, id] = words.as_slice() else { continue };
                let Some(job) = self.taken.get_mut(*jid) else { continue };
                let start = world.groups[number].starts;
                let new = Taken { acknowledged: false, group: number, start };
                let taken = job.entry((*id).to_owned()).or_insert(new);
                taken.acknowledged |= *what == "a";
            }
        }
    }
}

/// Whether nobody was away from before it was sent until now.
fn is_calm(entry: &Entry, world: &mut World) -> bool {
    entry.round.calm.is_some() && entry.round.calm == world.calm()
}

/// Whom it did not reach although nobody was away.
fn unreached(entry: &Entry, world: &mut World) -> Vec<String> {
    if !is_calm(entry, world) {
        return Vec::new();
    }
    let reached = |id: &String| entry.found.values().any(|found| found.contains(id));
    entry.round.expected.iter().filter(|id| !reached(id)).cloned().collect()
}

/// What is wrong with an answer.
fn problem(round: &Round, job: &Job, world: &World, value: &Value) -> Option<String> {
    let text = value.as_str().unwrap_or_default();
    if let Some(bytes) = round.bytes.filter(|bytes| text.len() != *bytes) {
        return Some(format!("{} bytes instead of {bytes}", text.len()));
    }
    let times = job.mark.as_deref().map_or(0, runs);
    if times > 1 {
        return Some(format!("run {times} times"));
    }
    // A master that ends meanwhile leaves no file: the answer then says so instead of the path.
    let copy = job.copy.as_ref().filter(|copy| text == copy.to_string_lossy())?;
    let same = fs::read(copy).ok() == fs::read(world.masters[0].root().join("srv/salt/blob")).ok();
    (!same).then(|| format!("{} is not what was sent", copy.display()))
}

/// How often a job began.
fn runs(mark: &Path) -> usize {
    fs::read_to_string(mark).map_or(0, |text| text.lines().count())
}

/// Whose mark it is: `NUMBER.ID`.
fn minion_of(mark: &Path) -> Option<&str> {
    Some(mark.file_name()?.to_str()?.split_once('.')?.1)
}
