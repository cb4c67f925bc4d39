//! Paragraphs as Python's `textwrap` fills them.

use crate::text::is_space;

/// Breaks a text into lines of at most `width` columns, each `margin` columns in. White space
/// within a line is kept, words break at their hyphens, longer ones anywhere.
pub(crate) fn fill(text: &str, width: usize, margin: usize) -> String {
    let room = width - margin;
    let text = blanks_only(text);
    let mut chunks: Vec<Vec<char>> = chunks(&text);
    chunks.reverse();
    let mut lines: Vec<String> = Vec::new();
    while let Some(next) = chunks.last() {
        if !lines.is_empty() && is_blank(next) {
            chunks.pop();
        }
        let mut line: Vec<Vec<char>> = Vec::new();
        let mut used = 0;
        while let Some(chunk) = chunks.pop_if(|chunk| used + chunk.len() <= room) {
            used += chunk.len();
            line.push(chunk);
        }
        if let Some(long) = chunks.last_mut().filter(|chunk| chunk.len() > room) {
            let end = cut(long, room - used);
            line.push(long.drain(..end).collect());
        }
        if line.last().is_some_and(|chunk| is_blank(chunk)) {
            line.pop();
        }
        if !line.is_empty() {
            let line: String = line.concat().into_iter().collect();
            lines.push(format!("{:margin$}{line}", ""));
        }
    }
    lines.join("\n")
}

fn is_blank(chunk: &[char]) -> bool {
    chunk.iter().all(|c| is_space(*c))
}

/// Tabs to the next of every eight columns, other white space to one blank.
fn blanks_only(text: &str) -> Vec<char> {
    let mut out = Vec::with_capacity(text.len());
    let mut column = 0;
    for c in text.chars() {
        match c {
            '\t' => {
                let n = 8 - column % 8;
                out.extend(std::iter::repeat_n(' ', n));
                column += n;
            }
            '\n' | '\r' => {
                out.push(' ');
                column = 0;
            }
            '\u{b}' | '\u{c}' => {
                out.push(' ');
                column += 1;
            }
            c => {
                out.push(c);
                column += 1;
            }
        }
    }
    out
}

/// Where a word that is too long for a line is cut: behind its last hyphen, or where the line ends.
fn cut(word: &[char], left: usize) -> usize {
    let head = word.get(..left).unwrap_or(word);
    match head.iter().rposition(|c| *c == '-') {
        Some(hyphen) if head.iter().take(hyphen).any(|c| *c != '-') => hyphen + 1,
        _ => head.len(),
    }
}

/// Cuts a text where lines may break: around white space, behind hyphens within words and around
/// dashes between words.
fn chunks(text: &[char]) -> Vec<Vec<char>> {
    let mut chunks = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let end = chunk_end(text, start);
        chunks.push(text.get(start..end).unwrap_or_default().to_vec());
        start = end;
    }
    chunks
}

fn chunk_end(text: &[char], start: usize) -> usize {
    let at = |i: usize| text.get(i).copied();
    let run = |from: usize, f: &dyn Fn(char) -> bool| {
        from + text.iter().skip(from).take_while(|c| f(**c)).count()
    };
    let blank = |c: char| c == ' ';
    if at(start).is_some_and(blank) {
        return run(start, &blank);
    }
    let dashes = run(start, &|c| c == '-');
    if dashes >= start + 2 && ends_word(text, start) && at(dashes).is_some_and(is_word) {
        return dashes;
    }
    for end in start + 1.. {
        match at(end) {
            None | Some(' ') => return end,
            Some('-') if hyphen_breaks(text, end) => return end + 1,
            Some('-') if ends_word(text, end) => {
                let after = run(end, &|c| c == '-');
                if after >= end + 2 && at(after).is_some_and(is_word) {
                    return end;
                }
            }
            _ => {}
        }
    }
    text.len()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Python's `[^\d\W]`.
fn is_letter(c: char) -> bool {
    is_word(c) && !c.is_numeric()
}

/// Whether a dash at `at` stands behind the end of a word.
fn ends_word(text: &[char], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|i| text.get(i)).copied();
    before.is_some_and(|c| is_word(c) || "!\"'&.,?".contains(c))
}

/// Whether a line may break behind the hyphen at `at`: letters on both sides of it.
fn hyphen_breaks(text: &[char], at: usize) -> bool {
    let back = |n: usize| at.checked_sub(n).and_then(|i| text.get(i)).copied();
    let letter = |c: Option<char>| c.is_some_and(is_letter);
    let before = letter(back(1)) && (letter(back(2)) || (back(2) == Some('-') && letter(back(3))));
    let ahead = |n: usize| text.get(at + n).copied();
    let after =
        letter(ahead(1)) && (letter(ahead(2)) || (ahead(2) == Some('-') && letter(ahead(3))));
    before && after
}
