//! Python's `glob.glob` for `include` and the roots: `*`, `?` and `[...]` within one path part.

use std::fs;
use std::path::{Path, PathBuf};

/// Whether a path has wildcards at all.
pub(crate) fn has_magic(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

/// The existing paths a pattern names, sorted.
pub(crate) fn glob(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let name = part.as_os_str().to_string_lossy();
        found = if has_magic(&name) {
            found.iter().flat_map(|dir| matching_entries(dir, &name)).collect()
        } else {
            found.iter().map(|dir| dir.join(part)).collect()
        };
    }
    found.retain(|path| path.symlink_metadata().is_ok());
    found.sort();
    found
}

fn matching_entries(dir: &Path, pattern: &str) -> Vec<PathBuf> {
    let dir_to_read = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let Ok(entries) = fs::read_dir(dir_to_read) else { return Vec::new() };
    let pattern: Vec<char> = pattern.chars().collect();
    let hidden_wanted = pattern.first() == Some(&'.');
    entries
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| {
            let name: Vec<char> = name.to_string_lossy().chars().collect();
            (hidden_wanted || name.first() != Some(&'.')) && matches(&pattern, &name)
        })
        .map(|name| dir.join(name))
        .collect()
}

/// One pattern against one name. Remembers the last star only, so that no pattern takes more
/// than length times length steps.
fn matches(pattern: &[char], name: &[char]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, n));
            p += 1;
        } else if let Some(next) = one(pattern, p, name.get(n).copied()) {
            (p, n) = (next, n + 1);
        } else if let Some((star_p, star_n)) = star {
            (p, n) = (star_p + 1, star_n + 1);
            star = Some((star_p, star_n + 1));
        } else {
            return false;
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|c| *c == '*'))
}

/// Matches the one-character element at `p`; where the pattern goes on after it.
fn one(pattern: &[char], p: usize, c: Option<char>) -> Option<usize> {
    let c = c?;
    match *pattern.get(p)? {
        '?' => Some(p + 1),
        '[' => match class(pattern, p) {
            Some((negated, set, next)) => (in_class(set, c) != negated).then_some(next),
            None => (c == '[').then_some(p + 1),
        },
        literal => (literal == c).then_some(p + 1),
    }
}

/// The class that starts at `p`: whether it is negated, its inside and where it ends.
fn class(pattern: &[char], p: usize) -> Option<(bool, &[char], usize)> {
    let negated = pattern.get(p + 1) == Some(&'!');
    let start = p + 1 + usize::from(negated);
    // A bracket right at the start is a member.
    let end = pattern.iter().skip(start + 1).position(|c| *c == ']')? + start + 1;
    Some((negated, pattern.get(start..end)?, end + 1))
}

fn in_class(set: &[char], c: char) -> bool {
    let mut rest = set;
    while let Some((first, tail)) = rest.split_first() {
        if let ['-', last, after @ ..] = tail {
            if (*first..=*last).contains(&c) {
                return true;
            }
            rest = after;
        } else {
            if *first == c {
                return true;
            }
            rest = tail;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, name: &str) -> bool {
        let chars = |s: &str| s.chars().collect::<Vec<_>>();
        matches(&chars(pattern), &chars(name))
    }

    #[test]
    fn patterns() {
        assert!(fits("*.conf", "a.conf") && !fits("*.conf", "a.conf.bak"));
        assert!(fits("[0-9]?-*", "10-x") && !fits("[!0-9]*", "1"));
        assert!(fits("[]]", "]") && fits("[", "[") && fits("a*b*c", "aXbYbZc"));
        assert!(!fits("*a*a*a*a*a*a*a*b", &"a".repeat(200)));
    }

    #[test]
    fn files_in_order_without_hidden_ones() {
        let dir = std::env::temp_dir().join(format!("saltern-glob-{}", std::process::id()));
        fs::create_dir_all(dir.join("d")).unwrap();
        for name in ["b.conf", "a.conf", ".c.conf", "a.conf~"] {
            fs::write(dir.join("d").join(name), "").unwrap();
        }
        let names: Vec<_> = glob(&dir.join("?/*.conf"))
            .iter()
            .map(|p| p.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["a.conf", "b.conf"]);
        assert!(glob(&dir.join("none.conf")).is_empty());
        fs::remove_dir_all(dir).unwrap();
    }
}
