//! The lines of `manage.health`: where each number comes from, when it is not ok and what to do
//! then. A new counter is one line here.

use std::collections::BTreeMap;

use saltern_base::memory;
use saltern_transport::zeromq::CloseReason;
use saltern_value::{Map, Value};

use crate::context::Shared;
use crate::counters::Refusal;
use crate::dispatch::MAX_REQUESTS;

/// What is thought of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Ok,
    Warn,
    /// Something was lost, or refused for lack of room.
    Lost,
}

/// What a number means.
#[derive(Clone, Copy)]
enum Kind {
    /// A count that should stay nought: its state when it did not.
    Count(State),
    /// How it is now.
    Gauge,
}

/// One line.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) value: u64,
    pub(super) limit: Option<u64>,
    kind: Kind,
    pub(super) what: String,
    advice: &'static str,
}

impl Line {
    fn new(name: &str, value: u64, kind: Kind, what: &str, advice: &'static str) -> Line {
        Line { name: name.to_owned(), value, limit: None, kind, what: what.to_owned(), advice }
    }

    /// A count of what was lost or refused for lack of room.
    pub(super) fn loss(name: &str, value: u64, what: &str, advice: &'static str) -> Line {
        Line::new(name, value, Kind::Count(State::Lost), what, advice)
    }

    /// A count that somebody should know of.
    fn warning(name: &str, value: u64, what: &str, advice: &'static str) -> Line {
        Line::new(name, value, Kind::Count(State::Warn), what, advice)
    }

    /// A count that is ordinary.
    fn note(name: &str, value: u64, what: &str) -> Line {
        Line::new(name, value, Kind::Count(State::Ok), what, "")
    }

    /// How something is now.
    pub(super) fn gauge(name: &str, value: u64, what: &str) -> Line {
        Line::new(name, value, Kind::Gauge, what, "")
    }

    /// A gauge with a limit: nine tenths of it are too much.
    pub(super) fn of(mut self, limit: u64, advice: &'static str) -> Line {
        self.limit = Some(limit);
        self.advice = advice;
        self
    }

    /// Whether it counts from the last reset on.
    pub(super) fn counts(&self) -> bool {
        matches!(self.kind, Kind::Count(_))
    }

    /// The line as counted since these values.
    pub(super) fn since(mut self, before: &BTreeMap<String, u64>) -> Line {
        if self.counts() {
            self.value = self.value.saturating_sub(before.get(&self.name).copied().unwrap_or(0));
        }
        self
    }

    /// What is thought of it.
    pub(super) fn state(&self) -> State {
        match self.kind {
            Kind::Count(state) if self.value > 0 => state,
            Kind::Count(_) => State::Ok,
            Kind::Gauge => match self.limit {
                Some(limit) if self.value >= limit - limit / 10 => State::Warn,
                _ => State::Ok,
            },
        }
    }

    /// The line as data.
    pub(super) fn shown(&self) -> Value {
        let state = self.state();
        let mut shown = Map::from([
            ("ok", Value::from(state == State::Ok)),
            ("value", self.value.into()),
            (
                "state",
                Value::from(match state {
                    State::Ok => "ok",
                    State::Warn => "warn",
                    State::Lost => "lost",
                }),
            ),
            ("what", self.what.as_str().into()),
        ]);
        if let Some(limit) = self.limit {
            shown.insert("limit", limit);
        }
        if state != State::Ok {
            shown.insert("text", self.advice);
        }
        shown.into()
    }
}

const FILES: &str = "open files ran short: raise max_open_files and the system's hard limit \
                     (LimitNOFILE), or put minions on another master";
const ROOM: &str = "open files ran short, one address has too many connections, or too many large \
                    requests came at once: the log says which; raise max_open_files and the \
                    system's hard limit (LimitNOFILE), or max_connections_per_address, or put \
                    minions on another master";
const DISK: &str = "the disk of the job cache cannot keep up or fails: see the log, look at the \
                    disk, spread jobs with --batch-size";

/// Reads all of them.
pub(super) fn read(shared: &Shared) -> Vec<Line> {
    let mut lines = publications(shared);
    lines.extend(returns(shared));
    lines.extend(minions(shared));
    lines.extend(sign_ins(shared));
    lines.extend(requests(shared));
    lines.extend(connections(shared));
    lines.extend(process(shared));
    lines
}

fn publications(shared: &Shared) -> Vec<Line> {
    let counts = shared.net.publisher.counters();
    let (waiting, bytes) = shared.net.publisher.waiting();
    vec![
        Line::loss(
            "publications_lost",
            counts.dropped,
            "publications that a subscriber could not be given",
            "a minion was too slow or went away with jobs for it under way: the log names its \
             address; raise pub_hwm for bursts, look at slow minions, see salt-run \
             jobs.lookup_jid for who did not answer, and give those the job again",
        ),
        Line::loss(
            "subscribers_stuck",
            counts.closed_by(CloseReason::Stalled),
            "subscribers closed because they did not read",
            "the log names their addresses: look at these minions or the way to them; they sign \
             in again by themselves",
        ),
        Line::warning(
            "subscribers_silent",
            counts.closed_by(CloseReason::Silent),
            "subscribers closed because they answered no heartbeat",
            "hosts that vanished without closing, or a network that loses connections",
        ),
        Line::loss(
            "events_lost",
            shared.bus.dropped(),
            "events that a listener of the bus was too slow for",
            "a program that listens to the event bus does not keep up: stop it or make it faster",
        ),
        Line::loss(
            "event_bus_refused",
            shared.bus.refused(),
            "programs and events that the event bus refused",
            "too many programs at the event bus, or one that sends no events: the log says which; \
             stop those that are not needed",
        ),
        Line::warning(
            "events_trimmed",
            shared.bus.trimmed(),
            "events whose largest values were left out at the bus, because they were too long",
            "listeners see VALUE_TRIMMED in their place; the returns themselves are whole in the \
             job cache: raise max_event_size, or let jobs answer less",
        ),
        Line::gauge(
            "publications_waiting",
            to(waiting),
            "publications on their way to subscribers",
        ),
        Line::gauge("publications_waiting_bytes", to(bytes), "their bytes"),
        Line::gauge(
            "event_listeners",
            to(shared.bus.readers()),
            "programs that read the event bus",
        ),
        Line::gauge(
            "events_waiting",
            to(shared.bus.longest_queue().0),
            "events that wait for the slowest of them",
        ),
    ]
}

fn returns(shared: &Shared) -> Vec<Line> {
    let store = shared.jobs.store();
    let (waiting, bytes) = store.waiting();
    let limits = saltern_store::jobs::JobSettings::default();
    let total = |why| shared.counters.total(why);
    vec![
        Line::loss(
            "returns_refused",
            total(Refusal::ReturnsFull),
            "returns refused because the queue of the job cache was full; they come again",
            DISK,
        ),
        Line::loss(
            "returns_not_kept",
            total(Refusal::NotKept),
            "returns that the job cache could not keep; they come again",
            DISK,
        ),
        Line::loss(
            "returns_dropped_by_minions",
            shared.losses.sums().returns,
            "returns that minions gave up because no master had taken them for too long",
            "see the events salt/minion/ID/spool/dropped and the logs of these minions: raise \
             their failover_spool_max_bytes, or give them more masters",
        ),
        Line::note("returns_twice", shared.jobs.duplicates(), "returns that came again"),
        Line::gauge("returns_waiting", to(waiting), "writes that wait for the disk")
            .of(to(limits.queue_items), DISK),
        Line::gauge("returns_waiting_bytes", to(bytes), "their bytes")
            .of(to(limits.queue_bytes), DISK),
        Line::gauge("job_cache_bytes", store.disk_bytes(), "size of the job cache on disk"),
    ]
}

/// What the minions in use here lost by themselves: they say so in their reports.
fn minions(shared: &Shared) -> Vec<Line> {
    let lost = shared.losses.sums();
    vec![
        Line::loss(
            "publications_lost_by_minions",
            lost.publications,
            "publications that reached a minion which could not open them",
            "salt-run manage.failover only=lossy names these minions, their logs say why: a key of \
             this master that they do not know, or somebody else who publishes; see salt-run \
             jobs.lookup_jid for who did not answer, and give those the job again",
        ),
        Line::loss(
            "events_lost_by_minions",
            lost.events,
            "events that a program at the bus of a minion was too slow for, or that its bus refused",
            "salt-run manage.failover only=lossy names these minions: a program that listens to \
             their event bus does not keep up, or one sends it what is no event",
        ),
        Line::warning(
            "events_malformed_by_minions",
            lost.events_malformed,
            "what was fired on a minion for its master, and is no event",
            "salt-run manage.failover only=lossy names these minions: something there fires \
             fire_master without a tag",
        ),
    ]
}

fn sign_ins(shared: &Shared) -> Vec<Line> {
    let shown = shared.herd.shown();
    let count = |key: &str| {
        let value = shown.get(key).and_then(Value::as_int).unwrap_or(0);
        u64::try_from(value).unwrap_or(0)
    };
    let longest = u64::try_from(shared.opts.failover_sign_in_queue).unwrap_or(0);
    vec![
        Line::loss(
            "sign_ins_lost",
            count("dropped"),
            "sign-ins turned away unread because too many waited; they come again",
            "too many minions at once for the processors here: raise failover_sign_in_queue, give \
             this master more cores, spread the minions, stagger their starts",
        ),
        Line::warning(
            "sign_ins_put_off",
            count("told_to_come_again"),
            "sign-ins told to come again later because too many waited",
            "a storm of sign-ins; it is over when this number stops to grow",
        ),
        Line::note("sign_ins_served", count("served"), "sign-ins answered"),
        Line::gauge("sign_ins_waiting", count("waiting"), "sign-ins that wait now").of(
            longest.max(1),
            "more minions sign in than the processors here can take; raise \
             failover_sign_in_queue or spread the minions",
        ),
    ]
}

fn requests(shared: &Shared) -> Vec<Line> {
    let requests = shared.counters.requests();
    let router = shared.net.router.counters();
    let mut lines = vec![
        Line::loss(
            "requests_too_late",
            shared.counters.total(Refusal::TooLate),
            "requests given up because they took longer than a minute",
            "this master has more to do than it can: look at its load and its disk, spread the \
             minions over more masters",
        ),
        Line::loss(
            "runners_refused",
            shared.counters.total(Refusal::RunnersFull),
            "runners refused because too many were at work",
            "see salt-run jobs.active for those that hang, and start fewer at a time",
        ),
        Line::warning(
            "requests_failed",
            shared.counters.total(Refusal::Failed),
            "requests that failed here",
            "the log of this master says why",
        ),
        Line::warning(
            "requests_waited",
            requests.waited,
            "requests that had to wait for a place",
            "more than a thousand requests were at work at once: large files or slow pillars; \
             spread jobs with --batch-size",
        ),
        Line::warning(
            "requests_stalled",
            router.closed_by(CloseReason::Stalled),
            "request connections closed because a message made no progress",
            "hosts that vanished in the middle of a request, or a network that loses packets: the \
             log names an address; minions ask again",
        ),
        Line::note("requests_malformed", router.bad_shape, "messages that are no request"),
        Line::note("replies_unwanted", router.dropped, "replies whose asker was gone"),
        Line::note("requests", requests.taken, "requests taken"),
        Line::gauge("requests_at_work", requests.at_work, "requests at work now")
            .of(to(MAX_REQUESTS), "this master has more to do than it can at the moment"),
    ];
    let shown_above = [
        Refusal::Overloaded,
        Refusal::ReturnsFull,
        Refusal::NotKept,
        Refusal::RunnersFull,
        Refusal::TooLate,
        Refusal::Failed,
    ];
    for (why, number) in shared.counters.refusals() {
        if !shown_above.contains(&why) {
            let what = format!("requests refused: {why}");
            lines.push(Line::note(&format!("refused_{}", slug(&why.to_string())), number, &what));
        }
    }
    lines
}

fn connections(shared: &Shared) -> Vec<Line> {
    let (publisher, router) = (shared.net.publisher.counters(), shared.net.router.counters());
    let both = |why| publisher.closed_by(why) + router.closed_by(why);
    let places = &shared.net.places;
    vec![
        Line::loss(
            "connections_refused",
            both(CloseReason::NoRoom),
            "connections closed for lack of room",
            ROOM,
        ),
        Line::loss(
            "accepts_failed",
            publisher.accept_failed + router.accept_failed,
            "times that a connection could not be accepted",
            FILES,
        ),
        Line::warning(
            "connections_gave_way",
            both(CloseReason::GaveWay),
            "idle request connections closed to make room for others; nothing is lost by it",
            FILES,
        ),
        Line::note(
            "accepts_waited",
            publisher.accept_waited + router.accept_waited,
            "times that accepting waited for the bound on its rate",
        ),
        Line::note(
            "connections_bad",
            both(CloseReason::Garbage) + both(CloseReason::TooLong) + both(CloseReason::WrongType),
            "connections closed because they spoke no ZeroMQ, or too much of it",
        ),
        Line::note(
            "connections_unfinished",
            both(CloseReason::HandshakeTimeout),
            "connections that never said who they are",
        ),
        Line::gauge("subscribers", publisher.open, "connections to the publish port"),
        Line::gauge("request_connections", router.open, "connections to the request port"),
        Line::gauge("connections", to(places.used()), "both").of(to(places.limit()), FILES),
    ]
}

fn process(shared: &Shared) -> Vec<Line> {
    let mut lines = Vec::new();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    // Listing them takes one: when there is none left, those of peers are what can be told.
    let listed = std::fs::read_dir("/proc/self/fd").map(|list| list.flatten().count());
    let files = listed.unwrap_or_else(|_| shared.net.places.used());
    if let Some(limit) = limit {
        lines.push(Line::gauge("files", to(files), "open files, and the limit").of(limit, FILES));
    }
    if let Some(usage) = memory::usage() {
        lines.push(Line::gauge("memory_kib", usage, "resident memory, in KiB"));
    }
    if let Some(share) = memory::proportional() {
        let what = "proportional memory (what is shared counts in parts), in KiB";
        lines.push(Line::gauge("memory_pss_kib", share, what));
    }
    lines.push(Line::gauge(
        "uptime",
        shared.counters.uptime().as_secs(),
        "seconds since the start",
    ));
    lines
}

fn slug(text: &str) -> String {
    text.replace([' ', '-'], "_")
}

fn to(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
