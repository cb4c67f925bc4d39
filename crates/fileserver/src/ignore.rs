//! Which files are not served: `file_ignore_regex` and `file_ignore_glob`.

use fancy_regex::Regex;
use saltern_target::Glob;

use crate::FileError;

#[derive(Debug)]
pub(crate) struct Ignore {
    regexes: Vec<Regex>,
    globs: Vec<Glob>,
}

impl Ignore {
    pub(crate) fn new(regexes: &[String], globs: &[String]) -> Result<Self, FileError> {
        let compile = |text: &String| {
            Regex::new(text).map_err(|e| {
                FileError(format!("file_ignore_regex: {text:?} is no regular expression: {e}"))
            })
        };
        Ok(Ignore {
            regexes: regexes.iter().map(compile).collect::<Result<_, _>>()?,
            globs: globs.iter().map(|text| Glob::new(text)).collect(),
        })
    }

    /// A regular expression may match anywhere in the path, a glob must match all of it. One that
    /// gives up (too much back-tracking) counts as a match: such a file is rather not served.
    pub(crate) fn covers(&self, path: &str) -> bool {
        self.regexes.iter().any(|regex| regex.is_match(path).unwrap_or(true))
            || self.globs.iter().any(|glob| glob.matches(path))
    }
}
