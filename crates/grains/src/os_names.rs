//! Salt's names of distributions: facts that states all over the world are written against.

/// First ten characters of the full name (lower case, no spaces) to grain `os`.
const SHORT_NAMES: &[(&str, &str)] = &[
    ("alibabaclo", "Alinux"),
    ("almalinux", "AlmaLinux"),
    ("alt", "ALT"),
    ("amazonami", "Amazon"),
    ("antergos", "Antergos"),
    ("arch", "Arch"),
    ("archarm", "Arch ARM"),
    ("chapeau", "Chapeau"),
    ("cloudlinux", "CloudLinux"),
    ("cloudserve", "CloudLinux"),
    ("debian", "Debian"),
    ("enterprise", "OEL"),
    ("fedoraremi", "Fedora"),
    ("gentoobase", "Gentoo"),
    ("korora", "Korora"),
    ("linuxmint", "Mint"),
    ("manjaro", "Manjaro"),
    ("manjarolin", "Manjaro"),
    ("mendel", "Mendel"),
    ("neon", "KDE neon"),
    ("nilrt", "NILinuxRT"),
    ("oracleserv", "OEL"),
    ("photon", "VMware Photon OS"),
    ("pidora", "Fedora"),
    ("poky", "Poky"),
    ("pop", "Pop"),
    ("raspbian", "Raspbian"),
    ("redhatente", "RedHat"),
    ("rocky", "Rocky"),
    ("scientific", "ScientificLinux"),
    ("sles", "SUSE"),
    ("slesexpand", "RES"),
    ("synology", "Synology"),
    ("univention", "Univention"),
    ("void", "Void"),
];

/// Grain `os` to grain `os_family`, a family a line; an `os` in none is its own family.
const FAMILIES: &[(&str, &[&str])] = &[
    (
        "RedHat",
        &[
            "Fedora",
            "Chapeau",
            "Korora",
            "FedBerry",
            "CentOS",
            "CentOS Stream",
            "GoOSe",
            "Scientific",
            "Amazon",
            "CloudLinux",
            "AlmaLinux",
            "OVS",
            "OEL",
            "XCP",
            "XCP-ng",
            "XenServer",
            "RES",
            "Sangoma",
            "VMware Photon OS",
            "ALT",
            "ScientificLinux",
            "Rocky",
            "Alinux",
        ],
    ),
    (
        "Debian",
        &[
            "Ubuntu",
            "Mint",
            "Trisquel",
            "GCEL",
            "Linaro",
            "elementary OS",
            "elementary",
            "Univention",
            "Raspbian",
            "Devuan",
            "antiX",
            "Kali",
            "Parrot OS",
            "neon",
            "Cumulus",
            "Deepin",
            "KDE neon",
            "IDMS",
            "TurnKey",
            "Pop",
            "AstraLinuxCE",
            "AstraLinuxSE",
            "Mendel",
            "OSMC",
        ],
    ),
    (
        "Suse",
        &[
            "SLES",
            "SUSE Enterprise Server",
            "SUSE  Enterprise Server",
            "SLED",
            "openSUSE",
            "SUSE",
            "openSUSE Leap",
            "openSUSE Tumbleweed",
            "SLES_SAP",
        ],
    ),
    ("Arch", &["Arch ARM", "Manjaro", "Manjaro ARM", "Antergos", "EndeavourOS"]),
    ("Mandriva", &["Mandrake"]),
    ("VMware", &["VMwareESX"]),
    ("Bluewhite", &["Bluewhite64"]),
    ("Slackware", &["Slamd64"]),
    ("Gentoo", &["Funtoo"]),
];

/// Grain `os` for a full name, and the `ID` of os-release when that is where the name is from.
pub(crate) fn os_name(full_name: &str, id: Option<&str>) -> String {
    match (id, full_name) {
        (Some("astra"), "Astra Linux (Orel)") => return "AstraLinuxCE".to_owned(),
        (Some("astra"), "Astra Linux (Smolensk)") => return "AstraLinuxSE".to_owned(),
        (Some("pop"), "Pop!_OS") => return "Pop".to_owned(),
        _ => {}
    }
    let name = without_linux(full_name);
    let short: String = name.to_lowercase().chars().filter(|c| *c != ' ').take(10).collect();
    match SHORT_NAMES.iter().find(|(key, _)| *key == short) {
        Some((_, os)) => (*os).to_owned(),
        None => name,
    }
}

/// Grain `os_family` of a grain `os`.
pub(crate) fn family_of_os(os: &str) -> &str {
    FAMILIES.iter().find(|(_, members)| members.contains(&os)).map_or(os, |(family, _)| family)
}

/// Grain `os_family` from the `ID` and `ID_LIKE` of os-release: the oldest ancestor.
pub(crate) fn family_of_id(id: &str, id_like: Option<&str>) -> String {
    let family = match id_like.filter(|like| !like.is_empty()) {
        None => id,
        Some(like) => {
            let mut all = std::iter::once(id).chain(like.split_whitespace());
            if all.clone().any(|i| i == "debian" || i == "ubuntu") {
                "debian"
            } else {
                all.next_back().unwrap_or(id)
            }
        }
    };
    if family == "fedora" {
        return "RedHat".to_owned();
    }
    let mut letters = family.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    first + &letters.as_str().to_lowercase()
}

/// Cuts every ` Linux`, ` GNU/Linux` and the like out of a name.
fn without_linux(name: &str) -> String {
    let mut out = String::new();
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..).unwrap_or_default();
        let word = c.is_alphanumeric() || c == '_';
        let tail = if word { None } else { strip_word(after) };
        match tail {
            Some(tail) => rest = tail,
            None => {
                out.push(c);
                rest = after;
            }
        }
    }
    out.trim().to_owned()
}

fn strip_word(text: &str) -> Option<&str> {
    let strip = |text: &'_ str, word: &str| -> Option<usize> {
        text.get(..word.len()).filter(|t| t.eq_ignore_ascii_case(word)).map(|_| word.len())
    };
    let gnu = strip(text, "gnu/").unwrap_or(0);
    let linux = strip(text.get(gnu..)?, "linux")?;
    text.get(gnu + linux..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(os_name("Debian GNU/Linux", None), "Debian");
        assert_eq!(os_name("Red Hat Enterprise Linux", None), "RedHat");
        assert_eq!(os_name("Linux Mint", None), "Mint");
        assert_eq!(os_name("Pop!_OS", Some("pop")), "Pop");
        assert_eq!(os_name("Something New", None), "Something New");
    }

    #[test]
    fn families() {
        assert_eq!(family_of_os("Rocky"), "RedHat");
        assert_eq!(family_of_os("Alpine"), "Alpine");
        assert_eq!(family_of_id("linuxmint", Some("ubuntu debian")), "Debian");
        assert_eq!(family_of_id("rocky", Some("rhel centos fedora")), "RedHat");
        assert_eq!(family_of_id("alpine", None), "Alpine");
    }
}
