//! The spool on disk, `<cachedir>/spool`: returns and events until a master has them, and jobs from
//! their begin to their end, as an append-only log in a few files. A log, since many small records
//! then share one sync; files of limited size, since space comes back by removing the oldest one.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::record::{self, Found, HEADER, Kind};

/// A file this long gets no more records.
const SEGMENT: u64 = 1 << 20;

/// Bytes that are of no use any more and may be there beside the rest, before the oldest file is
/// copied to get rid of them.
const SLACK: u64 = 4 << 20;

/// Damaged pieces kept for somebody to look at.
const DAMAGED_KEPT: usize = 20;

/// Where a live record lies.
#[derive(Clone, Copy, Debug)]
struct Place {
    segment: u64,
    at: u64,
    length: u64,
}

#[derive(Debug)]
struct Active {
    id: u64,
    file: Arc<File>,
    length: u64,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    length: u64,
    live: usize,
}

/// The files, and what in them still counts.
#[derive(Debug)]
pub(crate) struct Disk {
    dir: PathBuf,
    active: Option<Active>,
    /// All files, the active one included.
    segments: BTreeMap<u64, Usage>,
    live: BTreeMap<u64, Place>,
    live_bytes: u64,
    next_segment: u64,
    last_number: u64,
}

/// A record that counts, as found at the start.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) kind: Kind,
    pub(crate) number: u64,
    pub(crate) body: Vec<u8>,
}

fn path(dir: &Path, segment: u64) -> PathBuf {
    dir.join(format!("{segment:012}.log"))
}

fn segment_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    (digits.len() == 12).then(|| digits.parse().ok())?
}

/// Makes a directory for nobody else, or makes it so.
pub(crate) fn private_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    if fs::metadata(dir)?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

impl Disk {
    /// The spool in that directory; `found` is told every record that counts, in order of age,
    /// though one may be told again by a later [`Kind::Done`] of its number, and says which other
    /// number it makes count no more. Pieces that are damaged are moved aside.
    ///
    /// # Errors
    /// The directory cannot be used. Single files that cannot be read are left out.
    pub(crate) fn open(dir: &Path, mut found: impl FnMut(Kept) -> Option<u64>) -> io::Result<Self> {
        private_dir(dir)?;
        let mut disk = Disk {
            dir: dir.to_owned(),
            active: None,
            segments: BTreeMap::new(),
            live: BTreeMap::new(),
            live_bytes: 0,
            next_segment: 1,
            last_number: 0,
        };
        let names = fs::read_dir(dir)?.flatten().map(|entry| entry.file_name());
        let mut ids: Vec<u64> = names.filter_map(|n| segment_of(n.to_str()?)).collect();
        ids.sort_unstable();
        let mut damaged = false;
        for id in ids {
            disk.next_segment = id + 1;
            match fs::read(path(dir, id)) {
                Ok(bytes) => damaged |= disk.take(id, &bytes, &mut found),
                Err(error) => {
                    let file = path(dir, id);
                    log::error!("{} cannot be read and is moved aside: {error}", file.display());
                    disk.set_aside(&format!("{id:012}.log"), |to| fs::rename(&file, to));
                }
            }
        }
        if damaged {
            disk.renew()?;
        }
        disk.clean();
        Ok(disk)
    }

    /// Reads one file; whether some of it was damaged.
    fn take(&mut self, id: u64, bytes: &[u8], found: &mut impl FnMut(Kept) -> Option<u64>) -> bool {
        let mut damaged = false;
        self.segments.insert(id, Usage { length: bytes.len() as u64, live: 0 });
        for piece in record::scan(bytes) {
            match piece {
                Found::Record { kind, number, at, body } => {
                    self.last_number = self.last_number.max(number);
                    if kind == Kind::Done {
                        self.forget(number);
                    } else {
                        let (at, length) = (at as u64, (HEADER + body.len()) as u64);
                        self.place(number, Place { segment: id, at, length });
                    }
                    let body = bytes.get(body).unwrap_or_default().to_vec();
                    if let Some(other) = found(Kept { kind, number, body }) {
                        self.forget(other);
                    }
                }
                Found::Damage(range) => {
                    damaged = true;
                    let piece = bytes.get(range.clone()).unwrap_or_default();
                    let name = format!("{id:012}.{}", range.start);
                    log::warn!(
                        "{}: {} bytes from byte {} on are damaged (a return that was being \
                         written at a power cut, or a fault of the disk) and are moved to {}/{name}",
                        path(&self.dir, id).display(),
                        piece.len(),
                        range.start,
                        self.aside().display()
                    );
                    self.set_aside(&name, |to| {
                        File::options()
                            .write(true)
                            .create(true)
                            .truncate(true)
                            .mode(0o600)
                            .open(to)?
                            .write_all(piece)
                    });
                }
            }
        }
        damaged
    }

    fn aside(&self) -> PathBuf {
        self.dir.join("damaged")
    }

    fn set_aside(&self, name: &str, put: impl FnOnce(&Path) -> io::Result<()>) {
        let aside = self.aside();
        let done = private_dir(&aside).and_then(|()| put(&aside.join(name)));
        if let Err(error) = done {
            log::error!("Nothing can be moved to {}: {error}", aside.display());
        }
        let names = fs::read_dir(&aside).into_iter().flatten().flatten().map(|e| e.path());
        let mut all: Vec<PathBuf> = names.collect();
        all.sort();
        let surplus = all.len().saturating_sub(DAMAGED_KEPT);
        for old in all.into_iter().take(surplus) {
            let _ = fs::remove_file(old);
        }
    }

    /// A number that was not used before.
    pub(crate) fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Writes records, made by [`record::append`] into `bytes`; `places` are number, start and
    /// length of each that counts from now on. What comes back is to be synced by the caller,
    /// outside of any lock.
    ///
    /// # Errors
    /// The disk's. Nothing is then written.
    pub(crate) fn append(
        &mut self,
        bytes: &[u8],
        places: &[(u64, u64, u64)],
    ) -> io::Result<Arc<File>> {
        let active = self.active()?;
        let (id, start) = (active.id, active.length);
        if let Err(error) = (&*active.file).write_all(bytes) {
            // Half a record must not stand before the next one.
            let _ = active.file.set_len(start);
            return Err(error);
        }
        active.length += bytes.len() as u64;
        let (length, file) = (active.length, active.file.clone());
        self.segments.entry(id).or_default().length = length;
        for (number, at, length) in places {
            self.place(*number, Place { segment: id, at: start + at, length: *length });
        }
        Ok(file)
    }

    /// Nothing is left to do for this number.
    ///
    /// # Errors
    /// The disk's: after a restart it then comes again.
    pub(crate) fn done(&mut self, number: u64) -> io::Result<()> {
        if !self.forget(number) {
            return Ok(());
        }
        if self.live.is_empty() {
            return self.empty();
        }
        let mut bytes = Vec::with_capacity(HEADER);
        record::append(&mut bytes, Kind::Done, number, |_| ());
        self.append(&bytes, &[])?;
        self.clean();
        Ok(())
    }

    /// The body of a live record.
    ///
    /// # Errors
    /// The disk's, or that of a record that is damaged by now.
    pub(crate) fn read(&self, number: u64) -> io::Result<Vec<u8>> {
        let mut bytes = self.read_record(number)?;
        bytes.drain(..HEADER);
        Ok(bytes)
    }

    fn read_record(&self, number: u64) -> io::Result<Vec<u8>> {
        let place = self.live.get(&number).ok_or(io::ErrorKind::NotFound)?;
        let length = usize::try_from(place.length).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        File::open(path(&self.dir, place.segment))?.read_exact_at(&mut bytes, place.at)?;
        match record::read(&bytes) {
            Some((_, found, end)) if found == number && end == length => Ok(bytes),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the record is damaged")),
        }
    }

    fn place(&mut self, number: u64, place: Place) {
        self.forget(number);
        self.live_bytes += place.length;
        self.segments.entry(place.segment).or_default().live += 1;
        self.live.insert(number, place);
    }

    /// A record does not count any more, and something written says so; `false` when none did.
    pub(crate) fn forget(&mut self, number: u64) -> bool {
        let Some(old) = self.live.remove(&number) else { return false };
        self.live_bytes -= old.length;
        if let Some(usage) = self.segments.get_mut(&old.segment) {
            usage.live = usage.live.saturating_sub(1);
        }
        true
    }

    fn active(&mut self) -> io::Result<&mut Active> {
        if self.active.as_ref().is_some_and(|active| active.length >= SEGMENT) {
            self.active = None;
        }
        let active = match self.active.take() {
            Some(active) => active,
            None => self.begin()?,
        };
        Ok(self.active.insert(active))
    }

    fn begin(&mut self) -> io::Result<Active> {
        private_dir(&self.dir)?;
        let id = self.next_segment;
        let mut options = File::options();
        let file = options.append(true).create_new(true).mode(0o600).open(path(&self.dir, id))?;
        self.next_segment += 1;
        self.segments.insert(id, Usage::default());
        self.sync_dir();
        Ok(Active { id, file: Arc::new(file), length: 0 })
    }

    fn sync_dir(&self) {
        if let Err(error) = File::open(&self.dir).and_then(|dir| dir.sync_all()) {
            log::warn!("{} cannot be synced: {error}", self.dir.display());
        }
    }

    /// Nothing counts any more: no return is left to be read by anybody.
    fn empty(&mut self) -> io::Result<()> {
        let keep = self.active.as_ref().map(|active| active.id);
        let old: Vec<u64> = self.segments.keys().copied().filter(|id| Some(*id) != keep).collect();
        // The oldest first: what says that a record is done must not go before that record.
        for id in old {
            self.remove(id)?;
        }
        if let Some(active) = &mut self.active {
            active.file.set_len(0)?;
            active.length = 0;
            self.segments.insert(active.id, Usage::default());
        }
        Ok(())
    }

    fn remove(&mut self, id: u64) -> io::Result<()> {
        match fs::remove_file(path(&self.dir, id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.segments.remove(&id);
        Ok(())
    }

    /// Removes the oldest files that are of no use, and makes them so when too much of them is not.
    fn clean(&mut self) {
        let active = self.active.as_ref().map(|active| active.id);
        let mut removed = false;
        while let Some((oldest, usage)) = self.segments.iter().next().map(|(id, u)| (*id, *u)) {
            if Some(oldest) == active {
                break;
            }
            if usage.live > 0 {
                let all: u64 = self.segments.values().map(|usage| usage.length).sum();
                if all <= 2 * self.live_bytes + SLACK {
                    break;
                }
                if let Err(error) = self.copy_out(oldest) {
                    log::warn!("{} cannot be made smaller: {error}", self.dir.display());
                    break;
                }
            }
            if let Err(error) = self.remove(oldest) {
                log::warn!("{} cannot be removed: {error}", path(&self.dir, oldest).display());
                break;
            }
            removed = true;
        }
        if removed {
            self.sync_dir();
        }
    }

    /// Writes what counts in that file again, at the end.
    fn copy_out(&mut self, segment: u64) -> io::Result<()> {
        let inside =
            |(number, place): (&u64, &Place)| (place.segment == segment).then_some(*number);
        let numbers: Vec<u64> = self.live.iter().filter_map(inside).collect();
        let mut written = None;
        for number in numbers {
            match self.read_record(number) {
                Ok(bytes) => {
                    let place = (number, 0, bytes.len() as u64);
                    written = Some(self.append(&bytes, &[place])?);
                }
                Err(error) => {
                    log::error!(
                        "A record of {} is lost: {error}",
                        path(&self.dir, segment).display()
                    );
                    self.forget(number);
                }
            }
        }
        written.map_or(Ok(()), |file| file.sync_data())
    }

    /// Writes everything that counts anew and removes all older files.
    fn renew(&mut self) -> io::Result<()> {
        let old: Vec<u64> = self.segments.keys().copied().collect();
        for id in &old {
            self.copy_out(*id)?;
        }
        for id in old {
            self.remove(id)?;
        }
        self.sync_dir();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("saltern-spool-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    fn open(dir: &Path) -> (Disk, Vec<u64>) {
        let mut live = Vec::new();
        let disk = Disk::open(dir, |kept| {
            live.retain(|n| *n != kept.number);
            if kept.kind != Kind::Done {
                live.push(kept.number);
            }
            None
        });
        (disk.unwrap(), live)
    }

    fn add(disk: &mut Disk, size: usize) -> u64 {
        let number = disk.number();
        let mut bytes = Vec::new();
        record::append(&mut bytes, Kind::Item, number, |out| out.resize(out.len() + size, 7));
        disk.append(&bytes, &[(number, 0, bytes.len() as u64)]).unwrap();
        number
    }

    fn size(dir: &Path) -> u64 {
        fs::read_dir(dir).unwrap().flatten().map(|e| e.metadata().unwrap().len()).sum()
    }

    #[test]
    fn records_outlive_the_program_until_they_are_done() {
        let dir = scratch("outlive");
        let (mut disk, live) = open(&dir);
        assert!(live.is_empty());
        let numbers: Vec<u64> = (0..5).map(|n| add(&mut disk, n * 100)).collect();
        disk.done(numbers[1]).unwrap();
        drop(disk);
        let (mut disk, live) = open(&dir);
        assert_eq!(live, [numbers[0], numbers[2], numbers[3], numbers[4]]);
        assert_eq!(disk.read(numbers[3]).unwrap(), vec![7; 300]);
        assert!(add(&mut disk, 1) > numbers[4]);
        for entry in fs::read_dir(&dir).unwrap().flatten() {
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        for number in live.into_iter().chain([6]) {
            disk.done(number).unwrap();
        }
        assert_eq!(size(&dir), 0, "nothing is left to be read");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn one_old_record_does_not_hold_the_space_of_all() {
        let dir = scratch("space");
        let (mut disk, _) = open(&dir);
        let old = add(&mut disk, 10);
        for _ in 0..100 {
            let number = add(&mut disk, 300_000);
            disk.done(number).unwrap();
        }
        assert!(size(&dir) < 2 * SLACK, "{}", size(&dir));
        assert_eq!(disk.read(old).unwrap(), vec![7; 10]);
        drop(disk);
        assert_eq!(open(&dir).1, [old]);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn damage_is_moved_aside_and_the_rest_stays() {
        let dir = scratch("damage");
        let (mut disk, _) = open(&dir);
        let numbers: Vec<u64> = (0..3).map(|_| add(&mut disk, 100)).collect();
        drop(disk);
        let file = path(&dir, 1);
        let mut bytes = fs::read(&file).unwrap();
        bytes[150] ^= 1;
        bytes.extend_from_slice(b"torn");
        fs::write(&file, bytes).unwrap();
        let (disk, live) = open(&dir);
        assert_eq!(live, [numbers[0], numbers[2]]);
        assert_eq!(fs::read_dir(dir.join("damaged")).unwrap().count(), 2);
        assert_eq!(disk.read(numbers[2]).unwrap(), vec![7; 100]);
        drop(disk);
        fs::write(dir.join("damaged/new"), "x").unwrap();
        assert_eq!(open(&dir).1, live, "and it is said once");
        assert_eq!(fs::read_dir(dir.join("damaged")).unwrap().count(), 3);
        fs::remove_dir_all(dir).unwrap();
    }
}
