//! Python's regular expressions on a Rust engine: what is written differently is rewritten, and a
//! match that takes too many steps is no match.

use std::fmt;

use crate::TargetError;

/// Steps back one match may take; enough for any pattern people write on names and grains.
const BACKTRACK_LIMIT: usize = 100_000;
/// Bytes a compiled pattern may take.
const SIZE_LIMIT: usize = 1 << 20;
/// Longest pattern that is compiled.
const PATTERN_LIMIT: usize = 16 * 1024;

/// A regular expression in Python's syntax.
pub struct Regex(fancy_regex::Regex);

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Regex").field(&self.0.as_str()).finish()
    }
}

impl Regex {
    /// Compiles a pattern for [`Regex::matches`], which is Python's `re.match`: it has to match from
    /// the start of the text on, not to its end.
    pub fn new(pattern: &str) -> Result<Self, TargetError> {
        Self::build(pattern, &format!("\\A(?:{})", translate(pattern)?))
    }

    /// Compiles a pattern that has to match the whole text (`re.fullmatch`).
    pub fn whole(pattern: &str) -> Result<Self, TargetError> {
        Self::build(pattern, &format!("\\A(?:{})\\z", translate(pattern)?))
    }

    fn build(pattern: &str, translated: &str) -> Result<Self, TargetError> {
        fancy_regex::RegexBuilder::new(translated)
            .backtrack_limit(BACKTRACK_LIMIT)
            .delegate_size_limit(SIZE_LIMIT)
            .delegate_dfa_size_limit(SIZE_LIMIT)
            .build()
            .map(Regex)
            .map_err(|e| invalid(pattern, &e.to_string()))
    }

    /// Whether the text matches; one that takes too many steps does not.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text).unwrap_or(false)
    }
}

fn invalid(pattern: &str, why: &str) -> TargetError {
    let short: String = pattern.chars().take(200).collect();
    TargetError::Invalid(format!("{short:?} is no regular expression: {why}"))
}

/// Rewrites a pattern of Python's `re` for the engine. What Python refuses is refused where the
/// engine would read something else into it.
pub fn translate(pattern: &str) -> Result<String, TargetError> {
    if pattern.len() > PATTERN_LIMIT {
        return Err(invalid(pattern, "it is too long"));
    }
    let chars: Vec<char> = pattern.chars().collect();
    let out = String::with_capacity(pattern.len() + 8);
    let mut t = Translator { chars: &chars, at: 0, out, open: 0, last: Last::Nothing };
    t.run().map_err(|why| invalid(pattern, why))?;
    Ok(t.out)
}

struct Translator<'a> {
    chars: &'a [char],
    at: usize,
    out: String,
    /// Groups that are open. Ours stands around the pattern: it must not be closed from inside.
    open: usize,
    last: Last,
}

/// What a repetition would repeat: Python refuses it where the engine finds a meaning.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Nothing,
    Item,
    /// A repetition, which takes one more `?` or `+`.
    Repetition,
}

impl Translator<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn run(&mut self) -> Result<(), &'static str> {
        while let Some(c) = self.peek(0) {
            match c {
                '\\' => {
                    let assertion = matches!(self.peek(1), Some('A' | 'b' | 'B' | 'Z'));
                    self.escape(false)?;
                    self.last = if assertion { Last::Nothing } else { Last::Item };
                }
                '[' => {
                    self.class()?;
                    self.last = Last::Item;
                }
                '{' => self.brace()?,
                '*' | '+' | '?' => {
                    self.repeat(c)?;
                    self.copy(1);
                }
                '(' => self.group()?,
                ')' => {
                    self.open = self.open.checked_sub(1).ok_or("a ) closes nothing")?;
                    self.copy(1);
                    self.last = Last::Item;
                }
                '|' | '^' | '$' => {
                    self.copy(1);
                    self.last = Last::Nothing;
                }
                _ => {
                    self.at += 1;
                    if matches!(c, '}' | ']') {
                        self.literal(c)
                    } else {
                        self.out.push(c)
                    }
                    self.last = Last::Item;
                }
            }
        }
        if self.open == 0 { Ok(()) } else { Err("a ( is not closed") }
    }

    /// Takes `n` characters over as they are.
    fn copy(&mut self, n: usize) {
        self.out.extend(self.chars.iter().skip(self.at).take(n));
        self.at += n;
    }

    fn repeat(&mut self, sign: char) -> Result<(), &'static str> {
        self.last = match (self.last, sign) {
            (Last::Item, _) => Last::Repetition,
            (Last::Repetition, '?' | '+') => Last::Nothing,
            _ => return Err("there is nothing to repeat"),
        };
        Ok(())
    }

    /// The head of a group.
    fn group(&mut self) -> Result<(), &'static str> {
        self.last = Last::Nothing;
        let up_to = |c: char| {
            let rest = self.chars.get(self.at..).unwrap_or_default();
            rest.iter().position(|x| *x == c).map(|i| i + 1).ok_or("a ( is not closed")
        };
        let unknown = Err("it has an unknown kind of group");
        let head = match (self.peek(1), self.peek(2), self.peek(3)) {
            (Some('?'), Some(':' | '=' | '!' | '>'), _) => 3,
            (Some('?'), Some('<'), Some('=' | '!')) => 4,
            (Some('?'), Some('P'), Some('<')) => up_to('>')?,
            (Some('?'), Some('('), _) => up_to(')')?,
            (Some('?'), Some('P'), Some('=')) => {
                self.copy(up_to(')')?);
                self.last = Last::Item;
                return Ok(());
            }
            (Some('?'), Some('#'), _) => {
                self.at += up_to(')')?;
                return Ok(());
            }
            (Some('?'), Some(_), _) => {
                let flags = self.chars.iter().skip(self.at + 2);
                let flags = flags.take_while(|c| "imsux-".contains(**c)).count();
                match self.peek(2 + flags) {
                    Some(')') if flags > 0 && self.at == 0 => {
                        self.copy(flags + 3);
                        return Ok(());
                    }
                    Some(':') if flags > 0 => flags + 3,
                    _ => return unknown,
                }
            }
            (Some('?'), None, _) => return unknown,
            _ => 1,
        };
        self.copy(head);
        self.open += 1;
        Ok(())
    }

    fn literal(&mut self, c: char) {
        // Any ASCII character but letters, digits and `<`, `>` may carry a backslash.
        if c.is_ascii_punctuation() && c != '<' && c != '>' {
            self.out.push('\\');
        }
        self.out.push(c);
    }

    /// `{m,n}` is a repetition, any other brace is itself.
    fn brace(&mut self) -> Result<(), &'static str> {
        let digits =
            |from: usize| self.chars.iter().skip(from).take_while(|c| c.is_ascii_digit()).count();
        let low = digits(self.at + 1);
        let mut end = self.at + 1 + low;
        let comma = self.chars.get(end) == Some(&',');
        if comma {
            end += 1 + digits(end + 1);
        }
        let closed = self.chars.get(end) == Some(&'}');
        if !closed || (low == 0 && end < self.at + 2) {
            self.at += 1;
            self.literal('{');
            self.last = Last::Item;
            return Ok(());
        }
        self.repeat('{')?;
        let body: String = self.chars.get(self.at + 1..end).unwrap_or_default().iter().collect();
        self.out.push('{');
        if low == 0 {
            self.out.push('0');
        }
        self.out.push_str(&body);
        self.out.push('}');
        self.at = end + 1;
        Ok(())
    }

    fn escape(&mut self, in_class: bool) -> Result<(), &'static str> {
        let Some(c) = self.peek(1) else { return Err("it ends with a backslash") };
        self.at += 2;
        match c {
            'd' | 'D' | 's' | 'S' | 'w' | 'W' | 'n' | 'r' | 't' | 'f' | 'v' | 'a' => {
                self.out.push('\\');
                self.out.push(c);
            }
            'b' if in_class => self.out.push_str("\\x08"),
            'A' | 'b' | 'B' if !in_class => {
                self.out.push('\\');
                self.out.push(c);
            }
            'Z' if !in_class => self.out.push_str("\\z"),
            'x' => self.code_point(2)?,
            'u' => self.code_point(4)?,
            'U' => self.code_point(8)?,
            '0'..='9' => self.digits(c, in_class)?,
            c if c.is_ascii_alphabetic() => return Err("it has an unknown escape sequence"),
            c => self.literal(c),
        }
        Ok(())
    }

    fn code_point(&mut self, len: usize) -> Result<(), &'static str> {
        let hex: String =
            self.chars.get(self.at..self.at + len).unwrap_or_default().iter().collect();
        self.at += len;
        self.push_code(u32::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == len))
    }

    fn push_code(&mut self, code: Option<u32>) -> Result<(), &'static str> {
        let code = code.and_then(char::from_u32).ok_or("it has an escape of no character")?;
        self.out.push_str(&format!("\\x{{{:x}}}", u32::from(code)));
        Ok(())
    }

    /// `\0..` and three digits are octal, `\1` to `\99` refer to a group.
    fn digits(&mut self, first: char, in_class: bool) -> Result<(), &'static str> {
        let is_octal = |c: Option<char>| c.is_some_and(|c| ('0'..='7').contains(&c));
        let mut text = String::from(first);
        let octal = in_class
            || first == '0'
            || (is_octal(Some(first)) && is_octal(self.peek(0)) && is_octal(self.peek(1)));
        if octal {
            while text.len() < 3 && is_octal(self.peek(0)) {
                text.extend(self.peek(0));
                self.at += 1;
            }
            return self.push_code(u32::from_str_radix(&text, 8).ok());
        }
        if let Some(second) = self.peek(0).filter(char::is_ascii_digit) {
            text.push(second);
            self.at += 1;
        }
        // In a group of its own, so that a digit behind it is not taken for a part of the number.
        self.out.push_str(&format!("(?:\\{text})"));
        Ok(())
    }

    /// A class: the engine knows nested classes and set operations, Python does not.
    fn class(&mut self) -> Result<(), &'static str> {
        self.out.push('[');
        self.at += 1;
        if self.peek(0) == Some('^') {
            self.out.push('^');
            self.at += 1;
        }
        let mut first = true;
        loop {
            match self.peek(0) {
                None => return Err("a [ is not closed"),
                Some(']') if !first => {
                    self.at += 1;
                    self.out.push(']');
                    return Ok(());
                }
                _ => self.class_item()?,
            }
            first = false;
            // A hyphen between two items is a range; anywhere else it is itself.
            if self.peek(0) == Some('-') && self.peek(1).is_some_and(|c| c != ']') {
                self.at += 1;
                self.out.push('-');
                self.class_item()?;
            }
        }
    }

    fn class_item(&mut self) -> Result<(), &'static str> {
        match self.peek(0) {
            Some('\\') => self.escape(true),
            Some(c) => {
                self.at += 1;
                self.literal(c);
                Ok(())
            }
            None => Err("a [ is not closed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_python() {
        for (pattern, text, want) in [
            ("web-\\d+", "web-01.example.com", true),
            ("eb", "web", false),
            ("a|b", "b", true),
            ("a|bc", "b", false),
            ("web\\Z", "web", true),
            ("web$", "web", true),
            ("[[]x", "[x", true),
            ("[a&&b]", "&", true),
            ("[a-]", "-", true),
            ("[]a]", "]", true),
            ("[^]a]", "b", true),
            ("[a~~]", "~", true),
            ("a{2}", "aa", true),
            ("a{,2}b", "ab", true),
            ("a{x}", "a{x}", true),
            ("{", "{", true),
            ("a{}", "a{}", true),
            ("}]", "}]", true),
            ("\\<a\\>", "<a>", true),
            ("(?P<n>a)(?P=n)", "aa", true),
            ("(a)\\1", "aa", true),
            ("(a)\\1", "ab", false),
            ("(?!b)", "abc", true),
            ("(?<=a)b", "ab", false),
            ("(?i)WEB", "web", true),
            ("(?i:W)eb", "web", true),
            ("(?#note)w", "web", true),
            ("(w)?(?(1)e|x)", "web", true),
            ("w+?e", "web", true),
            ("(?P<a>w)|x", "x", true),
            ("\\x41\\u0042\\103", "ABC", true),
            ("é", "é", true),
            ("a#b", "a#b", true),
            ("a\\-b\\.c\\/", "a-b.c/", true),
        ] {
            let regex = Regex::new(pattern).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(regex.matches(text), want, "{pattern:?} {text:?}");
        }
    }

    #[test]
    fn what_python_refuses_is_refused() {
        for pattern in
            ["(", ")", "[", "a\\", "*", "\\q", "\\z", "\\K", "[\\A]", "(?Z)", "a**", "\\x4"]
        {
            assert!(Regex::new(pattern).is_err(), "{pattern:?}");
        }
    }

    #[test]
    fn hostile_patterns_end() {
        let regex = Regex::new("(a+)+\\1$").unwrap();
        assert!(!regex.matches(&format!("{}b", "a".repeat(40))));
        assert!(Regex::new(&"(".repeat(10_000)).is_err());
        assert!(Regex::new("(((a{1000}){1000}){1000})").is_err());
        assert!(Regex::new(&"a".repeat(20_000)).is_err());
    }
}
