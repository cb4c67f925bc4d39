//! From what a minion asks for to a file below a root, or to nothing. The one place where paths
//! from outside meet the disk.

use std::fs::{self, Metadata};
use std::path::{Component, Path, PathBuf};

use crate::ignore::Ignore;

/// Environments and their directories.
#[derive(Debug)]
pub(crate) struct Roots {
    pub(crate) envs: Vec<(String, Vec<PathBuf>)>,
    pub(crate) follow_symlinks: bool,
}

/// The environment that serves every environment not named.
pub(crate) const ANY_ENV: &str = "__env__";

/// A file that may be served.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) full: PathBuf,
    pub(crate) rel: String,
    pub(crate) meta: Metadata,
}

/// A requested path, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    rel: String,
    saltenv: String,
    /// Only this root (`?index=`).
    index: Option<usize>,
}

impl Roots {
    /// The directories of an environment.
    pub(crate) fn of(&self, saltenv: &str) -> Vec<PathBuf> {
        let named = |name: &str| self.envs.iter().find(|(env, _)| env == name).map(|(_, d)| d);
        if let Some(dirs) = named(saltenv) {
            return dirs.clone();
        }
        // The name becomes part of a path here, so it may not lead out of it.
        match named(ANY_ENV) {
            Some(dirs) if clean(saltenv).is_some() => {
                dirs.iter().map(|dir| fill_in(dir, saltenv)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The regular file a minion asks for; the first root that has it wins.
    pub(crate) fn find(&self, saltenv: &str, path: &str, ignore: &Ignore) -> Option<Found> {
        let wanted = parse(path, saltenv)?;
        let roots = self.of(&wanted.saltenv);
        let chosen = match wanted.index {
            Some(index) => roots.get(index..=index)?,
            None => roots.as_slice(),
        };
        chosen.iter().find_map(|root| {
            let full = root.join(&wanted.rel);
            let meta = fs::metadata(&full).ok()?;
            let served = meta.is_file()
                && (self.follow_symlinks || stays_inside(root, &full))
                && !ignore.covers(full.to_str()?);
            served.then(|| Found { full: full.clone(), rel: wanted.rel.clone(), meta })
        })
    }
}

/// `dir` with the environment's name where `__env__` stands.
fn fill_in(dir: &Path, saltenv: &str) -> PathBuf {
    dir.to_str().map_or_else(|| dir.to_owned(), |dir| dir.replace(ANY_ENV, saltenv).into())
}

/// Whether the file lies below the root when all links are resolved.
fn stays_inside(root: &Path, full: &Path) -> bool {
    match (root.canonicalize(), full.canonicalize()) {
        (Ok(root), Ok(full)) => full.starts_with(root),
        _ => false,
    }
}

/// Reads `path` with Salt's `|` escape (the rest is a plain name) and `?saltenv=` parameter.
fn parse(path: &str, saltenv: &str) -> Option<Wanted> {
    let mut wanted = Wanted { rel: String::new(), saltenv: saltenv.to_owned(), index: None };
    let plain = if path.starts_with('|') {
        path.trim_start_matches('|')
    } else {
        let mut parts = path.split('?');
        let plain = parts.next().unwrap_or_default();
        for (key, value) in parts.next().into_iter().flat_map(parameters) {
            match key {
                "saltenv" => value.clone_into(&mut wanted.saltenv),
                "index" => wanted.index = Some(value.parse().ok()?),
                _ => {}
            }
        }
        plain
    };
    if plain.contains("../") {
        return None;
    }
    wanted.rel = clean(plain)?;
    Some(wanted)
}

fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter_map(|part| part.split_once('='))
}

/// A relative path without `.`, `..`, doubled slashes or NUL; `None` for one that is absolute or
/// leads out, or is empty.
pub(crate) fn clean(path: &str) -> Option<String> {
    if path.contains('\0') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for component in Path::new(path).components() {
        match component {
            Component::CurDir => {}
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::ParentDir => {
                parts.pop()?;
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_out_are_nothing() {
        for bad in ["", ".", "..", "../x", "a/../../x", "/etc/passwd", "a\0b", "//x", "a/.."] {
            assert_eq!(clean(bad), None, "{bad:?}");
        }
        assert_eq!(clean("a//b/./c").as_deref(), Some("a/b/c"));
        assert_eq!(clean("..a/b..").as_deref(), Some("..a/b.."));
    }

    #[test]
    fn escapes_and_parameters() {
        let rel = |path: &str| parse(path, "base").map(|w| (w.rel, w.saltenv));
        let pair = |rel: &str, env: &str| Some((rel.to_owned(), env.to_owned()));
        assert_eq!(rel("a/b"), pair("a/b", "base"));
        assert_eq!(rel("a?saltenv=dev"), pair("a", "dev"));
        assert_eq!(rel("a?x&saltenv=dev&y=1"), pair("a", "dev"));
        assert_eq!(rel("|a?saltenv=dev"), pair("a?saltenv=dev", "base"));
        assert_eq!(rel("|../x"), None);
        assert_eq!(rel("a/../b"), None, "as Salt does");
        assert_eq!(rel("a?index=x"), None);
    }
}
