//! Users and groups of this machine: `/etc/passwd` and `/etc/group`, then `getent` for the ones
//! of a directory service. No C library calls, so the static build has the same answers.

use std::fs;
use std::process::{Command, Stdio};

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: String,
    pub(crate) shell: String,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) gid: u32,
    pub(crate) members: Vec<String>,
}

fn parse_user(line: &str) -> Option<User> {
    let f: Vec<&str> = line.split(':').collect();
    let [name, _, uid, gid, _, home, shell] = f.as_slice() else { return None };
    Some(User {
        name: (*name).to_owned(),
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        home: (*home).to_owned(),
        shell: (*shell).to_owned(),
    })
}

fn parse_group(line: &str) -> Option<Group> {
    let f: Vec<&str> = line.split(':').collect();
    let [name, _, gid, members] = f.as_slice() else { return None };
    Some(Group {
        name: (*name).to_owned(),
        gid: gid.parse().ok()?,
        members: members.split(',').filter(|m| !m.is_empty()).map(str::to_owned).collect(),
    })
}

fn in_file<T>(path: &str, parse: fn(&str) -> Option<T>, wanted: impl Fn(&T) -> bool) -> Option<T> {
    fs::read_to_string(path).ok()?.lines().filter_map(parse).find(wanted)
}

fn by_getent<T>(database: &str, key: &str, parse: fn(&str) -> Option<T>) -> Option<T> {
    // A key with a dash in front would be an option; no user or group has one.
    if key.starts_with('-') || key.is_empty() {
        return None;
    }
    let output = Command::new("getent")
        .args([database, key])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    String::from_utf8_lossy(&output.stdout).lines().find_map(parse)
}

/// The user of that name.
pub(crate) fn user(name: &str) -> Option<User> {
    in_file("/etc/passwd", parse_user, |u| u.name == name)
        .or_else(|| by_getent("passwd", name, parse_user).filter(|u| u.name == name))
}

/// The user of that number.
pub(crate) fn user_of(uid: u32) -> Option<User> {
    in_file("/etc/passwd", parse_user, |u| u.uid == uid)
        .or_else(|| by_getent("passwd", &uid.to_string(), parse_user))
}

/// The group of that name.
pub(crate) fn group(name: &str) -> Option<Group> {
    in_file("/etc/group", parse_group, |g| g.name == name)
        .or_else(|| by_getent("group", name, parse_group).filter(|g| g.name == name))
}

/// The group of that number.
pub(crate) fn group_of(gid: u32) -> Option<Group> {
    in_file("/etc/group", parse_group, |g| g.gid == gid)
        .or_else(|| by_getent("group", &gid.to_string(), parse_group))
}

/// Every group a user is in, the own one first (`initgroups`).
pub(crate) fn groups_of(user: &User) -> Vec<u32> {
    let mut ids = vec![user.gid];
    let text = fs::read_to_string("/etc/group").unwrap_or_default();
    for group in text.lines().filter_map(parse_group) {
        if group.members.contains(&user.name) && !ids.contains(&group.gid) {
            ids.push(group.gid);
        }
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_both_ways() {
        assert_eq!(user("root").map(|u| u.uid), Some(0));
        assert_eq!(user_of(0).map(|u| u.name), Some("root".to_owned()));
        assert_eq!(group_of(0).map(|g| g.name), Some("root".to_owned()));
        assert_eq!(user("no-such-user-here"), None);
        assert_eq!(group("-x"), None);
    }
}
