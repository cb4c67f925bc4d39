//! JSON as Python's `json` module reads and prints it.

use crate::Value;

/// Why a text is not JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// What is wrong, and where.
    pub message: String,
}

impl std::fmt::Display for JsonError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for JsonError {}

/// How to print.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Spaces a level; `None` prints one line.
    pub indent: Option<usize>,
    /// Keys in order of their text instead of insertion.
    pub sort_keys: bool,
    /// Escape everything that is not ASCII.
    pub ensure_ascii: bool,
}

/// Reads one JSON text; `NaN`, `Infinity` and `-Infinity` are numbers as in Python.
pub fn parse(_text: &str) -> Result<Value, JsonError> {
    todo!()
}

/// Prints a value as Salt does (`ensure_ascii=False`, keys in order of insertion).
#[must_use]
pub fn to_string(value: &Value, indent: Option<usize>) -> String {
    write(value, Style { indent, ..Style::default() })
}

/// Prints a value.
#[must_use]
pub fn write(_value: &Value, _style: Style) -> String {
    todo!()
}
