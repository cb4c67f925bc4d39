//! `saltern config`: what an option is, does and is set to, and who said so.

use saltern_config::{Explanation, Loaded, Support, load_master, load_minion};
use saltern_value::json;

use crate::args::Common;
use crate::exit::{self, Failure};
use crate::printer;

/// Explain configuration options and where they are set
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    /// The option to explain
    #[arg(long, value_name = "OPTION")]
    explain: String,
    /// Look at the minion's configuration only
    #[arg(long)]
    minion: bool,
    /// Look at the master's configuration only
    #[arg(long, conflicts_with = "minion")]
    master: bool,
}

pub(crate) fn run(args: &Args) -> Result<i32, Failure> {
    let dir = args.common.config_dir();
    let (mut found, mut nearest) = (false, None);
    if !args.minion {
        let loaded = load_master(&dir)?;
        found |= show("master", &loaded, &args.explain)?;
        nearest = loaded.nearest(&args.explain);
    }
    if !args.master {
        let loaded = load_minion(&dir)?;
        found |= show("minion", &loaded, &args.explain)?;
        nearest = nearest.or_else(|| loaded.nearest(&args.explain));
    }
    if found {
        return Ok(exit::OK);
    }
    let unknown = Failure::usage(format!("there is no option '{}'", args.explain));
    Err(match nearest {
        Some(name) => unknown.hint(format!("did you mean {name}?")),
        None => unknown,
    })
}

fn show<T>(who: &str, loaded: &Loaded<T>, option: &str) -> Result<bool, Failure> {
    let Some(explanation) = loaded.explain(option) else { return Ok(false) };
    printer::line(&text(who, &explanation))?;
    Ok(true)
}

fn text(who: &str, e: &Explanation) -> String {
    let set_by = e.place.as_ref().map_or_else(|| "the default".to_owned(), ToString::to_string);
    let default =
        e.default.as_ref().map_or_else(|| "none".to_owned(), |d| json::to_string(d, None));
    format!(
        "{who} option {}\n  value:   {}\n  set by:  {set_by}\n  default: {default}\n  \
         type:    {}\n  support: {}\n  {}\n",
        e.name,
        json::to_string(&e.value, None),
        e.expected,
        support(e.support),
        e.doc
    )
}

fn support(support: Support) -> &'static str {
    match support {
        Support::Honoured => "acts as Salt's documentation says",
        Support::Later => "known, but without effect in Saltern yet",
        Support::Moot => "there is nothing it could change in Saltern",
    }
}
