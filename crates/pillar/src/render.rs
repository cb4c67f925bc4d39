//! From the text of an SLS file to a value. Only YAML for now: a file that needs a template engine
//! is refused with the line that needs it.

use std::fmt;

use saltern_value::{Map, Value, yaml};

/// A parsed SLS file, or why it is none.
pub type Parsed = Result<Value, RenderError>;

/// Why an SLS file is not data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderError {
    /// One sentence naming file and line.
    pub message: String,
    /// Whether the message may be shown to minions: it says nothing of the file's content.
    pub safe: bool,
}

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RenderError {}

/// What a file goes through, from the `renderer` option or its `#!` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renderer {
    /// YAML and nothing else (`yaml`).
    Yaml,
    /// Template, then YAML (`jinja|yaml`, Salt's default): YAML as long as nothing in the file
    /// asks for the template engine.
    JinjaYaml,
}

impl Renderer {
    /// Reads a pipe as `renderer` and `#!` lines have it; `None` for one that is not built.
    #[must_use]
    pub fn parse(pipe: &str) -> Option<Self> {
        let names: Vec<&str> = pipe
            .split('|')
            .map(|part| part.split_whitespace().next().unwrap_or_default())
            .collect();
        match names.as_slice() {
            ["yaml"] => Some(Renderer::Yaml),
            ["jinja", "yaml"] | ["yaml_jinja"] => Some(Renderer::JinjaYaml),
            _ => None,
        }
    }

    /// Renders the text of `file` (named in errors). Empty and false documents are empty mappings,
    /// as with Salt.
    pub fn render(self, text: &str, file: &str) -> Parsed {
        let (renderer, shebang) = match shebang(text) {
            Some(pipe) => (Renderer::parse(pipe).ok_or_else(|| not_built(pipe, file))?, true),
            None => (self, false),
        };
        if renderer == Renderer::JinjaYaml {
            refuse_template(text, file, shebang)?;
        }
        let value = yaml::load_named(text, file)
            .map_err(|e| RenderError { message: e.to_string(), safe: false })?;
        Ok(if value.truthy() { value } else { Value::Map(Map::new()) })
    }
}

/// The renderers a file names in its first line; a path there is none (`#!/bin/sh`).
fn shebang(text: &str) -> Option<&str> {
    let line = text.lines().next()?;
    let pipe = line.strip_prefix("#!")?;
    (!pipe.starts_with('/')).then(|| pipe.trim())
}

fn not_built(pipe: &str, file: &str) -> RenderError {
    let message = format!(
        "{file} line 1: the renderer {pipe:?} is not available; write the file as YAML (#!yaml)"
    );
    RenderError { message, safe: true }
}

fn refuse_template(text: &str, file: &str, shebang: bool) -> Result<(), RenderError> {
    for (n, line) in text.lines().enumerate() {
        if let Some(marker) = ["{{", "{%", "{#"].into_iter().find(|marker| line.contains(marker)) {
            let way_out = if shebang {
                "take jinja out of its first line if the marker is plain text"
            } else {
                "begin the file with #!yaml if the marker is plain text"
            };
            let message = format!(
                "{file} line {}: the template marker {marker} needs Jinja, which is not available \
                 yet; write plain YAML, or {way_out}",
                n + 1
            );
            return Err(RenderError { message, safe: true });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_refused_with_their_line() {
        let error = Renderer::JinjaYaml.render("a: 1\nb: {{ x }}\n", "/p/a.sls").unwrap_err();
        assert!(error.message.starts_with("/p/a.sls line 2:"), "{error}");
        assert!(error.safe);
        for text in ["{% if x %}", "# {# comment #}", "#!jinja|yaml\na: '{{'"] {
            assert!(Renderer::JinjaYaml.render(text, "f").is_err(), "{text}");
        }
    }

    #[test]
    fn only_yaml_renderers_are_taken() {
        for pipe in ["py", "jinja", "mako|yaml", "jinja|yaml|gpg", "gpg|yaml", "json"] {
            let error = Renderer::JinjaYaml.render(&format!("#!{pipe}\na: 1"), "/p/a.sls");
            let error = error.unwrap_err();
            assert!(error.message.contains("/p/a.sls line 1") && error.message.contains(pipe));
        }
        assert_eq!(Renderer::parse("jinja -s | yaml"), Some(Renderer::JinjaYaml));
    }

    #[test]
    fn plain_yaml_passes() {
        let map = |text| Renderer::JinjaYaml.render(text, "f").unwrap();
        assert_eq!(map("#!yaml\na: '{{ x }}'").get("a"), Some(&Value::from("{{ x }}")));
        assert_eq!(map("#!/usr/bin/env x\na: 1").get("a"), Some(&Value::Int(1)));
        assert_eq!(map(""), Value::Map(Map::new()));
        assert_eq!(map("# nothing"), Value::Map(Map::new()));
        assert!(!Renderer::JinjaYaml.render("a: [", "/p/a.sls").unwrap_err().safe);
    }
}
