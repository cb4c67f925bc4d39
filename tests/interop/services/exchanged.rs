//! A file that is exchanged for another while a minion fetches it, over and over: what arrives is one
//! of them as a whole, or nothing. Our master tells of what file each piece is; with real Salt's only
//! the hash shows it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use saltern_interop::{Fleet, Peer, wait};
use serde_json::json;

const SIZE: usize = 8 << 20;
const FETCHES: usize = 8;

fn never_a_mix(peer: Peer) {
    let fleet = Fleet::new(peer, Peer::Saltern);
    let (master, minion) = fleet.pair("file_buffer_size: 65536", "");
    let srv = master.root().join("srv/salt");
    for letter in ["a", "b"] {
        fs::write(srv.join(letter), letter.repeat(SIZE)).unwrap();
    }
    point(&srv, "a");
    // A file that was just written may still be written to: no master can vouch for it.
    wait::until("files that nobody just changed", || {
        let changed = fs::metadata(srv.join("b")).and_then(|meta| meta.modified()).unwrap();
        let age = SystemTime::now().duration_since(changed).unwrap_or_default();
        (age > Duration::from_secs(2)).then_some(())
    });
    let fetched = |n: usize| {
        let dest = minion.root().join(format!("got{n}"));
        let text = dest.to_str().unwrap();
        let answer = master.salt(&["min", "cp.get_file", "salt://file", text]);
        let whole = answer["min"] == json!(text);
        assert_eq!(whole, dest.exists(), "{answer}");
        whole.then(|| fs::read(dest).unwrap())
    };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for letter in ["b", "a"].into_iter().cycle() {
                if done.load(Ordering::Relaxed) {
                    return;
                }
                point(&srv, letter);
                // Several times within the time that a copy takes.
                thread::sleep(Duration::from_millis(7));
            }
        });
        // Also when a check fails: the other thread must end.
        let _end = End(&done);
        for n in 0..FETCHES {
            if let Some(bytes) = fetched(n) {
                assert_eq!(bytes.len(), SIZE);
                assert!(bytes.iter().all(|byte| *byte == bytes[0]), "a mix of both");
            }
        }
    });
    // Real Salt's master may have kept the hash of one for the other, for good.
    if peer == Peer::Saltern {
        point(&srv, "b");
        assert!(fetched(FETCHES).is_some_and(|bytes| bytes == "b".repeat(SIZE).into_bytes()));
    }
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// `file` is this one from now on; it is never missing.
fn point(srv: &Path, to: &str) {
    symlink(to, srv.join("next")).unwrap();
    fs::rename(srv.join("next"), srv.join("file")).unwrap();
}

#[test]
fn our_master_never_serves_a_mix_of_files() {
    never_a_mix(Peer::Saltern);
}

#[test]
fn of_a_real_master_no_mix_of_files_is_kept() {
    never_a_mix(Peer::Salt3006);
}
