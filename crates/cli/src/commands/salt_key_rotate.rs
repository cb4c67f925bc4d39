//! `salt-key --rotate-master-sign`: walks an operator through the change of the signing pair. What
//! lies on disk says which step is next, and no step is taken before every minion can go along.

use saltern_base::MinionId;
use saltern_config::{Loaded, MasterOptions};
use saltern_crypto::{HashType, PublicKey, fingerprint};
use saltern_store::holdings::{self, Holding, Source};
use saltern_store::pki::{Generations, KeyState, Pki, SigningFiles};
use saltern_target::Glob;
use saltern_value::Map;

use crate::exit::Failure;

/// The steps, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The next pair is to be made.
    Create,
    /// The next pair is there; minions get its public key, then it is activated.
    Activate,
    /// The next pair signs; the former one goes once nobody needs it.
    Retire,
}

/// The accepted minions by what they can check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fleet {
    /// They hold the new key, or do not verify at all.
    pub(crate) ready: Vec<String>,
    /// They do not hold it.
    pub(crate) behind: Vec<String>,
    /// Nobody has said what they hold: stock minions, and those not seen since.
    pub(crate) unknown: Vec<String>,
}

/// A roll-over as it stands.
pub(crate) struct Rotation<'a> {
    opts: &'a MasterOptions,
    files: SigningFiles,
    hash: HashType,
    found: Generations,
}

impl Step {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Step::Create => "create",
            Step::Activate => "activate",
            Step::Retire => "retire",
        }
    }

    /// The question before the step.
    pub(crate) fn question(self) -> &'static str {
        match self {
            Step::Create => "The next signing pair is going to be made.",
            Step::Activate => "The next signing pair is going to be activated.",
            Step::Retire => "The former signing pair is going to be removed.",
        }
    }
}

impl<'a> Rotation<'a> {
    /// Looks at what is on disk; an interrupted activation is finished first.
    pub(crate) fn look(loaded: &'a Loaded<MasterOptions>, hash: HashType) -> Result<Self, Failure> {
        let opts = &loaded.opts;
        if opts.master_use_pubkey_signature {
            return Err(Failure::generic(
                "option master_use_pubkey_signature: the same signature goes to every minion, so \
                 no minion could be left with the key it has",
            )
            .hint("switch it off for the roll-over and restart the master"));
        }
        let pass = opts.signing_key_pass.as_ref().map(|pass| pass.expose().as_str());
        let files =
            SigningFiles::new(&opts.pki_dir, &opts.master_sign_key_name, pass).map_err(store)?;
        let mut found = files.read().map_err(store)?;
        if found.interrupted {
            files.activate().map_err(store)?;
            found = files.read().map_err(store)?;
        }
        Ok(Rotation { opts, files, hash, found })
    }

    /// What comes next.
    pub(crate) fn step(&self) -> Step {
        match (&self.found.next, &self.found.old) {
            (Some(_), _) => Step::Activate,
            (None, Some(_)) => Step::Retire,
            (None, None) => Step::Create,
        }
    }

    /// Takes the step.
    pub(crate) fn take(&mut self, keysize: u32) -> Result<(), Failure> {
        match self.step() {
            Step::Create => self.files.create_next(keysize).map(drop),
            Step::Activate => self.files.activate(),
            Step::Retire => self.files.retire(),
        }
        .map_err(store)?;
        self.found = self.files.read().map_err(store)?;
        Ok(())
    }

    /// The key minions need for the step to come.
    fn needed(&self) -> &PublicKey {
        self.found.next.as_ref().unwrap_or(&self.found.active).public()
    }

    /// Who holds the key that is needed.
    pub(crate) fn fleet(&self, pki: &Pki) -> Result<Fleet, Failure> {
        let needed = on_wire(self.needed());
        let mut fleet = Fleet::default();
        for id in pki.ids(KeyState::Accepted).map_err(store)? {
            let Ok(parsed) = MinionId::parse(&id) else { continue };
            let known = holdings::read(&self.opts.cachedir, &parsed).map_err(store)?;
            match known {
                None => fleet.unknown.push(id),
                Some(known) if holds(&known, &needed) => fleet.ready.push(id),
                // What an operator said of a key that is no longer needed says nothing of this.
                Some(known) if known.source == Source::Operator => fleet.unknown.push(id),
                Some(_) => fleet.behind.push(id),
            }
        }
        Ok(fleet)
    }

    /// Takes the operator's word that these minions hold the new key; which ones they are.
    pub(crate) fn believe(&self, pki: &Pki, globs: &[Glob]) -> Result<Vec<String>, Failure> {
        let holding = Holding { source: Source::Operator, fingers: vec![on_wire(self.needed())] };
        let mut told = Vec::new();
        for id in pki.ids(KeyState::Accepted).map_err(store)? {
            if !globs.iter().any(|glob| glob.matches(&id)) {
                continue;
            }
            let Ok(parsed) = MinionId::parse(&id) else { continue };
            holdings::write(&self.opts.cachedir, &parsed, &holding).map_err(store)?;
            told.push(id);
        }
        Ok(told)
    }

    /// The state for machines and, through the outputter, for people.
    pub(crate) fn report(&self, done: Option<Step>, fleet: &Fleet) -> Map {
        let finger = |key: &PublicKey| fingerprint(key.wire_pem(), self.hash);
        let mut map = Map::new();
        map.insert("done", done.map_or("", Step::name));
        map.insert("next_step", self.step().name());
        map.insert("active", finger(self.found.active.public()));
        for (name, key) in [("next", &self.found.next), ("former", &self.found.old)] {
            if let Some(key) = key {
                map.insert(name, finger(key.public()));
            }
        }
        let mut minions = Map::new();
        if self.step() != Step::Create {
            minions.insert("ready", fleet.ready.clone());
            minions.insert("behind", fleet.behind.clone());
            minions.insert("unknown", fleet.unknown.clone());
        }
        map.insert("minions", minions);
        map.insert("todo", self.todo(done, fleet));
        map
    }

    /// What the operator has to do before the next step.
    fn todo(&self, done: Option<Step>, fleet: &Fleet) -> Vec<String> {
        let name = self.files.active_name();
        let file = |name: &str, suffix: &str| self.files.file(name, suffix).display().to_string();
        let (next, old) = (self.files.next_name(), self.files.old_name());
        let again = "Run salt-key --rotate-master-sign again".to_owned();
        let stock = |key: &str| {
            format!(
                "On each stock minion replace {name}.pub in its pki directory with {key}, and \
                 say so at once on every master: salt-key --rotate-master-sign --holders MINION"
            )
        };
        match self.step() {
            Step::Create if done == Some(Step::Retire) => vec![format!(
                "Done. On minions that still have it, remove the former key: {name}.pub gets the \
                 content of {}, {next}.pub is then not needed any more",
                file(name, "pub")
            )],
            Step::Create => Vec::new(),
            Step::Activate => {
                let mut todo = vec![
                    format!(
                        "Copy {} and {} to the pki directory of every other master first, under \
                         the same names",
                        file(&next, "pem"),
                        file(&next, "pub")
                    ),
                    format!(
                        "Copy {} to the pki directory of every Saltern minion, beside {name}.pub \
                         and under its own name; it tells its master within seconds",
                        file(&next, "pub")
                    ),
                ];
                if !fleet.unknown.is_empty() {
                    todo.push(stock(&file(&next, "pub")));
                }
                todo.push(format!("{again} to activate the next pair, on every master"));
                todo
            }
            Step::Retire => {
                let mut todo = Vec::new();
                if !fleet.unknown.is_empty() {
                    todo.push(stock(&file(name, "pub")));
                }
                todo.push(format!(
                    "{again} to remove {}, on every master, when all of them have activated",
                    file(&old, "pem")
                ));
                todo
            }
        }
    }
}

impl Fleet {
    /// Whether everybody can go along.
    pub(crate) fn is_ready(&self) -> bool {
        self.behind.is_empty() && self.unknown.is_empty()
    }
}

/// A minion that does not verify holds none, and any key is right for it.
fn holds(known: &Holding, needed: &str) -> bool {
    known.fingers.iter().any(|finger| finger.eq_ignore_ascii_case(needed))
        || (known.source == Source::Minion && known.fingers.is_empty())
}

/// As minions write it in their sign-in.
fn on_wire(key: &PublicKey) -> String {
    fingerprint(key.wire_pem(), HashType::Sha256)
}

fn store(error: saltern_store::StoreError) -> Failure {
    Failure::generic(error.to_string())
}
