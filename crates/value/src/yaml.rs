//! YAML 1.1 as Salt reads and prints it (PyYAML's safe loader with Salt's changes).

use crate::Value;

/// Why a text is not the YAML that Salt accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlError {
    /// The file, when the caller named one.
    pub file: Option<String>,
    /// Line, counted from 1.
    pub line: usize,
    /// Column, counted from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

impl std::fmt::Display for YamlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file} ")?;
        }
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for YamlError {}

/// On which line each top-level key stands (the key, not its value).
#[derive(Clone, Debug, Default)]
pub struct KeyLines(Vec<(String, usize)>);

impl KeyLines {
    /// The line of a top-level key, counted from 1.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<usize> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, line)| *line)
    }
}

/// Reads one document; an empty text is [`Value::Nil`].
pub fn load(_text: &str) -> Result<Value, YamlError> {
    todo!()
}

/// Reads one document and names `file` in the error.
pub fn load_named(_text: &str, _file: &str) -> Result<Value, YamlError> {
    todo!()
}

/// Reads one document and tells on which line each top-level key stands.
pub fn load_with_lines(_text: &str) -> Result<(Value, KeyLines), YamlError> {
    todo!()
}

/// Prints a value as Salt's `yaml` outputter does: block style, sorted keys, trailing newline.
#[must_use]
pub fn dump(_value: &Value) -> String {
    todo!()
}

/// As [`dump`] with Salt's `output_indent`: spaces a level; below zero, flow style.
#[must_use]
pub fn dump_indented(_value: &Value, _indent: i64) -> String {
    todo!()
}
