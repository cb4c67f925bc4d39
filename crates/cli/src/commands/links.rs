//! `saltern links DIR`: links named as Salt's programs.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::{env, fs, io};

use crate::exit::{self, Failure};
use crate::printer;
use crate::program::LINKS;

/// Make links named as Salt's programs
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Directory for the links, for example /usr/local/bin
    dir: PathBuf,
    /// Replace files of those names that are no links
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &Args) -> Result<i32, Failure> {
    let executable = env::current_exe()?;
    let in_dir = |e: io::Error| Failure::generic(format!("{}: {e}", args.dir.display()));
    fs::create_dir_all(&args.dir).map_err(in_dir)?;
    for (name, _) in LINKS {
        let link = args.dir.join(name);
        match fs::symlink_metadata(&link) {
            Ok(old) if !old.is_symlink() && !args.force => {
                return Err(Failure::generic(format!(
                    "{} exists and is no link; it was left alone",
                    link.display()
                ))
                .hint("another Salt may be installed there; --force replaces its programs"));
            }
            _ => {}
        }
        // Made beside and renamed, so that the name always leads to a program.
        let temporary = args.dir.join(format!(".{name}.{}", std::process::id()));
        symlink(&executable, &temporary).map_err(in_dir)?;
        fs::rename(&temporary, &link).map_err(in_dir)?;
        printer::line(&format!("{} -> {}", link.display(), executable.display()))?;
    }
    Ok(exit::OK)
}
