//! Sign-ins wait here and are served by threads of their own, so that a herd of minions that lost
//! their master (R10) takes the processor neither from those who are connected nor from each other.
//!
//! - One place per minion: the newest request of an id takes the place of the one before, whose
//!   asker has given up. Its key belongs to the place, so that nobody can push an id out of the
//!   queue by asking in its name. First come, first served over the minions.
//! - There is a thread for each core, and they yield to everything else the master does.
//! - The queue is bounded. Our minions are told to come again as soon as they would wait longer
//!   than their patience; real Salt's wait until the queue is full and are then told that the
//!   master is, which sends them to their next one. These answers cost a signature each, half of
//!   what a sign-in costs: they have a bounded queue of their own that takes turns with the other,
//!   so that who is sent away hears it before it gives up, and who finds that queue full waits for
//!   a sign-in after all. What finds both full is told `bad load` without a signature, comes
//!   again, and is counted.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use saltern_transport::zeromq::Reply;
use saltern_value::{Map, Value};
use saltern_wire::auth::server::Asker;
use saltern_wire::reply;

use crate::context::Shared;
use crate::counters::Refusal;
use crate::handlers::auth;

/// How long one of our minions may be let wait: less than the time after which it gives up, and
/// about what another round of asking would take it.
const PATIENCE: Duration = Duration::from_secs(8);
/// Refusals under way: as many as are signed within the patience of those who wait for them.
const REFUSALS_MAX: usize = 2048;
/// Nobody is told to come again sooner than this.
const SOONEST: Duration = Duration::from_secs(1);
/// Nor later.
const LATEST: Duration = Duration::from_secs(60);
/// How much lower the priority of the threads is (`nice`): they still get a fifth of a busy core.
const NICER: i32 = 6;
/// Weight of one more measurement in the mean service time.
const WEIGHT: f64 = 0.01;
/// The mean service time until something was measured.
const GUESS: Duration = Duration::from_millis(1);
/// Longest id that gets a place of its own; longer ones are none.
const ID_MAX: usize = 255;

/// A sign-in that waits.
struct Waiting {
    load: Map,
    peer: SocketAddr,
    reply: Reply,
}

/// What a thread is to do.
#[derive(Debug, PartialEq)]
enum Task<W> {
    Serve(W),
    /// Tell it to come again after this time, which is what is left of it.
    Refuse(W, Duration),
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Queued,
    /// It took the place of an older request of the same id.
    Replaced,
    Refused,
    Dropped,
}

/// The queue of the sign-ins of one master.
pub(crate) struct Herd {
    queue: Mutex<Queue<Waiting>>,
    arrived: Condvar,
    longest: usize,
    workers: usize,
    hasher: RandomState,
}

struct Queue<W> {
    /// The places in the order in which they came.
    order: VecDeque<String>,
    waiting: HashMap<String, W>,
    /// With the moment at which each is to come again.
    refusals: VecDeque<(W, Instant)>,
    /// The first moment that was not promised yet to one who is to come again.
    booked: Option<Instant>,
    /// The last task was a refusal.
    refused_last: bool,
    /// Mean time one thread needs for one sign-in.
    mean: Option<Duration>,
    closed: bool,
    count: Counts,
}

/// Figures for the operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Sign-ins answered.
    pub(crate) served: u64,
    /// Requests replaced by a newer one of the same id.
    pub(crate) replaced: u64,
    /// Told to come again.
    pub(crate) refused: u64,
    /// Answered without a signature: even for refusals there were too many.
    pub(crate) dropped: u64,
    /// Not answered because nobody waited for it any more.
    pub(crate) gone: u64,
    /// Most that waited at a time.
    pub(crate) longest: u64,
}

impl Herd {
    /// A queue of at most `longest` sign-ins (`failover_sign_in_queue`).
    pub(crate) fn new(longest: usize) -> Arc<Self> {
        let cores = thread::available_parallelism().map_or(2, NonZero::get);
        Arc::new(Herd {
            queue: Mutex::new(Queue::new()),
            arrived: Condvar::new(),
            longest: longest.max(1),
            workers: cores,
            hasher: RandomState::new(),
        })
    }

    /// Starts the threads; they end with the master.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub(crate) fn start(shared: &Arc<Shared>) -> std::io::Result<()> {
        for number in 0..shared.herd.workers {
            let herd = Arc::clone(&shared.herd);
            let shared = Arc::downgrade(shared);
            let name = format!("sign-in-{number}");
            thread::Builder::new().name(name).spawn(move || herd.work(&shared))?;
        }
        Ok(())
    }

    /// Takes a sign-in; never waits.
    pub(crate) fn enter(&self, shared: &Shared, load: Map, peer: SocketAddr, reply: Reply) {
        let ours = Asker::parse(&load).is_some();
        let place = self.place(&load);
        let waiting = Waiting { load, peer, reply };
        let (entry, old) = self.lock().enter(place, ours, waiting, self.longest, self.workers);
        match entry {
            // The one who waited for an older one has given up, or was never who it said it was.
            Entry::Queued | Entry::Replaced | Entry::Refused => self.arrived.notify_one(),
            Entry::Dropped => {
                shared.counters.refuse(Refusal::Overloaded, Some(peer), || "sign-in");
                if let Some(waiting) = old {
                    waiting.reply.send(reply::text("bad load"));
                }
            }
        }
    }

    /// Whose place this request takes.
    fn place(&self, load: &Map) -> String {
        let id = load.get_str("id").filter(|id| id.len() <= ID_MAX).unwrap_or_default();
        let key = self.hasher.hash_one(load.get_str("pub").unwrap_or_default());
        format!("{key:016x} {id}")
    }

    /// Ends the threads; what waits is not answered any more.
    pub(crate) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        let (waiting, refusals) =
            (std::mem::take(&mut queue.waiting), std::mem::take(&mut queue.refusals));
        queue.order.clear();
        drop(queue);
        drop((waiting, refusals));
        self.arrived.notify_all();
    }

    /// What happened so far, as `salt-run master.drain_status` shows it.
    pub(crate) fn shown(&self) -> Map {
        let queue = self.lock();
        let count = queue.count;
        let per_second = self.workers as f64 / queue.mean().as_secs_f64();
        Map::from([
            ("waiting", Value::from(queue.order.len() as u64)),
            ("most_waiting", count.longest.into()),
            ("per_second", (per_second.round() as u64).into()),
            ("served", count.served.into()),
            ("replaced", count.replaced.into()),
            ("told_to_come_again", count.refused.into()),
            ("dropped", count.dropped.into()),
            ("given_up", count.gone.into()),
        ])
    }

    fn work(&self, shared: &Weak<Shared>) {
        lower_priority();
        while let Some(task) = self.next() {
            let Some(shared) = shared.upgrade() else { return };
            match task {
                Task::Serve(Waiting { load, peer, reply }) => {
                    if reply.is_unwanted() {
                        self.lock().count.gone += 1;
                        continue;
                    }
                    let began = Instant::now();
                    let answer = guarded(|| auth::serve(&shared, &load, peer));
                    self.lock().measured(began.elapsed());
                    if let Some(answer) = answer {
                        reply.send(answer);
                    }
                }
                Task::Refuse(Waiting { load, peer, reply }, after) => {
                    if !reply.is_unwanted()
                        && let Some(answer) = guarded(|| auth::refuse(&shared, &load, peer, after))
                    {
                        reply.send(answer);
                    }
                }
            }
        }
    }

    /// The next task, when there is one; `None` when the master ends.
    fn next(&self) -> Option<Task<Waiting>> {
        let mut queue = self.lock();
        loop {
            if queue.closed {
                return None;
            }
            if let Some(task) = queue.next() {
                return Some(task);
            }
            queue = self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue<Waiting>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W> Queue<W> {
    fn new() -> Self {
        Queue {
            order: VecDeque::new(),
            waiting: HashMap::new(),
            refusals: VecDeque::new(),
            booked: None,
            refused_last: false,
            mean: None,
            closed: false,
            count: Counts::default(),
        }
    }

    /// Finds a place for a request; gives back the one it replaces, or that has no place.
    fn enter(
        &mut self,
        place: String,
        ours: bool,
        waiting: W,
        longest: usize,
        workers: usize,
    ) -> (Entry, Option<W>) {
        if self.closed {
            return (Entry::Dropped, Some(waiting));
        }
        if let Some(older) = self.waiting.get_mut(&place) {
            self.count.replaced += 1;
            return (Entry::Replaced, Some(std::mem::replace(older, waiting)));
        }
        let wait = self.wait(self.order.len(), workers);
        let stays = !ours || wait <= PATIENCE || self.refusals.len() >= REFUSALS_MAX;
        if self.order.len() < longest && stays {
            self.order.push_back(place.clone());
            self.waiting.insert(place, waiting);
            self.count.longest = self.count.longest.max(self.order.len() as u64);
            return (Entry::Queued, None);
        }
        if self.refusals.len() < REFUSALS_MAX {
            let due = self.appointment(Instant::now(), workers);
            self.refusals.push_back((waiting, due));
            return (Entry::Refused, None);
        }
        self.count.dropped += 1;
        (Entry::Dropped, Some(waiting))
    }

    /// Refusals and sign-ins take turns, so that neither waits for all of the others. Who was to
    /// be sent away is served after all when nobody waits any more.
    fn next(&mut self) -> Option<Task<W>> {
        if !self.refused_last
            && !self.order.is_empty()
            && let Some((waiting, due)) = self.refusals.pop_front()
        {
            self.refused_last = true;
            self.count.refused += 1;
            let after = due.saturating_duration_since(Instant::now());
            return Some(Task::Refuse(waiting, after.max(SOONEST)));
        }
        self.refused_last = false;
        while let Some(place) = self.order.pop_front() {
            if let Some(waiting) = self.waiting.remove(&place) {
                return Some(Task::Serve(waiting));
            }
        }
        self.refusals.pop_front().map(|(waiting, _)| Task::Serve(waiting))
    }

    /// How long somebody waits behind `ahead` others.
    fn wait(&self, ahead: usize, workers: usize) -> Duration {
        let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
        let workers = u32::try_from(workers).unwrap_or(1).max(1);
        self.mean().saturating_mul(ahead) / workers
    }

    /// When the next one who is sent away is to come again: when those who wait now and those who
    /// were sent away before are served. So they come neither all at once nor after a pause in
    /// which nobody is served.
    fn appointment(&mut self, now: Instant, workers: usize) -> Instant {
        let free = now + self.wait(self.order.len(), workers).max(SOONEST);
        let booked = self.booked.map_or(free, |booked| booked.max(free));
        let due = booked.min(now + LATEST);
        self.booked = Some(due + self.wait(1, workers));
        due
    }

    fn mean(&self) -> Duration {
        self.mean.unwrap_or(GUESS)
    }

    fn measured(&mut self, took: Duration) {
        let mean = self.mean().mul_f64(1.0 - WEIGHT) + took.mul_f64(WEIGHT);
        self.mean = Some(mean.max(Duration::from_micros(1)));
        self.count.served += 1;
    }
}

/// Runs what must not end the thread.
fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    if done.is_err() {
        log::error!("A sign-in ended without a result");
    }
    done.ok()
}

/// On Linux the priority is the thread's own.
fn lower_priority() {
    let thread = rustix::thread::gettid();
    let lowered = rustix::process::getpriority_process(Some(thread))
        .and_then(|now| rustix::process::setpriority_process(Some(thread), now + NICER));
    if let Err(error) = lowered {
        log::debug!("Sign-ins have the same priority as the rest: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKERS: usize = 2;

    /// A queue with `waiting` sign-ins of 4 ms each, two at a time: 2 ms for each.
    fn queue(waiting: usize) -> Queue<usize> {
        let mut queue = Queue::new();
        queue.mean = Some(Duration::from_millis(4));
        for n in 0..waiting {
            let (entry, none) = queue.enter(n.to_string(), false, n, 10_000, WORKERS);
            assert_eq!((entry, none), (Entry::Queued, None));
        }
        queue
    }

    fn seconds(from: Instant, to: Instant) -> f64 {
        (to - from).as_secs_f64()
    }

    #[test]
    fn who_is_sent_away_comes_again_one_after_the_other_behind_those_who_wait() {
        let (mut queue, now) = (queue(5000), Instant::now());
        let due: Vec<f64> =
            (0..1000).map(|_| seconds(now, queue.appointment(now, WORKERS))).collect();
        assert!((due[0] - 10.0).abs() < 1e-6, "{}", due[0]);
        assert!((due[999] - 12.0).abs() < 0.01, "{}", due[999]);
        assert!(due.windows(2).all(|pair| pair[0] < pair[1]));
        // What was promised long ago does not hold up who comes later.
        let later = now + Duration::from_secs(100);
        queue.order.clear();
        assert_eq!(queue.appointment(later, WORKERS), later + SOONEST);
        for _ in 0..100_000 {
            assert!(queue.appointment(later, WORKERS) <= later + LATEST);
        }
    }

    #[test]
    fn only_those_of_ours_are_sent_away_who_would_wait_too_long() {
        let mut queue = queue(4001);
        assert_eq!(queue.enter("ours".into(), true, 1, 10_000, WORKERS), (Entry::Refused, None));
        assert_eq!(queue.enter("theirs".into(), false, 2, 10_000, WORKERS), (Entry::Queued, None));
        let (mut full, ours) = (self::queue(10), true);
        assert_eq!(full.enter("a".into(), !ours, 1, 10, WORKERS), (Entry::Refused, None));
        assert_eq!(full.enter("9".into(), ours, 2, 10, WORKERS), (Entry::Replaced, Some(9)));
        full.refusals = (0..REFUSALS_MAX).map(|n| (n, Instant::now())).collect();
        assert_eq!(full.enter("b".into(), ours, 3, 10, WORKERS), (Entry::Dropped, Some(3)));
        assert_eq!(full.count.dropped, 1);
    }

    #[test]
    fn refusals_and_sign_ins_take_turns_and_the_last_are_served_after_all() {
        let mut queue = queue(2);
        queue.refusals = (10..14).map(|n| (n, Instant::now())).collect();
        let expected = [
            Task::Refuse(10, SOONEST),
            Task::Serve(0),
            Task::Refuse(11, SOONEST),
            Task::Serve(1),
            Task::Serve(12),
            Task::Serve(13),
        ];
        for task in expected {
            assert_eq!(queue.next(), Some(task));
        }
        assert_eq!(queue.next(), None);
        assert_eq!(queue.count.refused, 2);
    }
}
