//! Printing results with Salt's outputters, on the terminal or into a file.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};

use saltern_config::MasterOptions;
use saltern_output::{Indent, Options};
use saltern_value::Value;

use crate::args::OutputArgs;
use crate::exit::Failure;

/// Prints one line at once.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Prints results.
pub(crate) struct Printer {
    chosen: Option<String>,
    options: Options,
    file: Option<File>,
}

/// What the configuration says of printing; command line options come on top.
pub(crate) struct Defaults<'a> {
    pub(crate) output: Option<&'a str>,
    pub(crate) color: bool,
    pub(crate) state_output: &'a str,
    pub(crate) state_verbose: bool,
}

impl<'a> From<&'a MasterOptions> for Defaults<'a> {
    fn from(opts: &'a MasterOptions) -> Self {
        Defaults {
            output: opts.output.as_deref(),
            color: opts.color,
            state_output: &opts.state_output,
            state_verbose: opts.state_verbose,
        }
    }
}

impl Printer {
    /// A printer as the options want it.
    ///
    /// # Errors
    /// When the output file cannot be opened or the outputter is unknown.
    pub(crate) fn new(args: &OutputArgs, defaults: &Defaults<'_>) -> Result<Self, Failure> {
        let file = args.out_file.as_ref().map(|path| {
            OpenOptions::new()
                .create(true)
                .write(true)
                .append(args.out_file_append)
                .truncate(!args.out_file_append)
                .open(path)
                .map_err(|e| {
                    Failure::generic(format!("--out-file {} cannot be written: {e}", path.display()))
                })
        });
        let file = file.transpose()?;
        let terminal = file.is_none() && io::stdout().is_terminal();
        let chosen = args.out.clone().or_else(|| defaults.output.map(str::to_owned));
        if let Some(name) = chosen.as_deref().filter(|name| !saltern_output::is_known(name)) {
            return Err(Failure::usage(format!("there is no outputter '{name}'"))
                .hint("see --out in --help for the names"));
        }
        let state_verbose = args.state_verbose.as_deref().map(|v| v.eq_ignore_ascii_case("true"));
        let options = Options {
            color: !args.no_color && (args.force_color || (terminal && defaults.color)),
            indent: args.out_indent.as_deref().map(indent).transpose()?,
            state_output: args.state_output.as_deref().unwrap_or(defaults.state_output).to_owned(),
            state_verbose: state_verbose.unwrap_or(defaults.state_verbose),
            ..Options::default()
        };
        Ok(Printer { chosen, options, file })
    }

    /// The outputter the user asked for.
    pub(crate) fn chosen(&self) -> Option<&str> {
        self.chosen.as_deref()
    }

    /// Prints a result with the outputter the user asked for, else with `suggested`.
    ///
    /// # Errors
    /// When the text cannot be written.
    pub(crate) fn print(
        &mut self,
        value: &Value,
        suggested: Option<&str>,
        retcode: i64,
    ) -> io::Result<()> {
        let name = match self.chosen.as_deref() {
            // `--out highstate` is for state runs only; other results keep their own outputter.
            Some("highstate") | None => suggested.unwrap_or("nested"),
            Some(name) => name,
        };
        let name = if saltern_output::is_known(name) { name } else { "nested" };
        let options = Options { retcode, ..self.options.clone() };
        let text = saltern_output::render(name, value, &options)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e.to_string()))?;
        if text.is_empty() { Ok(()) } else { self.write(&text) }
    }

    /// Prints a text as it is, and a newline.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(&mut self, text: &str) -> io::Result<()> {
        match &mut self.file {
            Some(file) => {
                file.write_all(text.as_bytes())?;
                file.write_all(b"\n")
            }
            None => line(text),
        }
    }
}

fn indent(text: &str) -> Result<Indent, Failure> {
    match text {
        "pretty" => Ok(Indent::Pretty),
        "null" | "None" => Ok(Indent::Line),
        number => number
            .parse()
            .map(Indent::Spaces)
            .map_err(|_| Failure::usage(format!("--out-indent needs a number, not '{number}'"))),
    }
}
