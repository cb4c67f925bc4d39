//! Replacing by regular expression, and commenting lines.

use std::fs;
use std::path::{Path, PathBuf};

use fancy_regex::{Captures, Regex};
use saltern_value::Value;

use super::content::regex;
use super::{diff, path_arg};
use crate::bind::{Bound, to_text};
use crate::context::Context;
use crate::error::Error;

/// The text of a file. `None` when it is not there.
fn text_of(path: &Path) -> Result<Option<String>, Error> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => {
            return Err(Error::exec(format!(
                "Unable to open file '{}'. Exception: {e}",
                path.display()
            )));
        }
    };
    if bytes.contains(&0) {
        return Err(binary(path));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| binary(path))
}

fn binary(path: &Path) -> Error {
    Error::invalid(format!(
        "Cannot perform string replacements on a binary file: {}",
        path.display()
    ))
}

/// Where a path really is; changes go to the file behind a link.
fn real(path: PathBuf) -> PathBuf {
    fs::canonicalize(&path).unwrap_or(path)
}

/// Python's regular expression flags, as letters of a group in front.
fn flag_letters(flags: &Value) -> Result<String, Error> {
    let mut letters = String::new();
    let mut add = |letter: char| {
        if !letters.contains(letter) {
            letters.push(letter);
        }
    };
    match flags {
        Value::Int(bits) => {
            for (bit, letter) in [(2, 'i'), (8, 'm'), (16, 's'), (64, 'x')] {
                if bits & bit != 0 {
                    add(letter);
                }
            }
        }
        Value::Nil => {}
        other => {
            let one = [other.clone()];
            for flag in other.as_list().unwrap_or(&one) {
                match to_text(flag).to_ascii_uppercase().as_str() {
                    "I" | "IGNORECASE" => add('i'),
                    "M" | "MULTILINE" => add('m'),
                    "S" | "DOTALL" => add('s'),
                    "X" | "VERBOSE" => add('x'),
                    "U" | "UNICODE" | "L" | "LOCALE" | "A" | "ASCII" | "" => {}
                    "8" => add('m'),
                    name => {
                        return Err(Error::invalid(format!("Invalid re flag given: {name}")));
                    }
                }
            }
        }
    }
    Ok(letters)
}

/// Expands a replacement as Python does: `\1`, `\g<1>`, `\g<name>`, and escapes.
fn expand(template: &str, captures: &Captures<'_, str>) -> Result<String, Error> {
    let bad = |text: &str| Error::Exception(format!("error: {text} in replacement"));
    let group = |name: &str| match name.parse::<usize>() {
        Ok(index) if index < captures.len() => Ok(captures.get(index)),
        Ok(index) => Err(bad(&format!("invalid group reference {index}"))),
        Err(_) => Ok(captures.name(name)),
    };
    let mut out = String::new();
    let mut chars = template.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            None => return Err(bad("bad escape (end of pattern)")),
            Some('g') => {
                if chars.next() != Some('<') {
                    return Err(bad("missing <"));
                }
                let name: String = chars.by_ref().take_while(|c| *c != '>').collect();
                out.push_str(group(&name)?.map_or("", |m| m.as_str()));
            }
            Some(digit @ '1'..='9') => {
                let mut name = digit.to_string();
                if let Some(next) = chars.next_if(char::is_ascii_digit) {
                    name.push(next);
                }
                out.push_str(group(&name)?.map_or("", |m| m.as_str()));
            }
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('0') => out.push('\0'),
            Some('\\') => out.push('\\'),
            Some(letter) if letter.is_ascii_alphabetic() => {
                return Err(bad(&format!("bad escape \\{letter}")));
            }
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
        }
    }
    Ok(out)
}

/// Replaces at most `count` matches (0: all); returns the text and how many there were.
fn substitute(
    regex: &Regex,
    template: Option<&str>,
    literal: &str,
    text: &str,
    count: usize,
) -> Result<(String, usize), Error> {
    let (mut out, mut last, mut done) = (String::new(), 0, 0);
    for captures in regex.captures_iter(text) {
        let captures = captures.map_err(|e| Error::exec(format!("the pattern failed: {e}")))?;
        if count != 0 && done == count {
            break;
        }
        let Some(whole) = captures.get(0) else { continue };
        out.push_str(text.get(last..whole.start()).unwrap_or_default());
        match template {
            Some(template) => out.push_str(&expand(template, &captures)?),
            None => out.push_str(literal),
        }
        last = whole.end();
        done += 1;
    }
    out.push_str(text.get(last..).unwrap_or_default());
    Ok((out, done))
}

/// Writes a changed text over a file (the inode stays, so owner, mode and hard links do), after
/// keeping a copy of the old one when `backup` names its extension.
fn store(path: &Path, new: &str, backup: Option<&str>) -> Result<(), Error> {
    if let Some(extension) = backup {
        let kept = PathBuf::from(format!("{}{extension}", path.display()));
        fs::copy(path, &kept).map_err(|e| {
            Error::exec(format!("Unable to keep a copy at '{}'. Exception: {e}", kept.display()))
        })?;
    }
    fs::write(path, new).map_err(|e| {
        Error::exec(format!("Unable to write file '{}'. Exception: {e}", path.display()))
    })
}

fn backup_of(args: &Bound) -> Option<String> {
    args.truthy("backup").then(|| args.text("backup"))
}

fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

pub(super) fn search(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let mut letters = flag_letters(args.get("flags"))?;
    if args.truthy("multiline") && !letters.contains('m') {
        letters.push('m');
    }
    let path = real(path_arg(&args, "path"));
    let Some(text) = text_of(&path)? else {
        if args.truthy("ignore_if_missing") {
            return Ok(Value::Bool(false));
        }
        return Err(Error::invalid(format!("File not found: {}", path.display())));
    };
    matches(&regex(&args.text("pattern"), &letters)?, &text).map(Value::Bool)
}

fn matches(regex: &Regex, text: &str) -> Result<bool, Error> {
    regex.is_match(text).map_err(|e| Error::exec(format!("the pattern failed: {e}")))
}

pub(super) fn replace(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let path = real(path_arg(&args, "path"));
    let append = args.truthy("append_if_not_found");
    let prepend = args.truthy("prepend_if_not_found");
    let search_only = args.truthy("search_only");
    if search_only && (append || prepend) {
        return Err(Error::invalid("search_only cannot be used with append/prepend_if_not_found"));
    }
    if append && prepend {
        return Err(Error::invalid("Only one of append and prepend_if_not_found is permitted"));
    }
    let Some(old) = text_of(&path)? else {
        if args.truthy("ignore_if_missing") {
            return Ok(Value::Bool(false));
        }
        return Err(Error::invalid(format!("File not found: {}", path.display())));
    };
    let letters = flag_letters(args.get("flags"))?;
    let regex = regex(&args.text("pattern"), &letters)?;
    if search_only {
        return matches(&regex, &old).map(Value::Bool);
    }
    let repl = args.text("repl");
    let template = (!args.truthy("backslash_literal")).then_some(repl.as_str());
    let count = usize::try_from(args.int("count")?).unwrap_or(0);
    let (mut new, replaced) = substitute(&regex, template, &repl, &old, count)?;
    if replaced == 0 && (append || prepend) {
        let content = args.opt_text("not_found_content").unwrap_or_else(|| repl.clone());
        if !has_line(&old, &content) {
            if prepend {
                new = format!("{content}\n{new}");
            } else {
                if !new.is_empty() && !new.ends_with('\n') {
                    new.push('\n');
                }
                new.push_str(&content);
                new.push('\n');
            }
        }
    }
    if new != old && !args.truthy("dry_run") {
        store(&path, &new, backup_of(&args).as_deref())?;
    }
    if args.truthy("show_changes") {
        return Ok(Value::from(diff::unified(&lines(&old), &lines(&new))));
    }
    Ok(Value::Bool(new != old))
}

/// Whether the content stands there as whole lines.
fn has_line(text: &str, content: &str) -> bool {
    text.match_indices(content).any(|(at, found)| {
        let before = text.get(..at).unwrap_or_default();
        let after = text.get(at + found.len()..).unwrap_or_default();
        (before.is_empty() || before.ends_with('\n'))
            && (after.is_empty() || after.starts_with('\n') || after.starts_with("\r\n"))
    })
}

pub(super) fn comment(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    change_comments(&args, true)
}

pub(super) fn uncomment(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    change_comments(&args, false)
}

pub(super) fn comment_line(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    change_comments(&args, args.truthy("cmnt"))
}

fn change_comments(args: &Bound, comment: bool) -> Result<Value, Error> {
    let (pattern, mark) = (args.text("regex"), args.text("char"));
    let core = pattern.trim_start_matches('^').trim_end_matches('$');
    let end = if pattern.ends_with('$') { "$" } else { "" };
    let start = match (comment, pattern.starts_with('^')) {
        (true, true) => "^".to_owned(),
        (true, false) => String::new(),
        (false, _) => format!("^{}\\s*", fancy_regex::escape(&mark)),
    };
    // A line is matched from its start, as Python's `re.match` does, and without its end.
    let regex = regex(&format!("^(?:{start}({core}){end})"), "")?;
    let path = real(path_arg(args, "path"));
    let Some(old) = text_of(&path)? else {
        return Err(Error::invalid(format!("File not found: {}", path.display())));
    };
    let (mut new, mut old_found, mut new_found) = (String::new(), Vec::new(), Vec::new());
    for line in old.split_inclusive('\n') {
        if !matches(&regex, line.trim_end_matches('\n'))? {
            new.push_str(line);
            continue;
        }
        let changed = if comment {
            format!("{mark}{line}")
        } else {
            line.trim_start_matches(|c| mark.contains(c)).to_owned()
        };
        new.push_str(&changed);
        old_found.push(line);
        new_found.push(changed);
    }
    if old_found.is_empty() {
        return Ok(Value::Bool(false));
    }
    store(&path, &new, backup_of(args).as_deref())?;
    let new_found: Vec<&str> = new_found.iter().map(String::as_str).collect();
    Ok(Value::from(diff::unified(&old_found, &new_found)))
}
