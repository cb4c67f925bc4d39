//! Chunks of a file with a few requests on the way at once, handed on in order. How long chunks
//! are the master decides; here it is learnt from the first ones.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use crate::error::Error;

/// How many chunks are asked for at once, and so how many wait in memory at most.
const WINDOW: u64 = 4;

/// A chunk of a file, and of what file it is one if the master tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) data: Vec<u8>,
    pub(super) whole: Option<Whole>,
}

/// A file at a master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    /// Another one for every other content, at that master.
    pub(super) version: String,
    /// Bytes.
    pub(super) size: u64,
}

/// Hands on the chunks of a file in their order, the first of which is there: until an empty one,
/// or until the file's size is reached.
///
/// One at a time until two in a row have the same length, or the size is known: a file of one chunk
/// costs no request more than it needs. From then on [`WINDOW`] at once; a chunk of another length
/// (the last one, or those of another master with another `file_buffer_size`) begins anew behind
/// it.
///
/// # Errors
/// The first failure in the order of the file, of `ask` or of `keep`.
pub(super) fn chunks(
    first: Chunk,
    ask: impl Fn(u64) -> Result<Chunk, Error> + Sync,
    mut keep: impl FnMut(&Chunk) -> Result<(), Error>,
) -> Result<(), Error> {
    let (mut at, mut length, mut chunk) = (0, 0, first);
    loop {
        if chunk.data.is_empty() {
            return Ok(());
        }
        keep(&chunk)?;
        let new = chunk.data.len() as u64;
        at += new;
        let end = chunk.whole.map(|whole| whole.size);
        // Two of them are not kept while four are on the way.
        drop(chunk.data);
        if end.is_none() && new != length {
            length = new;
        } else if end.is_none_or(|end| at < end) {
            match at_once(&ask, &mut keep, at, new, end)? {
                Some(behind) => (at, length) = (behind, 0),
                None => return Ok(()),
            }
        }
        if end.is_some_and(|end| at >= end) {
            return Ok(());
        }
        chunk = ask(at)?;
    }
}

/// Chunks of one length from `start` on, until one differs: `None` when it was empty, otherwise
/// the place behind it.
fn at_once(
    ask: &(impl Fn(u64) -> Result<Chunk, Error> + Sync),
    keep: &mut impl FnMut(&Chunk) -> Result<(), Error>,
    start: u64,
    length: u64,
    end: Option<u64>,
) -> Result<Option<u64>, Error> {
    // Where the first chunk of another length is, or a failure: nothing behind it is of use.
    let last = AtomicU64::new(end.map_or(u64::MAX, |end| end.saturating_sub(1)));
    thread::scope(|scope| {
        // Each lane asks for every fourth chunk, and for the next one only after its former was
        // taken: so order and bound need nothing else. Lanes end when the receivers are gone.
        let mut lanes: Vec<Receiver<Result<Chunk, Error>>> = Vec::new();
        for lane in 0..WINDOW {
            let (sender, receiver) = sync_channel(0);
            let last = &last;
            let mut at = start.saturating_add(lane * length);
            if end.is_some_and(|end| at >= end) {
                break;
            }
            thread::Builder::new().name("chunk".to_owned()).spawn_scoped(scope, move || {
                while at <= last.load(Ordering::Relaxed) {
                    let answer = ask(at);
                    if !answer.as_ref().is_ok_and(|chunk| chunk.data.len() as u64 == length) {
                        last.fetch_min(at, Ordering::Relaxed);
                    }
                    if sender.send(answer).is_err() {
                        return;
                    }
                    at = at.saturating_add(WINDOW * length);
                }
            })?;
            lanes.push(receiver);
        }
        let mut at = start;
        let taken = lanes.iter().cycle().find_map(|lane| {
            let mut one = || -> Result<Option<Option<u64>>, Error> {
                if end.is_some_and(|end| at >= end) {
                    return Ok(Some(Some(at)));
                }
                let chunk =
                    lane.recv().map_err(|_| Error::exec("a chunk was never asked for"))??;
                if chunk.data.is_empty() {
                    return Ok(Some(None));
                }
                keep(&chunk)?;
                at += chunk.data.len() as u64;
                Ok((chunk.data.len() as u64 != length).then_some(Some(at)))
            };
            one().transpose()
        });
        // After a failure of `keep` no lane need ask again.
        last.store(0, Ordering::Relaxed);
        drop(lanes);
        taken.unwrap_or(Ok(None))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};
    use std::time::Duration;

    use super::*;

    fn file(length: usize) -> Vec<u8> {
        (0..length).map(|n| (n * 7 % 251) as u8).collect()
    }

    fn piece(file: &[u8], at: u64, length: usize) -> Chunk {
        let data = file.iter().skip(at as usize).take(length).copied().collect();
        Chunk { data, whole: None }
    }

    fn add(kept: &mut Vec<u8>, chunk: &Chunk) -> Result<(), Error> {
        kept.extend_from_slice(&chunk.data);
        Ok(())
    }

    /// The first chunk is asked for by the caller.
    fn all(
        ask: impl Fn(u64) -> Result<Chunk, Error> + Sync,
        keep: impl FnMut(&Chunk) -> Result<(), Error>,
    ) -> Result<(), Error> {
        chunks(ask(0)?, ask, keep)
    }

    #[test]
    fn a_file_of_known_size_costs_no_request_behind_its_end() {
        for length in [0_usize, 1, 9, 10, 11, 20, 25, 30, 39, 40, 41, 50, 60, 99, 1000, 1003] {
            let file = file(length);
            let whole = Whole { version: "1".to_owned(), size: length as u64 };
            let asked = Mutex::new(Vec::new());
            let ask = |at: u64| {
                asked.lock().unwrap().push(at);
                Ok(Chunk { whole: Some(whole.clone()), ..piece(&file, at, 10) })
            };
            let mut kept = Vec::new();
            all(ask, |chunk| add(&mut kept, chunk)).unwrap();
            assert_eq!(kept, file, "{length}");
            let mut asked = asked.into_inner().unwrap();
            asked.sort_unstable();
            let each: Vec<u64> = (0..length.max(1) as u64).step_by(10).collect();
            assert_eq!(asked, each, "{length}");
        }
    }

    #[test]
    fn a_file_that_grows_or_is_cut_ends_where_it_was_said_to_or_where_it_does() {
        for (announced, real, kept_of_it) in [(100, 40, 40), (40, 100, 40), (45, 100, 50)] {
            let file = file(real);
            let whole = Some(Whole { version: "1".to_owned(), size: announced });
            let ask = |at: u64| Ok(Chunk { whole: whole.clone(), ..piece(&file, at, 10) });
            let mut kept = Vec::new();
            all(ask, |chunk| add(&mut kept, chunk)).unwrap();
            assert_eq!(kept.len(), kept_of_it, "{announced} {real}");
        }
    }

    #[test]
    fn chunks_are_kept_in_order_whatever_the_order_of_answers() {
        for length in [0, 1, 9, 10, 11, 20, 25, 30, 60, 61, 70, 99, 1000] {
            let file = file(length);
            let (answered, changed) = (Mutex::new(Vec::new()), Condvar::new());
            let ask = |at: u64| {
                let mut answered = answered.lock().unwrap();
                // The first of the window is answered only after the three behind it.
                if at == 20 && length >= 20 {
                    let behind = |seen: &mut Vec<u64>| !seen.contains(&30);
                    let wait = Duration::from_secs(120);
                    let result = changed.wait_timeout_while(answered, wait, behind).unwrap();
                    assert!(length == 20 || !result.1.timed_out());
                    answered = result.0;
                }
                answered.push(at);
                changed.notify_all();
                Ok(piece(&file, at, 10))
            };
            let mut kept = Vec::new();
            all(ask, |chunk| add(&mut kept, chunk)).unwrap();
            assert_eq!(kept, file, "{length}");
            if length <= 19 {
                assert!(
                    answered.lock().unwrap().len() <= 3,
                    "a small file asks no more than before"
                );
            }
        }
    }

    #[test]
    fn no_more_than_the_window_is_asked_for_ahead() {
        let file = file(500);
        let kept = Mutex::new(Vec::new());
        let ask = |at: u64| {
            assert!(at <= kept.lock().unwrap().len() as u64 + 10 * WINDOW);
            Ok(piece(&file, at, 10))
        };
        all(ask, |chunk| add(&mut kept.lock().unwrap(), chunk)).unwrap();
        assert_eq!(*kept.lock().unwrap(), file);
    }

    #[test]
    fn chunks_of_another_length_half_way_leave_no_gap() {
        let file = file(1003);
        for (before, after) in [(10, 7), (7, 10), (10, 100)] {
            let ask = |at: u64| Ok(piece(&file, at, if at < 300 { before } else { after }));
            let mut kept = Vec::new();
            all(ask, |chunk| add(&mut kept, chunk)).unwrap();
            assert_eq!(kept, file, "{before} {after}");
        }
    }

    #[test]
    fn a_failure_ends_it_behind_what_was_right() {
        let file = file(500);
        let ask = |at: u64| match at {
            200.. => Err(Error::exec("gone")),
            _ => Ok(piece(&file, at, 10)),
        };
        let mut kept = Vec::new();
        assert!(all(ask, |chunk| add(&mut kept, chunk)).is_err());
        assert_eq!(kept, file[..200]);
        let full = all(|at| Ok(piece(&file, at, 10)), |_| Err(Error::exec("disk full")));
        assert!(full.is_err());
    }
}
