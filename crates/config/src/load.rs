//! From files to a checked configuration: defaults, merging, names, types, paths and the id.

use std::collections::HashMap;
use std::env;
use std::path::{Path, PathBuf};

use saltern_base::MinionId;
use saltern_value::{Map, Value};

use crate::check;
use crate::error::{ConfigError, Place};
use crate::files::Files;
use crate::id;
use crate::known::{self, Role};
use crate::master::{MASTER, MasterOptions};
use crate::minion::{MINION, MinionOptions};
use crate::names;
use crate::odd;
use crate::option::{OptionValue, Preset, Spec, WrongType, found};
use crate::paths;

/// Where each option was set: name of the option to file and line. The last file wins.
pub type Sources = HashMap<String, Place>;

/// A configuration, read and checked.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// The typed options.
    pub opts: T,
    /// Every option, defaults and unknown ones included, as `config.get` sees them.
    pub raw: Map,
    /// One sentence for each thing that is odd but no error: unknown options, options without
    /// effect, former names. The program logs them once at level warning.
    pub warnings: Vec<String>,
    /// Where the options were set.
    pub sources: Sources,
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
    pub(crate) role: Role,
}

/// Reads the master's configuration: `path` is the `-c` directory or the main file.
///
/// # Errors
/// [`ConfigError`] for the first thing that cannot be used; a missing main file is none.
pub fn load_master(path: &Path) -> Result<Loaded<MasterOptions>, ConfigError> {
    let mut draft = Draft::read(path, Role::Master)?;
    draft.master_id();
    draft.finish(MasterOptions::read)
}

/// Reads the minion's configuration: `path` is the `-c` directory or the main file. The id is
/// found out when it is not set (which may look up host names) and kept as `minion_id_caching`
/// says.
///
/// # Errors
/// [`ConfigError`] for the first thing that cannot be used; a missing main file is none.
pub fn load_minion(path: &Path) -> Result<Loaded<MinionOptions>, ConfigError> {
    let mut draft = Draft::read(path, Role::Minion)?;
    draft.minion_id()?;
    draft.finish(MinionOptions::read)
}

pub(crate) fn specs(role: Role) -> &'static [Spec] {
    match role {
        Role::Master => MASTER,
        Role::Minion => MINION,
    }
}

/// A configuration on its way.
struct Draft {
    role: Role,
    raw: Map,
    conf_dir: PathBuf,
    warnings: Vec<String>,
    sources: Sources,
    files: Vec<PathBuf>,
}

impl Draft {
    fn read(path: &Path, role: Role) -> Result<Self, ConfigError> {
        let main = main_file(path, role);
        let default_include = format!("{}.d/*.conf", role.name());
        let mut files = Files::load(&main, &default_include)?;
        let mut options = files.options;
        let mut warnings = files.warnings;
        names::rename(&mut options, role, &mut files.sources, &mut warnings);
        check_types(&mut options, role, &files.sources, &mut warnings)?;
        names::judge(&options, role, &files.sources, &mut warnings);
        paths::apply_log_dir(&mut options, role);
        let mut raw = defaults(role);
        raw.insert("__role", role.name());
        raw.insert("conf_file", main.to_string_lossy().into_owned());
        raw.insert("ipc_write_buffer", Value::Int(0));
        raw.extend(options);
        let conf_dir = main.parent().unwrap_or(Path::new("/")).to_owned();
        let (sources, files) = (files.sources, files.read);
        let mut draft = Draft { role, raw, conf_dir, warnings, sources, files };
        draft.normalize();
        Ok(draft)
    }

    /// Forms that mean the same become one.
    fn normalize(&mut self) {
        if let Some(hash) = self.raw.get_str("hash_type").map(str::to_lowercase) {
            self.raw.insert("hash_type", hash);
        }
        for name in ["log_level", "log_level_logfile"] {
            if let Some(level) = self.raw.get_str(name).map(str::to_lowercase) {
                self.raw.insert(name, level);
            }
        }
        match self.raw.get("ssl") {
            Some(Value::Bool(true)) => drop(self.raw.insert("ssl", Map::new())),
            Some(Value::Bool(false)) => drop(self.raw.insert("ssl", Value::Nil)),
            _ => {}
        }
        if let Some(Value::List(backends)) = self.raw.get_mut("fileserver_backend") {
            for backend in backends {
                if let Some(short @ ("git" | "hg" | "svn" | "minion")) = backend.as_str() {
                    *backend = Value::from(format!("{short}fs"));
                }
            }
        }
        for name in ["file_ignore_regex", "file_ignore_glob"] {
            if let Some(one @ Value::Str(_)) = self.raw.get(name).filter(|v| v.truthy()).cloned() {
                self.raw.insert(name, vec![one]);
            }
        }
        // Salt takes node groups as a list of mappings too.
        if let Some(groups) = self.raw.get("nodegroups").and_then(<Map as OptionValue>::read) {
            self.raw.insert("nodegroups", groups);
        }
        self.job_keeping();
    }

    /// `keep_jobs` (hours) counts when only it was changed.
    fn job_keeping(&mut self) {
        let changed = |name: &str, default: i64| {
            self.raw.get(name).and_then(Value::as_int).filter(|value| *value != default)
        };
        if let (None, Some(hours)) =
            (changed("keep_jobs_seconds", 86_400), changed("keep_jobs", 24))
        {
            self.warnings.push(
                "option 'keep_jobs' is a former form; set 'keep_jobs_seconds' instead".to_owned(),
            );
            self.raw.insert("keep_jobs_seconds", Value::Int(hours.saturating_mul(3600)));
        }
    }

    fn master_id(&mut self) {
        let set = self.id_set();
        let (id, is_address) = match &set {
            Some(id) => (id.clone(), false),
            None => {
                let found = id::find(&self.raw, &self.id_caches());
                (found.id, found.is_address)
            }
        };
        let id = self.with_domain(id, is_address);
        self.raw.insert("id", if set.is_some() { id } else { format!("{id}_master") });
    }

    fn minion_id(&mut self) -> Result<(), ConfigError> {
        let (id, is_address) = match self.id_set() {
            Some(id) => (id, false),
            None => self.find_id()?,
        };
        let id = self.with_domain(id, is_address);
        if let Err(reason) = MinionId::parse(&id) {
            return Err(self.refused("id", format!("'{id}' cannot be used: {reason}; set another")));
        }
        paths::append_id(&mut self.raw, &id);
        self.raw.insert("id", id);
        Ok(())
    }

    fn find_id(&mut self) -> Result<(String, bool), ConfigError> {
        if self.raw.get("id_function").is_some_and(Value::truthy) {
            let reason = "functions of Python cannot be called; set 'id' instead".to_owned();
            return Err(self.refused("id_function", reason));
        }
        let found = id::find(&self.raw, &self.id_caches());
        let caching = self.raw.get("minion_id_caching").is_none_or(Value::truthy);
        if caching && !found.cached {
            let root = paths::root_dir(&self.raw);
            if let Err(error) = id::cache(&found.id, &root, &self.conf_dir) {
                let id = &found.id;
                self.warnings.push(format!(
                    "the id '{id}' was made of this host's names and cannot be kept in a file \
                     minion_id ({error}); set 'id'"
                ));
            }
        }
        Ok((found.id, found.is_address))
    }

    fn id_set(&self) -> Option<String> {
        self.raw.get_str("id").filter(|id| !id.is_empty()).map(str::to_owned)
    }

    fn id_caches(&self) -> [PathBuf; 2] {
        id::cache_files(&paths::root_dir(&self.raw), &self.conf_dir)
    }

    fn with_domain(&self, id: String, is_address: bool) -> String {
        match self.raw.get_str("append_domain").filter(|d| !d.is_empty() && !is_address) {
            Some(domain) => id::with_domain(&id, domain),
            None => id,
        }
    }

    fn refused(&self, option: &str, reason: String) -> ConfigError {
        let place = self.sources.get(option).cloned();
        ConfigError::Refused { place, option: option.to_owned(), reason }
    }

    fn finish<T>(
        mut self,
        read: fn(&Map) -> Result<T, WrongType>,
    ) -> Result<Loaded<T>, ConfigError> {
        paths::settle(&mut self.raw, self.role);
        check::check(&self.raw, self.role)
            .map_err(|(option, reason)| self.refused(option, reason))?;
        self.warnings.extend(odd::odd(&self.raw, self.role, &self.sources));
        let opts = read(&self.raw).map_err(|wrong| ConfigError::WrongType {
            place: self.sources.get(wrong.name).cloned(),
            option: wrong.name.to_owned(),
            expected: wrong.expected.to_owned(),
            found: wrong.found,
        })?;
        let Draft { role, raw, warnings, sources, files, .. } = self;
        Ok(Loaded { opts, raw, warnings, sources, files, role })
    }
}

/// The main file: below a directory, or the path itself. The environment counts only where `-c`
/// says nothing else than the usual place.
fn main_file(path: &Path, role: Role) -> PathBuf {
    let name = role.name();
    let main = if path.is_file() { path.to_owned() } else { path.join(name) };
    if main != Path::new("/etc/salt").join(name) {
        return main;
    }
    let variable = format!("SALT_{}_CONFIG", name.to_uppercase());
    let from_file = env::var_os(variable).filter(|v| !v.is_empty()).map(PathBuf::from);
    let from_dir = env::var_os("SALT_CONFIG_DIR").map(|dir| Path::new(&dir).join(name));
    from_file.or(from_dir).filter(|p| p.is_file()).unwrap_or(main)
}

fn defaults(role: Role) -> Map {
    let typed = specs(role).iter().filter(|s| !matches!(s.default, Preset::Quiet(_)));
    let mut raw: Map = typed.map(|s| (s.name, s.default.value())).collect();
    raw.extend(known::all(role).filter_map(|k| Some((k.name, k.default()?))));
    raw
}

/// Refuses values of a wrong type. An option with nothing behind its colon counts as not set.
fn check_types(
    options: &mut Map,
    role: Role,
    sources: &Sources,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    let mut empty = Vec::new();
    for (key, value) in options.iter() {
        let Some(name) = key.as_str() else { continue };
        let (accepted, expected) = match specs(role).iter().find(|s| s.name == name) {
            Some(spec) => ((spec.accepts)(value), spec.expected.to_owned()),
            None => match known::find(role, name) {
                Some(known) => (known.accepts(value), known.expected()),
                None => continue,
            },
        };
        let place = sources.get(name).cloned();
        if value.as_str().is_some_and(|text| text.starts_with("sdb://")) {
            let reason = "values from sdb:// are not built yet; write the value itself".to_owned();
            return Err(ConfigError::Refused { place, option: name.to_owned(), reason });
        }
        if accepted {
            continue;
        }
        if value.is_nil() {
            empty.push(name.to_owned());
            continue;
        }
        let (option, found) = (name.to_owned(), found(value));
        return Err(ConfigError::WrongType { place, option, expected, found });
    }
    for name in empty {
        let place = sources.get(&name).map(ToString::to_string).unwrap_or_default();
        warnings.push(format!("{place}: option '{name}' has no value, so its default is used"));
        options.remove(&name);
    }
    Ok(())
}
