//! `salt-cp`: copy files to minions.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use saltern_client::{JobRequest, LocalClient};
use saltern_config::load_master;
use saltern_value::{Map, Value};

use crate::args::{Common, Logging, OutputArgs, TargetArgs};
use crate::exit::{self, Failure};
use crate::printer::{Defaults, Printer, line};
use crate::{daemon, logging, user};

/// Copy files to minions
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    logging: Logging,
    /// Seconds to wait for each answer
    #[arg(short = 't', long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Copy in chunks: for large or binary files, and whole directories
    #[arg(short = 'C', long)]
    chunked: bool,
    /// Do not compress the chunks
    #[arg(short = 'n', long)]
    no_compression: bool,
    /// Target, then one or more sources, then the destination
    #[arg(value_name = "TARGET SOURCE ... DEST")]
    words: Vec<String>,
}

// Salt gives -C of this program to --chunked; compound targets have the long option only.
pub(crate) fn run(args: Args) -> Result<i32, Failure> {
    let loaded = load_master(&args.common.config_dir())?;
    logging::tool(&loaded.raw, &args.logging)?;
    let mut printer = Printer::new(&args.output, Defaults::of(&loaded))?;
    let chunk = usize::try_from(loaded.opts.salt_cp_chunk_size).unwrap_or(98_304).max(1);
    let timeout = args.timeout.unwrap_or(loaded.opts.timeout.unsigned_abs());
    let (Some((expression, rest)), true) = (args.words.split_first(), args.words.len() > 2) else {
        return Err(Failure::usage("salt-cp: a target, a source and a destination are required"));
    };
    let (destination, sources) = rest.split_last().map_or(("", rest), |(d, s)| (d.as_str(), s));
    let copy = Copy {
        client: LocalClient::new(&loaded.opts, &user::publisher()),
        tgt: args.target.tgt(expression),
        tgt_type: args.target.tgt_type(),
        timeout: Duration::from_secs(timeout),
        compress: !args.no_compression,
        chunk,
    };
    let result = daemon::tool_runtime()?.block_on(async {
        if args.chunked {
            copy.chunked(sources, destination).await
        } else {
            copy.whole(sources, destination).await
        }
    })?;
    let good = result.values().all(all_true);
    printer.print(&Value::Map(result), None, 0)?;
    Ok(if good { exit::OK } else { exit::GENERIC })
}

fn all_true(answer: &Value) -> bool {
    answer.as_map().is_some_and(|files| files.values().all(|v| v.as_bool() == Some(true)))
}

struct Copy {
    client: LocalClient,
    tgt: Value,
    tgt_type: &'static str,
    timeout: Duration,
    compress: bool,
    chunk: usize,
}

impl Copy {
    /// All files in one job, as text.
    async fn whole(&self, sources: &[String], destination: &str) -> Result<Map, Failure> {
        let mut files = Map::new();
        for source in sources {
            if Path::new(source).is_dir() {
                line(&format!(
                    "{source} is a directory, only files are supported in non-chunked mode. Use \
                     \"--chunked\" command line argument."
                ))?;
                return Err(Failure::new(exit::GENERIC, ""));
            }
            let text = fs::read(source).map_err(|e| missing(source, &e))?;
            let text = String::from_utf8(text).map_err(|_| {
                Failure::generic(format!("{source} is not text")).hint("use --chunked for it")
            })?;
            files.insert(source.as_str(), text);
        }
        self.job("cp.recv", vec![Value::Map(files), destination.into()]).await
    }

    async fn chunked(&self, sources: &[String], destination: &str) -> Result<Map, Failure> {
        let mut plan = Vec::new();
        for source in sources {
            let root = PathBuf::from(source);
            collect(&root, &root, &mut plan).map_err(|e| missing(source, &e))?;
        }
        let into_directory =
            plan.len() > 1 || destination.ends_with('/') || plan.iter().any(|p| p.inside.is_some());
        let mut results = Map::new();
        for entry in &plan {
            let remote = entry.remote(destination, into_directory);
            let answers = match &entry.mode {
                None => self.job("cp.recv_chunked", vec![remote.clone().into(), ().into()]).await?,
                Some(mode) => self.send(&entry.path, &remote, *mode).await?,
            };
            for (id, answer) in answers {
                match results.get_value_mut(&id).and_then(Value::as_map_mut) {
                    Some(files) => drop(files.insert(remote.as_str(), answer)),
                    None => {
                        results.insert(id, Map::from([(remote.as_str(), answer)]));
                    }
                }
            }
        }
        Ok(results)
    }

    /// One file in chunks; a minion's first failure is its result.
    async fn send(&self, path: &Path, remote: &str, mode: u32) -> Result<Map, Failure> {
        let name = path.display().to_string();
        let data = fs::read(path).map_err(|e| missing(&name, &e))?;
        let mut results = Map::new();
        let pieces: Vec<&[u8]> =
            if data.is_empty() { vec![&[]] } else { data.chunks(self.chunk).collect() };
        for (index, piece) in pieces.into_iter().enumerate() {
            let body = if self.compress { gzip(piece)? } else { piece.to_vec() };
            let arg = vec![
                remote.into(),
                STANDARD.encode(body).into(),
                (index > 0).into(),
                self.compress.into(),
                mode.into(),
            ];
            for (id, answer) in self.job("cp.recv_chunked", arg).await? {
                let good_so_far = results.get_value(&id).is_none_or(|v| *v == Value::Bool(true));
                if good_so_far {
                    results.insert(id, answer);
                }
            }
        }
        Ok(results)
    }

    async fn job(&self, fun: &str, arg: Vec<Value>) -> Result<Map, Failure> {
        let request = JobRequest {
            tgt: self.tgt.clone(),
            tgt_type: self.tgt_type.to_owned(),
            fun: fun.into(),
            arg,
            ..JobRequest::default()
        };
        let mut answers = Map::new();
        if let Some(mut running) = self.client.run(&request, self.timeout).await? {
            while let Some(answer) = running.next().await? {
                answers.insert(answer.id, answer.ret);
            }
        }
        if answers.is_empty() {
            return Err(Failure::new(exit::NO_RETURN, "No minions matched the target."));
        }
        Ok(answers)
    }
}

/// A file (with its mode) or an empty directory, and its place below the source it came from.
struct Entry {
    path: PathBuf,
    source: PathBuf,
    inside: Option<PathBuf>,
    mode: Option<u32>,
}

impl Entry {
    fn remote(&self, destination: &str, into_directory: bool) -> String {
        if !into_directory {
            return destination.to_owned();
        }
        let mut remote = PathBuf::from(destination);
        remote.extend(self.source.file_name());
        remote.extend(&self.inside);
        remote.display().to_string()
    }
}

fn collect(path: &Path, source: &Path, plan: &mut Vec<Entry>) -> std::io::Result<()> {
    let inside = path.strip_prefix(source).ok().filter(|p| !p.as_os_str().is_empty());
    let entry = |mode| Entry {
        path: path.to_path_buf(),
        source: source.to_path_buf(),
        inside: inside.map(Path::to_path_buf),
        mode,
    };
    let metadata = fs::metadata(path)?;
    if !metadata.is_dir() {
        plan.push(entry(Some(metadata.permissions().mode() & 0o7777)));
        return Ok(());
    }
    let mut children: Vec<_> = fs::read_dir(path)?.collect::<Result<_, _>>()?;
    if children.is_empty() {
        plan.push(entry(None));
    }
    children.sort_by_key(fs::DirEntry::file_name);
    children.iter().try_for_each(|child| collect(&child.path(), source, plan))
}

fn gzip(data: &[u8]) -> std::io::Result<Vec<u8>> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(data)?;
    encoder.finish()
}

fn missing(name: &str, error: &std::io::Error) -> Failure {
    Failure::new(42, format!("The referenced file, {name} is not available. ({error})"))
}
