//! The name of a minion nobody named: the cached one, or what the host is called, by Salt's rules.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use saltern_base::{MinionId, atomic_file, host, interfaces};
use saltern_value::{Map, Value};

/// An id and how it came about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) id: String,
    /// The id is an IPv4 address, which no domain goes behind.
    pub(crate) is_address: bool,
    /// The id was read from a `minion_id` file.
    pub(crate) cached: bool,
}

/// Where an id that was found out may lie: Salt's place below `root_dir`, then the directory of
/// the configuration.
pub(crate) fn cache_files(root_dir: &Path, conf_dir: &Path) -> [PathBuf; 2] {
    [root_dir.join("etc/salt/minion_id"), conf_dir.join("minion_id")]
}

/// The cached id, or one made of the host's names as the options say.
pub(crate) fn find(raw: &Map, caches: &[PathBuf]) -> Found {
    let caching = raw.get("minion_id_caching").is_none_or(Value::truthy);
    let cached = || caches.iter().find_map(|path| read_cache(path));
    if caching && let Some(id) = cached() {
        return Found { id, is_address: false, cached: true };
    }
    let mut id = generate();
    if raw.get("minion_id_lowercase").is_some_and(Value::truthy) {
        id = id.to_lowercase();
    }
    if let Some(domain) = raw.get("minion_id_remove_domain").filter(|v| v.truthy()) {
        id = without_domain(&id, domain);
    }
    let is_address = id.parse::<std::net::Ipv4Addr>().is_ok();
    Found { id, is_address, cached: false }
}

/// Keeps an id for the next start. Salt's place is tried first when it belongs to this
/// configuration, so that `-c` elsewhere never names the whole host.
pub(crate) fn cache(id: &str, root_dir: &Path, conf_dir: &Path) -> std::io::Result<()> {
    let [salts, beside] = cache_files(root_dir, conf_dir);
    let ours = root_dir != Path::new("/") || conf_dir == Path::new("/etc/salt");
    let path = if ours { salts } else { beside };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    atomic_file::write(&path, id.as_bytes(), 0o644)
}

/// Puts `domain` behind an id that has none of it; a closing dot says the id is whole.
pub(crate) fn with_domain(id: &str, domain: &str) -> String {
    if id.ends_with(domain) || id.ends_with('.') { id.to_owned() } else { format!("{id}.{domain}") }
}

fn read_cache(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let id = text.trim_start_matches('\u{feff}').lines().next()?.trim().to_owned();
    // A file that holds no possible id is as good as none.
    (id != "localhost" && MinionId::parse(&id).is_ok()).then_some(id)
}

fn without_domain(id: &str, domain: &Value) -> String {
    let Some(domain) = domain.as_str() else {
        return id.split('.').next().unwrap_or(id).to_owned();
    };
    let suffix = format!(".{}", domain.to_lowercase());
    match id.to_lowercase().strip_suffix(&suffix) {
        // Lower case may change the length of a name that is not ASCII; then it stays.
        Some(kept) => id.get(..kept.len()).unwrap_or(id).to_owned(),
        None => id.to_owned(),
    }
}

/// Salt's order: full name, host name, names in files, addresses; never a name of the loopback.
fn generate() -> String {
    let node = host::nodename();
    let usable = |name: &String| !name.is_empty() && !is_local(name);
    let named = [host::fqdn_of(&node), node].into_iter().find(usable);
    named
        .or_else(|| names_in_files().into_iter().find(usable))
        .or_else(|| {
            let addresses = interfaces::outer_addresses();
            addresses.iter().map(IpAddr::to_string).find(usable)
        })
        .unwrap_or_else(|| "localhost".to_owned())
}

fn names_in_files() -> Vec<String> {
    let read = |path: &&str| fs::read_to_string(path).ok();
    let texts = ["/etc/hostname", "/etc/nodename", "/etc/hosts"];
    texts.iter().filter_map(read).flat_map(|text| names_in(&text)).collect()
}

fn names_in(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> =
            line.split('#').next().unwrap_or_default().split_whitespace().collect();
        let loopback = |word: &&str| word.starts_with("127.") || word.starts_with("::1");
        if words.len() == 1 || words.first().is_some_and(loopback) {
            names.extend(words.into_iter().map(str::to_owned));
        }
    }
    names
}

/// Names and addresses every host has, so that none says which host it is.
fn is_local(name: &str) -> bool {
    const PREFIXES: [&str; 7] =
        ["localhost", "ip6-", "0.0.0.0", "::1", "ipv6-", "fe00::", "fe02::"];
    let loopback = name
        .strip_prefix("127.")
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    loopback
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || (name.starts_with("1.0.0") && name.contains(".ip6.arpa"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_loopback_are_no_ids() {
        for name in ["localhost.localdomain", "127.0.1.1", "ip6-loopback", "::1"] {
            assert!(is_local(name), "{name}");
        }
        assert!(!is_local("127.host") && !is_local("web1"));
        assert_eq!(
            names_in("web1\n127.0.0.1 localhost home # x\n10.0.0.1 other\n"),
            ["web1", "127.0.0.1", "localhost", "home"]
        );
    }

    #[test]
    fn domains_come_and_go() {
        assert_eq!(with_domain("web", "example.org"), "web.example.org");
        assert_eq!(with_domain("web.example.org", "example.org"), "web.example.org");
        assert_eq!(with_domain("web.", "example.org"), "web.");
        assert_eq!(without_domain("Web.Example.org", &Value::from("example.ORG")), "Web");
        assert_eq!(without_domain("web.a.b", &Value::Bool(true)), "web");
        assert_eq!(without_domain("web.a.b", &Value::from("c")), "web.a.b");
    }

    #[test]
    fn an_id_is_kept_and_found_again() {
        let dir = std::env::temp_dir().join(format!("saltern-id-{}", std::process::id()));
        let (root, conf) = (dir.join("root"), dir.join("conf"));
        cache("web1", &root, &conf).unwrap();
        let caches = cache_files(&root, &conf);
        let found = find(&Map::new(), &caches);
        assert_eq!(found, Found { id: "web1".into(), is_address: false, cached: true });
        fs::write(&caches[0], "../evil\n").unwrap();
        assert!(!find(&Map::new(), &caches).cached);
        cache("web2", Path::new("/"), &conf).unwrap();
        assert_eq!(fs::read_to_string(&caches[1]).unwrap(), "web2");
        fs::remove_dir_all(dir).unwrap();
    }
}
