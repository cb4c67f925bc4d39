//! The vectors recorded from real Salt: keys, fingerprints, signatures, sealed messages.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail loudly")]

use saltern_base::hex;
use saltern_crypto::{
    CryptoError, EncAlgo, HashType, PrivateKey, PublicKey, SealKey, SigAlgo, clean_pem,
    fingerprint, same_pem,
};
use saltern_value::{Map, Value};
use serde_json::Value as Json;

fn vectors(file: &str) -> Json {
    let path = format!("{}/../../tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn text<'a>(json: &'a Json, key: &str) -> &'a str {
    json[key].as_str().unwrap_or_else(|| panic!("no text {key}"))
}

fn bytes(json: &Json, key: &str) -> Vec<u8> {
    hex::decode(text(json, key)).unwrap()
}

fn private(name: &str) -> PrivateKey {
    PrivateKey::from_pem(text(&vectors("keys.json")[name], "private_pem").as_bytes(), None).unwrap()
}

#[test]
fn keys_are_written_as_salt_writes_them() {
    let keys = vectors("keys.json");
    for name in ["master", "minion", "master_sign"] {
        let key = private(name);
        let vector = &keys[name];
        assert_eq!(key.public().to_pem().trim_end(), text(vector, "public_pem_file").trim_end());
        assert_eq!(key.public().wire_pem(), text(vector, "public_pem_sent"));
        let again = String::from_utf8(key.to_pem(None).unwrap()).unwrap();
        assert!(same_pem(&again, text(vector, "private_pem")), "{name}");
        let from_file = PublicKey::from_pem(text(vector, "public_pem_file").as_bytes()).unwrap();
        assert_eq!(&from_file, key.public());
    }
}

#[test]
fn fingerprints_do_not_depend_on_line_ends() {
    let keys = vectors("keys.json");
    for name in ["master", "minion", "master_sign"] {
        let pem = text(&keys[name], "public_pem_file");
        let sha256 = text(&keys[name], "finger_sha256");
        assert_eq!(fingerprint(pem, HashType::Sha256), sha256);
        assert_eq!(fingerprint(pem, HashType::Md5), text(&keys[name], "finger_md5"));
        assert_eq!(fingerprint(&pem.replace('\n', "\r\n"), HashType::Sha256), sha256);
        assert_eq!(fingerprint(&clean_pem(pem), HashType::Sha256), sha256);
    }
}

#[test]
fn x931_is_what_salt_makes() {
    let rsa = vectors("rsa.json");
    for name in ["x931_minion_token", "x931_auth_sig"] {
        let vector = &rsa[name];
        let key = private(text(vector, "key"));
        let data = text(vector, "data_utf8").as_bytes();
        let signature = bytes(vector, "sig_hex");
        assert_eq!(key.x931_sign(data).unwrap(), signature, "{name}");
        assert_eq!(key.public().x931_recover(&signature).as_deref(), Some(data));
        let mut altered = signature.clone();
        altered[10] ^= 1;
        assert_ne!(key.public().x931_recover(&altered).as_deref(), Some(data));
    }
    let key = private("minion");
    for odd in [&b""[..], &[0; 255], &[0; 256], &[0xff; 256], &[7; 257]] {
        assert_ne!(key.public().x931_recover(odd).as_deref(), Some(&b"salt"[..]));
    }
}

#[test]
fn signatures_and_oaep_are_salts() {
    let rsa = vectors("rsa.json");
    for vector in rsa["pkcs1v15"].as_array().unwrap() {
        let key = private(text(vector, "key"));
        let algo = SigAlgo::parse(text(vector, "algorithm")).unwrap();
        let (message, sig) = (bytes(vector, "message_hex"), bytes(vector, "sig_hex"));
        assert_eq!(key.sign(algo, &message).unwrap(), sig);
        assert!(key.public().verify(algo, &message, &sig));
        assert!(!key.public().verify(algo, b"other", &sig));
        assert!(!private("master_sign").public().verify(algo, &message, &sig));
    }
    for vector in rsa["oaep"].as_array().unwrap() {
        let key = private(text(vector, "key"));
        let algo = EncAlgo::parse(text(vector, "algorithm")).unwrap();
        let clear = text(vector, "plaintext_utf8").as_bytes();
        assert_eq!(key.decrypt(algo, &bytes(vector, "ciphertext_hex")).unwrap(), clear);
        let again = key.public().encrypt(algo, clear).unwrap();
        assert_eq!(key.decrypt(algo, &again).unwrap(), clear);
        assert_eq!(key.decrypt(algo, b"short"), Err(CryptoError::Decrypt));
        assert_eq!(key.decrypt(algo, &[1; 256]), Err(CryptoError::Decrypt));
    }
}

#[test]
fn sealed_messages_of_salt_open() {
    let vector = vectors("crypticle.json");
    let key = SealKey::parse(text(&vector, "key_string")).unwrap();
    assert_eq!(key.as_str(), text(&vector, "key_string"));
    for case in vector["cases"].as_array().unwrap() {
        let sealed = bytes(case, "ciphertext_hex");
        let plain = bytes(case, "plaintext_hex");
        assert_eq!(key.open(&sealed).unwrap(), plain, "{}", text(case, "name"));
        if case["object"].is_null() && case["nonce"].is_null() {
            assert_eq!(key.open_value(&sealed), Err(CryptoError::NotAMessage));
        } else if let Some(nonce) = case["nonce"].as_str() {
            let value = key.open_reply(&sealed, nonce).unwrap();
            let again = key.seal_value(&value, Some(nonce)).unwrap();
            assert_eq!(key.open(&again).unwrap(), plain);
            let other = "0".repeat(32);
            assert_eq!(key.open_reply(&sealed, &other), Err(CryptoError::WrongNonce));
        } else {
            let value = key.open_value(&sealed).unwrap();
            assert_eq!(key.open(&key.seal_value(&value, None).unwrap()).unwrap(), plain);
        }
    }
}

#[test]
fn altered_and_foreign_messages_stay_closed() {
    let key = SealKey::generate().unwrap();
    let sealed = key.seal_map(&Map::from([("a", 1)]), None).unwrap();
    assert_eq!(key.open_value(&sealed), Ok(Value::Map(Map::from([("a", 1)]))));
    for i in 0..sealed.len() {
        let mut altered = sealed.clone();
        altered[i] ^= 0x40;
        assert_eq!(key.open(&altered), Err(CryptoError::NotAuthentic));
        assert_eq!(key.open(&sealed[..i]), Err(CryptoError::NotAuthentic));
    }
    let other = SealKey::generate().unwrap();
    assert_eq!(other.open(&sealed), Err(CryptoError::NotAuthentic));
    assert_eq!(key.open_value(&key.seal(b"").unwrap()), Err(CryptoError::NotAMessage));
    let garbage = key.seal(b"pickle::\xc1").unwrap();
    assert!(matches!(key.open_value(&garbage), Err(CryptoError::Payload(_))));
}

#[test]
fn every_length_around_a_block_round_trips() {
    let key = SealKey::generate().unwrap();
    for len in [0, 1, 15, 16, 17, 31, 32, 1_000_003] {
        let plain = vec![0x10; len];
        assert_eq!(key.open(&key.seal(&plain).unwrap()).unwrap(), plain, "{len}");
    }
}

#[test]
fn keys_of_sealed_messages_have_one_form() {
    for bad in ["", "AAAA", "not base64 at all!", &"A".repeat(80), &"A".repeat(76)] {
        assert_eq!(SealKey::parse(bad), Err(CryptoError::BadSealKey), "{bad}");
    }
    let key = SealKey::generate().unwrap();
    assert_eq!(key.as_str().len(), SealKey::TEXT_LEN);
    assert_eq!(SealKey::parse(&format!("{}\n", key.as_str())), Ok(key.clone()));
    assert!(!format!("{key:?}").contains(key.as_str()));
}

#[test]
fn private_keys_with_a_passphrase() {
    let key = private("minion");
    let pem = key.to_pem(Some("geheim")).unwrap();
    let written = String::from_utf8(pem.clone()).unwrap();
    assert!(written.starts_with("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"));
    assert!(written.contains("DEK-Info: AES-256-CBC,"));
    let read = PrivateKey::from_pem(&pem, Some("geheim")).unwrap();
    assert_eq!(read.public(), key.public());
    assert_eq!(PrivateKey::from_pem(&pem, None).unwrap_err(), CryptoError::PassphraseNeeded);
    assert_eq!(PrivateKey::from_pem(&pem, Some("")).unwrap_err(), CryptoError::PassphraseNeeded);
    assert_eq!(PrivateKey::from_pem(&pem, Some("falsch")).unwrap_err(), CryptoError::NotAKey);
    assert_eq!(PrivateKey::from_pem(b"x", None).unwrap_err(), CryptoError::NotAKey);
}

#[test]
fn pkcs8_is_read_in_clear_and_encrypted() {
    let rsa = openssl::rsa::Rsa::private_key_from_pem(&private("minion").to_pem(None).unwrap());
    let pkey = openssl::pkey::PKey::from_rsa(rsa.unwrap()).unwrap();
    let clear = pkey.private_key_to_pem_pkcs8().unwrap();
    assert!(clear.starts_with(b"-----BEGIN PRIVATE KEY-----"));
    let cipher = openssl::symm::Cipher::aes_256_cbc();
    let locked = pkey.private_key_to_pem_pkcs8_passphrase(cipher, b"geheim").unwrap();
    for (pem, pass) in [(clear, None), (locked.clone(), Some("geheim"))] {
        let read = PrivateKey::from_pem(&pem, pass).unwrap();
        assert_eq!(read.public(), private("minion").public());
    }
    assert_eq!(PrivateKey::from_pem(&locked, None).unwrap_err(), CryptoError::PassphraseNeeded);
}

/// RSA, but for signatures of one kind only.
const RSA_PSS: &[u8] = b"-----BEGIN PUBLIC KEY-----
MIGdMAsGCSqGSIb3DQEBCgOBjQAwgYkCgYEAtNzJkVT5c1aCIBntK4LQ+CMB8Hlx
ma8AYdQUpcFVNOw94E7gTvTJLRcSz8nivXyiay8QjzAHTimcszs6nrSlZIdAuN75
ua4uws08pNMa9p5nUs6RahEVE9QpDsd/I32RNUU3DC44UuaGqkeHAAkmtVn1a8u2
WWm6dkmPiPrkk4MCAwEAAQ==
-----END PUBLIC KEY-----";

#[test]
fn other_keys_are_refused_with_their_reason() {
    let group = openssl::ec::EcGroup::from_curve_name(openssl::nid::Nid::X9_62_PRIME256V1);
    let ec = openssl::ec::EcKey::generate(&group.unwrap()).unwrap();
    let ec = openssl::pkey::PKey::from_ec_key(ec).unwrap();
    let public = ec.public_key_to_pem().unwrap();
    assert_eq!(PublicKey::from_pem(&public).unwrap_err(), CryptoError::NotRsa);
    assert_eq!(PublicKey::from_pem(RSA_PSS).unwrap_err(), CryptoError::NotRsa);
    let small = openssl::rsa::Rsa::generate(512).unwrap().public_key_to_pem().unwrap();
    assert_eq!(PublicKey::from_pem(&small).unwrap_err(), CryptoError::KeySize(512));
    assert_eq!(PrivateKey::generate(1024).unwrap_err(), CryptoError::KeySize(1024));
    for bad in
        [&b""[..], b"\xff\xfe", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"]
    {
        assert_eq!(PublicKey::from_pem(bad).unwrap_err(), CryptoError::NotAKey);
    }
}

#[test]
fn generated_keys_work_from_several_threads() {
    let key = PrivateKey::generate(2048).unwrap();
    assert_eq!(key.public().bits(), 2048);
    std::thread::scope(|scope| {
        for n in 0u8..4 {
            let key = key.clone();
            scope.spawn(move || {
                for algo in SigAlgo::ALL {
                    let sig = key.sign(algo, &[n]).unwrap();
                    assert!(key.public().verify(algo, &[n], &sig));
                }
            });
        }
    });
    assert!(!format!("{key:?}").contains("BEGIN"));
}
