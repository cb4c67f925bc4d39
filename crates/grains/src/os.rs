//! Which distribution and kernel this is: os-release first, then what older hosts have, with
//! Salt's exceptions.

use saltern_value::{Map, Value};

use crate::os_names::{family_of_id, family_of_os, os_name};
use crate::sysroot::Sysroot;

/// The grains of kernel and distribution.
pub(crate) fn grains(sysroot: &Sysroot) -> Map {
    let uname = rustix::system::uname();
    let text = |s: &std::ffi::CStr| Value::from(s.to_string_lossy().into_owned());
    let machine = uname.machine().to_string_lossy().into_owned();
    let mut grains = Map::from([
        ("kernel", text(uname.sysname())),
        ("nodename", text(uname.nodename())),
        ("kernelrelease", text(uname.release())),
        ("kernelversion", text(uname.version())),
        ("cpuarch", Value::from(machine.as_str())),
    ]);
    let distribution = distribution(sysroot);
    let family = distribution.get_str("os_family").unwrap_or_default().to_owned();
    grains.extend(distribution);
    grains.insert("osarch", osarch(sysroot, &family, &machine));
    if let Some(cmdline) = sysroot.read("/proc/cmdline") {
        grains.insert("kernelparams", kernel_parameters(&cmdline));
    }
    grains
}

/// The `os*` and `lsb_*` grains.
fn distribution(sysroot: &Sysroot) -> Map {
    let release = OsRelease::read(sysroot);
    let mut grains = lsb_release(sysroot);
    if let Some(release) = &release {
        let from_release = [
            ("os", Some(os_name(release.name(), Some(release.id())))),
            ("os_family", Some(family_of_id(release.id(), release.get("ID_LIKE")))),
            ("oscodename", release.codename()),
            ("osfullname", Some(release.name().trim().to_owned())),
        ];
        let some = from_release.into_iter().filter_map(|(k, v)| Some((k, v?)));
        grains.extend(some.filter(|(_, v)| !v.is_empty()));
    }
    legacy_lsb(&mut grains, release.as_ref(), sysroot);
    legacy_os(&mut grains, release.as_ref(), sysroot);
    release_parts(&mut grains);
    grains
}

/// os-release, taken apart.
struct OsRelease(Vec<(String, String)>);

impl OsRelease {
    fn read(sysroot: &Sysroot) -> Option<Self> {
        let text =
            sysroot.read("/etc/os-release").or_else(|| sysroot.read("/usr/lib/os-release"))?;
        let mut all = vec![
            ("NAME".to_owned(), "Linux".to_owned()),
            ("ID".to_owned(), "linux".to_owned()),
            ("PRETTY_NAME".to_owned(), "Linux".to_owned()),
        ];
        for line in text.lines() {
            let Some((key, value)) = line.trim().split_once('=') else { continue };
            let name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
            if !key.is_empty() && key.chars().all(name) {
                all.retain(|(k, _)| k != key);
                all.push((key.to_owned(), unquote(value)));
            }
        }
        Some(OsRelease(all))
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    fn id(&self) -> &str {
        self.get("ID").unwrap_or_default()
    }

    fn name(&self) -> &str {
        self.get("NAME").unwrap_or_default()
    }

    fn codename(&self) -> Option<String> {
        let given = self.get("VERSION_CODENAME").filter(|c| !c.is_empty()).map(str::to_owned);
        given.or_else(|| match self.id() {
            "astra" => self.get("VARIANT_ID").map(str::to_owned),
            "almalinux" | "rocky" => self.get("VERSION").and_then(in_brackets),
            _ => None,
        })
    }

    /// Vendor and version of `CPE_NAME`, when it has a known form.
    fn cpe(&self) -> Option<(&str, &str)> {
        let parts: Vec<&str> = self.get("CPE_NAME")?.split(':').collect();
        match parts.as_slice() {
            ["cpe", kind, vendor, _, version, ..] if kind.starts_with('/') => {
                Some((vendor, version))
            }
            ["cpe", "2.3", _, vendor, _, version, ..] => Some((vendor, version)),
            _ => None,
        }
    }
}

/// A value of os-release without its quotes and backslashes.
fn unquote(value: &str) -> String {
    let value = value.trim();
    let quoted = |q: char| value.strip_prefix(q).and_then(|v| v.strip_suffix(q));
    if let Some(plain) = quoted('\'') {
        return plain.to_owned();
    }
    let Some(text) = quoted('"') else { return value.to_owned() };
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    out
}

/// What stands in the first pair of brackets.
fn in_brackets(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('(')?;
    rest.split_once(')').map(|(inside, _)| inside.to_owned()).filter(|inside| !inside.is_empty())
}

/// `lsb_distrib_*` from `/etc/lsb-release`.
fn lsb_release(sysroot: &Sysroot) -> Map {
    let mut grains = Map::new();
    for line in sysroot.read("/etc/lsb-release").unwrap_or_default().lines() {
        let Some((key, value)) = line.split_once('=') else { continue };
        let part = key.strip_prefix("DISTRIB_").unwrap_or_default();
        if ["ID", "RELEASE", "CODENAME", "DESCRIPTION"].contains(&part) {
            let value = value.trim_start_matches(['\'', '"']);
            let plain = |c: char| c.is_alphanumeric() || c.is_whitespace() || "._-".contains(c);
            let value: String = value.chars().take_while(|c| plain(*c)).collect();
            if !value.is_empty() {
                grains.insert(
                    format!("lsb_distrib_{}", part.to_lowercase()),
                    value.trim_end().to_owned(),
                );
            }
        }
    }
    grains
}

/// `lsb_distrib_*` of hosts without `/etc/lsb-release`, and the openSUSE exceptions.
fn legacy_lsb(grains: &mut Map, release: Option<&OsRelease>, sysroot: &Sysroot) {
    let described = grains.get_str("lsb_distrib_description").unwrap_or_default();
    if described.to_lowercase().starts_with("antergos") {
        grains.insert("osfullname", "Antergos Linux");
        return;
    }
    if grains.contains_key("lsb_distrib_id") {
        return;
    }
    let Some(release) = release else { return red_hat_file(grains, sysroot) };
    let codename = release.get("VERSION_CODENAME").or_else(|| release.get("PRETTY_NAME"));
    let given = [
        ("lsb_distrib_id", Some(release.name().trim())),
        ("lsb_distrib_release", release.get("VERSION_ID")),
        ("lsb_distrib_codename", codename),
    ];
    grains.extend(given.into_iter().filter_map(|(k, v)| Some((k, v?))));
    if let Some((vendor, version)) = release.cpe()
        && ["suse", "opensuse"].contains(&vendor.to_lowercase().as_str())
    {
        grains.insert("os", "SUSE");
        if release.name() == "openSUSE Leap" {
            grains.insert("osfullname", "Leap");
        } else if release.get("VERSION") == Some("Tumbleweed") {
            grains.insert("osfullname", "Tumbleweed");
        }
        if vendor == "opensuse" && !version.is_empty() {
            grains.insert("lsb_distrib_release", version);
        }
    }
    if release.id().trim() == "mendel"
        && let Some(version) =
            release.get("PRETTY_NAME").and_then(|name| name.split_whitespace().nth(2))
    {
        grains.insert("lsb_distrib_release", version);
    }
}

/// Hosts older than os-release: `/etc/centos-release`.
fn red_hat_file(grains: &mut Map, sysroot: &Sysroot) {
    let Some(text) = sysroot.read("/etc/centos-release") else { return };
    grains.insert("lsb_distrib_id", "CentOS");
    if let Some(version) = version_in(&text) {
        let two: Vec<&str> = version.split('.').take(2).collect();
        if two.len() == 2 {
            grains.insert("lsb_distrib_release", two.join("."));
        }
    }
    if let Some(codename) = in_brackets(&text) {
        grains.insert("lsb_distrib_codename", codename);
    }
}

/// `os`, `osfullname`, `osrelease`, `oscodename` and `os_family` by Salt's older rules.
fn legacy_os(grains: &mut Map, release: Option<&OsRelease>, sysroot: &Sysroot) {
    let get = |grains: &Map, key: &str| grains.get_str(key).unwrap_or_default().to_owned();
    let lsb_codename = get(grains, "lsb_distrib_codename");
    if !grains.contains_key("osfullname") {
        let id = get(grains, "lsb_distrib_id");
        let nilrt = id.to_lowercase().starts_with("nilrt");
        let id = if nilrt { "nilrt".to_owned() } else { id.trim().to_owned() };
        grains.insert("osfullname", id);
    }
    // The os-release of CentOS 7 and 8 has no minor number.
    if ["CentOS Linux 7", "CentOS Linux 8"].iter().any(|name| lsb_codename.contains(name)) {
        grains.remove("lsb_distrib_release");
    }
    let osrelease = grains.get_str("lsb_distrib_release").map(str::to_owned);
    let osrelease = osrelease.unwrap_or_else(|| best_version(release, sysroot));
    grains.insert("osrelease", osrelease.trim().to_owned());
    let os = get(grains, "os");
    if ["Rocky", "AlmaLinux", "AstraLinuxSE"].iter().any(|name| os.contains(name))
        && let Some(inside) = in_brackets(&lsb_codename)
    {
        let inside = match os.as_str() {
            "AstraLinuxSE" => inside.split_whitespace().next().unwrap_or_default().to_lowercase(),
            _ => inside,
        };
        grains.insert("lsb_distrib_codename", inside);
    }
    let mut codename = get(grains, "lsb_distrib_codename").trim().to_owned();
    if codename.is_empty() || codename.contains("Red Hat") {
        codename = distro_codename(release);
    }
    grains.insert("oscodename", codename);
    if !grains.contains_key("os") {
        let full = get(grains, "osfullname");
        grains.insert("os", os_name(&full, None));
    }
    let family = family_of_os(&get(grains, "os")).to_owned();
    grains.insert("os_family", family);
}

/// The codename os-release tells between the lines: `9.3 (Plow)`.
fn distro_codename(release: Option<&OsRelease>) -> String {
    let Some(release) = release else { return String::new() };
    match release.get("VERSION_CODENAME") {
        Some(codename) => codename.to_owned(),
        None => release.get("VERSION").and_then(in_brackets).unwrap_or_default(),
    }
}

/// The longest version among os-release and the release files.
fn best_version(release: Option<&OsRelease>, sysroot: &Sysroot) -> String {
    let of_release = ["VERSION_ID", "PRETTY_NAME", "VERSION"]
        .map(|key| release.and_then(|r| r.get(key)).and_then(version_in).unwrap_or_default());
    let files = ["centos-release", "redhat-release", "system-release", "gentoo-release"];
    let of_files = files.map(|name| {
        sysroot.read(&format!("/etc/{name}")).and_then(|text| version_in(&text)).unwrap_or_default()
    });
    let parts = |version: &str| version.matches('.').count();
    let mut best = String::new();
    for version in of_release.into_iter().chain(of_files) {
        if best.is_empty() || (!version.is_empty() && parts(&version) > parts(&best)) {
            best = version;
        }
    }
    best
}

/// The first dotted number in a text.
fn version_in(text: &str) -> Option<String> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let rest = text.get(start..)?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    rest.get(..end).map(|v| v.trim_end_matches('.').to_owned())
}

/// `osrelease_info`, `osmajorrelease` and `osfinger` from `osrelease`.
fn release_parts(grains: &mut Map) {
    let get = |key: &str| grains.get_str(key).unwrap_or_default().to_owned();
    let (os, full_name, release) = (get("os"), get("osfullname"), get("osrelease"));
    if release.is_empty() {
        return;
    }
    let number = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        part.parse().ok().filter(|_| digits)
    };
    let parts: Vec<Value> = release
        .split('.')
        .map(|part| number(part).map_or_else(|| Value::from(part), Value::Int))
        .collect();
    let first = release.split('.').next().unwrap_or_default();
    let name = if ["Debian", "Raspbian"].contains(&os.as_str()) { &os } else { &full_name };
    let version = match (os.as_str(), number(first)) {
        ("Ubuntu" | "Pop", _) => release.clone(),
        (_, Some(major)) => major.to_string(),
        _ => first.to_owned(),
    };
    let finger = format!("{name}-{version}");
    grains.insert("osrelease_info", parts);
    if let Some(major) = number(first) {
        grains.insert("osmajorrelease", Value::Int(major));
    }
    grains.insert("osfinger", finger);
}

/// The package manager's name of the architecture.
fn osarch(sysroot: &Sysroot, family: &str, machine: &str) -> String {
    if family != "Debian" {
        return machine.to_owned();
    }
    // dpkg keeps a list when there is more than one architecture; the first is its own.
    let listed = sysroot.read("/var/lib/dpkg/arch");
    if let Some(first) = listed.as_deref().and_then(|text| text.lines().next()) {
        return first.trim().to_owned();
    }
    match machine {
        "x86_64" => "amd64",
        "i386" | "i486" | "i586" | "i686" => "i386",
        "aarch64" => "arm64",
        "armv7l" | "armv8l" => "armhf",
        "armv5tel" | "armv6l" => "armel",
        "ppc64le" => "ppc64el",
        other => other,
    }
    .to_owned()
}

/// `/proc/cmdline` as pairs of name and value.
fn kernel_parameters(cmdline: &str) -> Vec<Value> {
    split_words(cmdline)
        .iter()
        .map(|word| {
            let parts: Vec<&str> = word.split('=').collect();
            let (name, value) = match parts.as_slice() {
                [name, value] => (*name, Value::from(value.trim_matches('"'))),
                [name, ..] => (*name, Value::Nil),
                [] => ("", Value::Nil),
            };
            Value::List(vec![Value::from(name), value])
        })
        .collect()
}

/// Words as a shell splits them: quotes group, backslashes escape.
fn split_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some('"') | None, '\\') => {
                word.get_or_insert_default().extend(chars.next());
            }
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_parameters_are_pairs() {
        let found = kernel_parameters("quiet console=ttyS0 root=UUID=1 x=\"a b\"\n");
        let text = saltern_value::json::to_string(&Value::List(found), None);
        assert_eq!(
            text,
            r#"[["quiet", null], ["console", "ttyS0"], ["root", null], ["x", "a b"]]"#
        );
    }

    #[test]
    fn versions_and_quotes() {
        assert_eq!(version_in("CentOS Linux release 7.9.2009 (Core)").as_deref(), Some("7.9.2009"));
        assert_eq!(version_in("Arch Linux"), None);
        assert_eq!(unquote(r#""a \"b\" $c""#), r#"a "b" $c"#);
        assert_eq!(unquote("'x'"), "x");
    }
}
