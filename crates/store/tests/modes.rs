//! Modes of everything the store makes must not depend on the umask (CVE-2020-17490). Alone in its
//! process, because the umask belongs to the process.

#![allow(clippy::unwrap_used)] // the helpers of a test are tests, too

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use saltern_base::MinionId;
use saltern_store::cache::DataCache;
use saltern_store::jobs::{JobSettings, JobStore};
use saltern_store::pki::{self, KeyState, Pki};
use saltern_store::sessions::Sessions;
use saltern_store::{dropfile, root_key};
use saltern_value::Map;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn modes_with_an_open_umask() {
    rustix::process::umask(rustix::fs::Mode::empty());
    let dir = std::env::temp_dir().join(format!("saltern-modes-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let pki_dir = dir.join("pki");
    let keys = Pki::open(&pki_dir, false).unwrap();
    let master = pki::open_master(&pki_dir, 2048, None).unwrap();
    pki::open_master_sign(&pki_dir, "master_sign", 2048, None).unwrap();
    let web = MinionId::parse("web").unwrap();
    keys.put(&web, KeyState::Accepted, master.public.wire_pem()).unwrap();
    let sessions = Sessions::open(&dir, Duration::from_secs(60)).unwrap();
    let minion = keys.accepted(&web).unwrap().unwrap();
    sessions.for_sign_in(&minion, SystemTime::now()).unwrap();
    root_key::create(&dir, "root").unwrap();
    dropfile::request(&dir, "m").unwrap();
    let jobs = JobStore::open(&dir, JobSettings::default()).unwrap();
    jobs.expire(SystemTime::now()).unwrap();
    let cache = DataCache::open(&dir).unwrap();
    cache.store(&web, &Map::new(), None).unwrap();
    for (name, expected) in [
        ("pki", 0o700),
        ("pki/master.pem", 0o400),
        ("pki/master.pub", 0o644),
        ("pki/master_sign.pem", 0o400),
        ("pki/master_sign.pub", 0o644),
        ("pki/minions", 0o700),
        ("pki/minions/web", 0o644),
        ("sessions", 0o700),
        ("sessions/web", 0o600),
        (".root_key", 0o600),
        (".dfn", 0o400),
        ("jobs.sqlite", 0o600),
        ("jobs.sqlite-wal", 0o600),
        ("minions.sqlite", 0o600),
        ("minions.sqlite-wal", 0o600),
    ] {
        assert_eq!(mode(&dir.join(name)), expected, "{name}");
    }
    drop((jobs, cache));
    fs::remove_dir_all(dir).unwrap();
}
