//! Shell globs as Python's `fnmatch` reads them.

/// A shell glob as Python's `fnmatch` reads it: `*`, `?`, `[a-c]`, `[!a]`, no escapes. Takes time in
/// proportion to pattern times text at most.
#[derive(Clone, Debug)]
pub struct Glob(Vec<Token>);

#[derive(Clone, Debug)]
enum Token {
    Char(char),
    Any,
    Star,
    /// Ranges of characters, both ends included, and whether the class is negated.
    Class(Vec<(char, char)>, bool),
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Token::Char(want) => *want == c,
            Token::Any => true,
            Token::Star => false,
            Token::Class(ranges, negated) => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated
            }
        }
    }
}

impl Glob {
    /// Compiles a pattern; every text is one.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        let chars: Vec<char> = pattern.chars().collect();
        let mut tokens = Vec::with_capacity(chars.len());
        let mut rest = chars.as_slice();
        while let [first, tail @ ..] = rest {
            rest = tail;
            match first {
                '*' => {
                    if !matches!(tokens.last(), Some(Token::Star)) {
                        tokens.push(Token::Star);
                    }
                }
                '?' => tokens.push(Token::Any),
                '[' => match class_end(tail) {
                    Some(end) => {
                        tokens.push(class(tail.get(..end).unwrap_or_default()));
                        rest = tail.get(end + 1..).unwrap_or_default();
                    }
                    // Without its end, the bracket is itself.
                    None => tokens.push(Token::Char('[')),
                },
                c => tokens.push(Token::Char(*c)),
            }
        }
        Glob(tokens)
    }

    /// Whether the whole text matches; upper and lower case differ.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let mut at = 0;
        let mut rest = text;
        // Where to go on when the tokens behind the last star do not fit: one character later.
        let mut retry: Option<(usize, &str)> = None;
        loop {
            let mut chars = rest.chars();
            match (self.0.get(at), chars.next()) {
                (Some(Token::Star), _) => {
                    at += 1;
                    retry = Some((at, rest));
                }
                (Some(token), Some(c)) if token.takes(c) => {
                    at += 1;
                    rest = chars.as_str();
                }
                (None, None) => return true,
                _ => {
                    let Some((star, from)) = retry else { return false };
                    let mut chars = from.chars();
                    if chars.next().is_none() {
                        return false;
                    }
                    at = star;
                    rest = chars.as_str();
                    retry = Some((star, rest));
                }
            }
        }
    }
}

/// Where the `]` of a class stands: neither at its start nor right behind the `!`.
fn class_end(chars: &[char]) -> Option<usize> {
    let mut from = usize::from(chars.first() == Some(&'!'));
    from += usize::from(chars.get(from) == Some(&']'));
    chars.iter().skip(from).position(|c| *c == ']').map(|i| i + from)
}

/// Reads what stands between the brackets. Python cuts it at its hyphens and drops ranges that run
/// backwards.
fn class(content: &[char]) -> Token {
    let negated = content.first() == Some(&'!');
    let content = content.get(usize::from(negated)..).unwrap_or_default();
    let mut chunks: Vec<Vec<char>> = Vec::new();
    let mut start = 0;
    // A hyphen counts from the second character on, and not within two of the one before.
    let mut from = 1;
    while let Some(hyphen) = content.iter().skip(from).position(|c| *c == '-').map(|i| i + from) {
        chunks.push(content.get(start..hyphen).unwrap_or_default().to_vec());
        start = hyphen + 1;
        from = hyphen + 3;
    }
    let tail = content.get(start..).unwrap_or_default();
    if !tail.is_empty() {
        chunks.push(tail.to_vec());
    } else if let Some(last) = chunks.last_mut() {
        last.push('-');
    }
    for k in (1..chunks.len()).rev() {
        let before = chunks.get(k - 1).and_then(|c| c.last()).copied();
        let after = chunks.get(k).and_then(|c| c.first()).copied();
        if before > after {
            let moved = chunks.remove(k);
            if let Some(chunk) = chunks.get_mut(k - 1) {
                chunk.pop();
                chunk.extend(moved.into_iter().skip(1));
            }
        }
    }
    let mut ranges: Vec<(char, char)> = Vec::new();
    for (k, chunk) in chunks.iter().enumerate() {
        for (i, c) in chunk.iter().enumerate() {
            match ranges.last_mut() {
                Some(range) if k > 0 && i == 0 => range.1 = *c,
                _ => ranges.push((*c, *c)),
            }
        }
    }
    Token::Class(ranges, negated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_in_python() {
        for (pattern, text, want) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXbYcZ", false),
            ("*.example.com", "web.example.com", true),
            ("web?", "web1", true),
            ("web?", "web", false),
            ("[abc]x", "bx", true),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[!a-c]x", "dx", true),
            ("[]]", "]", true),
            ("[!]]", "a", true),
            ("[a", "[a", true),
            ("[]", "[]", true),
            ("[!]", "[!]", true),
            ("[c-a]", "b", false),
            ("[!c-a]", "b", true),
            ("[a-]", "-", true),
            ("[-a]", "-", true),
            ("[a-c-e]", "-", true),
            ("[a-c-e]", "d", false),
            ("[--0]", ".", true),
            ("[^a]", "^", true),
            ("a\\*", "a\\b", true),
            ("**", "ab", true),
            ("*é?", "aéb", true),
            ("a*", "a\nb", true),
            ("*a", "aaab", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), want, "{pattern:?} {text:?}");
        }
    }

    #[test]
    fn many_stars_stay_cheap() {
        assert!(!Glob::new(&"*a".repeat(100)).matches(&"a".repeat(99)));
        assert!(Glob::new(&"*a".repeat(100)).matches(&"a".repeat(10_000)));
    }
}
