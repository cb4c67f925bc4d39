//! Who runs this program.

use std::{env, fs};

/// The name behind a user id, from `/etc/passwd`; the environment's or the number without one.
pub(crate) fn name(uid: u32) -> String {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    passwd
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let (name, _, id) = (fields.next()?, fields.next()?, fields.next()?);
            (id.parse() == Ok(uid)).then(|| name.to_owned())
        })
        .next()
        .or_else(|| env::var("USER").ok())
        .unwrap_or_else(|| uid.to_string())
}

/// The name of the user of this process.
pub(crate) fn current() -> String {
    name(rustix::process::geteuid().as_raw())
}

/// The name that publications carry: `sudo_<name>` for root by way of sudo, as in Salt.
pub(crate) fn publisher() -> String {
    match env::var("SUDO_USER") {
        Ok(caller) if rustix::process::geteuid().is_root() && caller != "root" => {
            format!("sudo_{caller}")
        }
        _ => current(),
    }
}
