//! The spool as the rest of the minion uses it: from any thread, and for as long as the disk does
//! not work without it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, flock};
use saltern_value::msgpack::{self, Encoding};
use saltern_value::{Map, Value};

use super::disk::{Disk, Kept};
use super::item::{self, Item, Label};
use super::record::{self, Kind};

/// The directory below `cachedir`.
const DIR: &str = "spool";

/// Files with a single return that `salt-call` could not deliver begin so.
pub(crate) const CALL: &str = "call-";

/// What was there at the start.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    /// Items with their numbers, oldest first, and the bytes each takes.
    pub(crate) items: Vec<(u64, Label, u64)>,
    /// Jobs that had begun and not ended: number, master that asked, publication.
    pub(crate) begun: Vec<(u64, Option<String>, Map)>,
}

/// The spool of a minion.
#[derive(Debug)]
pub(crate) struct Store {
    dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    disk: Option<Disk>,
    /// Has been written to since the last sync.
    unsynced: Vec<Arc<File>>,
    failing: bool,
}

impl Store {
    pub(crate) fn new(cachedir: &Path) -> Self {
        Store { dir: cachedir.join(DIR), state: Mutex::default() }
    }

    /// Reads what a former run has left.
    pub(crate) fn open(&self) -> Opened {
        let mut opened = Opened::default();
        let mut state = self.state();
        match open(&self.dir, &mut opened) {
            Ok(disk) => state.disk = Some(disk),
            Err(error) => self.failed(&mut state, &error),
        }
        opened
    }

    /// A file of that name in its directory.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A disk that does not work is told once, not for every return.
    fn failed(&self, state: &mut State, error: &io::Error) {
        if !state.failing {
            log::error!(
                "Returns cannot be written to {}: {error}. They are sent from memory, and lost if \
                 the minion ends before a master has them; give the directory to the minion's \
                 user, or make room on its disk",
                self.dir.display()
            );
            state.failing = true;
        }
    }

    fn worked(&self, state: &mut State) {
        if state.failing {
            log::info!("Returns are written to {} again", self.dir.display());
            state.failing = false;
        }
    }

    /// The disk; one that did not work is tried again.
    fn with<T>(
        &self,
        state: &mut State,
        work: impl FnOnce(&mut Disk) -> io::Result<T>,
    ) -> io::Result<T> {
        if state.disk.is_none() {
            // What it holds from before comes with the next start of the minion.
            state.disk = Some(Disk::open(&self.dir, |kept| closes(&kept))?);
        }
        state.disk.as_mut().map_or_else(|| Err(io::ErrorKind::NotFound.into()), work)
    }

    /// Writes items down and waits until they last. Those without a number could not be written.
    pub(crate) fn keep(&self, items: &[Item]) -> Vec<Option<u64>> {
        let written = self.keep_together(items);
        if written.is_ok() || items.len() == 1 {
            return written.unwrap_or_else(|_| vec![None; items.len()]);
        }
        // One that is too large for what room is left does not keep out the others.
        let single = |item| self.keep_together(std::slice::from_ref(item)).unwrap_or_default();
        items.iter().map(|item| single(item).first().copied().flatten()).collect()
    }

    fn keep_together(&self, items: &[Item]) -> io::Result<Vec<Option<u64>>> {
        let done = self.write(items);
        if let Err(error) = &done {
            self.failed(&mut self.state(), error);
        }
        done
    }

    fn write(&self, items: &[Item]) -> io::Result<Vec<Option<u64>>> {
        let count = items.len();
        let numbers: Vec<u64> =
            self.with(&mut self.state(), |disk| Ok((0..count).map(|_| disk.number()).collect()))?;
        let (mut bytes, mut places) = (Vec::new(), Vec::with_capacity(count));
        for (item, number) in items.iter().zip(&numbers) {
            let start = bytes.len();
            record::append(&mut bytes, Kind::Item, *number, |out| item.write(out));
            places.push((*number, start as u64, (bytes.len() - start) as u64));
        }
        let file = {
            let mut state = self.state();
            let file = self.with(&mut state, |disk| disk.append(&bytes, &places))?;
            state.unsynced.retain(|other| !Arc::ptr_eq(other, &file));
            file
        };
        drop(bytes);
        if let Err(error) = file.sync_data() {
            // It may be there or not: the copy in memory counts, the one on disk goes.
            let mut state = self.state();
            for number in numbers {
                let _ = self.with(&mut state, |disk| disk.done(number));
            }
            return Err(error);
        }
        let mut state = self.state();
        for closed in items.iter().filter_map(|item| item.closes) {
            self.with(&mut state, |disk| Ok(disk.forget(closed)))?;
        }
        self.worked(&mut state);
        Ok(numbers.into_iter().map(Some).collect())
    }

    /// Notes that a job begins, so that somebody hears of it whatever happens to this program.
    pub(crate) fn begun(&self, origin: Option<&str>, job: &Map) -> Option<u64> {
        let about = Map::from([
            ("origin", origin.map_or(Value::Nil, Value::from)),
            ("job", Value::Map(job.clone())),
        ]);
        let mut state = self.state();
        let done = self.with(&mut state, |disk| {
            let (number, mut bytes) = (disk.number(), Vec::new());
            record::append(&mut bytes, Kind::Begun, number, |out| {
                msgpack::encode_map_into(out, &about, Encoding::Bin);
            });
            let file = disk.append(&bytes, &[(number, 0, bytes.len() as u64)])?;
            Ok((number, file))
        });
        match done {
            Ok((number, file)) => {
                if !state.unsynced.iter().any(|other| Arc::ptr_eq(other, &file)) {
                    state.unsynced.push(file);
                }
                Some(number)
            }
            Err(error) => {
                self.failed(&mut state, &error);
                None
            }
        }
    }

    /// Whether something waits for [`Store::sync`].
    pub(crate) fn is_unsynced(&self) -> bool {
        !self.state().unsynced.is_empty()
    }

    /// Makes what was noted survive a power cut.
    pub(crate) fn sync(&self) {
        let files = std::mem::take(&mut self.state().unsynced);
        for file in files {
            if let Err(error) = file.sync_data() {
                self.failed(&mut self.state(), &error);
            }
        }
    }

    /// Nothing is left to do for this number.
    pub(crate) fn done(&self, number: u64) {
        let mut state = self.state();
        if let Err(error) = self.with(&mut state, |disk| disk.done(number)) {
            self.failed(&mut state, &error);
        }
    }

    /// The load of an item that was written down.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn load(&self, number: u64) -> Result<Map, String> {
        let mut state = self.state();
        let bytes = self.with(&mut state, |disk| disk.read(number));
        drop(state);
        let bytes =
            bytes.map_err(|e| format!("it cannot be read from {}: {e}", self.dir.display()))?;
        item::load(&bytes).ok_or_else(|| format!("it is damaged in {}", self.dir.display()))
    }

    /// What `salt-call` has left, once it has ended; each file goes when its item is written down
    /// here.
    pub(crate) fn left_by_calls(&self) -> Vec<(PathBuf, Item)> {
        let names = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let calls = names.filter(|e| e.file_name().to_string_lossy().starts_with(CALL));
        calls.filter_map(|entry| Some((entry.path(), left(&entry.path())?))).collect()
    }
}

/// The return in a file of a `salt-call` that has ended.
fn left(path: &Path) -> Option<Item> {
    let file = File::open(path).ok()?;
    // Held for as long as that program lives.
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    let bytes = fs::read(path).ok()?;
    let body = match record::read(&bytes) {
        Some((Kind::Item, _, end)) => bytes.get(record::HEADER..end)?,
        _ => {
            log::warn!("{} is not whole and is removed: its call was cut short", path.display());
            drop(fs::remove_file(path));
            return None;
        }
    };
    let (label, _) = item::label(body)?;
    let load = Arc::new(item::load(body)?);
    Some(Item { load, origin: label.origin, made: label.made, closes: None })
}

/// Writes one return into a file of its own, for programs that live for one call. The file is
/// locked for as long as the answer is kept.
///
/// # Errors
/// The disk's.
pub(crate) fn keep_alone(cachedir: &Path, item: &Item) -> io::Result<(PathBuf, File)> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let dir = cachedir.join(DIR);
    super::disk::private_dir(&dir)?;
    let path = dir.join(format!("{CALL}{}-{:016x}.log", std::process::id(), fastrand::u64(..)));
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
    let write = |file: &mut File| {
        flock(&*file, FlockOperation::NonBlockingLockExclusive)?;
        let mut bytes = Vec::new();
        record::append(&mut bytes, Kind::Item, 1, |out| item.write(out));
        file.write_all(&bytes)?;
        file.sync_data()?;
        File::open(&dir)?.sync_all()
    };
    match write(&mut file) {
        Ok(()) => Ok((path, file)),
        Err(error) => {
            drop(fs::remove_file(&path));
            Err(error)
        }
    }
}

fn closes(kept: &Kept) -> Option<u64> {
    let label = (kept.kind == Kind::Item).then(|| item::label(&kept.body)).flatten();
    label.and_then(|(label, _)| label.closes)
}

fn open(dir: &Path, opened: &mut Opened) -> io::Result<Disk> {
    let (mut items, mut begun) = (BTreeMap::new(), BTreeMap::new());
    let disk = Disk::open(dir, |kept| {
        let closed = closes(&kept);
        match kept.kind {
            Kind::Done => {
                items.remove(&kept.number);
                begun.remove(&kept.number);
            }
            Kind::Item => {
                let bytes = kept.body.len() as u64;
                items.extend(item::label(&kept.body).map(|(l, _)| (kept.number, (l, bytes))));
            }
            Kind::Begun => {
                begun.extend(publication(&kept.body).map(|about| (kept.number, about)));
            }
        }
        if let Some(closed) = &closed {
            begun.remove(closed);
        }
        closed
    })?;
    opened.items = items.into_iter().map(|(n, (label, bytes))| (n, label, bytes)).collect();
    opened.begun = begun.into_iter().map(|(n, (origin, job))| (n, origin, job)).collect();
    Ok(disk)
}

fn publication(body: &[u8]) -> Option<(Option<String>, Map)> {
    let about = msgpack::from_file(body).ok()?.into_map()?;
    let origin = about.get_str("origin").map(str::to_owned);
    let job = about.get("job")?.as_map()?.clone();
    Some((origin, job))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JID: &str = "20260102030405000678";

    fn job() -> Map {
        Map::from([("jid", JID), ("fun", "test.ping")])
    }

    fn ret(closes: Option<u64>) -> Item {
        let load = Map::from([("cmd", "_return"), ("jid", JID)]);
        Item { closes, ..Item::new(load, Some("m1".to_owned())) }
    }

    #[test]
    fn a_job_is_lost_until_its_return_is_kept_and_never_both() {
        let dir = std::env::temp_dir().join(format!("saltern-store-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let store = Store::new(&dir);
        assert!(store.open().begun.is_empty());
        let number = store.begun(Some("m1"), &job());
        assert!(number.is_some() && store.is_unsynced());
        store.sync();

        let store = Store::new(&dir);
        let opened = store.open();
        assert_eq!(opened.begun, [(number.unwrap(), Some("m1".to_owned()), job())]);
        let kept = store.keep(&[ret(number)]);
        let [Some(item)] = kept[..] else { panic!("{kept:?}") };

        let store = Store::new(&dir);
        let opened = store.open();
        assert!(opened.begun.is_empty(), "it has returned");
        assert_eq!(opened.items.len(), 1);
        assert_eq!(store.load(item).unwrap(), *ret(None).load);
        store.done(item);
        let opened = Store::new(&dir).open();
        assert!(opened.begun.is_empty() && opened.items.is_empty());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_used_costs_nothing_but_safety() {
        let dir = std::env::temp_dir().join(format!("saltern-store-file-{}", std::process::id()));
        fs::write(&dir, "in the way").unwrap();
        let store = Store::new(&dir);
        assert!(store.open().items.is_empty());
        assert_eq!(store.keep(&[ret(None), ret(None)]), [None, None]);
        assert_eq!(store.begun(None, &job()), None);
        fs::remove_file(&dir).unwrap();
        assert!(store.keep(&[ret(None)])[0].is_some(), "it works again");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_a_call_left_is_taken_over_once_it_has_ended() {
        let dir = std::env::temp_dir().join(format!("saltern-store-call-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let (path, lock) = keep_alone(&dir, &ret(None)).unwrap();
        let store = Store::new(&dir);
        store.open();
        assert!(store.left_by_calls().is_empty(), "it is still at it");
        drop(lock);
        let left = store.left_by_calls();
        assert_eq!((left.len(), &left[0].0), (1, &path));
        assert_eq!(left[0].1.origin.as_deref(), Some("m1"));
        fs::remove_dir_all(dir).unwrap();
    }
}
