//! Keys on disk: states, names of both Salt generations, modes, and what must never happen.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use saltern_crypto::SigAlgo;

use super::*;
use crate::sessions::Sessions;
use crate::testing::{Scratch, id, keys, mode, pem};

#[test]
fn a_key_goes_through_its_states() {
    let dir = Scratch::new();
    let pki = Pki::open(dir.path(), false).unwrap();
    let web = id("web-1");
    assert_eq!(pki.lookup(&web).unwrap(), KeyRecord::default());
    pki.put(&web, KeyState::Pending, &format!("{}\n", pem(0))).unwrap();
    let stored = fs::read_to_string(dir.path().join("minions_pre/web-1")).unwrap();
    assert_eq!(stored, pem(0), "no trailing newline");
    assert!(pki.accepted(&web).unwrap().is_none());
    assert!(pki.transition(&web, KeyState::Pending, KeyState::Accepted).unwrap());
    assert!(!pki.transition(&web, KeyState::Pending, KeyState::Accepted).unwrap());
    assert_eq!(pki.accepted(&web).unwrap().unwrap().public().wire_pem(), pem(0));
    assert_eq!(pki.counts().unwrap(), KeyStateCounts { accepted: 1, pending: 0 });
    assert!(pki.transition(&web, KeyState::Accepted, KeyState::Rejected).unwrap());
    assert!(pki.accepted(&web).unwrap().is_none());
    assert_eq!(pki.list().unwrap().rejected, ["web-1"]);
    assert!(pki.delete(&web, KeyState::Rejected).unwrap());
    assert!(!pki.delete(&web, KeyState::Rejected).unwrap());
    assert_eq!(pki.list().unwrap(), KeyList::default());
}

#[test]
fn a_key_deleted_or_replaced_by_another_process_counts_at_once() {
    let dir = Scratch::new();
    let pki = Pki::open(dir.path(), false).unwrap();
    let tool = Pki::open(dir.path(), false).unwrap();
    let web = id("web");
    pki.put(&web, KeyState::Accepted, &pem(0)).unwrap();
    assert!(pki.accepted(&web).unwrap().is_some());
    tool.put(&web, KeyState::Accepted, &pem(1)).unwrap();
    assert_eq!(pki.accepted(&web).unwrap().unwrap().public().wire_pem(), pem(1));
    tool.delete(&web, KeyState::Accepted).unwrap();
    assert!(pki.accepted(&web).unwrap().is_none());
}

#[test]
fn the_first_denied_key_is_kept() {
    let dir = Scratch::new();
    let pki = Pki::open(dir.path(), false).unwrap();
    pki.put(&id("a"), KeyState::Denied, "first").unwrap();
    pki.put(&id("a"), KeyState::Denied, "second").unwrap();
    assert_eq!(pki.read(&id("a"), KeyState::Denied).unwrap().as_deref(), Some("first"));
}

#[test]
fn half_written_and_hidden_files_are_no_minions() {
    let dir = Scratch::new();
    let pki = Pki::open(dir.path(), false).unwrap();
    let minions = dir.path().join("minions");
    fs::write(minions.join(".web.17-0.tmp"), "half").unwrap();
    fs::write(minions.join(".key_cache"), "x").unwrap();
    fs::create_dir(minions.join("directory")).unwrap();
    assert_eq!(pki.ids(KeyState::Accepted).unwrap(), [""; 0]);
    fs::write(minions.join("broken"), "-----BEGIN PUBLIC KEY-----\nMIIB").unwrap();
    let error = pki.accepted(&id("broken")).unwrap_err().to_string();
    assert!(error.contains("minions/broken"), "{error}");
    fs::write(minions.join("huge"), vec![b'x'; 1 << 20]).unwrap();
    assert!(pki.accepted(&id("huge")).is_err());
    fs::write(minions.join("binary"), [0xff, 0xfe]).unwrap();
    assert!(pki.accepted(&id("binary")).is_err());
}

#[test]
fn the_directory_is_closed_to_others() {
    let dir = Scratch::new();
    let strict = dir.path().join("strict");
    Pki::open(&strict, false).unwrap();
    assert_eq!(mode(&strict), 0o700);
    let permissive = dir.path().join("permissive");
    Pki::open(&permissive, true).unwrap();
    assert_eq!(mode(&permissive), 0o750);
    let wide = dir.path().join("wide");
    fs::create_dir(&wide).unwrap();
    fs::set_permissions(&wide, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    Pki::open(&wide, false).unwrap();
    assert_eq!(mode(&wide), 0o700);
}

#[test]
fn the_master_pair_is_made_once_and_read_again() {
    let dir = Scratch::new();
    let made = open_master(dir.path(), 2048, None).unwrap();
    assert!(made.created);
    assert_eq!(mode(&dir.path().join("master.pem")), 0o400);
    assert_eq!(mode(&dir.path().join("master.pub")), 0o644);
    assert_eq!(dir.names(), ["master.pem", "master.pub"]);
    fs::remove_file(dir.path().join("master.pub")).unwrap();
    let again = open_master(dir.path(), 2048, None).unwrap();
    assert!(!again.created);
    assert_eq!(again.public.wire_pem(), made.public.wire_pem());
    let text = fs::read_to_string(dir.path().join("master.pub")).unwrap();
    assert_eq!(text, made.public.to_pem(), "derived again");
    fs::write(dir.path().join("master.pub"), "-----BEGIN PUB").unwrap();
    open_master(dir.path(), 2048, None).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("master.pub")).unwrap(), text);
}

#[test]
fn a_broken_private_key_is_named_and_left_alone() {
    let dir = Scratch::new();
    let path = dir.path().join("master.pem");
    for broken in ["", "garbage", "-----BEGIN RSA PRIVATE KEY-----\nMIIEow"] {
        fs::write(&path, broken).unwrap();
        let error = open_master(dir.path(), 2048, None).unwrap_err().to_string();
        assert!(error.contains("master.pem") && error.contains("left as it is"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), broken);
    }
    fs::remove_file(&path).unwrap();
    symlink(dir.path().join("gone.pem"), &path).unwrap();
    assert!(open_master(dir.path(), 2048, None).is_err());
    assert!(path.symlink_metadata().unwrap().is_symlink());
}

#[test]
fn the_layout_of_salt_3008_is_read() {
    let dir = Scratch::new();
    let key = &keys()[0];
    fs::write(dir.path().join("vm.pem"), key.to_pem(None).unwrap()).unwrap();
    fs::write(dir.path().join("vm.pub"), key.public().to_pem()).unwrap();
    symlink(dir.path().join("vm.pem"), dir.path().join("master.pem")).unwrap();
    symlink(dir.path().join("vm.pub"), dir.path().join("master.pub")).unwrap();
    let pair = open_master(dir.path(), 2048, None).unwrap();
    assert_eq!(pair.public.wire_pem(), pem(0));
    assert!(!pair.created);
    assert!(dir.path().join("master.pub").symlink_metadata().unwrap().is_symlink());
}

#[test]
fn a_pass_phrase_protects_the_private_key() {
    let dir = Scratch::new();
    open_master_sign(dir.path(), "master_sign", 2048, Some("secret")).unwrap();
    let text = fs::read_to_string(dir.path().join("master_sign.pem")).unwrap();
    assert!(text.contains("ENCRYPTED"), "{text}");
    assert!(open_master_sign(dir.path(), "master_sign", 2048, Some("secret")).is_ok());
    for wrong in [None, Some("other")] {
        let error = open_master_sign(dir.path(), "master_sign", 2048, wrong).unwrap_err();
        assert!(error.to_string().contains("signing_key_pass"), "{error}");
        assert!(!error.to_string().contains("secret"));
    }
}

#[test]
fn a_signing_pair_copied_by_half_is_not_replaced() {
    let dir = Scratch::new();
    fs::write(dir.path().join("master_sign.pub"), keys()[0].public().to_pem()).unwrap();
    let error = open_master_sign(dir.path(), "master_sign", 2048, None).unwrap_err().to_string();
    assert!(error.contains("master_sign.pem"), "{error}");
    assert_eq!(dir.names(), ["master_sign.pub"]);
    for bad in ["../x", "a/b", "", ".hidden", "a\0b"] {
        assert!(open_master_sign(dir.path(), bad, 2048, None).is_err(), "{bad:?}");
        assert!(gen_keys(dir.path(), bad, 2048, None).is_err(), "{bad:?}");
    }
}

#[test]
fn gen_keys_overwrites_nothing() {
    let dir = Scratch::new();
    gen_keys(dir.path(), "web.example.org", 512, None).unwrap();
    assert_eq!(dir.names(), ["web.example.org.pem", "web.example.org.pub"]);
    assert_eq!(mode(&dir.path().join("web.example.org.pem")), 0o400);
    assert!(gen_keys(dir.path(), "web.example.org", 2048, None).is_err());
}

fn request(dir: &Scratch) -> GenSignature<'_> {
    GenSignature {
        pki_dir: dir.path(),
        public: None,
        private: None,
        sign_name: "master_sign",
        auto_create: false,
        output_dir: None,
        output_name: "master_pubkey_signature",
        keysize: 2048,
        pass: None,
    }
}

#[test]
fn the_signature_is_over_the_text_that_masters_send() {
    let dir = Scratch::new();
    let master = open_master(dir.path(), 2048, None).unwrap();
    assert!(gen_signature(&request(&dir)).is_err(), "no signing key");
    let made = gen_signature(&GenSignature { auto_create: true, ..request(&dir) }).unwrap();
    assert!(made.created_pair);
    let text = fs::read_to_string(&made.path).unwrap();
    assert!(text.ends_with('\n') && !text.trim_end().contains('\n'));
    let signature = STANDARD.decode(text.trim_end()).unwrap();
    let sign = open_master_sign(dir.path(), "master_sign", 2048, None).unwrap();
    let sent = master.public.wire_pem().as_bytes();
    assert!(sign.public.verify(SigAlgo::Pkcs1v15Sha1, sent, &signature));
    assert!(gen_signature(&request(&dir)).is_err(), "nothing is overwritten");
    let read = read_signature_file(dir.path(), Some("master_pubkey_signature"), "m").unwrap();
    assert_eq!(read, text.trim_end());
    assert_eq!(read_signature_file(dir.path(), None, "m_master").unwrap(), read);
    let missing = read_signature_file(dir.path(), Some("other"), "m").unwrap_err().to_string();
    assert!(missing.contains("--gen-signature"), "{missing}");
    let absent = dir.path().join("absent");
    assert!(gen_signature(&GenSignature { output_dir: Some(&absent), ..request(&dir) }).is_err());
}

#[test]
fn autosign_stubs_are_used_up_and_expire() {
    let dir = Scratch::new();
    Pki::open(dir.path(), false).unwrap();
    let stubs = dir.path().join("minions_autosign");
    fs::write(stubs.join("a"), "").unwrap();
    fs::write(stubs.join("b"), "").unwrap();
    let (hour, now) = (Duration::from_secs(3600), SystemTime::now());
    assert!(autosign_stub_used(dir.path(), &id("a"), hour, now).unwrap());
    assert!(!autosign_stub_used(dir.path(), &id("a"), hour, now).unwrap());
    assert!(!autosign_stub_used(dir.path(), &id("b"), hour, now + 2 * hour).unwrap());
    assert!(!stubs.join("b").exists());
}

#[test]
fn a_session_belongs_to_one_accepted_key_and_ends_with_it() {
    let dir = Scratch::new();
    let pki = Pki::open(&dir.path().join("pki"), false).unwrap();
    let day = Duration::from_secs(86_400);
    let sessions = Sessions::open(dir.path(), day).unwrap();
    let web = id("web");
    pki.put(&web, KeyState::Accepted, &pem(0)).unwrap();
    let minion = pki.accepted(&web).unwrap().unwrap();
    let now = SystemTime::now();
    assert!(sessions.for_request(&minion, now).unwrap().is_none());
    let key = sessions.for_sign_in(&minion, now).unwrap();
    let path = dir.path().join("sessions/web");
    assert_eq!(mode(&path), 0o600);
    assert_eq!(fs::read_to_string(&path).unwrap(), key.as_str());
    let again = sessions.for_request(&minion, now).unwrap().unwrap();
    assert_eq!(again.as_str(), key.as_str());
    // Another process, the same key: sessions outlive a restart.
    let restarted = Sessions::open(dir.path(), day).unwrap();
    assert_eq!(restarted.for_sign_in(&minion, now).unwrap().as_str(), key.as_str());
    // Too old.
    assert!(sessions.for_request(&minion, now + 2 * day).unwrap().is_none());
    let renewed = sessions.for_sign_in(&minion, now + 2 * day).unwrap();
    assert_ne!(renewed.as_str(), key.as_str());
    // A broken file is no key.
    fs::write(&path, "half").unwrap();
    assert!(sessions.for_request(&minion, SystemTime::now()).unwrap().is_none());
    sessions.remove(&web).unwrap();
    sessions.remove(&web).unwrap();
    assert!(!path.exists());
}

#[test]
fn a_session_made_for_an_earlier_key_is_not_used() {
    let dir = Scratch::new();
    let pki = Pki::open(&dir.path().join("pki"), false).unwrap();
    let sessions = Sessions::open(dir.path(), Duration::from_secs(86_400)).unwrap();
    let web = id("web");
    pki.put(&web, KeyState::Accepted, &pem(0)).unwrap();
    let old = sessions.for_sign_in(&pki.accepted(&web).unwrap().unwrap(), SystemTime::now());
    let old = old.unwrap();
    // As if the session had been made long before the key that is accepted now.
    let file = fs::File::options().write(true).open(dir.path().join("sessions/web")).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    pki.put(&web, KeyState::Accepted, &pem(1)).unwrap();
    let minion = pki.accepted(&web).unwrap().unwrap();
    assert!(sessions.for_request(&minion, SystemTime::now()).unwrap().is_none());
    let new = sessions.for_sign_in(&minion, SystemTime::now()).unwrap();
    assert_ne!(new.as_str(), old.as_str());
}
