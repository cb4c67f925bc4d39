//! What was given up on its way to a master, until one has been told of it: told as soon as there
//! is a master, and again until one has heard it, whatever becomes of masters and of this program
//! meanwhile. Of any number of them only sums and a few names are kept.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use saltern_base::atomic_file;
use saltern_value::{Map, Value, json};

use super::disk;

/// In the directory of the spool, while there is something to tell.
pub(super) const FILE: &str = "dropped.json";

/// Names of dropped items that are told; of more only the number.
const NAMED: usize = 20;

/// A larger file is none of ours.
const MAX_BYTES: u64 = 1 << 20;

/// Pauses after tries in vain: each is twice the one before.
const SHORT_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What is told in one event.
#[derive(Clone, Debug, Default, PartialEq)]
struct Batch {
    /// Tells it from all others, so that a master which hears it twice counts it once.
    telling: String,
    count: u64,
    bytes: u64,
    what: Vec<String>,
}

/// What is to be told.
#[derive(Debug)]
pub(super) struct Debt {
    file: PathBuf,
    /// Is being told, or was in vain: it does not change any more.
    open: Option<Batch>,
    /// Since then.
    next: Batch,
    tries: usize,
    not_before: Option<Instant>,
    /// The file does not say so yet.
    changed: bool,
    failing: Arc<AtomicBool>,
}

/// What the file has to hold; none for no file.
#[derive(Debug)]
pub(super) struct Note {
    file: PathBuf,
    text: Option<String>,
    failing: Arc<AtomicBool>,
}

impl Debt {
    /// Takes over what a former run has left in that file.
    pub(super) fn read(file: PathBuf) -> Self {
        let mut batches = match load(&file) {
            Ok(batches) => batches.into_iter(),
            Err(error) => {
                log::warn!(
                    "{} is not readable, so that no master hears of what a former run gave up: \
                     {error}",
                    file.display()
                );
                Vec::new().into_iter()
            }
        };
        Debt {
            file,
            open: batches.next(),
            next: batches.next().unwrap_or_default(),
            tries: 0,
            not_before: None,
            changed: false,
            failing: Arc::default(),
        }
    }

    /// One more was given up.
    pub(super) fn add(&mut self, what: String, bytes: u64) {
        let next = &mut self.next;
        if next.count == 0 {
            next.telling = format!("{:016x}", fastrand::u64(..));
        }
        next.count += 1;
        next.bytes = next.bytes.saturating_add(bytes);
        if next.what.len() < NAMED {
            next.what.push(what);
        }
        self.changed = true;
    }

    /// A way to a master has come about.
    pub(super) fn released(&mut self) {
        self.not_before = None;
    }

    /// Tries in vain since the last success.
    pub(super) fn tries(&self) -> usize {
        self.tries
    }

    /// When there is something to tell; `None` when there is nothing, or at once.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.not_before.filter(|_| self.open.is_some())
    }

    /// What is to be told now, and whether it is for the first time.
    pub(super) fn due(&mut self, now: Instant) -> Option<(Map, bool)> {
        let first = self.open.is_none();
        if first && self.next.count > 0 {
            self.open = Some(std::mem::take(&mut self.next));
        }
        let open = self.open.as_ref()?;
        let early = self.not_before.is_some_and(|at| at > now);
        (!early).then(|| (open.shown(), first))
    }

    /// A master has heard it.
    pub(super) fn told(&mut self) {
        (self.open, self.tries, self.not_before) = (None, 0, None);
        self.changed = true;
    }

    /// None has.
    pub(super) fn failed(&mut self, now: Instant) {
        let times = u32::try_from(self.tries.min(16)).unwrap_or(16);
        let pause = SHORT_PAUSE.saturating_mul(1 << times).min(LONGEST_PAUSE);
        self.not_before = Some(now + pause.mul_f64(0.5 + 0.5 * fastrand::f64()));
        self.tries = self.tries.saturating_add(1);
    }

    /// What is to be written, if something has changed since the last one.
    pub(super) fn note(&mut self) -> Option<Note> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let batches = self.open.iter().chain([&self.next]).filter(|batch| batch.count > 0);
        let batches: Vec<Value> = batches.map(|batch| Value::Map(batch.shown())).collect();
        let text = (!batches.is_empty()).then(|| json::to_string(&Value::List(batches), None));
        Some(Note { file: self.file.clone(), text, failing: self.failing.clone() })
    }
}

impl Batch {
    fn shown(&self) -> Map {
        Map::from([
            ("telling", Value::from(self.telling.as_str())),
            ("count", self.count.into()),
            ("bytes", self.bytes.into()),
            ("what", self.what.clone().into()),
        ])
    }

    fn of(map: &Map) -> Option<Self> {
        let number = |name: &str| u64::try_from(map.get(name)?.as_int()?).ok();
        let what = map.get("what").and_then(Value::as_list).unwrap_or_default();
        Some(Batch {
            telling: map.get_str("telling")?.to_owned(),
            count: number("count")?,
            bytes: number("bytes")?,
            what: what.iter().filter_map(Value::as_str).take(NAMED).map(str::to_owned).collect(),
        })
    }
}

impl Note {
    /// Writes it. What fails is said once until it works.
    pub(super) fn write(self) {
        let done = match &self.text {
            Some(text) => self.file.parent().map_or(Ok(()), disk::private_dir).and_then(|()| {
                // A power cut is no reason to make every loss wait for the disk.
                atomic_file::write_unsynced(&self.file, text.as_bytes(), 0o600)
            }),
            None => match fs::remove_file(&self.file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        };
        let failing = self.failing.swap(done.is_err(), Ordering::Relaxed);
        if let (Err(error), false) = (done, failing) {
            log::warn!(
                "{} cannot be written: {error}. Should the minion end before a master is told \
                 what was given up, none will be; give the directory to the minion's user, or \
                 make room on its disk",
                self.file.display()
            );
        }
    }
}

/// What the file says; nothing when there is none.
fn load(file: &Path) -> io::Result<Vec<Batch>> {
    let bad = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text);
    let text = match fs::metadata(file) {
        Ok(about) if about.len() > MAX_BYTES => return Err(bad("it is far too large")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        _ => fs::read_to_string(file)?,
    };
    let Ok(Value::List(batches)) = json::parse(&text) else { return Err(bad("it is damaged")) };
    Ok(batches.iter().filter_map(|batch| Batch::of(batch.as_map()?)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(told: &Map) -> Option<i64> {
        told.get("count")?.as_int()
    }

    #[test]
    fn what_is_told_stays_the_same_until_it_is_heard() {
        let now = Instant::now();
        let mut debt = Debt::read(PathBuf::from("/nonexistent/dropped.json"));
        assert!(debt.due(now).is_none());
        for n in 0..30 {
            debt.add(format!("item {n}"), 10);
        }
        let (told, first) = debt.due(now).unwrap();
        assert_eq!((count(&told), first), (Some(30), true));
        assert_eq!(told.get("what").and_then(Value::as_list).map(<[Value]>::len), Some(NAMED));
        debt.add("later".to_owned(), 1);
        debt.failed(now);
        let at = debt.due_at().unwrap();
        assert!(at > now && debt.due(now).is_none(), "not at once again");
        assert_eq!(debt.due(at), Some((told.clone(), false)));
        debt.failed(at);
        debt.released();
        assert_eq!(debt.due(at), Some((told, false)), "a new way ends the pause");
        debt.told();
        let (told, first) = debt.due(at).unwrap();
        assert_eq!((count(&told), first), (Some(1), true));
        debt.told();
        assert!(debt.due(at).is_none() && debt.due_at().is_none());
    }

    #[test]
    fn a_later_run_tells_what_a_former_one_could_not() {
        let dir = std::env::temp_dir().join(format!("saltern-dropped-{}", std::process::id()));
        let file = dir.join(FILE);
        let mut debt = Debt::read(file.clone());
        assert!(debt.note().is_none());
        debt.add("return of job 1".to_owned(), 7);
        let (told, _) = debt.due(Instant::now()).unwrap();
        debt.add("return of job 2".to_owned(), 8);
        debt.note().unwrap().write();
        assert!(debt.note().is_none());

        let mut debt = Debt::read(file.clone());
        assert_eq!(debt.due(Instant::now()), Some((told, false)));
        debt.told();
        assert_eq!(debt.due(Instant::now()).and_then(|(told, _)| count(&told)), Some(1));
        debt.told();
        debt.note().unwrap().write();
        assert!(!file.exists(), "nothing is left to tell");

        fs::write(&file, "[{\"count\": 1}, 7, ").unwrap();
        assert!(Debt::read(file).due(Instant::now()).is_none());
        fs::remove_dir_all(dir).unwrap();
    }
}
