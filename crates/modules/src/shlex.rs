//! Splitting a command line into words as Python's `shlex.split` does.

use crate::error::Error;

/// The words of a command line; quotes and backslashes as in a POSIX shell, nothing else.
///
/// # Errors
/// A quote that is not closed, or a backslash at the end.
pub fn split(line: &str) -> Result<Vec<String>, Error> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\\' => {
                let next = chars.next().ok_or_else(|| value_error("No escaped character"))?;
                word.get_or_insert_default().push(next);
            }
            '\'' | '"' => quoted(c, &mut chars, word.get_or_insert_default())?,
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

fn quoted(quote: char, chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), Error> {
    loop {
        match chars.next().ok_or_else(|| value_error("No closing quotation"))? {
            c if c == quote => return Ok(()),
            '\\' if quote == '"' => {
                let next = chars.next().ok_or_else(|| value_error("No closing quotation"))?;
                if !matches!(next, '"' | '\\') {
                    word.push('\\');
                }
                word.push(next);
            }
            c => word.push(c),
        }
    }
}

fn value_error(text: &str) -> Error {
    Error::Exception(format!("ValueError: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_as_python_splits_them() {
        let words = |line| split(line).unwrap();
        assert_eq!(
            words(r#"a 'b c' "d \"e\" \n" f\ g """#),
            ["a", "b c", r#"d "e" \n"#, "f g", ""]
        );
        assert_eq!(words("a'b'\"c\""), ["abc"]);
        assert!(words("  ").is_empty());
        assert!(split("a 'b").is_err());
        assert!(split("a\\").is_err());
    }
}
