//! Programs that pretend to be the minion's master, or are it and mean ill.

use std::fs;
use std::path::PathBuf;

use saltern_interop::{Address, Fleet, Master, Minion, Peer, Program, wait};
use serde_json::Value;

use super::script;

/// A running impostor; what it saw is in its journal.
struct Impostor {
    journal: PathBuf,
    _program: Program,
}

impl Impostor {
    fn start(
        fleet: &Fleet,
        attack: &str,
        addresses: &[Address],
        real: Option<(&Master, &Minion)>,
    ) -> Self {
        let journal = fleet.root().join("journal");
        let mut command = script("impostor.py");
        command.arg(fleet.root().join("impostor.pem")).arg(&journal).arg(attack);
        command.args(addresses.iter().map(ToString::to_string));
        if let Some((master, minion)) = real {
            command.arg("--").arg(master.address.to_string()).arg(minion.pki().join("minion.pub"));
        }
        let program = Program::start("impostor", command, &fleet.root().join("impostor.out"));
        let impostor = Impostor { journal, _program: program };
        impostor.wait("ready", |line| line["ready"] == true);
        impostor
    }

    fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.journal).unwrap_or_default();
        // The last line may be half written.
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn wait(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        wait::until(what, || self.lines().into_iter().find(&is))
    }

    /// Waits for the return of the job published under that name.
    fn returned(&self, name: &str) -> Value {
        let job = self.wait(name, |line| line["published"] == name);
        self.wait(name, |line| line["returned"] == job["jid"])["value"].clone()
    }

    /// Names of the jobs that were run, one for each time.
    fn run(&self) -> Vec<String> {
        let lines = self.lines();
        let name = |jid: &Value| {
            let job = lines.iter().find(|l| l.get("published").is_some() && l["jid"] == *jid);
            job.map_or_else(|| jid.to_string(), |job| job["published"].as_str().unwrap().to_owned())
        };
        lines.iter().filter_map(|line| line.get("returned")).map(name).collect()
    }
}

/// As many addresses as an attack has variants.
fn addresses(attack: &str) -> Vec<Address> {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let journal = fleet.root().join("journal");
    let mut command = script("impostor.py");
    command.arg(fleet.root().join("key")).arg(&journal).args(["count", "nowhere"]);
    let output = saltern_interop::Output::of(command);
    assert_eq!(output.code, 0, "{output:?}");
    let counts: Value = serde_json::from_str(&fs::read_to_string(&journal).unwrap()).unwrap();
    (0..counts[attack].as_u64().unwrap()).map(|_| Address::fresh()).collect()
}

/// A minion that trusts the signing pair has to pass a row of impostors before it reaches the
/// real master, which is the last of its list. `cached`: it has been at that master before.
fn a_row_of(attack: &str, cached: bool) {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let mut master = fleet.master("m1", "master_sign_pubkey: True");
    master.start();
    let row = addresses(attack);
    let list: Vec<_> = row.iter().map(ToString::to_string).collect();
    let extra = "master_type: failover\nverify_master_pubkey_sign: True\nretry_dns: 0\n";
    let mut minion = fleet.minion("min", &[&master], extra);
    let public = minion.make_keys(&master);
    master.preseed("min", &public);
    fs::copy(master.pki().join("master_sign.pub"), minion.pki().join("master_sign.pub")).unwrap();
    if cached {
        minion.start();
        master.wait_ping("min");
        minion.process().stop();
    }
    let file = minion.conf().join("minion.d/masters.conf");
    fs::write(file, format!("master: [{}, {}]\n", list.join(", "), master.address)).unwrap();
    let impostor = Impostor::start(&fleet, attack, &row, Some((&master, &minion)));
    minion.start();
    master.wait_ping("min");
    let lines = impostor.lines();
    let tried = lines.iter().filter(|line| line["asked"] == "_auth").count();
    assert!(tried >= row.len(), "{tried} of {}: {lines:?}", row.len());
    assert!(!lines.iter().any(|line| line["asked"] == "sealed"), "{lines:?}");
    assert!(minion.process().is_running());
    // Nothing of them is kept: each key in the directory is the minion's, the master's, or the
    // one it verifies with.
    let known: Vec<_> = [
        minion.pki().join("minion.pub"),
        minion.pki().join("minion.pem"),
        master.pki().join("master.pub"),
        master.pki().join("master_sign.pub"),
    ]
    .iter()
    .map(|path| fs::read_to_string(path).unwrap().trim().to_owned())
    .collect();
    for path in super::files(&minion.pki()) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(known.iter().any(|key| key == text.trim()), "{} is {text}", path.display());
    }
}

#[test]
fn forged_refusals_and_nonsense_do_not_stop_a_minion() {
    a_row_of("refusals", false);
}

#[test]
fn forged_refusals_do_not_stop_a_minion_that_knows_its_master() {
    a_row_of("refusals", true);
}

#[test]
fn nobody_without_the_signing_key_is_taken_for_a_master() {
    a_row_of("claims", false);
}

#[test]
fn nobody_without_the_signing_key_replaces_a_known_master() {
    a_row_of("claims", true);
}

/// A minion at a master that means ill, whose key it has taken on first sight.
fn at(fleet: &Fleet, attack: &str, extra: &str) -> (Impostor, Minion) {
    let honest = fleet.master("m1", "");
    let minion = fleet.minion("min", &[&honest], extra);
    let impostor = Impostor::start(fleet, attack, &[honest.address], None);
    (impostor, minion)
}

#[test]
fn only_the_master_publishes() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (impostor, mut minion) = at(&fleet, "publications", "");
    minion.start();
    // Jobs run side by side, so their returns come in any order.
    assert_eq!(impostor.returned("good"), true);
    assert_eq!(impostor.returned("last"), true);
    let mut run = impostor.run();
    run.sort();
    assert_eq!(run, ["good", "last"]);
    assert!(minion.process().is_running());
    assert!(!fleet.root().join("min/cache/evil").exists());
}

#[test]
fn jobs_are_not_replayed_to_a_minion_that_started_anew() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (impostor, mut minion) = at(&fleet, "replay", "");
    minion.start();
    assert_eq!(impostor.returned("of start 1"), true);
    minion.process().kill();
    minion.start();
    assert_eq!(impostor.returned("of start 2"), true);
    minion.process().stop();
    minion.start();
    assert_eq!(impostor.returned("of start 3"), true);
    assert_eq!(impostor.run(), ["of start 1", "of start 2", "of start 3"]);
}

#[test]
fn a_pillar_that_is_not_the_masters_is_refused() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (impostor, mut minion) = at(&fleet, "pillars", "");
    minion.start();
    impostor.wait("the right pillar", |line| line["value"] == "good");
    assert!(impostor.lines().iter().all(|line| line["value"] != "forged"));
    assert!(!minion.log().contains("forged"), "{}", minion.log());
}

#[test]
fn keys_of_the_wire_are_in_no_log() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (impostor, mut minion) = at(&fleet, "replay", "");
    super::log_everything(&minion.conf().join("minion.d"));
    minion.start();
    assert_eq!(impostor.returned("of start 1"), true);
    let (log, printed) = (minion.log(), minion.process().printed());
    assert!(log.contains("test.ping"), "it logs: {log}");
    let secrets: Vec<_> =
        impostor.lines().into_iter().filter_map(|l| l.get("secret").cloned()).collect();
    assert_eq!(secrets.len(), 2);
    for secret in secrets {
        let secret = secret.as_str().unwrap();
        assert!(!log.contains(secret) && !printed.contains(secret));
    }
}
