//! The job cache: what it keeps, what it refuses, and that no crash or damage stops it.

use std::fs;
use std::sync::mpsc::channel;

use saltern_value::{json, msgpack};

use super::*;
use crate::testing::{Scratch, id, mode};

fn jid(n: u64) -> Jid {
    Jid::parse(&format!("202601020304{n:08}")).unwrap()
}

fn job(n: u64, fun: &str, tgt: &str, minions: &[&str]) -> NewJob {
    NewJob {
        jid: jid(n),
        load: Map::from([("fun", fun), ("tgt", tgt)]),
        minions: minions.iter().map(|m| (*m).to_owned()).collect(),
        nocache: false,
    }
}

fn ret(n: u64, minion: &str, value: impl Into<Value>) -> NewReturn {
    NewReturn {
        jid: jid(n),
        minion: id(minion),
        value: value.into(),
        retcode: Some(0),
        success: Some(true),
        out: None,
        load: Map::from([("fun", "test.ping"), ("return", "big")]),
        origin: String::new(),
    }
}

fn open(dir: &Scratch) -> JobStore {
    JobStore::open(dir.path(), JobSettings::default()).unwrap()
}

#[test]
fn jobs_and_returns_outlive_a_restart() {
    let dir = Scratch::new();
    let store = open(&dir);
    store.save_job(job(1, "test.ping", "*", &["b", "a"])).unwrap();
    assert_eq!(store.save_return(ret(1, "a", true)).unwrap(), Stored::New);
    assert_eq!(store.save_return(ret(1, "a", false)).unwrap(), Stored::Duplicate);
    // Not closed in an orderly way: the reader of another process sees all of it.
    let other = open(&dir);
    let kept = other.job(&jid(1)).unwrap().unwrap();
    assert_eq!(kept.minions, ["a", "b"]);
    assert!(!kept.from_return);
    let returns = other.returns(&jid(1)).unwrap();
    assert_eq!(returns.len(), 1);
    assert_eq!(returns[0].value, Value::Bool(true), "the first return stays");
    assert_eq!(other.return_of(&jid(1), "b").unwrap(), None);
    assert_eq!(other.unfinished(SystemTime::UNIX_EPOCH).unwrap()[0].1, ["b"]);
    assert_eq!(mode(&dir.path().join("jobs.sqlite")), 0o600);
    drop(store);
    drop(other);
    assert_eq!(open(&dir).returns(&jid(1)).unwrap().len(), 1);
}

#[test]
fn a_return_makes_the_record_of_an_unknown_job() {
    let dir = Scratch::new();
    let store = open(&dir);
    assert_eq!(store.save_return(ret(7, "a", 1)).unwrap(), Stored::New);
    assert_eq!(store.save_return(ret(7, "b", 2)).unwrap(), Stored::New);
    let kept = store.job(&jid(7)).unwrap().unwrap();
    assert!(kept.from_return);
    assert_eq!(kept.minions, ["a", "b"]);
    assert_eq!(kept.load, Map::from([("fun", "test.ping")]), "the return is kept once only");
    // The job's own record, coming late, keeps the returns.
    store.save_job(job(7, "cmd.run", "*", &["a", "b", "c"])).unwrap();
    assert!(!store.job(&jid(7)).unwrap().unwrap().from_return);
    assert_eq!(store.returns(&jid(7)).unwrap().len(), 2);
    store.add_minions(&jid(7), &["d".to_owned(), "a".to_owned()]).unwrap();
    assert_eq!(store.job(&jid(7)).unwrap().unwrap().minions, ["a", "b", "c", "d"]);
    store.set_endtime(&jid(7), "2026, Jan 02 03:04:05.000678").unwrap();
    assert!(store.job(&jid(7)).unwrap().unwrap().endtime.unwrap().starts_with("2026"));
}

#[test]
fn a_job_without_cache_keeps_no_returns() {
    let dir = Scratch::new();
    let store = open(&dir);
    store.save_job(NewJob { nocache: true, ..job(1, "test.ping", "*", &["a"]) }).unwrap();
    assert_eq!(store.save_return(ret(1, "a", 1)).unwrap(), Stored::NotWanted);
    assert!(store.returns(&jid(1)).unwrap().is_empty());
}

#[test]
fn filters_select_jobs() {
    let dir = Scratch::new();
    let store = open(&dir);
    store.save_job(job(1, "test.ping", "web*", &[])).unwrap();
    store.save_job(job(2, "cmd.run", "db1", &[])).unwrap();
    let mut with_list = job(3, "test.echo", "", &[]);
    with_list.load.insert("tgt", vec![Value::from("db1"), Value::from("db2")]);
    with_list.load.insert("metadata", Map::from([("a", 1), ("b", 2)]));
    store.save_job(with_list).unwrap();
    let list = |filter: JobFilter| -> Vec<u64> {
        let jobs = store.list(&filter).unwrap();
        jobs.iter().map(|j| j.jid.as_str()[12..].parse().unwrap()).collect()
    };
    let texts = |list: &[&str]| list.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
    assert_eq!(list(JobFilter::default()), [1, 2, 3]);
    let functions = texts(&["test.*"]);
    assert_eq!(list(JobFilter { functions, ..JobFilter::default() }), [1, 3]);
    let targets = texts(&["db*"]);
    assert_eq!(list(JobFilter { targets, ..JobFilter::default() }), [2, 3]);
    let metadata = Some(Map::from([("a", 1), ("c", 9)]));
    assert_eq!(list(JobFilter { metadata, ..JobFilter::default() }), [3]);
    assert_eq!(list(JobFilter { limit: Some(1), ..JobFilter::default() }), [3]);
    let start = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000));
    assert_eq!(list(JobFilter { start, ..JobFilter::default() }), [0u64; 0]);
    assert_eq!(list(JobFilter { end: start, ..JobFilter::default() }), [1, 2, 3]);
}

#[test]
fn a_full_queue_refuses_and_recovers() {
    let dir = Scratch::new();
    let settings = JobSettings { queue_items: 4, queue_bytes: 1 << 20, ..JobSettings::default() };
    let store = JobStore::open(dir.path(), settings).unwrap();
    // The writer is held up by the first return's callback.
    let (started, has_started) = channel();
    let (release, wait) = channel::<()>();
    store
        .enqueue_return(ret(1, "first", 1), move |_| {
            started.send(()).unwrap();
            wait.recv().unwrap();
        })
        .unwrap();
    has_started.recv().unwrap();
    let (done, results) = channel();
    let enqueue = |n: usize| {
        let done = done.clone();
        store.enqueue_return(ret(1, &format!("m{n}"), 1), move |r| done.send(r.unwrap()).unwrap())
    };
    for n in 0..4 {
        enqueue(n).unwrap();
    }
    assert!(matches!(enqueue(4), Err(StoreError::Busy)));
    release.send(()).unwrap();
    for _ in 0..4 {
        assert_eq!(results.recv().unwrap(), Stored::New);
    }
    enqueue(5).unwrap();
    assert_eq!(store.returns(&jid(1)).unwrap().len(), 6, "questions see what still waits");
    // A return larger than the whole queue is let in when it is alone.
    assert_eq!(store.save_return(ret(1, "huge", vec![0u8; 2 << 20])).unwrap(), Stored::New);
}

#[test]
fn expiry_goes_by_age_in_steps() {
    let dir = Scratch::new();
    let store = open(&dir);
    for n in 0..450 {
        store.enqueue_return(ret(n, "a", "x"), |_| ()).unwrap();
    }
    assert_eq!(store.list(&JobFilter::default()).unwrap().len(), 450);
    assert_eq!(store.expire(SystemTime::UNIX_EPOCH).unwrap(), 0);
    let later = SystemTime::now() + Duration::from_secs(1);
    assert_eq!(store.expire(later).unwrap(), 450);
    assert!(store.list(&JobFilter::default()).unwrap().is_empty());
    assert!(store.returns(&jid(3)).unwrap().is_empty());
}

#[test]
fn the_room_of_what_expired_is_given_back_but_for_a_reserve() {
    let dir = Scratch::new();
    let store = open(&dir);
    for n in 0..40 {
        store.save_return(ret(n, "a", vec![7u8; 1 << 20])).unwrap();
    }
    let full = store.disk_bytes();
    assert!(full > 40 << 20, "{full}");
    assert_eq!(store.expire(SystemTime::now() + Duration::from_secs(60)).unwrap(), 40);
    // Returns are kept meanwhile, and what has its room needs no more.
    let begun = std::time::Instant::now();
    while std::fs::metadata(dir.path().join("jobs.sqlite")).unwrap().len() > full / 4 {
        assert!(begun.elapsed() < Duration::from_secs(120), "{} of {full}", store.disk_bytes());
        store.save_return(ret(99, "b", 1)).unwrap();
    }
    store.close();
}

#[test]
fn a_store_that_is_closed_does_not_wait_for_its_expiry() {
    let dir = Scratch::new();
    let store = open(&dir);
    for n in 0..20_000 {
        while store.enqueue_return(ret(n / 100, &format!("m{n}"), n), |_| ()).is_err() {
            store.list(&JobFilter { limit: Some(1), ..JobFilter::default() }).unwrap();
        }
    }
    let later = SystemTime::now() + Duration::from_secs(60);
    let expiring = store.clone();
    let expiry = std::thread::spawn(move || expiring.expire(later));
    store.close();
    // It was told how far it came, or came too late; nothing hangs.
    match expiry.join().unwrap() {
        Ok(jobs) => assert!(jobs <= 200, "{jobs}"),
        Err(error) => assert!(matches!(error, StoreError::Closed), "{error}"),
    }
    let left = open(&dir);
    for job in left.list(&JobFilter::default()).unwrap() {
        assert!(!left.returns(&job.jid).unwrap().is_empty(), "a job of which nothing is left");
    }
}

#[test]
fn questions_are_answered_beside_each_other() {
    let dir = Scratch::new();
    let store = open(&dir);
    store.save_return(ret(1, "a", "x")).unwrap();
    let all = std::sync::Barrier::new(query::AT_ONCE);
    std::thread::scope(|scope| {
        for _ in 0..query::AT_ONCE {
            // None comes to an end before all have begun.
            scope.spawn(|| store.ask(|_| Ok(all.wait().is_leader())).unwrap());
        }
    });
    assert_eq!(store.returns(&jid(1)).unwrap().len(), 1);
}

#[test]
fn a_damaged_file_is_put_aside_at_start() {
    let dir = Scratch::new();
    fs::write(dir.path().join("jobs.sqlite"), "this is no database, but long enough ".repeat(40))
        .unwrap();
    let store = open(&dir);
    assert_eq!(store.save_return(ret(1, "a", 1)).unwrap(), Stored::New);
    assert!(dir.names().iter().any(|n| n.starts_with("jobs.sqlite.damaged-")), "{:?}", dir.names());
}

#[test]
fn damage_while_running_begins_a_new_file() {
    let dir = Scratch::new();
    let store = open(&dir);
    for n in 0..200 {
        store.save_return(ret(n, "a", "x".repeat(2000))).unwrap();
    }
    drop(store);
    // Everything behind the schema page is garbage, larger than what is checked at start.
    let path = dir.path().join("jobs.sqlite");
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096..].fill(0xa5);
    bytes.resize(20 << 20, 0xa5);
    fs::write(&path, bytes).unwrap();
    let store = open(&dir);
    assert_eq!(store.save_return(ret(999, "a", 1)).unwrap(), Stored::New);
    assert_eq!(store.returns(&jid(999)).unwrap().len(), 1);
    assert!(dir.names().iter().any(|n| n.starts_with("jobs.sqlite.damaged-")), "{:?}", dir.names());
}

#[test]
fn a_file_of_a_newer_version_is_left_alone() {
    let dir = Scratch::new();
    drop(open(&dir));
    let path = dir.path().join("jobs.sqlite");
    let db = rusqlite::Connection::open(&path).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    let error = JobStore::open(dir.path(), JobSettings::default()).unwrap_err().to_string();
    assert!(error.contains("jobs.sqlite") && error.contains("99"), "{error}");
    assert!(path.exists());
}

#[test]
fn a_closed_store_refuses_writes_and_still_answers() {
    let dir = Scratch::new();
    let store = open(&dir);
    store.enqueue_return(ret(1, "a", 1), |_| ()).unwrap();
    store.close();
    assert!(matches!(store.save_return(ret(1, "b", 1)), Err(StoreError::Closed)));
    assert_eq!(store.returns(&jid(1)).unwrap().len(), 1, "what waited was written");
}

#[test]
fn loads_of_real_masters_come_back_byte_for_byte() {
    let text = include_str!("../../../../tests/vectors/ondisk.json");
    let vectors = json::parse(text).unwrap();
    let dir = Scratch::new();
    let store = open(&dir);
    let mut seen = 0;
    for version in vectors.as_map().unwrap().values() {
        for (name, file) in version.get("job_cache_files").and_then(Value::as_map).unwrap() {
            if !name.as_str().unwrap().ends_with(".load.p") {
                continue;
            }
            let hex = file.get("hex").and_then(Value::as_str).unwrap();
            let bytes = saltern_base::hex::decode(hex).unwrap();
            let load = msgpack::from_file(&bytes).unwrap().into_map().unwrap();
            let jid = Jid::parse(load.get_str("jid").unwrap()).unwrap();
            let job = NewJob { jid: jid.clone(), load, minions: Vec::new(), nocache: false };
            store.save_job(job).unwrap();
            let kept = store.job(&jid).unwrap().unwrap().load;
            assert_eq!(msgpack::encode_map(&kept, msgpack::Encoding::Bin), bytes);
            seen += 1;
        }
    }
    assert_eq!(seen, 4);
}

#[test]
fn of_many_returns_at_once_one_is_kept_and_each_is_answered() {
    let dir = Scratch::new();
    let store = open(&dir);
    let kept: Vec<Stored> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|n| {
                let store = store.clone();
                scope.spawn(move || store.save_return(ret(1, "a", format!("v{n}"))).unwrap())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(kept.iter().filter(|s| **s == Stored::New).count(), 1);
    assert_eq!(kept.iter().filter(|s| **s == Stored::Duplicate).count(), 15);
}

#[test]
fn jobs_expire_in_steps_and_returns_are_kept_meanwhile() {
    let dir = Scratch::new();
    let store = open(&dir);
    store.save_job(job(1, "test.ping", "*", &["a"])).unwrap();
    store.save_job(job(2, "test.ping", "*", &[])).unwrap();
    let (tell, told) = channel();
    for n in 0..1_200 {
        let tell = tell.clone();
        let done = move |stored: Result<Stored, StoreError>| tell.send(stored.unwrap()).unwrap();
        store.enqueue_return(ret(1, &format!("m{n}"), n), done).unwrap();
    }
    for _ in 0..1_200 {
        assert_eq!(told.recv().unwrap(), Stored::New);
    }
    let later = SystemTime::now() + Duration::from_secs(60);
    let expiring = store.clone();
    let expiry = std::thread::spawn(move || expiring.expire(later).unwrap());
    let kept = store.save_return(ret(1, "late", 1)).unwrap();
    assert_eq!(kept, Stored::New);
    assert!(expiry.join().unwrap() >= 2);
    // What came late is there, or went with its job: never a return without a job.
    let left = store.job(&jid(1)).unwrap().map(|job| job.minions);
    assert_eq!(left.is_some(), !store.returns(&jid(1)).unwrap().is_empty(), "{left:?}");
    store.expire(later).unwrap();
    assert!(store.list(&JobFilter::default()).unwrap().is_empty());
    assert!(store.returns(&jid(1)).unwrap().is_empty());
}

#[test]
fn a_known_job_needs_no_record_and_one_that_expired_meanwhile_gets_a_bare_one() {
    let dir = Scratch::new();
    let store = open(&dir);
    let keep = |minion: &str| {
        let (tell, told) = channel();
        let (jid, minion) = (jid(1), id(minion));
        let parts = ReturnParts {
            jid: &jid,
            minion: &minion,
            value: &Value::Bool(true),
            retcode: None,
            success: None,
            out: None,
            origin: "",
            endtime: Some("2026, Jan 02 03:04:05.000678".to_owned()),
            job: None,
        };
        store.enqueue_packed(parts.pack(), move |stored| tell.send(stored).unwrap()).unwrap();
        assert_eq!(told.recv().unwrap().unwrap(), Stored::New);
    };
    assert!(!store.knows(&jid(1)));
    store.save_job(job(1, "test.ping", "*", &["a", "b"])).unwrap();
    assert!(store.knows(&jid(1)));
    keep("a");
    let kept = store.job(&jid(1)).unwrap().unwrap();
    assert_eq!(kept.load.get_str("fun"), Some("test.ping"));
    assert!(kept.endtime.is_some_and(|text| text.starts_with("2026")));
    store.expire(SystemTime::now() + Duration::from_secs(60)).unwrap();
    assert!(!store.knows(&jid(1)));
    keep("b");
    let kept = store.job(&jid(1)).unwrap().unwrap();
    assert!(kept.from_return);
    assert_eq!(kept.minions, ["b"]);
    assert_eq!(store.waiting(), (0, 0));
    assert!(store.disk_bytes() > 0);
}
