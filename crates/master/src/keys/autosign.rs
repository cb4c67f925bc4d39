//! Who is accepted or rejected without a human: `auto_accept`, `autosign_file`, stubs,
//! `autosign_grains_dir` and `autoreject_file`. Files others could have written are not believed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use saltern_base::MinionId;
use saltern_store::pki::autosign_stub_used;
use saltern_target::expr_match;
use saltern_value::{Map, Value};

/// Longest autosign file read; ten thousands of ids fit.
const MAX_FILE: u64 = 4 << 20;

/// The options of the same names.
#[derive(Clone, Debug)]
pub(crate) struct Autosign {
    pub(crate) auto_accept: bool,
    pub(crate) autosign_file: Option<PathBuf>,
    pub(crate) autoreject_file: Option<PathBuf>,
    pub(crate) autosign_grains_dir: Option<PathBuf>,
    /// `autosign_timeout`, how long a stub is good.
    pub(crate) timeout: Duration,
    pub(crate) pki_dir: PathBuf,
    /// `permissive_pki_access`: the group may write these files.
    pub(crate) permissive: bool,
}

impl Autosign {
    /// Whether `autoreject_file` names the minion.
    pub(crate) fn rejects(&self, id: &MinionId) -> bool {
        self.listed(self.autoreject_file.as_ref(), id)
    }

    /// Whether the minion is to be accepted at once. A stub for it is used up by this.
    pub(crate) fn accepts(&self, id: &MinionId, grains: Option<&Map>, now: SystemTime) -> bool {
        self.auto_accept
            || self.listed(self.autosign_file.as_ref(), id)
            || self.stub(id, now)
            || grains.is_some_and(|grains| self.grain_listed(grains))
    }

    fn listed(&self, file: Option<&PathBuf>, id: &MinionId) -> bool {
        let Some(file) = file else { return false };
        self.lines(file).iter().any(|line| expr_match(id.as_str(), line))
    }

    fn stub(&self, id: &MinionId, now: SystemTime) -> bool {
        autosign_stub_used(&self.pki_dir, id, self.timeout, now).unwrap_or_else(|error| {
            log::error!("Autosign stub of {id} not used: {error}");
            false
        })
    }

    /// A file named after a grain lists the values that are accepted. 3006 compares only text,
    /// 3008 the text of any value; a number or truth value in such a file is meant to be found.
    fn grain_listed(&self, grains: &Map) -> bool {
        let Some(dir) = &self.autosign_grains_dir else { return false };
        grains.iter().any(|(name, value)| {
            let Some(name) = name.as_str().filter(|name| is_plain(name)) else { return false };
            let text = match value {
                Value::Str(text) => text.clone(),
                Value::Int(number) => number.to_string(),
                Value::Bool(truth) => (if *truth { "True" } else { "False" }).to_owned(),
                _ => return false,
            };
            self.lines(&dir.join(name)).contains(&text)
        })
    }

    /// The lines of a file that count: no comments, nothing empty; none at all when others than
    /// its owner may write it.
    fn lines(&self, file: &Path) -> Vec<String> {
        let Ok(metadata) = fs::metadata(file) else { return Vec::new() };
        if !metadata.is_file() {
            return Vec::new();
        }
        let writable = if self.permissive { 0o002 } else { 0o022 };
        if metadata.mode() & writable != 0 || metadata.len() > MAX_FILE {
            let file = file.display();
            log::warn!("Wrong permissions for {file} (or too long), ignoring content");
            return Vec::new();
        }
        let text = fs::read(file).unwrap_or_default();
        String::from_utf8_lossy(&text)
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
            .collect()
    }
}

/// The name comes from a stranger and becomes a file name.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name.starts_with('.')
        && !name.contains(['/', '\\', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir()
                .join(format!("saltern-master-autosign-{}-{name}", std::process::id()));
            fs::create_dir_all(dir.join("grains")).unwrap();
            fs::create_dir_all(dir.join("pki/minions_autosign")).unwrap();
            Scratch(dir)
        }

        fn put(&self, name: &str, text: &str, mode: u32) {
            fs::write(self.0.join(name), text).unwrap();
            fs::set_permissions(self.0.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }

        fn autosign(&self) -> Autosign {
            Autosign {
                auto_accept: false,
                autosign_file: Some(self.0.join("autosign.conf")),
                autoreject_file: Some(self.0.join("autoreject.conf")),
                autosign_grains_dir: Some(self.0.join("grains")),
                timeout: Duration::from_secs(60),
                pki_dir: self.0.join("pki"),
                permissive: false,
            }
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    fn accepts(autosign: &Autosign, id: &str, grains: Option<&Map>) -> bool {
        autosign.accepts(&MinionId::parse(id).unwrap(), grains, SystemTime::now())
    }

    #[test]
    fn lines_are_globs_regular_expressions_or_ids() {
        let scratch = Scratch::new("lines");
        scratch.put("autosign.conf", "# all\n*.web\ndb[0-9]+\nexact\n", 0o644);
        let autosign = scratch.autosign();
        for id in ["a.web", "db12", "exact"] {
            assert!(accepts(&autosign, id, None), "{id}");
        }
        for id in ["# all", "xdb12", "exactly", "other"] {
            assert!(!accepts(&autosign, id, None), "{id}");
        }
        assert!(!autosign.rejects(&MinionId::parse("exact").unwrap()));
    }

    #[test]
    fn files_others_can_write_are_not_believed() {
        let scratch = Scratch::new("modes");
        scratch.put("autosign.conf", "*\n", 0o666);
        assert!(!accepts(&scratch.autosign(), "a", None));
        scratch.put("autosign.conf", "*\n", 0o664);
        assert!(!accepts(&scratch.autosign(), "a", None));
        let permissive = Autosign { permissive: true, ..scratch.autosign() };
        assert!(accepts(&permissive, "a", None));
    }

    #[test]
    fn grains_are_compared_with_the_lines_of_their_file() {
        let scratch = Scratch::new("grains");
        scratch.put("grains/role", "# roles\nweb\n7\n", 0o644);
        scratch.put("secret", "web\n", 0o644);
        let autosign = scratch.autosign();
        assert!(accepts(&autosign, "a", Some(&Map::from([("role", "web")]))));
        assert!(accepts(&autosign, "a", Some(&Map::from([("role", 7)]))));
        assert!(!accepts(&autosign, "a", Some(&Map::from([("role", "db")]))));
        assert!(!accepts(&autosign, "a", Some(&Map::from([("../secret", "web")]))));
        assert!(!accepts(&autosign, "a", None));
    }
}
