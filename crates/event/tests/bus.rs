//! The bus with subscribers and pushers inside and outside of the process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use saltern_event::client::{self, Subscriber};
use saltern_event::{Bus, BusOptions, BusPaths, Event, Framing, blocking};
use saltern_value::Map;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

const LONG: Duration = Duration::from_secs(120);

struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sev-{}-{serial}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Dir(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn data(key: &str, value: &str) -> Map {
    Map::from([(key, value)])
}

async fn until(what: impl Fn() -> bool) {
    let waiting = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LONG, waiting).await.expect("it never happened");
}

async fn next(subscriber: &mut Subscriber) -> Option<Event> {
    tokio::time::timeout(LONG, subscriber.next()).await.expect("no event").unwrap()
}

#[tokio::test]
async fn events_reach_everybody_who_wants_them() {
    let dir = Dir::new();
    let paths = BusPaths::master(&dir.0);
    let bus = Bus::bind(&paths, BusOptions::default()).unwrap();
    let mut inside = bus.subscribe("salt/job/");
    let mut all = Subscriber::connect(&paths.publish).await.unwrap();
    let mut some = Subscriber::connect(&paths.publish).await.unwrap();
    some.filter("salt/job/1\n");
    some.filter("salt/job/2");
    until(|| bus.readers() == 2).await;
    bus.fire("salt/auth", data("act", "pend"));
    bus.fire("salt/job/1/new", data("fun", "test.ping"));
    bus.clone().fire("salt/job/2/new", data("fun", "x"));
    assert_eq!(next(&mut all).await.unwrap().tag, "salt/auth");
    let second = next(&mut all).await.unwrap();
    assert_eq!(second.data.get_str("fun"), Some("test.ping"));
    assert_eq!(second.data.get_str("_stamp").map(str::len), Some(26));
    assert_eq!(next(&mut some).await.unwrap().tag, "salt/job/2/new");
    assert_eq!(*inside.next().await.unwrap(), second);
    assert_eq!(inside.try_next().unwrap().tag, "salt/job/2/new");
    drop(some);
    until(|| bus.readers() == 1).await;
    drop(bus);
    assert!(inside.next().await.is_none());
    assert_eq!(next(&mut all).await.unwrap().tag, "salt/job/2/new");
    assert!(next(&mut all).await.is_none());
    assert!(!paths.publish.exists() && !paths.pull.exists());
}

#[tokio::test]
async fn both_generations_can_push() {
    let dir = Dir::new();
    let paths = BusPaths::minion(&dir.0, "0123456789");
    assert!(paths.pull.ends_with("minion_event_0123456789_pull.ipc"));
    let bus = Bus::bind(&paths, BusOptions::default()).unwrap();
    let (mut pushed, mut all) = (bus.pushed(), bus.subscribe(""));
    bus.fire("own", Map::new());
    for framing in [Framing::Bare, Framing::Length] {
        client::push(&paths.pull, "a/b", data("k", "v"), framing, LONG).await.unwrap();
        let event = pushed.next().await.unwrap();
        assert_eq!((event.tag.as_str(), event.data.get_str("k")), ("a/b", Some("v")));
    }
    assert_eq!(all.next().await.unwrap().tag, "own");
    assert_eq!(all.next().await.unwrap().tag, "a/b");

    // Bytes that are no event do not disturb those that are.
    let mut noise = UnixStream::connect(&paths.pull).await.unwrap();
    noise.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut odd = UnixStream::connect(&paths.pull).await.unwrap();
    let frames = [
        saltern_event::frame(b"no newlines", Framing::Bare),
        saltern_event::frame(b"ok\n\n\x80", Framing::Bare),
    ]
    .concat();
    odd.write_all(&frames).await.unwrap();
    assert_eq!(pushed.next().await.unwrap().tag, "ok");
}

#[tokio::test]
async fn a_slow_subscriber_misses_events_and_nobody_else_does() {
    let dir = Dir::new();
    let paths = BusPaths::master(&dir.0);
    let options = BusOptions { queue: 50, ..BusOptions::default() };
    let bus = Bus::bind(&paths, options).unwrap();
    let slow = Subscriber::connect(&paths.publish).await.unwrap();
    let mut good = Subscriber::connect(&paths.publish).await.unwrap();
    let mut inside = bus.subscribe("");
    until(|| bus.readers() == 2).await;
    let text = "x".repeat(100_000);
    for _ in 0..200 {
        bus.fire("big", data("text", &text));
        assert_eq!(next(&mut good).await.unwrap().tag, "big");
    }
    assert_eq!(inside.missed(), 150);
    assert!(bus.dropped() > 150, "{}", bus.dropped());
    for _ in 0..50 {
        assert!(inside.try_next().is_some());
    }
    assert!(inside.try_next().is_none());
    drop(slow);
    until(|| bus.readers() == 1).await;
}

#[tokio::test]
async fn fifty_listeners_get_a_burst_in_order_beside_one_that_does_not_read() {
    let dir = Dir::new();
    let paths = BusPaths::master(&dir.0);
    let options = BusOptions { queue_bytes: 1 << 20, ..BusOptions::default() };
    let bus = Bus::bind(&paths, options).unwrap();
    let slow = Subscriber::connect(&paths.publish).await.unwrap();
    let mut good = Vec::new();
    for _ in 0..50 {
        let mut subscriber = Subscriber::connect(&paths.publish).await.unwrap();
        subscriber.filter("burst/");
        good.push(subscriber);
    }
    until(|| bus.readers() == 51).await;
    let text = "x".repeat(400);
    let reading: Vec<_> = (good.into_iter())
        .map(|mut subscriber| {
            tokio::spawn(async move {
                for n in 0..2_000 {
                    assert_eq!(next(&mut subscriber).await.unwrap().tag, format!("burst/{n}"));
                }
            })
        })
        .collect();
    for n in 0..2_000 {
        bus.fire(format!("burst/{n}"), data("text", &text));
        if n % 100 == 99 {
            tokio::task::yield_now().await;
        }
    }
    for reader in reading {
        reader.await.unwrap();
    }
    // What the one that does not read may keep waiting is bounded.
    assert!(bus.longest_queue().1 <= 1 << 20);
    assert_eq!(bus.dropped(), 0, "a megabyte holds the burst");
    for n in 0..10_000 {
        bus.fire(format!("more/{n}"), data("text", &text));
    }
    assert!(bus.dropped() > 0);
    assert!(bus.longest_queue().1 <= 1 << 20);
    drop(slow);
    until(|| bus.readers() == 0).await;
}

#[tokio::test]
async fn long_events_are_trimmed_on_the_socket() {
    let dir = Dir::new();
    let paths = BusPaths::master(&dir.0);
    let options = BusOptions { max_event_size: 1000, ..BusOptions::default() };
    let bus = Bus::bind(&paths, options).unwrap();
    let mut outside = Subscriber::connect(&paths.publish).await.unwrap();
    let mut inside = bus.subscribe("");
    until(|| bus.readers() == 1).await;
    bus.fire("t", data("long", &"x".repeat(5000)));
    let trimmed = next(&mut outside).await.unwrap();
    assert_eq!(trimmed.data.get_str("long"), Some(saltern_event::TRIMMED));
    assert_eq!(inside.next().await.unwrap().data.get_str("long").map(str::len), Some(5000));
}

#[tokio::test]
async fn files_modes_and_what_is_in_the_way() {
    let dir = Dir::new();
    let paths = BusPaths::master(&dir.0);
    // The file of a dead process.
    drop(std::os::unix::net::UnixListener::bind(&paths.pull).unwrap());
    let options = BusOptions { publish_mode: 0o660, ..BusOptions::default() };
    let bus = Bus::bind(&paths, options).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&paths.publish), mode(&paths.pull)), (0o660, 0o600));
    assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 2, "nothing else is left");
    let second = Bus::bind(&paths, BusOptions::default()).unwrap_err();
    assert_eq!(second.kind(), ErrorKind::AddrInUse);
    drop(bus);
    fs::write(&paths.pull, "precious").unwrap();
    let blocked = Bus::bind(&paths, BusOptions::default()).unwrap_err();
    assert!(blocked.to_string().contains("is no socket"), "{blocked}");
    assert_eq!(fs::read(&paths.pull).unwrap(), b"precious");

    let long = BusPaths::master(&dir.0.join("d".repeat(100)));
    let refused = Bus::bind(&long, BusOptions::default()).unwrap_err();
    assert!(refused.to_string().contains("sock_dir"), "{refused}");
    let missing = BusPaths::master(&dir.0.join("none"));
    let refused = Bus::bind(&missing, BusOptions::default()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
}

#[test]
fn tools_without_a_runtime() {
    let dir = Dir::new();
    let paths = BusPaths::master(&dir.0);
    assert!(blocking::Subscriber::connect(&paths.publish).is_err());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bus = runtime.block_on(async { Bus::bind(&paths, BusOptions::default()) }).unwrap();
    let thread = std::thread::spawn({
        let bus = bus.clone();
        move || {
            runtime.block_on(async {
                let mut events = bus.subscribe("stop");
                events.next().await;
            });
        }
    });
    let mut subscriber = blocking::Subscriber::connect(&paths.publish).unwrap();
    let soon = Instant::now() + Duration::from_millis(20);
    assert_eq!(subscriber.next("", Some(soon)).unwrap_err().kind(), ErrorKind::TimedOut);
    let framing = Framing::Length;
    blocking::push(&paths.pull, "other", Map::new(), framing, LONG).unwrap();
    blocking::push(&paths.pull, "mine", data("a", "b"), framing, LONG).unwrap();
    let event = subscriber.next("mine", Some(Instant::now() + LONG)).unwrap().unwrap();
    assert_eq!(event.data.get_str("a"), Some("b"));
    blocking::push(&paths.pull, "stop", Map::new(), framing, LONG).unwrap();
    thread.join().unwrap();
}
