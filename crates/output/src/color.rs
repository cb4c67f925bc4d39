//! Terminal colours, under Salt's names.

/// The colours in use: all of them empty when there is to be no colour.
#[derive(Clone, Copy)]
pub(crate) struct Palette {
    pub(crate) red: &'static str,
    pub(crate) light_red: &'static str,
    pub(crate) green: &'static str,
    pub(crate) light_green: &'static str,
    pub(crate) light_yellow: &'static str,
    pub(crate) blue: &'static str,
    pub(crate) light_blue: &'static str,
    pub(crate) magenta: &'static str,
    pub(crate) light_magenta: &'static str,
    pub(crate) cyan: &'static str,
    pub(crate) end: &'static str,
}

impl Palette {
    pub(crate) fn new(color: bool) -> Self {
        if color { Self::COLOR } else { Self::PLAIN }
    }

    const COLOR: Palette = Palette {
        red: "\x1b[0;31m",
        light_red: "\x1b[0;1;31m",
        green: "\x1b[0;32m",
        light_green: "\x1b[0;1;32m",
        light_yellow: "\x1b[0;1;33m",
        blue: "\x1b[0;34m",
        light_blue: "\x1b[0;1;34m",
        magenta: "\x1b[0;35m",
        light_magenta: "\x1b[0;1;35m",
        cyan: "\x1b[0;36m",
        end: "\x1b[0;0m",
    };

    const PLAIN: Palette = Palette {
        red: "",
        light_red: "",
        green: "",
        light_green: "",
        light_yellow: "",
        blue: "",
        light_blue: "",
        magenta: "",
        light_magenta: "",
        cyan: "",
        end: "",
    };
}

/// Takes ANSI colour sequences (escape to `m`) out of a text.
#[must_use]
pub fn strip_colors(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('\x1b') {
        let (before, sequence) = rest.split_at(start);
        out.push_str(before);
        match sequence.find('m') {
            Some(end) => rest = sequence.get(end + 1..).unwrap_or_default(),
            None => {
                rest = sequence;
                break;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_taken_out() {
        assert_eq!(strip_colors("\x1b[0;31mred\x1b[0;0m, plain"), "red, plain");
        assert_eq!(strip_colors("a\x1b[0"), "a\x1b[0");
    }
}
