//! Salt's outputters: a value in, the text the tools print out.
//!
//! Every outputter prints byte for byte what Salt prints; nothing here knows of terminals, files or
//! options of a command line.

mod color;
mod highstate;
mod keys;
mod nested;
mod plain;
mod pprint;
mod text;
mod wrap;

use saltern_value::Value;

pub use color::strip_colors;

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
    /// `state_output`: `full`, `terse`, `mixed` or `changes`, each also with `_id`; `filter` prints
    /// as `full`.
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
        write!(f, "there is no outputter {:?}; there are: {}", self.0, NAMES.join(", "))
    }
}

impl std::error::Error for UnknownOutputter {}

/// Names of all outputters, for `--help`.
pub const NAMES: &[&str] = &[
    "highstate",
    "json",
    "key",
    "nested",
    "newline_values_only",
    "no_return",
    "pprint",
    "quiet",
    "raw",
    "txt",
    "yaml",
];

/// Whether there is an outputter of that name (empty is `nested`, `text` is `txt`).
#[must_use]
pub fn is_known(name: &str) -> bool {
    name.is_empty() || name == "text" || NAMES.contains(&name)
}

/// Renders a value with the outputter `name` (empty: `nested`; `text`: `txt`).
///
/// White space at the end is taken off, as Salt does; the caller prints the text and a newline, and
/// nothing at all for an empty text. Data of a shape the outputter cannot print is printed by
/// `nested`, also as in Salt.
pub fn render(name: &str, data: &Value, options: &Options) -> Result<String, UnknownOutputter> {
    let printed = match name {
        "" | "nested" => None,
        "highstate" => highstate::render(data, options),
        "json" => Some(plain::json(data, options)),
        "key" => keys::render(data, options),
        "newline_values_only" => plain::values_only(data),
        "no_return" => Some(keys::no_return(data, options)),
        "pprint" => pprint::render(data, options),
        "quiet" => Some(String::new()),
        "raw" => Some(saltern_value::pyrepr::str(data)),
        "text" | "txt" => Some(plain::txt(data)),
        "yaml" => plain::yaml(data, options),
        other => return Err(UnknownOutputter(other.to_owned())),
    };
    let mut printed = printed.unwrap_or_else(|| nested::render(data, options, 0));
    printed.truncate(text::rstrip(&printed).len());
    Ok(printed)
}
