//! Whom the minion trusts: the keys that vouch for masters, and the masters' keys an operator has
//! revoked. Files are read anew for each sign-in, so what was put right works without a restart.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use saltern_config::MinionOptions;
use saltern_crypto::{HashType, PublicKey};
use saltern_wire::auth::client::{Mismatch, Trust, VerificationKey};

use super::masters::MASTER_KEY;
use super::read_file;

/// The file with fingerprints of revoked keys of masters: one a line, `#` begins a comment.
const REVOKED: &str = "revoked_master_fingerprints";

/// Most verification keys that are tried.
const MAX_KEYS: usize = 16;

/// The options, and what was already said about bad files.
#[derive(Debug)]
pub(super) struct Trusted {
    fixed: Trust,
    pki_dir: PathBuf,
    sign_name: String,
    more: Vec<String>,
    /// Complaints made, by file: one warning for each state of a file, not one for each sign-in.
    said: Mutex<HashMap<PathBuf, String>>,
    /// The list last read: one that cannot be read must not become an empty one.
    revoked: Mutex<Vec<String>>,
}

impl Trusted {
    pub(super) fn new(opts: &MinionOptions) -> Self {
        let finger = opts.master_finger.trim();
        let trusted = Trusted {
            fixed: Trust {
                open_mode: opts.open_mode,
                verify_master_pubkey_sign: opts.verify_master_pubkey_sign,
                always_verify_signature: opts.always_verify_signature,
                unexpected_signature: match opts.master_pubkey_sign_policy.as_str() {
                    "warn" => Mismatch::Warn,
                    _ => Mismatch::Fail,
                },
                revoked: opts.revoked_master_fingerprints.clone(),
                master_finger: (!finger.is_empty()).then(|| finger.to_owned()),
                ..Trust::default()
            },
            pki_dir: opts.pki_dir.clone(),
            sign_name: opts.master_sign_key_name.clone(),
            more: opts.master_sign_keys.clone(),
            said: Mutex::default(),
            revoked: Mutex::default(),
        };
        for entry in trusted.fixed.revoked.iter().filter(|entry| !is_fingerprint(entry)) {
            log::warn!("option revoked_master_fingerprints: '{entry}' is no fingerprint");
        }
        trusted
    }

    /// The trust of one sign-in.
    pub(super) fn trust(&self, hash_type: HashType) -> Trust {
        let mut trust = Trust { hash_type, ..self.fixed.clone() };
        trust.revoked.extend(self.revoked());
        if trust.verify_master_pubkey_sign {
            trust.verification_keys = self.verification_keys();
        }
        trust
    }

    /// Everything that can change while the minion runs, to be compared.
    pub(super) fn mark(&self) -> String {
        let trust = self.trust(HashType::Sha256);
        let keys = trust.verification_keys.iter().map(|key| key.key.wire_pem().to_owned());
        keys.chain(trust.revoked).collect::<Vec<String>>().join("\n")
    }

    /// `<master_sign_key_name>.pub` first, then the option's files, then every other
    /// `<master_sign_key_name>*.pub`: during a roll-over the next key lies beside the old one.
    fn verification_keys(&self) -> Vec<VerificationKey> {
        let first = format!("{}.pub", self.sign_name);
        let mut names = vec![first.clone()];
        let beside = self.beside();
        for name in self.more.iter().chain(&beside) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names.truncate(MAX_KEYS);
        let mut keys = Vec::new();
        for name in names {
            let path = self.pki_dir.join(&name);
            let read = read_file(&path);
            // Only the others may be all there is.
            if matches!(&read, Err(e) if e.kind() == io::ErrorKind::NotFound) && name == first {
                self.quiet(&path);
                continue;
            }
            let key = read
                .map_err(|e| e.to_string())
                .and_then(|pem| PublicKey::from_pem(&pem).map_err(|e| e.to_string()));
            match key {
                Ok(key) => {
                    self.quiet(&path);
                    keys.push(VerificationKey { name, key });
                }
                Err(error) => self.complain(&path, "is no usable verification key", &error),
            }
        }
        keys
    }

    /// The names of the files that begin like the first one, sorted.
    fn beside(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.pki_dir).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names
            .filter(|name| name.starts_with(&self.sign_name) && name.ends_with(".pub"))
            // Whatever the option says, these are no verification keys.
            .filter(|name| name != MASTER_KEY && name != "minion.pub")
            .collect();
        names.sort_unstable();
        names
    }

    /// The fingerprints of the file, as it is now.
    fn revoked(&self) -> Vec<String> {
        let path = self.pki_dir.join(REVOKED);
        let mut last = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        match read_file(&path).map(String::from_utf8) {
            Ok(Ok(text)) => {
                let lines = text.lines().map(|line| line.split('#').next().unwrap_or("").trim());
                let (good, bad): (Vec<_>, Vec<_>) = lines
                    .filter(|line| !line.is_empty())
                    .map(str::to_owned)
                    .partition(|line| is_fingerprint(line));
                match bad.first() {
                    Some(line) => self.complain(&path, "has a line that is no fingerprint", line),
                    None => self.quiet(&path),
                }
                *last = good;
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.quiet(&path);
                last.clear();
            }
            Err(error) => self.complain(&path, "cannot be read", &error.to_string()),
            Ok(Err(error)) => self.complain(&path, "is no text", &error.to_string()),
        }
        last.clone()
    }

    /// Warns, unless this was said last.
    fn complain(&self, path: &Path, what: &str, why: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let text = format!("{what}: {why}");
        if said.get(path) != Some(&text) {
            log::warn!("{} {text}", path.display());
            said.insert(path.to_owned(), text);
        }
    }

    fn quiet(&self, path: &Path) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
    }
}

/// Whether the text has the form of a fingerprint, of any hash Salt has.
fn is_fingerprint(text: &str) -> bool {
    let digits = text.chars().filter(|c| *c != ':').count();
    HashType::of_hex_len(digits).is_some()
        && text.chars().all(|c| c.is_ascii_hexdigit() || c == ':')
}

#[cfg(test)]
mod tests {
    use saltern_crypto::{PrivateKey, fingerprint};

    use super::super::tests::Scratch;
    use super::*;

    fn names(trusted: &Trusted) -> Vec<String> {
        let trust = trusted.trust(HashType::Sha256);
        trust.verification_keys.into_iter().map(|key| key.name).collect()
    }

    #[test]
    fn verification_keys_lie_beside_each_other_and_bad_ones_do_not_count() {
        let scratch = Scratch::new("verify");
        let opts = scratch
            .options("verify_master_pubkey_sign: True\nmaster_sign_keys: [other.pub, gone.pub]\n");
        let file = |name: &str| opts.pki_dir.join(name);
        // A directory in its place; a pipe would be refused by the same check.
        fs::create_dir_all(file("master_sign.pub")).unwrap();
        let trusted = Trusted::new(&opts);
        assert!(names(&trusted).is_empty());
        let pem = PrivateKey::generate(2048).unwrap().public().to_pem();
        for name in ["master_sign_next.pub", "other.pub", "minion.pub", MASTER_KEY] {
            fs::write(file(name), &pem).unwrap();
        }
        fs::write(file("master_sign_bad.pub"), "no key").unwrap();
        assert_eq!(names(&trusted), ["other.pub", "master_sign_next.pub"]);
        fs::remove_dir(file("master_sign.pub")).unwrap();
        fs::write(file("master_sign.pub"), &pem).unwrap();
        assert_eq!(names(&trusted), ["master_sign.pub", "other.pub", "master_sign_next.pub"]);
    }

    #[test]
    fn the_minions_own_files_are_no_verification_keys() {
        let scratch = Scratch::new("own");
        let opts = scratch.options("verify_master_pubkey_sign: True\nmaster_sign_key_name: m\n");
        fs::create_dir_all(&opts.pki_dir).unwrap();
        let pem = PrivateKey::generate(2048).unwrap().public().to_pem();
        for name in ["minion.pub", MASTER_KEY] {
            fs::write(opts.pki_dir.join(name), &pem).unwrap();
        }
        assert!(names(&Trusted::new(&opts)).is_empty());
    }

    #[test]
    fn the_list_of_revoked_keys_is_read_anew_and_never_lost() {
        let scratch = Scratch::new("revoked");
        let key = PrivateKey::generate(2048).unwrap();
        let key = key.public();
        let opts = scratch.options("");
        fs::create_dir_all(&opts.pki_dir).unwrap();
        let trusted = Trusted::new(&opts);
        let revoked = || trusted.trust(HashType::Sha256).is_revoked(key);
        assert!(!revoked());
        let file = opts.pki_dir.join(REVOKED);
        for hash in HashType::ALL {
            let finger = fingerprint(key.wire_pem(), hash);
            for form in [finger.clone(), finger.replace(':', "").to_uppercase()] {
                fs::write(&file, format!("# stolen\nnonsense\n {form} # m1\n")).unwrap();
                assert!(revoked(), "{hash:?} {form}");
            }
        }
        fs::remove_file(&file).unwrap();
        assert!(!revoked(), "taken off the list");
        fs::write(&file, fingerprint(key.wire_pem(), HashType::Md5)).unwrap();
        assert!(revoked());
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert!(revoked(), "a list that cannot be read is not an empty one");
    }
}
