//! YAML 1.1 as Salt reads and prints it (PyYAML's safe loader with Salt's changes), for
//! configuration files, pillar and command line arguments alike: Salt has one loader for all.
//!
//! Where YAML surprises: `0644` is 644, dates stay text, `yes` and `off` are truth values but `y`
//! is text, a key that is there twice is an error, and no tag ever builds an object.

mod compose;
mod construct;
mod dump;
mod resolve;
mod scalar;

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
pub fn load(text: &str) -> Result<Value, YamlError> {
    match compose::compose(text)? {
        Some((mut graph, root)) => construct::construct(&mut graph, root),
        None => Ok(Value::Nil),
    }
}

/// Reads one document and names `file` in the error.
pub fn load_named(text: &str, file: &str) -> Result<Value, YamlError> {
    load(text).map_err(|e| YamlError { file: Some(file.to_owned()), ..e })
}

/// Reads one document and tells on which line each top-level key stands.
pub fn load_with_lines(text: &str) -> Result<(Value, KeyLines), YamlError> {
    let Some((mut graph, root)) = compose::compose(text)? else {
        return Ok((Value::Nil, KeyLines::default()));
    };
    let mut lines = Vec::new();
    if let compose::Kind::Map(pairs) = &graph.nodes[root].kind {
        for (key, _) in pairs {
            let key = &graph.nodes[*key];
            if let compose::Kind::Scalar(text) = &key.kind {
                lines.push((text.clone(), key.at.line));
            }
        }
    }
    Ok((construct::construct(&mut graph, root)?, KeyLines(lines)))
}

/// Prints a value as Salt's `yaml` outputter does: block style, keys in order, a newline at the
/// end.
#[must_use]
pub fn dump(value: &Value) -> String {
    dump::dump(value, dump::Layout { flow: false, indent: 2 })
}

/// As [`dump`] with Salt's `output_indent`: spaces a level (2 to 9, else 2); below zero everything
/// in braces and brackets.
#[must_use]
pub fn dump_indented(value: &Value, indent: i64) -> String {
    let flow = indent < 0;
    dump::dump(value, dump::Layout { flow, indent: i32::try_from(indent).unwrap_or(2) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn top_level_keys_have_lines() {
        let (value, lines) =
            load_with_lines("# c\nmaster: a\n\nfile_roots:\n  base: [x]\n").unwrap();
        assert_eq!(lines.get("master"), Some(2));
        assert_eq!(lines.get("file_roots"), Some(4));
        assert_eq!(lines.get("base"), None);
        assert_eq!(value.get("master"), Some(&Value::from("a")));
        assert!(load_with_lines("").unwrap().1.get("a").is_none());
    }

    #[test]
    fn errors_name_the_file_and_the_line() {
        let e = load_named("a: 1\nb: [\n", "/etc/salt/master").unwrap_err();
        assert!(e.to_string().starts_with("/etc/salt/master line 3: "), "{e}");
        let e = load_named("a: 1\nb: 2\na: 3\n", "f").unwrap_err();
        assert_eq!(e.to_string(), "f line 3: conflicting ID 'a': this key is there before");
        assert_eq!(load("a: \u{7}").unwrap_err().column, 4);
    }

    #[test]
    fn aliases_that_unfold_without_end_are_refused() {
        let mut lists = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        let mut merges = String::from("a0: &a0 {k: v}\n");
        for i in 1..30 {
            let before = i - 1;
            let nine = vec![format!("*a{before}"); 9].join(", ");
            lists.push_str(&format!("a{i}: &a{i} [{nine}]\n"));
            merges.push_str(&format!("a{i}: &a{i}\n  <<: [{nine}]\n"));
        }
        for bomb in [lists, merges] {
            let e = load(&bomb).unwrap_err();
            assert!(e.message.contains("too many") || e.message.contains("conflicting"), "{e}");
        }
        for own in ["&a [*a]", "&a {k: *a}", "&a {k: [*a]}"] {
            assert!(load(own).unwrap_err().message.contains("alias of itself"));
        }
    }

    #[test]
    fn deep_documents_are_refused_and_no_text_panics() {
        for open in ["[", "{a: ", "- ", "? "] {
            assert!(load(&open.repeat(100_000)).is_err());
        }
        assert!(load("[!!str, a]").is_err());
        assert!(load("a: \"b\\").is_err());
        assert_eq!(load("a: |\n  b").unwrap().get("a"), Some(&Value::from("b")));
    }
}
