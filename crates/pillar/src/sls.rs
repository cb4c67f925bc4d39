//! SLS files: loading with their includes, and merging into the pillar.

use std::collections::{HashMap, HashSet};

use saltern_target::Glob;
use saltern_value::{Map, Value};

use crate::compile::{Envs, Settings};
use crate::files::{Files, Sls};

/// Deeper chains of includes are a mistake.
const MAX_DEPTH: usize = 200;

/// Loads the SLS files of one compilation.
pub(crate) struct SlsLoader<'a> {
    files: &'a dyn Files,
    settings: &'a Settings,
    envs: &'a Envs,
    ignored: &'a HashSet<(String, String)>,
    pub(crate) errors: Vec<String>,
}

/// Content of the files loaded so far in this environment, without what they include.
type Loaded = HashMap<String, Option<Value>>;

/// One entry of an `include` list.
struct Include<'a> {
    name: &'a str,
    /// Puts what is included under this path (`a:b`).
    key: Option<&'a str>,
}

/// The file behind an SLS name: `a.b` is `a/b.sls` or `a/b/init.sls`.
pub(crate) fn find(files: &dyn Files, saltenv: &str, sls: &str) -> Option<Sls> {
    let path = sls.replace('.', "/");
    files
        .read(saltenv, &format!("{path}.sls"))
        .or_else(|| files.read(saltenv, &format!("{path}/init.sls")))
}

impl<'a> SlsLoader<'a> {
    pub(crate) fn new(
        files: &'a dyn Files,
        settings: &'a Settings,
        envs: &'a Envs,
        ignored: &'a HashSet<(String, String)>,
    ) -> Self {
        SlsLoader { files, settings, envs, ignored, errors: Vec::new() }
    }

    /// Merges the files with these names (or globs) into the pillar.
    pub(crate) fn load_env(&mut self, saltenv: &str, names: &[String], pillar: &mut Map) {
        let mut to_load = Vec::new();
        for name in names {
            if !self.is_env(saltenv) {
                self.no_env(saltenv);
            }
            let matched = self.matching(saltenv, name);
            if matched.is_empty() {
                to_load.push(name.clone());
            } else {
                to_load.extend(matched);
            }
        }
        let mut loaded = Loaded::new();
        for sls in to_load {
            if let Some(Value::Map(state)) = self.load(saltenv, &sls, &mut loaded, 0) {
                self.merge(pillar, state);
            }
        }
    }

    /// The content of one file with its includes; `None` when there is nothing to merge.
    fn load(
        &mut self,
        saltenv: &str,
        sls: &str,
        loaded: &mut Loaded,
        depth: usize,
    ) -> Option<Value> {
        let Some(found) = find(self.files, saltenv, sls) else {
            self.missing(saltenv, sls);
            return None;
        };
        let content = match &*found.content {
            Ok(content) => content.clone(),
            Err(e) => {
                log::error!(target: "critical", "Rendering SLS '{sls}' failed, render error:\n{e}");
                self.error(if e.safe || !self.settings.safe_render_error {
                    format!("Rendering SLS '{sls}' failed, render error:\n{e}")
                } else {
                    format!("Rendering SLS '{sls}' failed. Please see master log for details.")
                });
                loaded.insert(sls.to_owned(), None);
                return None;
            }
        };
        let Value::Map(mut state) = content else {
            self.error(format!("SLS '{sls}' does not render to a dictionary"));
            loaded.insert(sls.to_owned(), None);
            return None;
        };
        let include = match state.get("include") {
            Some(Value::List(_)) => state.remove("include"),
            Some(_) => {
                self.error(format!("Include Declaration in SLS '{sls}' is not formed as a list"));
                None
            }
            None => None,
        };
        loaded.insert(sls.to_owned(), Some(Value::Map(state.clone())));
        if let Some(Value::List(list)) = include {
            let here = Here { saltenv, sls, is_init: found.path.ends_with("/init.sls"), depth };
            state = self.with_includes(&here, state, &list, loaded);
        }
        Some(Value::Map(state))
    }

    /// Merges what is included under the file's own content, or over it with
    /// `pillar_includes_override_sls`.
    fn with_includes(
        &mut self,
        here: &Here<'_>,
        mut state: Map,
        list: &[Value],
        loaded: &mut Loaded,
    ) -> Map {
        let mut below = Map::new();
        for entry in list {
            let Some(include) = read_include(entry) else {
                self.error(format!(
                    "Include Declaration in SLS '{}' has an entry that is no SLS name",
                    here.sls
                ));
                continue;
            };
            for name in self.included(here, include.name) {
                let content = match loaded.get(&name) {
                    Some(content) => content.clone(),
                    None if here.depth >= MAX_DEPTH => {
                        self.error(format!(
                            "SLS '{name}' is included more than {MAX_DEPTH} levels deep"
                        ));
                        None
                    }
                    None => self.load(here.saltenv, &name, loaded, here.depth + 1),
                };
                let Some(Value::Map(content)) = content else { continue };
                let content = under(content, include.key);
                if self.settings.includes_override_sls {
                    self.merge(&mut state, content);
                } else {
                    self.merge(&mut below, content);
                }
            }
        }
        if self.settings.includes_override_sls {
            return state;
        }
        self.merge(&mut below, state);
        below
    }

    /// The SLS names an entry stands for. As with Salt a relative name (`.x`) also means the `x`
    /// of the root, when there is one.
    fn included(&mut self, here: &Here<'_>, name: &str) -> Vec<String> {
        let saltenv = here.saltenv;
        if !self.is_env(saltenv) {
            self.no_env(saltenv);
            return vec![name.to_owned()];
        }
        let absolute = name.trim_start_matches('.').replace('/', ".");
        let mut matched = self.matching(saltenv, &absolute);
        let full = match name.strip_prefix('.') {
            Some(rest) => here.relative(rest),
            None => name.to_owned(),
        };
        for more in self.matching(saltenv, &full) {
            if !matched.contains(&more) {
                matched.push(more);
            }
        }
        if matched.is_empty() { vec![full] } else { matched }
    }

    /// The names of existing files a glob, or a plain name, matches.
    fn matching(&self, saltenv: &str, pattern: &str) -> Vec<String> {
        if pattern.contains('/') {
            // Names have dots there.
            return Vec::new();
        }
        if !pattern.contains(['*', '?', '[']) {
            let exists = find(self.files, saltenv, pattern).is_some();
            return if exists { vec![pattern.to_owned()] } else { Vec::new() };
        }
        let glob = Glob::new(pattern);
        let mut names: Vec<String> = self
            .files
            .list(saltenv)
            .iter()
            .filter_map(|path| sls_name(path))
            .filter(|name| glob.matches(name))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn is_env(&self, saltenv: &str) -> bool {
        saltenv == "base" || self.envs.configured.iter().any(|env| env == saltenv)
    }

    fn no_env(&mut self, saltenv: &str) {
        self.error(format!("No matching pillar environment for environment '{saltenv}' found"));
    }

    fn missing(&mut self, saltenv: &str, sls: &str) {
        if self.ignored.contains(&(saltenv.to_owned(), sls.to_owned())) {
            log::debug!("the missing SLS '{sls}' of environment '{saltenv}' may be missing");
        } else if self.envs.configured.iter().any(|env| env == saltenv) {
            self.error(format!(
                "Specified SLS '{sls}' in environment '{saltenv}' is not available on the salt \
                 master"
            ));
        } else {
            log::debug!("environment '{saltenv}' is not in pillar_roots, so has no SLS '{sls}'");
        }
    }

    fn merge(&self, lower: &mut Map, upper: Map) {
        self.settings.merge.merge(lower, upper, self.settings.merge_lists);
    }

    /// Each error once: files met twice have the same to say.
    fn error(&mut self, message: String) {
        if !self.errors.contains(&message) {
            self.errors.push(message);
        }
    }
}

/// The file that is being loaded.
struct Here<'a> {
    saltenv: &'a str,
    sls: &'a str,
    is_init: bool,
    depth: usize,
}

impl Here<'_> {
    /// The full name of `.rest`.
    fn relative(&self, rest: &str) -> String {
        let parent = if self.is_init {
            self.sls
        } else {
            self.sls.rsplit_once('.').map_or("", |(parent, _)| parent)
        };
        if parent.is_empty() { rest.to_owned() } else { format!("{parent}.{rest}") }
    }
}

fn read_include(entry: &Value) -> Option<Include<'_>> {
    match entry {
        Value::Str(name) => Some(Include { name, key: None }),
        Value::Map(map) => {
            let (name, options) = map.iter().next()?;
            let key = options.get("key").and_then(Value::as_str).filter(|key| !key.is_empty());
            // `defaults` are variables for templates, and there are none yet.
            Some(Include { name: name.as_str()?, key })
        }
        _ => None,
    }
}

fn under(content: Map, key: Option<&str>) -> Map {
    let path = key.into_iter().flat_map(|key| key.rsplit(':'));
    path.fold(content, |inner, part| Map::from([(part, inner)]))
}

/// The SLS name of a path, when it is one.
fn sls_name(path: &str) -> Option<String> {
    let stem = path.strip_suffix("/init.sls").or_else(|| path.strip_suffix(".sls"))?;
    Some(stem.replace('/', "."))
}
