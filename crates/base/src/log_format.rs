//! Line formats of the log: Python's `%(name)-17s` templates, taken apart once.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::localtime;
use crate::log::Level;

/// A template, ready to print lines.
#[derive(Clone, Debug)]
pub(crate) struct Format {
    pieces: Vec<Piece>,
    datefmt: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Field { name: String, style: Style },
}

/// The part between the closing parenthesis and the letter of the conversion.
#[derive(Clone, Debug, Default, PartialEq)]
struct Style {
    left: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
    kind: char,
}

/// What one line is about.
pub(crate) struct Line<'a> {
    pub(crate) level: Level,
    pub(crate) name: &'a str,
    pub(crate) module: &'a str,
    pub(crate) file: &'a str,
    pub(crate) line: u32,
    pub(crate) message: &'a str,
    pub(crate) jid: Option<String>,
    pub(crate) time: SystemTime,
}

impl Format {
    /// Takes a template apart. What is no field of Python's form stays as it is.
    pub(crate) fn parse(template: &str, datefmt: &str) -> Self {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut rest = template;
        while let Some(start) = rest.find('%') {
            let (before, after) = rest.split_at(start);
            text.push_str(before);
            if let Some(tail) = after.strip_prefix("%%") {
                text.push('%');
                rest = tail;
            } else if let Some((field, tail)) = parse_field(after) {
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(field);
                rest = tail;
            } else {
                text.push('%');
                rest = after.get(1..).unwrap_or_default();
            }
        }
        text.push_str(rest);
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Format { pieces, datefmt: datefmt.to_owned() }
    }

    /// Prints one line, without a line end. `color` allows the `color*` fields their
    /// colours.
    pub(crate) fn print(&self, line: &Line<'_>, color: bool) -> String {
        let mut out = String::with_capacity(line.message.len() + 80);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Field { name, style } => {
                    style.push(&mut out, &self.field(name, line, color));
                }
            }
        }
        out
    }

    fn field(&self, name: &str, line: &Line<'_>, color: bool) -> String {
        let since = line.time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let paint = |code: &str, text: String| {
            if color && !code.is_empty() { format!("\x1b[0;{code}m{text}\x1b[0;0m") } else { text }
        };
        let level = line.level.name();
        let file_name = line.file.rsplit('/').next().unwrap_or_default();
        match name {
            "asctime" => {
                let at = localtime::local(line.time);
                localtime::strftime(&self.datefmt, &at, since.as_secs())
            }
            "msecs" => since.subsec_millis().to_string(),
            "created" => format!("{}.{:06}", since.as_secs(), since.subsec_micros()),
            "name" => line.name.to_owned(),
            "levelname" => level.to_owned(),
            "levelno" => line.level.number().to_string(),
            "message" => line.message.to_owned(),
            "lineno" => line.line.to_string(),
            "process" => std::process::id().to_string(),
            "processName" => "MainProcess".to_owned(),
            "threadName" => std::thread::current().name().unwrap_or("worker").to_owned(),
            "pathname" => line.file.to_owned(),
            "filename" => file_name.to_owned(),
            "module" => file_name.trim_end_matches(".rs").to_owned(),
            "funcName" => line.module.rsplit("::").next().unwrap_or_default().to_owned(),
            "jid" => line.jid.as_ref().map(|j| format!("[JID: {j}]")).unwrap_or_default(),
            "bracketname" => format!("[{:<17}]", line.name),
            "bracketlevel" => format!("[{level:<8}]"),
            "bracketprocess" => format!("[{:>5}]", std::process::id()),
            "colorname" => paint("1;32", format!("[{:<17}]", line.name)),
            "colorlevel" => paint(line.level.color(), format!("[{level:<8}]")),
            "colorprocess" => paint("1;34", format!("[{:>5}]", std::process::id())),
            "colormsg" => paint(line.level.message_color(), line.message.to_owned()),
            _ => String::new(),
        }
    }
}

/// Reads `%(name)-17.3s` at the start of `text`.
fn parse_field(text: &str) -> Option<(Piece, &str)> {
    let (name, mut rest) = text.strip_prefix("%(")?.split_once(')')?;
    let mut style = Style::default();
    while let Some(flag) = rest.chars().next().filter(|c| "-0+ #".contains(*c)) {
        style.left |= flag == '-';
        style.zero |= flag == '0';
        rest = rest.get(1..)?;
    }
    let digits = |rest: &mut &str| -> Option<usize> {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number = rest.get(..end)?.parse().ok();
        *rest = rest.get(end..)?;
        number
    };
    // A width from outside must not make lines of gigabytes.
    style.width = digits(&mut rest).unwrap_or(0).min(1000);
    if let Some(tail) = rest.strip_prefix('.') {
        rest = tail;
        style.precision = Some(digits(&mut rest).unwrap_or(0).min(1000));
    }
    style.kind = rest.chars().next().filter(char::is_ascii_alphabetic)?;
    Some((Piece::Field { name: name.to_owned(), style }, rest.get(1..)?))
}

impl Style {
    fn push(&self, out: &mut String, value: &str) {
        let cut: String;
        let value = match (self.kind, self.precision) {
            ('s' | 'r', Some(precision)) => {
                cut = value.chars().take(precision).collect();
                &cut
            }
            ('f' | 'F', precision) => {
                let precision = precision.unwrap_or(6);
                cut = value
                    .parse::<f64>()
                    .map_or_else(|_| value.to_owned(), |number| format!("{number:.precision$}"));
                &cut
            }
            _ => value,
        };
        let width = self.width;
        // Writing to a String cannot fail.
        let _ = match (self.left, self.zero && matches!(self.kind, 'd' | 'i' | 'f' | 'F')) {
            (true, _) => write!(out, "{value:<width$}"),
            (false, true) => write!(out, "{value:0>width$}"),
            (false, false) => write!(out, "{value:>width$}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: &str) -> Line<'_> {
        Line {
            level: Level::Warning,
            name: "salt.minion",
            module: "saltern_minion::sign_in",
            file: "crates/minion/src/sign_in.rs",
            line: 42,
            message,
            jid: Some("20260102030405000678".into()),
            time: UNIX_EPOCH + Duration::from_micros(1_795_361_462_033_888),
        }
    }

    #[test]
    fn the_default_formats() {
        let console = Format::parse("[%(levelname)-8s] %(message)s", "%H:%M:%S");
        assert_eq!(console.print(&line("100% ü"), false), "[WARNING ] 100% ü");
        let file = Format::parse(
            "%(msecs)03d [%(name)-17s:%(lineno)-4d][%(levelname)-8s][%(process)d] %(message)s",
            "",
        );
        let pid = std::process::id();
        assert_eq!(
            file.print(&line("x"), false),
            format!("033 [salt.minion      :42  ][WARNING ][{pid}] x")
        );
    }

    #[test]
    fn fields_and_texts_people_write() {
        let print = |template: &str| Format::parse(template, "%Y").print(&line("hello"), false);
        assert_eq!(print("%(message).3s|%(levelno)5d|%%|%(filename)s"), "hel|   30|%|sign_in.rs");
        assert_eq!(print("%(created).1f %(jid)s %(nothing)s%("), {
            "1795361462.0 [JID: 20260102030405000678] %("
        });
        assert_eq!(print("%(module)s 50% %x"), "sign_in 50% %x");
        assert_eq!(print("%(colorlevel)s%(bracketname)s"), "[WARNING ][salt.minion      ]");
        let painted = Format::parse("%(colorlevel)s", "").print(&line(""), true);
        assert_eq!(painted, "\x1b[0;1;33m[WARNING ]\x1b[0;0m");
    }
}
