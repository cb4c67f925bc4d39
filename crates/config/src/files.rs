//! The files of a configuration: the main one, `default_include` and `include`, merged as Salt
//! merges them.

use std::fs;
use std::path::{Component, Path, PathBuf};

use saltern_value::{Map, Value, merge, yaml};

use crate::error::{ConfigError, Place};
use crate::glob::glob;
use crate::load::Sources;

/// How deep files may include each other: a file that includes itself ends here.
const MAX_DEPTH: usize = 16;

/// What the files say.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) options: Map,
    pub(crate) sources: Sources,
    pub(crate) read: Vec<PathBuf>,
    pub(crate) warnings: Vec<String>,
}

impl Files {
    /// Reads `main` and all it includes. Options of `default_include` files replace those of the
    /// main file, options of `include` files those of both; among themselves included files are
    /// merged in depth and their lists joined (Salt's rule).
    pub(crate) fn load(main: &Path, default_include: &str) -> Result<Self, ConfigError> {
        let mut files = Files::default();
        let base = main.parent().unwrap_or(Path::new("."));
        match fs::metadata(main) {
            Ok(meta) if meta.is_file() => files.options = files.main(main)?,
            _ => {}
        }
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let pattern = text(files.options.get("default_include"))
            .unwrap_or_else(|| default_include.to_owned());
        let include = files.options.get("include").cloned().unwrap_or_default();
        for (patterns, verbose) in [(Value::from(pattern), false), (include, true)] {
            let included = files.included(&patterns, base, verbose, 0)?;
            files.options.extend(included);
        }
        Ok(files)
    }

    /// As Salt, an ordinary user who may not read the main file gets the defaults.
    fn main(&mut self, path: &Path) -> Result<Map, ConfigError> {
        match self.file(path) {
            Err(ConfigError::Unreadable { file, reason }) => {
                let file = file.display();
                self.warnings.push(format!("{file} cannot be read ({reason}); defaults are used"));
                Ok(Map::new())
            }
            other => other,
        }
    }

    fn included(
        &mut self,
        patterns: &Value,
        base: &Path,
        verbose: bool,
        depth: usize,
    ) -> Result<Map, ConfigError> {
        let mut merged = Map::new();
        for pattern in names(patterns) {
            let pattern = base.join(expand_home(&pattern));
            let found = glob(&pattern);
            if found.is_empty() && verbose {
                let pattern = pattern.display();
                self.warnings.push(format!("option 'include': no file is named {pattern}"));
            }
            for path in found {
                if depth >= MAX_DEPTH {
                    return Err(ConfigError::Malformed {
                        file: path,
                        line: None,
                        reason: "files include each other without end".to_owned(),
                    });
                }
                let mut options = self.file(&path)?;
                if let Some(more) = options.get("include").filter(|v| v.truthy()).cloned() {
                    let base = path.parent().unwrap_or(Path::new("."));
                    let inner = self.included(&more, base, false, depth + 1)?;
                    options.extend(inner);
                }
                merge::deep(&mut merged, options, true);
            }
        }
        Ok(merged)
    }

    fn file(&mut self, path: &Path) -> Result<Map, ConfigError> {
        let text = fs::read(path).map_err(|error| ConfigError::Unreadable {
            file: path.to_owned(),
            reason: error.to_string(),
        })?;
        let malformed =
            |line, reason| ConfigError::Malformed { file: path.to_owned(), line, reason };
        let text = String::from_utf8(text).map_err(|error| {
            let before = error.as_bytes().get(..error.utf8_error().valid_up_to());
            let line = before.map(|b| b.iter().filter(|c| **c == b'\n').count() + 1);
            malformed(line, "it is not UTF-8 text".to_owned())
        })?;
        self.read.push(path.to_owned());
        let (value, lines) = match yaml::load_with_lines(&text) {
            Ok(read) => read,
            // Salt goes on without a schedule that a program wrote and that broke.
            Err(error) if path.to_string_lossy().ends_with("_schedule.conf") => {
                self.warnings.push(format!("{} is left out: {}", path.display(), error.message));
                return Ok(Map::new());
            }
            Err(error) => return Err(malformed(Some(error.line), error.message)),
        };
        let mut options = match value {
            Value::Map(map) => map,
            empty if !empty.truthy() => Map::new(),
            other => {
                let reason = format!(
                    "it must hold a mapping of options, not {}",
                    if matches!(other, Value::List(_)) { "a list" } else { "one value" }
                );
                return Err(malformed(None, reason));
            }
        };
        for key in options.keys() {
            if let Some(name) = key.as_str() {
                let place = Place { file: path.to_owned(), line: lines.get(name).unwrap_or(0) };
                self.sources.insert(name.to_owned(), place);
            }
        }
        // Salt makes text of an id that YAML reads as something else.
        let scalar = |v: &&Value| !matches!(v, Value::Nil | Value::List(_) | Value::Map(_));
        if let Some(id) = options.get("id").filter(scalar) {
            let text = crate::option::text_of(id);
            options.insert("id", text);
        }
        Ok(options)
    }
}

fn names(patterns: &Value) -> Vec<String> {
    match patterns {
        Value::Str(one) if !one.is_empty() => vec![one.clone()],
        Value::List(list) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn expand_home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(path),
    }
}

/// Python's `normpath`: no `.`, no `//`, `..` resolved by text.
pub(crate) fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => match out.components().next_back() {
                Some(Component::Normal(_)) => drop(out.pop()),
                Some(Component::RootDir) => {}
                _ => out.push(".."),
            },
            other => out.push(other),
        }
    }
    if out.as_os_str().is_empty() { PathBuf::from(".") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_plain() {
        let plain = |p: &str| normal(Path::new(p)).to_string_lossy().into_owned();
        assert_eq!(plain("/a//b/./../c/"), "/a/c");
        assert_eq!(plain("../x/.."), "..");
        assert_eq!(plain("/.."), "/");
        assert_eq!(plain(""), ".");
    }
}
