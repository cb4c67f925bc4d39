//! Listing of an environment, one directory in memory at a time; only what is asked for is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirEntry};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use crate::ignore::Ignore;

/// What to collect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Files,
    Dirs,
    EmptyDirs,
}

/// How to walk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    pub(crate) follow_symlinks: bool,
    pub(crate) ignore_symlinks: bool,
    pub(crate) ignore: &'a Ignore,
    /// Only paths that begin with this text.
    pub(crate) prefix: &'a str,
}

/// Deeper trees are not walked; no honest one is.
const MAX_DEPTH: usize = 128;

/// What is told to the visitor of each entry.
struct Entry<'a> {
    path: &'a Path,
    rel: &'a str,
    is_dir: bool,
    is_link: bool,
}

/// The paths of one form below all roots, sorted; roots overlay each other.
pub(crate) fn list(roots: &[PathBuf], form: Form, rules: Rules<'_>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for root in roots {
        walk(root, rules, &mut |entry| {
            let wanted = match form {
                Form::Files => !entry.is_dir,
                Form::Dirs => entry.is_dir,
                Form::EmptyDirs => {
                    entry.is_dir && fs::read_dir(entry.path).is_ok_and(|mut d| d.next().is_none())
                }
            };
            if wanted {
                found.insert(entry.rel.to_owned());
            }
        });
    }
    found
}

/// The links below all roots and where they point. One that leaves its root is listed only when
/// links are not followed.
pub(crate) fn links(roots: &[PathBuf], rules: Rules<'_>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for root in roots {
        let real_root = resolve(root);
        walk(root, rules, &mut |entry| {
            if entry.is_link
                && let Ok(target) = fs::read_link(entry.path)
                && let Some(text) = target.to_str()
                && (!rules.follow_symlinks
                    || resolve(&joined(entry.path, text)).starts_with(&real_root))
            {
                found.insert(entry.rel.to_owned(), text.to_owned());
            }
        });
    }
    found
}

/// Where Salt looks for the target of a link: one that begins with `..` is taken from the link
/// itself, not from its directory, which counts some links as inside that are not. Only names are
/// told by this, nothing is opened.
fn joined(link: &Path, target: &str) -> PathBuf {
    let base = if target.starts_with("..") { Some(link) } else { link.parent() };
    normal(&base.unwrap_or(link).join(target))
}

/// The path without `.` and `..`, by its text alone.
fn normal(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean
}

/// Resolves links as far as the path exists.
fn resolve(path: &Path) -> PathBuf {
    path.ancestors()
        .find_map(|head| {
            let real = head.canonicalize().ok()?;
            Some(path.strip_prefix(head).map_or_else(|_| real.clone(), |rest| real.join(rest)))
        })
        .unwrap_or_else(|| path.to_owned())
}

fn walk(root: &Path, rules: Rules<'_>, visit: &mut dyn FnMut(&Entry<'_>)) {
    let mut above = Vec::new();
    walk_dir(root, "", rules, &mut above, visit);
}

/// `above` are the directories on the way here: one that is met again is a loop of links.
fn walk_dir(
    dir: &Path,
    rel: &str,
    rules: Rules<'_>,
    above: &mut Vec<(u64, u64)>,
    visit: &mut dyn FnMut(&Entry<'_>),
) {
    let Ok(meta) = fs::metadata(dir) else { return };
    let identity = (meta.dev(), meta.ino());
    if above.contains(&identity) || above.len() >= MAX_DEPTH {
        return;
    }
    let Ok(entries) = fs::read_dir(dir) else {
        log::debug!("cannot list {}", dir.display());
        return;
    };
    above.push(identity);
    for entry in entries.flatten() {
        if let Err(e) = step(&entry, rel, rules, above, visit) {
            log::debug!("cannot look at {}: {e}", entry.path().display());
        }
    }
    above.pop();
}

fn step(
    entry: &DirEntry,
    rel: &str,
    rules: Rules<'_>,
    above: &mut Vec<(u64, u64)>,
    visit: &mut dyn FnMut(&Entry<'_>),
) -> io::Result<()> {
    let name = entry.file_name();
    // Names that are no text cannot be asked for.
    let Some(name) = name.to_str() else { return Ok(()) };
    let rel = if rel.is_empty() { name.to_owned() } else { format!("{rel}/{name}") };
    let path = entry.path();
    let kind = entry.file_type()?;
    let is_link = kind.is_symlink();
    let is_dir = kind.is_dir() || (is_link && path.is_dir());
    let hidden = is_link && rules.ignore_symlinks;
    if !hidden && rel.starts_with(rules.prefix) && !rules.ignore.covers(&rel) {
        visit(&Entry { path: &path, rel: &rel, is_dir, is_link });
    }
    let on_the_way = rel.starts_with(rules.prefix) || rules.prefix.starts_with(&format!("{rel}/"));
    if is_dir && on_the_way && (!is_link || rules.follow_symlinks) {
        walk_dir(&path, &rel, rules, above, visit);
    }
    Ok(())
}
