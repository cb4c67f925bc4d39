//! The decision table of sign-in (whom a minion believes), row by row: minions with every kind of
//! cached key and options, masters with every kind of signature.
//!
//! `row_01` to `row_21` run our minion at our master. The same rows run at real masters and with
//! stock minions in one test for each pair, since those take seconds to start. Left out there:
//! - stock minions in row 20: a malformed signature makes their sign-in hang; in row 17,
//!   and in row 19 with another known key, they ask for ever; all are what ours must not do, and neither ends in a test;
//! - row 21 with stock minions: `salt-call` and the daemon end with status 42 by design.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use saltern_interop::{Fleet, Master, Minion, Output, Peer, wait};

/// What a master sends along with its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Nothing.
    Plain,
    /// A signature by the key the minions know.
    Signing,
    /// A file with such a signature, made ahead of time by our `salt-key --gen-signature`.
    File,
    /// A signature by a key nobody knows.
    Bad,
    /// A file that is no signature at all.
    Malformed,
}

/// The minion's `minion_master.pub` before it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cached {
    None,
    Same,
    Other,
    Garbage,
}

/// What ends a row: our minion answers, or says these words.
#[derive(Clone, Copy, Debug)]
enum End {
    Answers,
    Says(&'static str),
}

/// How a stock minion differs from ours in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stock {
    Alike,
    /// Accepts what ours refuses.
    Accepts,
    /// Cannot be run; the head of the file says why.
    LeftOut,
}

struct Row {
    number: u32,
    cached: Cached,
    options: &'static str,
    kind: Kind,
    /// Whether the minion has the verification key (`Some(false)`: a broken file).
    verifier: Option<bool>,
    end: End,
    stock: Stock,
}

const OFF: &str = "";
const ON: &str = "verify_master_pubkey_sign: True";
const ALWAYS: &str = "verify_master_pubkey_sign: True\nalways_verify_signature: True";
const OPEN: &str = "open_mode: True";
const FINGER: &str = "master_finger: '00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff:\
                      00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff'";

const UNWANTED: End = End::Says("the master signs its key, but verify_master_pubkey_sign is off");
const UNSIGNED: End = End::Says("but the master does not sign its key");
const WRONG: End = End::Says("Failed to verify signature of public key");
const NO_KEY: End = End::Says("the verification key cannot be read");
const CHANGED: End = End::Says("the master key has changed");
const UNREADABLE: End = End::Says("the cached master key cannot be read");
const MALFORMED: End = End::Says("the master's answer is malformed (pub_sig)");
const FOREIGN: End = End::Says("but master_finger is");

fn row(
    number: u32,
    cached: Cached,
    options: &'static str,
    kind: Kind,
    verifier: Option<bool>,
    end: End,
    stock: Stock,
) -> Row {
    Row { number, cached, options, kind, verifier, end, stock }
}

fn table() -> Vec<Row> {
    use Cached::{Garbage, None as Nothing, Other, Same};
    use End::Answers;
    use Kind::{Bad, File, Malformed, Plain, Signing};
    use Stock::{Accepts, Alike, LeftOut};
    let key = Some(true);
    vec![
        row(1, Nothing, OFF, Plain, None, Answers, Alike),
        row(2, Nothing, OFF, Signing, None, UNWANTED, Alike),
        row(3, Nothing, ON, Plain, key, UNSIGNED, Alike),
        row(4, Nothing, ON, Signing, key, Answers, Alike),
        row(4, Nothing, ALWAYS, File, key, Answers, Alike),
        row(5, Nothing, ON, Bad, key, WRONG, Alike),
        row(5, Nothing, ON, Signing, None, NO_KEY, Alike),
        row(6, Same, OFF, Plain, None, Answers, Alike),
        row(7, Same, OFF, Signing, None, UNWANTED, Alike),
        row(8, Same, ON, Plain, key, UNSIGNED, Alike),
        row(9, Same, ON, Bad, key, WRONG, Accepts),
        row(9, Same, ON, Signing, key, Answers, Alike),
        row(10, Same, ALWAYS, Signing, key, Answers, Alike),
        row(10, Same, ALWAYS, File, key, Answers, Alike),
        row(11, Same, ALWAYS, Bad, key, WRONG, Alike),
        row(12, Other, OFF, Plain, None, CHANGED, Alike),
        row(13, Other, OFF, Signing, None, UNWANTED, Alike),
        row(14, Other, ON, Plain, key, UNSIGNED, Alike),
        row(15, Other, ON, Signing, key, Answers, Alike),
        row(15, Other, ON, File, key, Answers, Alike),
        row(16, Other, ON, Bad, key, WRONG, Alike),
        row(16, Other, ON, Signing, None, NO_KEY, Alike),
        row(17, Garbage, OFF, Plain, None, UNREADABLE, LeftOut),
        row(18, Garbage, ON, Signing, key, Answers, Alike),
        row(19, Nothing, OPEN, Plain, None, Answers, Alike),
        row(19, Same, OPEN, Plain, None, Answers, Alike),
        row(19, Other, OPEN, Plain, None, CHANGED, LeftOut),
        row(20, Nothing, ON, Malformed, key, MALFORMED, LeftOut),
        row(20, Other, ON, Malformed, key, MALFORMED, LeftOut),
        row(20, Nothing, ON, Signing, Some(false), NO_KEY, LeftOut),
        row(21, Nothing, FINGER, Plain, None, FOREIGN, LeftOut),
    ]
}

/// Masters of one implementation, one of each kind that is needed, and minions of another.
struct Stage {
    masters: BTreeMap<Kind, Master>,
    /// Keys made ahead: `sign/master_sign.*`, `minion/minion.*`, `stranger/master.*`.
    keys: PathBuf,
    tools: Master,
    /// After the masters: they run in its directory.
    fleet: Fleet,
}

impl Stage {
    fn new(master: Peer, minion: Peer, rows: &[Row]) -> Self {
        let fleet = Fleet::new(master, minion);
        let keys = fleet.root().join("keys");
        let tools = Master::prepare(Peer::Saltern, &fleet.root().join("tools"), "");
        for (dir, name) in [("sign", "master_sign"), ("minion", "minion"), ("stranger", "master")] {
            gen_keys(&tools, name, &keys.join(dir));
        }
        let mut stage = Stage { masters: BTreeMap::new(), keys, tools, fleet };
        let mut kinds: Vec<Kind> = rows.iter().map(|row| row.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        for kind in kinds {
            let master = stage.prepare(kind);
            stage.masters.insert(kind, master);
        }
        for (number, row) in rows.iter().enumerate() {
            stage.masters[&row.kind]
                .preseed(&id(number, row), &stage.keys.join("minion/minion.pub"));
        }
        std::thread::scope(|scope| {
            for master in stage.masters.values_mut() {
                scope.spawn(|| master.start());
            }
        });
        stage
    }

    fn prepare(&self, kind: Kind) -> Master {
        let options = match kind {
            Kind::Plain => "",
            Kind::Signing => "master_sign_pubkey: True",
            _ => {
                "master_sign_pubkey: True\nmaster_use_pubkey_signature: True\n\
                  master_pubkey_signature: master_pubkey_signature"
            }
        };
        let master = self.fleet.master(&format!("{kind:?}"), options);
        gen_keys(&self.tools, "master", &master.pki());
        let pki = master.pki();
        match kind {
            Kind::Plain => {}
            Kind::Signing => {
                copy(&self.keys.join("sign"), &pki, &["master_sign.pem", "master_sign.pub"])
            }
            Kind::File => self.sign(&pki, &self.keys.join("sign/master_sign.pem")),
            Kind::Bad => self.sign(&pki, &self.keys.join("stranger/master.pem")),
            Kind::Malformed => {
                fs::write(pki.join("master_pubkey_signature"), "not a signature").unwrap();
            }
        }
        master
    }

    /// Signs a master's key with our `salt-key`.
    fn sign(&self, pki: &Path, private: &Path) {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let public = text(&pki.join("master.pub"));
        let args = [
            "--gen-signature",
            "--pub",
            &public,
            "--priv",
            &text(private),
            "--signature-path",
            &text(pki),
        ];
        let output = self.tools.run("salt-key", &args);
        assert_eq!(output.code, 0, "{output:?}");
    }

    /// A minion as the row wants it, not started.
    fn minion(&self, number: usize, row: &Row) -> Minion {
        let master = &self.masters[&row.kind];
        let minion = self.fleet.minion(&id(number, row), &[master], row.options);
        copy(&self.keys.join("minion"), &minion.pki(), &["minion.pem", "minion.pub"]);
        let verifier = minion.pki().join("master_sign.pub");
        match row.verifier {
            Some(true) => drop(fs::copy(self.keys.join("sign/master_sign.pub"), verifier).unwrap()),
            Some(false) => fs::write(verifier, "no key").unwrap(),
            None => {}
        }
        if let Some(text) = self.cached(row) {
            fs::write(minion.pki().join("minion_master.pub"), text).unwrap();
        }
        minion
    }

    fn cached(&self, row: &Row) -> Option<String> {
        match row.cached {
            Cached::None => None,
            Cached::Same => Some(self.key_of(row.kind)),
            Cached::Other => {
                Some(fs::read_to_string(self.keys.join("stranger/master.pub")).unwrap())
            }
            Cached::Garbage => Some("-----BEGIN nonsense".to_owned()),
        }
    }

    fn key_of(&self, kind: Kind) -> String {
        fs::read_to_string(self.masters[&kind].pki().join("master.pub")).unwrap()
    }

    /// What the file of the known key holds after an accepted or a refused sign-in.
    fn check_cache(&self, minion: &Minion, row: &Row, accepted: bool) {
        let found = fs::read_to_string(minion.pki().join("minion_master.pub")).ok();
        let wanted = if accepted { Some(self.key_of(row.kind)) } else { self.cached(row) };
        let trimmed = |text: Option<String>| text.map(|text| text.trim().to_owned());
        assert_eq!(trimmed(found), trimmed(wanted), "the cache of {}", minion.id);
    }
}

fn id(number: usize, row: &Row) -> String {
    format!("row{:02}-{number}", row.number)
}

fn gen_keys(tools: &Master, name: &str, dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    let args = ["--gen-keys", name, "--gen-keys-dir", dir.to_str().unwrap()];
    let output = tools.run("salt-key", &args);
    assert_eq!(output.code, 0, "{output:?}");
}

fn copy(from: &Path, to: &Path, names: &[&str]) {
    fs::create_dir_all(to).unwrap();
    for name in names {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

/// Our minions at masters of the given kind, all at once.
fn ours_at(peer: Peer, rows: &[Row]) {
    let stage = Stage::new(peer, Peer::Saltern, rows);
    let mut minions: Vec<Minion> =
        rows.iter().enumerate().map(|(number, row)| stage.minion(number, row)).collect();
    for minion in &mut minions {
        minion.start();
    }
    for (kind, master) in &stage.masters {
        let answering: Vec<&str> = rows
            .iter()
            .zip(&minions)
            .filter(|(row, _)| row.kind == *kind && matches!(row.end, End::Answers))
            .map(|(_, minion)| minion.id.as_str())
            .collect();
        if answering.is_empty() {
            continue;
        }
        wait::until(&format!("{answering:?} answer at the master {kind:?}"), || {
            let output =
                master.run("salt", &["--out", "json", "--static", "-t", "2", "*", "test.ping"]);
            let reply: serde_json::Value = serde_json::from_str(&output.stdout).unwrap_or_default();
            answering.iter().all(|id| reply[*id] == true).then_some(())
        });
    }
    for (row, minion) in rows.iter().zip(&mut minions) {
        if let End::Says(words) = row.end {
            wait::until(&format!("{} says: {words}", minion.id), || {
                minion.log().contains(words).then_some(())
            });
            assert!(!minion.log().contains("successful!"), "{}: {}", minion.id, minion.log());
            assert!(minion.process().is_running(), "{} has given up", minion.id);
        }
        stage.check_cache(minion, row, matches!(row.end, End::Answers));
        eprintln!("row {:>2} {:?} at {peer:?}: as in the table", row.number, row.kind);
    }
}

/// Stock minions at our masters. `salt-call` signs in as the daemon does, asks for its pillar over
/// the session it got, and ends.
fn stock_at_ours(peer: Peer) {
    let rows: Vec<Row> = table().into_iter().filter(|row| row.stock != Stock::LeftOut).collect();
    let stage = Stage::new(Peer::Saltern, peer, &rows);
    let jobs: Vec<(usize, &Row)> = rows.iter().enumerate().collect();
    // Each is one busy Python process: two lanes, as many as the smallest machine has cores.
    std::thread::scope(|scope| {
        for lane in 0..2 {
            let (jobs, stage) = (&jobs, &stage);
            scope.spawn(move || {
                for (number, row) in jobs.iter().skip(lane).step_by(2) {
                    let minion = stage.minion(*number, row);
                    let output = minion.call(&["-l", "debug", "--out", "json", "test.ping"]);
                    judge_stock(stage, &minion, row, &output);
                    eprintln!(
                        "row {:>2} {:?} with {peer:?}: as in the table",
                        row.number, row.kind
                    );
                }
            });
        }
    });
}

fn judge_stock(stage: &Stage, minion: &Minion, row: &Row, output: &Output) {
    let wanted = row.stock == Stock::Accepts || matches!(row.end, End::Answers);
    let answered = output.code == 0 && output.stdout.contains("true");
    assert_eq!(answered, wanted, "{}: {output:?}", minion.id);
    if wanted {
        stage.check_cache(minion, row, true);
    }
}

fn run_row(number: u32) {
    let rows: Vec<Row> = table().into_iter().filter(|row| row.number == number).collect();
    assert!(!rows.is_empty());
    ours_at(Peer::Saltern, &rows);
}

/// A test of its own for each row.
macro_rules! rows {
    ($($name:ident = $number:literal),* $(,)?) => {
        $(#[test]
        fn $name() {
            run_row($number);
        })*
    };
}

rows! {
    row_01_nothing_known_and_nothing_signed_is_trusted_at_first_use = 1,
    row_02_nothing_known_and_an_unexpected_signature_fails = 2,
    row_03_nothing_known_and_a_missing_signature_fails = 3,
    row_04_nothing_known_and_a_valid_signature_is_stored = 4,
    row_05_nothing_known_and_an_invalid_signature_fails = 5,
    row_06_the_known_key_is_accepted = 6,
    row_07_the_known_key_with_an_unexpected_signature_fails = 7,
    row_08_the_known_key_with_a_missing_signature_fails = 8,
    row_09_the_known_key_with_a_signature_is_verified_although_salt_does_not = 9,
    row_10_the_known_key_with_a_valid_signature_is_accepted = 10,
    row_11_the_known_key_with_an_invalid_signature_fails = 11,
    row_12_another_key_without_a_signature_fails = 12,
    row_13_another_key_with_an_unexpected_signature_fails = 13,
    row_14_another_key_with_a_missing_signature_fails = 14,
    row_15_another_key_with_a_valid_signature_replaces_the_known_one = 15,
    row_16_another_key_with_an_invalid_signature_fails = 16,
    row_17_an_unreadable_known_key_fails = 17,
    row_18_an_unreadable_known_key_is_replaced_by_a_verified_one = 18,
    row_19_open_mode_accepts_but_keeps_the_known_key = 19,
    row_20_what_is_malformed_fails_and_never_hangs = 20,
    row_21_a_wrong_master_finger_fails = 21,
}

#[test]
fn every_row_at_masters_of_3006() {
    ours_at(Peer::Salt3006, &table());
}

#[test]
fn every_row_at_masters_of_3008() {
    ours_at(Peer::Salt3008, &table());
}

#[test]
fn every_row_with_stock_minions_of_3006() {
    stock_at_ours(Peer::Salt3006);
}

#[test]
fn every_row_with_stock_minions_of_3008() {
    stock_at_ours(Peer::Salt3008);
}

/// A failed row is a failed master, not a failed minion: the next of the list is asked.
#[test]
fn a_master_that_is_not_believed_is_passed_over() {
    let rows: Vec<Row> = table()
        .into_iter()
        .filter(|r| matches!(r.number, 3 | 5 | 20) && r.verifier == Some(true))
        .collect();
    let good = table().into_iter().filter(|row| row.number == 4 && row.kind == Kind::Signing);
    let all: Vec<Row> = rows.into_iter().chain(good).collect();
    let stage = Stage::new(Peer::Saltern, Peer::Saltern, &all);
    let good = &stage.masters[&Kind::Signing];
    let bad = stage.masters.iter().filter(|(kind, _)| **kind != Kind::Signing);
    for (kind, master) in bad {
        let id = format!("past-{}", format!("{kind:?}").to_lowercase());
        let options = format!("{ON}\nmaster_type: failover\nmaster_alive_interval: 5");
        let mut minion = stage.fleet.minion(&id, &[master, good], &options);
        copy(&stage.keys.join("minion"), &minion.pki(), &["minion.pem", "minion.pub"]);
        copy(&stage.keys.join("sign"), &minion.pki(), &["master_sign.pub"]);
        for master in [master, good] {
            master.preseed(&id, &stage.keys.join("minion/minion.pub"));
        }
        minion.start();
        good.wait_ping(&id);
    }
}
