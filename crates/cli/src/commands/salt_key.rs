//! `salt-key`: the keys of minions. Works on the pki directory itself, so it also works while no
//! master runs; a running master is told by an event.

use std::path::{Path, PathBuf};
use std::time::Duration;

use saltern_base::MinionId;
use saltern_config::{Loaded, MasterOptions, load_master};
use saltern_crypto::{HashType, fingerprint};
use saltern_event::{BusPaths, Framing, blocking};
use saltern_store::StoreError;
use saltern_store::dropfile;
use saltern_store::pki::{self, GenSignature, KeyState, Pki};
use saltern_target::Glob;
use saltern_value::{Map, Value};

use super::key_text::{self, Action};
use super::salt_key_rotate::{Rotation, Step};
use crate::args::{Common, LogFile, Logging, OutputArgs};
use crate::exit::{self, Failure};
use crate::logging;
use crate::printer::{Defaults, Printer, line};

/// Manage the keys of minions
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    output: OutputArgs,
    // -l is --list here, so the level has its long name only.
    /// Console logging level
    #[arg(long, value_name = "LOG_LEVEL", help_heading = "Logging Options")]
    log_level: Option<String>,
    #[command(flatten)]
    log_file: LogFile,
    #[command(flatten)]
    wanted: Wanted,
    // Salt's own book says `salt-key -F master`, and its tool takes no notice of the word.
    #[arg(hide = true)]
    ignored: Option<String>,
    /// Suppress output
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Answer "Yes" to all questions
    #[arg(short = 'y', long)]
    yes: bool,
    /// Accept: also rejected keys; reject: also accepted ones
    #[arg(long)]
    include_all: bool,
    /// Include accepted keys when rejecting
    #[arg(long)]
    include_accepted: bool,
    /// Include rejected keys when accepting
    #[arg(long)]
    include_rejected: bool,
    /// Include denied keys when accepting or rejecting
    #[arg(long)]
    include_denied: bool,
    /// False keeps the master's AES key although keys are deleted or rejected; less secure
    #[arg(long, value_name = "BOOL")]
    rotate_aes_key: Option<String>,
    /// True keeps the minion's cached data although its key is deleted
    #[arg(long, value_name = "BOOL")]
    preserve_minions: Option<String>,
    /// Directory for the pair of --gen-keys
    #[arg(long, value_name = "DIR", default_value = ".")]
    gen_keys_dir: PathBuf,
    /// Bits of the generated key, at least 2048
    #[arg(long, value_name = "BITS", default_value_t = 2048)]
    keysize: u32,
    /// The private key file to create a signature with
    #[arg(long = "priv", value_name = "FILE")]
    private: Option<PathBuf>,
    /// The public key file to create a signature for
    #[arg(long = "pub", value_name = "FILE")]
    public: Option<PathBuf>,
    /// Directory where the signature file is written
    #[arg(long, value_name = "DIR")]
    signature_path: Option<PathBuf>,
    /// Create the signing pair if it does not exist yet
    #[arg(long)]
    auto_create: bool,
    /// With --rotate-master-sign: stock minions that have the new verification key now
    #[arg(long, value_name = "GLOB", requires = "rotate_master_sign")]
    holders: Option<String>,
}

/// What to do; one thing at a time.
#[derive(clap::Args, Debug)]
#[group(multiple = false)]
#[command(next_help_heading = "Actions")]
struct Wanted {
    /// List keys: pre, un or unaccepted; acc or accepted; rej or rejected; den or denied; all
    #[arg(short = 'l', long, value_name = "STATE")]
    list: Option<String>,
    /// List all keys
    #[arg(short = 'L', long)]
    list_all: bool,
    /// Accept the keys that match a glob
    #[arg(short = 'a', long, value_name = "GLOB")]
    accept: Option<String>,
    /// Accept all pending keys
    #[arg(short = 'A', long)]
    accept_all: bool,
    /// Reject the keys that match a glob
    #[arg(short = 'r', long, value_name = "GLOB")]
    reject: Option<String>,
    /// Reject all pending keys
    #[arg(short = 'R', long)]
    reject_all: bool,
    /// Delete the keys that match a glob
    #[arg(short = 'd', long, value_name = "GLOB")]
    delete: Option<String>,
    /// Delete all keys
    #[arg(short = 'D', long)]
    delete_all: bool,
    /// Print the keys that match a glob
    #[arg(short = 'p', long, value_name = "GLOB")]
    print: Option<String>,
    /// Print all keys
    #[arg(short = 'P', long)]
    print_all: bool,
    /// Print the fingerprints of the keys that match a glob
    #[arg(short = 'f', long, value_name = "GLOB")]
    finger: Option<String>,
    /// Print the fingerprints of all keys, the master's own included
    #[arg(short = 'F', long)]
    finger_all: bool,
    /// Make a key pair of that name
    #[arg(long, value_name = "NAME")]
    gen_keys: Option<String>,
    /// Sign the master's public key, for master_use_pubkey_signature
    #[arg(long)]
    gen_signature: bool,
    /// Change the signing pair, one safe step at each call
    #[arg(long)]
    rotate_master_sign: bool,
}

pub(crate) fn run(args: Args) -> Result<i32, Failure> {
    if let Some(word) = args.ignored.as_ref().filter(|_| !args.wanted.finger_all) {
        return Err(Failure::usage(format!("salt-key: '{word}' belongs to no option")));
    }
    let loaded = load_master(&args.common.config_dir())?;
    let levels = Logging { log_level: args.log_level.clone(), files: args.log_file.clone() };
    logging::tool(&loaded.raw, &levels)?;
    let printer = Printer::new(&args.output, Defaults::of(&loaded))?;
    Tool { args: &args, loaded: &loaded, printer }.run()
}

struct Tool<'a> {
    args: &'a Args,
    loaded: &'a Loaded<MasterOptions>,
    printer: Printer,
}

impl Tool<'_> {
    fn run(&mut self) -> Result<i32, Failure> {
        let wanted = &self.args.wanted;
        if let Some(name) = &wanted.gen_keys {
            return self.gen_keys(name);
        }
        if wanted.gen_signature {
            return self.gen_signature();
        }
        let opts = &self.loaded.opts;
        let pki = Pki::open(&opts.pki_dir, opts.permissive_pki_access).map_err(store)?;
        if wanted.rotate_master_sign {
            return self.rotate(&pki);
        }
        let (accept_from, reject_from) = self.sources();
        let one = |pattern: &Option<String>, all: bool| match pattern {
            Some(pattern) => Some(pattern.clone()),
            None => all.then(|| "*".to_owned()),
        };
        if let Some(pattern) = one(&wanted.accept, wanted.accept_all) {
            return self.change(&pki, Action::Accept, &pattern, &accept_from);
        }
        if let Some(pattern) = one(&wanted.reject, wanted.reject_all) {
            return self.change(&pki, Action::Reject, &pattern, &reject_from);
        }
        if let Some(pattern) = one(&wanted.delete, wanted.delete_all) {
            return self.change(&pki, Action::Delete, &pattern, &KeyState::ALL);
        }
        if let Some(pattern) = one(&wanted.print, wanted.print_all) {
            return self.show(&pki, &pattern, |pem| pem.to_owned());
        }
        if let Some(pattern) = one(&wanted.finger, wanted.finger_all) {
            let hash = self.hash_type()?;
            return self.show(&pki, &pattern, |pem| fingerprint(pem, hash));
        }
        self.list(&pki, wanted.list.as_deref().unwrap_or("all"))
    }

    fn sources(&self) -> (Vec<KeyState>, Vec<KeyState>) {
        let args = self.args;
        let with = |extra: [(bool, KeyState); 2]| {
            let chosen = extra.into_iter().filter(|(set, _)| *set).map(|(_, state)| state);
            std::iter::once(KeyState::Pending).chain(chosen).collect()
        };
        (
            with([
                (args.include_all || args.include_rejected, KeyState::Rejected),
                (args.include_denied, KeyState::Denied),
            ]),
            with([
                (args.include_all || args.include_accepted, KeyState::Accepted),
                (args.include_denied, KeyState::Denied),
            ]),
        )
    }

    fn list(&mut self, pki: &Pki, which: &str) -> Result<i32, Failure> {
        let states: &[KeyState] = match which {
            w if w.starts_with("acc") => &[KeyState::Accepted],
            w if w.starts_with("pre") || w.starts_with("un") => &[KeyState::Pending],
            w if w.starts_with("rej") => &[KeyState::Rejected],
            w if w.starts_with("den") => &[KeyState::Denied],
            w if w.starts_with("all") => &KeyState::ALL,
            other => {
                return Err(Failure::usage(format!(
                    "'{other}' is not a valid argument to '--list'"
                ))
                .hint("use one of pre, un, acc, rej, den, all"));
            }
        };
        let mut lists = Map::new();
        for state in states {
            lists.insert(state.dir_name(), pki.ids(*state).map_err(store)?);
        }
        self.print(&Value::Map(lists), "key")?;
        Ok(exit::OK)
    }

    fn show(
        &mut self,
        pki: &Pki,
        pattern: &str,
        text: impl Fn(&str) -> String,
    ) -> Result<i32, Failure> {
        let mut lists = Map::new();
        if self.args.wanted.finger.is_some() || self.args.wanted.finger_all {
            let own = own_keys(&self.loaded.opts, &globs(pattern), &text);
            if !own.is_empty() {
                lists.insert("local", own);
            }
        }
        for (state, ids) in matching(pki, pattern, &KeyState::ALL)? {
            let mut texts = Map::new();
            for id in ids {
                if let Some(pem) = pki.read(&id, state).map_err(store)? {
                    texts.insert(id.as_str(), text(&pem));
                }
            }
            if !texts.is_empty() {
                lists.insert(state.dir_name(), texts);
            }
        }
        self.print(&Value::Map(lists), "key")?;
        Ok(exit::OK)
    }

    fn change(
        &mut self,
        pki: &Pki,
        action: Action,
        pattern: &str,
        from: &[KeyState],
    ) -> Result<i32, Failure> {
        let found = matching(pki, pattern, from)?;
        if found.is_empty() {
            self.say(&key_text::no_match(action, pattern, from))?;
            return Ok(exit::OK);
        }
        let mut lists = Map::new();
        for (state, ids) in &found {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            lists.insert(state.dir_name(), ids);
        }
        self.say(action.announcement())?;
        self.print(&Value::Map(lists), "key")?;
        if !self.args.yes && !key_text::confirmed(action)? {
            return Ok(exit::OK);
        }
        for (state, ids) in &found {
            for id in ids {
                self.apply(pki, action, id, *state)?;
                self.say(&format!("Key for minion {id} {}.", action.done()))?;
            }
        }
        Ok(exit::OK)
    }

    fn apply(
        &self,
        pki: &Pki,
        action: Action,
        id: &MinionId,
        from: KeyState,
    ) -> Result<(), Failure> {
        let opts = &self.loaded.opts;
        match action {
            Action::Accept => drop(pki.transition(id, from, KeyState::Accepted).map_err(store)?),
            Action::Reject => drop(pki.transition(id, from, KeyState::Rejected).map_err(store)?),
            Action::Delete => drop(pki.delete(id, from).map_err(store)?),
        }
        let told = self.tell_master(action, id);
        let rotate = truth(self.args.rotate_aes_key.as_deref(), opts.rotate_aes_key);
        let lost_access = action != Action::Accept && from == KeyState::Accepted;
        // A master that does not run makes a new AES key when it starts.
        if rotate && lost_access && told {
            dropfile::request(&opts.cachedir, &opts.id).map_err(store)?;
        }
        Ok(())
    }

    /// Fires `salt/key`; false when no master listens.
    fn tell_master(&self, action: Action, id: &MinionId) -> bool {
        let opts = &self.loaded.opts;
        let preserve = truth(self.args.preserve_minions.as_deref(), opts.preserve_minion_cache);
        let mut data = Map::from([("result", Value::Bool(true)), ("act", action.event().into())]);
        data.insert("id", id.as_str());
        if action == Action::Delete {
            data.insert("preserve_minions", preserve);
        }
        let socket = BusPaths::master(&opts.sock_dir).pull;
        blocking::push(&socket, "salt/key", data, Framing::Bare, Duration::from_secs(2)).is_ok()
    }

    fn gen_keys(&mut self, name: &str) -> Result<i32, Failure> {
        let size = self.args.keysize.max(2048);
        let pair = pki::gen_keys(&self.args.gen_keys_dir, name, size, None).map_err(store)?;
        let pem = pair.private.public().to_pem();
        let finger = fingerprint(&pem, self.hash_type()?);
        self.print(&Value::Map(Map::from([("return", finger)])), "nested")?;
        Ok(exit::OK)
    }

    fn gen_signature(&mut self) -> Result<i32, Failure> {
        let (args, opts) = (self.args, &self.loaded.opts);
        let name = opts.master_pubkey_signature.as_deref().unwrap_or("master_pubkey_signature");
        let outcome = pki::gen_signature(&GenSignature {
            pki_dir: &opts.pki_dir,
            public: args.public.as_deref(),
            private: args.private.as_deref(),
            sign_name: &opts.master_sign_key_name,
            auto_create: args.auto_create,
            output_dir: args.signature_path.as_deref(),
            output_name: name,
            keysize: args.keysize.max(2048),
            pass: opts.signing_key_pass.as_ref().map(|p| p.expose().as_str()),
        })
        .map_err(store)?;
        let text = format!(
            "Signature written to {} (signed by {}{})",
            outcome.path.display(),
            outcome.signed_by.display(),
            if outcome.created_pair { ", a new pair" } else { "" }
        );
        self.print(&Value::Map(Map::from([("return", text)])), "nested")?;
        Ok(exit::OK)
    }

    /// One step of the roll-over, if everybody can go along. Status 1: not yet.
    fn rotate(&mut self, pki: &Pki) -> Result<i32, Failure> {
        let mut rotation = Rotation::look(self.loaded, self.hash_type()?)?;
        if let Some(pattern) = &self.args.holders {
            if rotation.step() == Step::Create {
                return Err(Failure::usage("no roll-over is under way, so there is no new key")
                    .hint("begin with salt-key --rotate-master-sign"));
            }
            let told = rotation.believe(pki, &globs(pattern))?;
            if told.is_empty() {
                return Err(Failure::generic(format!("no accepted minion matches '{pattern}'")));
            }
            let fleet = rotation.fleet(pki)?;
            self.print(&Value::Map(rotation.report(None, &fleet)), "nested")?;
            return Ok(exit::OK);
        }
        let (step, fleet) = (rotation.step(), rotation.fleet(pki)?);
        let possible = step == Step::Create || fleet.is_ready();
        let taken = possible && (self.args.yes || self.asked(step)?);
        if taken {
            rotation.take(self.args.keysize.max(2048))?;
        }
        let fleet = rotation.fleet(pki)?;
        let done = taken.then_some(step);
        self.print(&Value::Map(rotation.report(done, &fleet)), "nested")?;
        Ok(if taken { exit::OK } else { exit::GENERIC })
    }

    /// Asks before a step; output for machines has no place for a question, so there is only
    /// `--yes`.
    fn asked(&self, step: Step) -> Result<bool, Failure> {
        if self.is_for_machines() || self.args.quiet {
            return Ok(false);
        }
        self.say(step.question())?;
        // An empty line agrees to nothing that takes a key away.
        let like = if step == Step::Retire { Action::Delete } else { Action::Accept };
        Ok(key_text::confirmed(like)?)
    }

    fn is_for_machines(&self) -> bool {
        matches!(self.printer.chosen(), Some("json" | "yaml" | "raw" | "txt" | "pprint"))
    }

    fn hash_type(&self) -> Result<HashType, Failure> {
        let name = &self.loaded.opts.hash_type;
        HashType::parse(name)
            .ok_or_else(|| Failure::usage(format!("option 'hash_type': no hash is named '{name}'")))
    }

    fn say(&self, text: &str) -> std::io::Result<()> {
        // Machine output stays clean of sentences.
        match (self.args.quiet, self.is_for_machines()) {
            (true, _) => Ok(()),
            (_, true) => {
                use std::io::Write;
                writeln!(std::io::stderr(), "{text}")
            }
            _ => line(text),
        }
    }

    fn print(&mut self, value: &Value, outputter: &str) -> std::io::Result<()> {
        if self.args.quiet { Ok(()) } else { self.printer.print(value, Some(outputter), 0) }
    }
}

/// The master's own keys in the form `text` gives them: every key file of the pki directory.
fn own_keys(opts: &MasterOptions, wanted: &[Glob], text: &impl Fn(&str) -> String) -> Map {
    let entries = std::fs::read_dir(&opts.pki_dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(".pub") || name.ends_with(".pem"))
        .filter(|name| wanted.iter().any(|glob| glob.matches(name)))
        .collect();
    names.sort_by_key(|name| name.to_lowercase());
    let read = |name: &str| std::fs::read_to_string(Path::new(&opts.pki_dir).join(name)).ok();
    names.iter().filter_map(|name| Some((name.as_str(), text(&read(name)?)))).collect()
}

fn globs(pattern: &str) -> Vec<Glob> {
    pattern.split(',').map(|p| Glob::new(p.trim())).collect()
}

fn matching(
    pki: &Pki,
    pattern: &str,
    states: &[KeyState],
) -> Result<Vec<(KeyState, Vec<MinionId>)>, Failure> {
    let globs = globs(pattern);
    let mut found = Vec::new();
    for state in states {
        let ids: Vec<MinionId> = pki
            .ids(*state)
            .map_err(store)?
            .iter()
            .filter(|id| globs.iter().any(|g| g.matches(id)))
            .filter_map(|id| MinionId::parse(id).ok())
            .collect();
        if !ids.is_empty() {
            found.push((*state, ids));
        }
    }
    Ok(found)
}

fn truth(argument: Option<&str>, option: bool) -> bool {
    argument.map_or(option, |text| text.eq_ignore_ascii_case("true") || text == "1")
}

fn store(error: StoreError) -> Failure {
    Failure::generic(error.to_string())
}
