//! Salt's outputters: a value in, the text the tools print out (wire format knows none of this).

use saltern_value::Value;

/// `--out-indent` / `output_indent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indent {
    /// `null`: everything on one line.
    Line,
    /// `pretty`: four spaces, keys sorted.
    Pretty,
    /// Spaces a level; below zero, one line.
    Spaces(i64),
}

/// What the outputters take from the options.
#[derive(Clone, Debug)]
pub struct Options {
    /// Print colours (on a terminal, or `--force-color`).
    pub color: bool,
    /// Replace escape characters in data (`strip_colors`, on by default).
    pub strip_colors: bool,
    /// `output_indent`, when it is set at all.
    pub indent: Option<Indent>,
    /// Exit code of the job: not 0 prints `nested` in red.
    pub retcode: i64,
    /// `state_output`: full, terse, mixed, changes, filter, each also with `_id`.
    pub state_output: String,
    /// `state_verbose`: also print what is fine and unchanged.
    pub state_verbose: bool,
    /// `state_output_diff`: leave out what is fine and unchanged.
    pub state_output_diff: bool,
    /// `state_output_pct`: success and failure in percent.
    pub state_output_pct: bool,
    /// `state_output_profile`: start, duration and total time.
    pub state_output_profile: bool,
    /// `state_tabular`: terse lines in columns.
    pub state_tabular: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            color: false,
            strip_colors: true,
            indent: None,
            retcode: 0,
            state_output: "full".to_owned(),
            state_verbose: true,
            state_output_diff: false,
            state_output_pct: false,
            state_output_profile: true,
            state_tabular: false,
        }
    }
}

/// There is no outputter of that name; Salt logs an error and prints `nested`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownOutputter(pub String);

impl std::fmt::Display for UnknownOutputter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "there is no outputter {:?}; see --out in --help", self.0)
    }
}

impl std::error::Error for UnknownOutputter {}

/// Renders a value with the outputter `name` (empty: `nested`; `text`: `txt`). White space at the end is taken off as
/// Salt does; the caller prints the text and a newline, and nothing at all for an empty text.
pub fn render(_name: &str, _data: &Value, _options: &Options) -> Result<String, UnknownOutputter> {
    todo!()
}

/// Whether there is an outputter of that name.
#[must_use]
pub fn is_known(_name: &str) -> bool {
    todo!()
}

/// Names of all outputters, for `--help`.
pub const NAMES: &[&str] = &[];

/// Takes ANSI colour sequences out of a text.
#[must_use]
pub fn strip_colors(_text: &str) -> String {
    todo!()
}
