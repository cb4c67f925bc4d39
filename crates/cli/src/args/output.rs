//! How results are printed.

use std::path::PathBuf;

use clap::Args;

/// Salt's output options.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Output Options")]
pub(crate) struct OutputArgs {
    /// Print the output with this outputter: nested, json, yaml, txt, raw, quiet, pprint, ...
    #[arg(long = "out", visible_alias = "output", value_name = "OUTPUT")]
    pub(crate) out: Option<String>,
    /// Indent the output by that many spaces; negative values disable indentation
    #[arg(
        long = "out-indent",
        visible_alias = "output-indent",
        value_name = "N",
        allow_hyphen_values = true
    )]
    pub(crate) out_indent: Option<String>,
    /// Write the output to this file
    #[arg(long = "out-file", visible_alias = "output-file", value_name = "FILE")]
    pub(crate) out_file: Option<PathBuf>,
    /// Append to the output file instead of replacing it
    #[arg(long = "out-file-append", visible_alias = "output-file-append")]
    pub(crate) out_file_append: bool,
    /// Disable all colored output
    #[arg(long = "no-color", visible_alias = "no-colour")]
    pub(crate) no_color: bool,
    /// Force colored output
    #[arg(long = "force-color", visible_alias = "force-colour", conflicts_with = "no_color")]
    pub(crate) force_color: bool,
    /// Override the configured state_output: full, terse, mixed, changes or filter
    #[arg(long = "state-output", alias = "state_output", value_name = "STATE_OUTPUT")]
    pub(crate) state_output: Option<String>,
    /// Report only what states changed
    #[arg(long = "output-diff", alias = "state-output-diff")]
    pub(crate) output_diff: bool,
    /// Override the configured state_verbose
    #[arg(long = "state-verbose", alias = "state_verbose", value_name = "BOOL")]
    pub(crate) state_verbose: Option<String>,
}
