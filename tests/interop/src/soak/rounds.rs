//! The jobs: each round is one job, published through every master that runs, because nobody
//! knows which minion is where.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use fastrand::Rng;

use super::world::{Role, World};
use crate::Master;

/// Bytes of the file that real minions fetch.
const BLOB: usize = 3 << 20;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `test.ping` of everybody.
    Ping,
    /// Small answers of all minions with a grain.
    ByGrain,
    /// Answers of whatever size of a list.
    ByList,
    /// 50 kB each from a list.
    Medium,
    /// 1 MB each.
    Big,
    /// `salt -b`.
    Batch,
    /// A file from the master to each real minion.
    File,
    /// A command that real minions may run once only.
    Mark,
}

/// With how often each is chosen.
const KINDS: &[(Kind, u32)] = &[
    (Kind::Ping, 5),
    (Kind::ByGrain, 4),
    (Kind::ByList, 4),
    (Kind::Medium, 2),
    (Kind::Big, 1),
    (Kind::Batch, 1),
    (Kind::File, 2),
    (Kind::Mark, 3),
];

/// One job as it went out of one master.
pub(super) struct Job {
    pub(super) jid: String,
    /// Written to when the job begins, one line each time.
    pub(super) mark: Option<PathBuf>,
    /// Where the job puts the file it fetched.
    pub(super) copy: Option<PathBuf>,
}

/// The same job through all masters.
pub(super) struct Round {
    pub(super) what: &'static str,
    pub(super) jobs: Vec<Job>,
    /// Whom it concerns. Real minions are not counted on: they say themselves what they ran.
    pub(super) expected: BTreeSet<String>,
    /// Bytes of each answer, where known.
    pub(super) bytes: Option<usize>,
    /// What [`World::calm`] said before it was published.
    pub(super) calm: Option<u64>,
    pub(super) at: Instant,
}

impl Round {
    fn new(what: &'static str, jobs: Vec<Job>) -> Self {
        let expected = BTreeSet::new();
        Round { what, jobs, expected, bytes: None, calm: None, at: Instant::now() }
    }

    /// A job of swarms through every master.
    fn of_swarms(
        world: &World,
        what: &'static str,
        args: &[&str],
        expected: BTreeSet<String>,
    ) -> Self {
        let jids = world.masters_up().filter_map(|master| publish(master, args));
        let jobs = jids.map(|jid| Job { jid, mark: None, copy: None }).collect();
        Round { expected, ..Round::new(what, jobs) }
    }
}

pub(super) struct Rounds {
    rng: Rng,
    number: usize,
    /// By kind, how often.
    pub(super) made: BTreeMap<String, usize>,
}

impl Rounds {
    pub(super) fn new(seed: u64) -> Self {
        Rounds { rng: Rng::with_seed(seed), number: 0, made: BTreeMap::new() }
    }

    /// Publishes the next round.
    pub(super) fn next(&mut self, world: &mut World) -> Round {
        // Everything once, then by chance: a short run is to see all of it, too.
        let kind = match KINDS.get(self.number) {
            Some((kind, _)) => *kind,
            None => self.choose(),
        };
        self.make(kind, world)
    }

    /// One to everybody, after everything else.
    pub(super) fn last(&mut self, world: &mut World) -> Round {
        self.make(Kind::Ping, world)
    }

    fn make(&mut self, kind: Kind, world: &mut World) -> Round {
        self.number += 1;
        *self.made.entry(format!("{kind:?}")).or_default() += 1;
        let calm = world.calm();
        let round = match kind {
            Kind::Ping => {
                let everybody = world.ids(None);
                Round::of_swarms(world, "test.ping", &["*", "test.ping"], everybody)
            }
            Kind::ByGrain => {
                let args = ["-G", "size:small", "soak.text"];
                Round::of_swarms(world, "answers by grain", &args, world.ids(Some(Role::Small)))
            }
            Kind::ByList => self.list(world, "answers by list", None, 30),
            Kind::Medium => {
                let round = self.list(world, "50 kB", Some(Role::Medium), 50);
                Round { bytes: Some(50_000), ..round }
            }
            Kind::Big => {
                let round = self.list(world, "1 MB", Some(Role::Big), 5);
                Round { bytes: Some(1_000_000), ..round }
            }
            Kind::Batch => batch(world),
            Kind::File => self.file(world),
            Kind::Mark => self.mark(world),
        };
        Round { calm, ..round }
    }

    fn choose(&mut self) -> Kind {
        let mut ticket = self.rng.u32(..KINDS.iter().map(|(_, weight)| weight).sum::<u32>());
        for (kind, weight) in KINDS {
            match ticket.checked_sub(*weight) {
                Some(rest) => ticket = rest,
                None => return *kind,
            }
        }
        unreachable!("the ticket is below the sum")
    }

    /// Some minions of a role by their names.
    fn list(
        &mut self,
        world: &World,
        what: &'static str,
        role: Option<Role>,
        most: usize,
    ) -> Round {
        let mut ids: Vec<_> = world.ids(role).into_iter().collect();
        self.rng.shuffle(&mut ids);
        ids.truncate(most);
        let list = ids.join(",");
        Round::of_swarms(world, what, &["-L", &list, "soak.text"], ids.into_iter().collect())
    }

    /// Every real minion fetches a file.
    fn file(&self, world: &World) -> Round {
        let dir = world.fleet.root().join("copies");
        fs::create_dir_all(&dir).unwrap();
        for master in &world.masters {
            let blob = master.root().join("srv/salt/blob");
            if !blob.exists() {
                let bytes: Vec<u8> = (0..BLOB).map(|n| (n * n / 7) as u8).collect();
                fs::write(blob, bytes).unwrap();
            }
        }
        self.real(world, "file", |number, id| {
            let copy = dir.join(format!("{number}.{id}"));
            let args = ["cp.get_file", "salt://blob", copy.to_str().unwrap()].map(str::to_owned);
            (args.to_vec(), None, Some(copy))
        })
    }

    /// Every real minion leaves a mark.
    fn mark(&self, world: &World) -> Round {
        let dir = world.fleet.root().join("marks");
        fs::create_dir_all(&dir).unwrap();
        self.real(world, "mark", |number, id| {
            let mark = dir.join(format!("{number}.{id}"));
            let command = format!("echo begun >> {}", mark.display());
            (vec!["cmd.run".to_owned(), command], Some(mark), None)
        })
    }

    /// A job of its own for each real minion through each master.
    fn real(
        &self,
        world: &World,
        what: &'static str,
        job: impl Fn(String, &str) -> (Vec<String>, Option<PathBuf>, Option<PathBuf>),
    ) -> Round {
        let mut jobs = Vec::new();
        for (number, master) in world.masters_up().enumerate() {
            for minion in &world.minions {
                let (args, mark, copy) = job(format!("{}-{number}", self.number), &minion.id);
                let mut all = vec![minion.id.as_str()];
                all.extend(args.iter().map(String::as_str));
                let jid = publish(master, &all);
                jobs.extend(jid.map(|jid| Job { jid, mark, copy }));
            }
        }
        Round::new(what, jobs)
    }
}

/// A batch through the first master; the tool sees to each step itself, and the ids of its jobs
/// are its own. It has to come to an end, and everybody who answers has to answer well.
fn batch(world: &World) -> Round {
    if let Some(master) = world.masters_up().next() {
        let args = ["-b", "50%", "-t", "2", "--out", "txt", "-G", "size:small", "test.ping"];
        let output = master.run("salt", &args);
        let answers = output.stdout.lines().filter(|line| line.starts_with("small-"));
        let bad: Vec<_> = answers.filter(|line| line.ends_with(": False")).collect();
        assert!(bad.is_empty(), "a batch failed: {bad:?}");
    }
    Round::new("batch", Vec::new())
}

/// The id of the job, unless publishing failed.
fn publish(master: &Master, args: &[&str]) -> Option<String> {
    let mut all = vec!["--async"];
    all.extend(args);
    let output = master.run("salt", &all);
    let jid = output.stdout.split_whitespace().last().map(str::to_owned);
    jid.filter(|jid| output.code == 0 && jid.len() >= 20)
}
