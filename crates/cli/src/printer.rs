//! Printing results with Salt's outputters, on the terminal or into a file.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use saltern_config::{Loaded, MasterOptions, MinionOptions};
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
pub(crate) struct Defaults {
    output: Option<String>,
    file: Option<PathBuf>,
    indent: Option<String>,
    options: Options,
}

/// A configuration that says how to print: the master's or the minion's.
pub(crate) trait Printing {
    /// Its outputter and its output file.
    fn output(&self) -> (Option<&str>, Option<&str>);
    /// The options of the outputters.
    fn options(&self) -> Options;
}

macro_rules! printing {
    ($($options:ty),*) => {$(
        impl Printing for $options {
            fn output(&self) -> (Option<&str>, Option<&str>) {
                (self.output.as_deref(), self.output_file.as_deref())
            }

            fn options(&self) -> Options {
                Options {
                    color: self.color,
                    state_output: self.state_output.clone(),
                    state_verbose: self.state_verbose,
                    state_output_diff: self.state_output_diff,
                    state_output_profile: self.state_output_profile,
                    ..Options::default()
                }
            }
        }
    )*};
}

printing!(MasterOptions, MinionOptions);

impl Defaults {
    /// Those of a configuration.
    pub(crate) fn of<T: Printing>(loaded: &Loaded<T>) -> Self {
        let (output, file) = loaded.opts.output();
        // The default says `pretty`, but Salt sorts keys only when the option is set.
        let indent = loaded.raw.get("output_indent").map(|value| match value {
            Value::Str(text) => text.clone(),
            Value::Nil => "null".to_owned(),
            other => other.as_int().unwrap_or(4).to_string(),
        });
        Defaults {
            output: output.map(str::to_owned),
            file: file.filter(|f| !f.is_empty()).map(PathBuf::from),
            indent,
            options: loaded.opts.options(),
        }
    }
}

impl Printer {
    /// A printer as the options want it.
    ///
    /// # Errors
    /// When the output file cannot be opened.
    pub(crate) fn new(args: &OutputArgs, defaults: Defaults) -> Result<Self, Failure> {
        let file = args.out_file.as_ref().or(defaults.file.as_ref()).map(|path| {
            OpenOptions::new()
                .create(true)
                .write(true)
                .append(args.out_file_append)
                .truncate(!args.out_file_append)
                .open(path)
                .map_err(|e| {
                    Failure::generic(format!(
                        "--out-file {} cannot be written: {e}",
                        path.display()
                    ))
                })
        });
        let file = file.transpose()?;
        let terminal = file.is_none() && io::stdout().is_terminal();
        let indent = args.out_indent.clone().or(defaults.indent);
        let state_verbose = args.state_verbose.as_deref().map(|v| v.eq_ignore_ascii_case("true"));
        let base = defaults.options;
        let options = Options {
            color: !args.no_color && (args.force_color || (terminal && base.color)),
            indent: indent.as_deref().map(self::indent).transpose()?,
            state_output: args.state_output.clone().unwrap_or(base.state_output),
            state_verbose: state_verbose.unwrap_or(base.state_verbose),
            state_output_diff: args.output_diff || base.state_output_diff,
            state_output_profile: base.state_output_profile,
            ..Options::default()
        };
        Ok(Printer { chosen: known(args.out.clone().or(defaults.output)), options, file })
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

/// The outputter the user asked for, if there is one of that name; Salt goes on with `nested`.
fn known(name: Option<String>) -> Option<String> {
    let name = name?;
    if saltern_output::is_known(&name) {
        return Some(name);
    }
    log::error!("Invalid outputter {name} specified, fall back to nested");
    Some("nested".to_owned())
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
