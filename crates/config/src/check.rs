//! Values that are of the right type and still cannot be used: each is refused with the reason
//! and the way out.

use saltern_base::log::Level;
use saltern_value::{Map, Value};

use crate::known::Role;

/// A refused option and why.
pub(crate) type Refusal = (&'static str, String);

/// An option that takes one of some words.
struct Words {
    option: &'static str,
    allowed: &'static [&'static str],
}

const ALGORITHMS_OF_ENCRYPTION: &[&str] = &["OAEP-SHA1", "OAEP-SHA224"];
const ALGORITHMS_OF_SIGNATURE: &[&str] = &["PKCS1v15-SHA1", "PKCS1v15-SHA224"];
const HASHES: &[&str] = &["md5", "sha1", "sha224", "sha256", "sha384", "sha512"];

const WORDS: &[Words] = &[
    Words { option: "encryption_algorithm", allowed: ALGORITHMS_OF_ENCRYPTION },
    Words { option: "signing_algorithm", allowed: ALGORITHMS_OF_SIGNATURE },
    Words { option: "publish_signing_algorithm", allowed: ALGORITHMS_OF_SIGNATURE },
    Words { option: "hash_type", allowed: HASHES },
    Words { option: "master_uri_format", allowed: &["default", "ip_only"] },
    Words { option: "file_client", allowed: &["local", "remote"] },
    Words { option: "master_pubkey_sign_policy", allowed: &["strict", "warn"] },
];

/// Options that cannot be built yet or never: option, value, reason and way out.
const REFUSED: &[(&str, &[&str], &str)] = &[
    ("transport", &["tcp", "ws", "detect"], "only 'zeromq' is built; remove the option"),
    ("ipc_mode", &["tcp"], "only 'ipc' is built; remove the option"),
    ("cache", &["redis", "consul", "etcd", "mysql"], "only 'localfs' is built; remove the option"),
];

/// The first value that cannot be used.
pub(crate) fn check(raw: &Map, role: Role) -> Result<(), Refusal> {
    for words in WORDS {
        one_of(raw, words.option, words.allowed)?;
    }
    for (option, values, reason) in REFUSED {
        if let Some(value) = raw.get_str(option).filter(|v| values.contains(v)) {
            return Err((option, format!("'{value}' cannot be used: {reason}")));
        }
    }
    one_of(raw, "transport", &["zeromq"])?;
    one_of(raw, "ipc_mode", &["ipc"])?;
    levels(raw)?;
    at_least(raw, "keysize", 2048, "shorter keys are not safe")?;
    at_least(raw, "file_buffer_size", 1, "no file could be sent")?;
    at_least(raw, "max_event_size", 1, "no event could be sent")?;
    plain_name(raw, "master_sign_key_name")?;
    match role {
        Role::Master => master(raw),
        Role::Minion => minion(raw),
    }
}

fn master(raw: &Map) -> Result<(), Refusal> {
    at_least(
        raw,
        "minimum_auth_version",
        3,
        "with older versions a request can be sent in another minion's name; \
         update such minions and remove the option",
    )?;
    if raw.get("auth_mode").and_then(Value::as_int).is_some_and(|mode| mode >= 2) {
        let reason = "only 1 is built, and no minion needs another; remove the option";
        return Err(("auth_mode", reason.to_owned()));
    }
    at_least(raw, "publish_session", 1, "the key of publications would change all the time")?;
    plain_name(raw, "master_pubkey_signature")
}

fn minion(raw: &Map) -> Result<(), Refusal> {
    one_of(raw, "master_type", &["str", "failover", "distributed", "func", "disable"])?;
    if let Some(Value::List(names)) = raw.get("master_sign_keys")
        && let Some(bad) = names.iter().filter_map(Value::as_str).find(|n| !is_plain(n))
    {
        let reason = format!("'{bad}' is no plain file name; the keys lie in pki_dir");
        return Err(("master_sign_keys", reason));
    }
    Ok(())
}

fn one_of(
    raw: &Map,
    option: &'static str,
    allowed: &'static [&'static str],
) -> Result<(), Refusal> {
    match raw.get_str(option) {
        Some(value) if !allowed.contains(&value) => {
            let reason = format!("'{value}' is unknown; use one of {}", allowed.join(", "));
            Err((option, reason))
        }
        _ => Ok(()),
    }
}

fn levels(raw: &Map) -> Result<(), Refusal> {
    let names = || Level::NAMES.map(|(name, _)| name).join(", ");
    let refused = |option, value: &str| {
        Err((option, format!("'{value}' is no level; use one of {}", names())))
    };
    for option in ["log_level", "log_level_logfile"] {
        if let Some(value) = raw.get_str(option).filter(|v| Level::parse(v).is_none()) {
            return refused(option, value);
        }
    }
    let granular = raw.get("log_granular_levels").and_then(Value::as_map);
    for value in granular.into_iter().flat_map(Map::values) {
        match value.as_str() {
            Some(level) if Level::parse(level).is_some() => {}
            other => return refused("log_granular_levels", other.unwrap_or(value.type_name())),
        }
    }
    Ok(())
}

fn at_least(raw: &Map, option: &'static str, least: i64, why: &str) -> Result<(), Refusal> {
    match raw.get(option).and_then(<i64 as crate::option::OptionValue>::read) {
        Some(value) if value < least => {
            Err((option, format!("{value} cannot be used, the least is {least}: {why}")))
        }
        _ => Ok(()),
    }
}

fn plain_name(raw: &Map, option: &'static str) -> Result<(), Refusal> {
    match raw.get_str(option) {
        Some(name) if !is_plain(name) => {
            let reason = format!("'{name}' is no plain file name; the files lie in pki_dir");
            Err((option, reason))
        }
        _ => Ok(()),
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '\0']) && name != "." && name != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(role: Role, option: &'static str, value: impl Into<Value>) -> String {
        let (named, reason) = check(&Map::from([(option, value.into())]), role).unwrap_err();
        assert_eq!(named, option);
        reason
    }

    #[test]
    fn every_refusal_says_why_and_what_to_do() {
        assert!(refused(Role::Master, "minimum_auth_version", Value::Int(2)).contains("update"));
        assert!(refused(Role::Master, "auth_mode", Value::Int(2)).contains("remove"));
        assert!(refused(Role::Minion, "transport", "tcp").contains("zeromq"));
        assert!(refused(Role::Minion, "master_type", "sometimes").contains("func"));
        assert!(refused(Role::Minion, "master_type", "fail").contains("failover"));
        assert!(refused(Role::Minion, "hash_type", "crc32").contains("sha256"));
        assert!(refused(Role::Minion, "log_level", "loud").contains("warning"));
        assert!(refused(Role::Master, "master_sign_key_name", "../x").contains("pki_dir"));
        assert!(check(&Map::new(), Role::Master).is_ok());
    }
}
