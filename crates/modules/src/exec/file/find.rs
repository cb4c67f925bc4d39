//! `file.find`: a search through directories, and shell patterns over paths.

use std::fs::{self, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fancy_regex::Regex;
use saltern_target::Glob;
use saltern_value::{Map, Value};

use super::content::regex;
use super::info::{group_name, kind, user_name};
use super::path_arg;
use crate::bind::{Bound, to_text};
use crate::context::Context;
use crate::error::Error;
use crate::exec::test::clean_kwargs;
use crate::users;

/// Files larger than this are not searched by `grep`.
const MAX_GREP: u64 = 256 << 20;

pub(super) fn path_exists_glob(_: &Context<'_>, args: Bound) -> Result<Value, Error> {
    Ok(Value::Bool(!expand(&path_arg(&args, "path")).is_empty()))
}

/// The paths a shell pattern stands for, in order.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let name = part.as_os_str().to_string_lossy().into_owned();
        if !name.contains(['*', '?', '[']) {
            for path in &mut found {
                path.push(part);
            }
            continue;
        }
        let glob = Glob::new(&name);
        let fits = |entry: &fs::DirEntry| {
            let entry = entry.file_name().to_string_lossy().into_owned();
            (name.starts_with('.') || !entry.starts_with('.')) && glob.matches(&entry)
        };
        found = found
            .into_iter()
            .flat_map(|dir| {
                let read = if dir.as_os_str().is_empty() { Path::new(".") } else { &dir };
                let entries = fs::read_dir(read).into_iter().flatten().flatten();
                entries.filter(&fits).map(|e| dir.join(e.file_name())).collect::<Vec<_>>()
            })
            .collect();
    }
    found.retain(|path| fs::symlink_metadata(path).is_ok());
    found.sort();
    found
}

/// One condition.
enum Test {
    Name(Regex),
    Type(Vec<&'static str>),
    Uid(Vec<u32>),
    Gid(Vec<u32>),
    Size(u64, u64),
    Newer(f64),
    Older(f64),
    Grep(Regex),
}

#[derive(Default)]
struct Search {
    tests: Vec<Test>,
    min_depth: Option<usize>,
    max_depth: Option<usize>,
    print: Vec<String>,
    delete: Option<Vec<&'static str>>,
    test: bool,
}

pub(super) fn find(ctx: &Context<'_>, args: Bound) -> Result<Value, Error> {
    let mut options = clean_kwargs(args.kwargs.clone());
    for word in args.varargs.iter().map(to_text) {
        match word.as_str() {
            "delete" => drop(options.insert("delete", "f")),
            "print" => drop(options.insert("print", "path")),
            _ => {}
        }
    }
    let search = match Search::read(&options) {
        Ok(search) => search,
        Err(text) => return Ok(Value::from(format!("error: {text}"))),
    };
    let mut found = Vec::new();
    for root in expand(&path_arg(&args, "path")) {
        search.walk(ctx, &root, 0, &mut found)?;
    }
    found.sort_by_key(to_text);
    Ok(Value::List(found))
}

fn types(letters: &str) -> Result<Vec<&'static str>, String> {
    letters
        .chars()
        .filter(|c| !matches!(c, ',' | ' '))
        .map(|letter| match letter {
            'b' => Ok("block"),
            'c' => Ok("char"),
            'd' => Ok("dir"),
            'f' => Ok("file"),
            'l' => Ok("link"),
            'p' => Ok("pipe"),
            's' => Ok("socket"),
            other => Err(format!("invalid file type \"{other}\"")),
        })
        .collect()
}

fn ids(names: &str, what: &str, id_of: impl Fn(&str) -> Option<u32>) -> Result<Vec<u32>, String> {
    names
        .split([',', ' '])
        .filter(|n| !n.is_empty())
        .map(|n| n.parse().ok().or_else(|| id_of(n)).ok_or(format!("no such {what} \"{n}\"")))
        .collect()
}

/// A name pattern the way `file.find` has always read them: `?` is at most one character.
fn name_pattern(glob: &str, flags: &str) -> Result<Regex, String> {
    let text = glob.replace('.', "\\.").replace('?', ".?").replace('*', ".*");
    anchored(&format!("{text}$"), flags)
}

/// Matched from the start, as Python's `re.match`.
fn anchored(pattern: &str, flags: &str) -> Result<Regex, String> {
    regex(&format!("^(?:{pattern})"), flags)
        .map_err(|_| format!("invalid regular expression: \"{pattern}\""))
}

impl Search {
    fn read(options: &Map) -> Result<Self, String> {
        let mut search = Search { print: vec!["path".to_owned()], ..Search::default() };
        for (key, value) in options {
            let value = to_text(value);
            let depth = || value.parse::<usize>().map_err(|_| format!("invalid depth: {value}"));
            match to_text(key).as_str() {
                "name" => search.tests.push(Test::Name(name_pattern(&value, "")?)),
                "iname" => search.tests.push(Test::Name(name_pattern(&value, "i")?)),
                "regex" => search.tests.push(Test::Name(anchored(&value, "")?)),
                "iregex" => search.tests.push(Test::Name(anchored(&value, "i")?)),
                "type" => search.tests.push(Test::Type(types(&value)?)),
                "owner" | "user" => {
                    let uids = ids(&value, "user", |n| users::user(n).map(|u| u.uid))?;
                    search.tests.push(Test::Uid(uids));
                }
                "group" => {
                    let gids = ids(&value, "group", |n| users::group(n).map(|g| g.gid))?;
                    search.tests.push(Test::Gid(gids));
                }
                "size" => {
                    let (min, max) = sizes(&value)?;
                    search.tests.push(Test::Size(min, max));
                }
                "mtime" => search.tests.push(interval(&value)?),
                "grep" => search.tests.push(Test::Grep(
                    regex(&value, "")
                        .map_err(|_| format!("invalid regular expression: \"{value}\""))?,
                )),
                "mindepth" => search.min_depth = Some(depth()?),
                "maxdepth" => search.max_depth = Some(depth()?),
                "print" => search.print = fields(&value)?,
                "delete" => {
                    let letters = if value.is_empty() || value == "True" { "f" } else { &value };
                    search.delete = Some(types(letters)?);
                }
                "test" => search.test = value == "True",
                "exec" => return Err("\"exec\" is not supported; use cmd.run".to_owned()),
                other => return Err(format!("invalid option \"{other}\"")),
            }
        }
        Ok(search)
    }

    fn walk(
        &self,
        ctx: &Context<'_>,
        path: &Path,
        depth: usize,
        found: &mut Vec<Value>,
    ) -> Result<(), Error> {
        if ctx.job().ended_by().is_some() {
            return Err(Error::exec("the job was ended"));
        }
        let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
        // What is below goes first, so that a directory is empty when it is to be deleted.
        if meta.is_dir() && self.max_depth.is_none_or(|max| depth < max) {
            for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                self.walk(ctx, &entry.path(), depth + 1, found)?;
            }
        }
        // Conditions look at what a link leads to, where that is there.
        let meta = fs::metadata(path).unwrap_or(meta);
        if self.min_depth.is_none_or(|min| depth >= min)
            && self.tests.iter().all(|test| test.holds(path, &meta))
        {
            self.take(path, &meta, found)?;
        }
        Ok(())
    }

    fn take(&self, path: &Path, meta: &Metadata, found: &mut Vec<Value>) -> Result<(), Error> {
        if let Some(kinds) = &self.delete {
            if !kinds.contains(&kind(meta)) {
                return Ok(());
            }
            if !self.test {
                let removed = if meta.is_dir() && !path.is_symlink() {
                    fs::remove_dir_all(path)
                } else {
                    fs::remove_file(path)
                };
                removed.map_err(|e| super::os_error(&e, path))?;
            }
        }
        let mut shown: Vec<Value> =
            self.print.iter().map(|field| show(field, path, meta)).collect();
        found.push(if shown.len() == 1 { shown.swap_remove(0) } else { Value::List(shown) });
        Ok(())
    }
}

impl Test {
    fn holds(&self, path: &Path, meta: &Metadata) -> bool {
        match self {
            Test::Name(regex) => {
                let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
                regex.is_match(name.as_ref()).unwrap_or(false)
            }
            Test::Type(kinds) => kinds.contains(&kind(meta)),
            Test::Uid(uids) => uids.contains(&meta.uid()),
            Test::Gid(gids) => gids.contains(&meta.gid()),
            Test::Size(min, max) => (*min..=*max).contains(&meta.size()),
            Test::Newer(time) => meta.mtime() as f64 >= *time,
            Test::Older(time) => meta.mtime() as f64 <= *time,
            Test::Grep(regex) => {
                let mut bytes = Vec::new();
                meta.is_file()
                    && fs::File::open(path)
                        .and_then(|f| f.take(MAX_GREP).read_to_end(&mut bytes))
                        .is_ok()
                    && regex.is_match(String::from_utf8_lossy(&bytes).as_ref()).unwrap_or(false)
            }
        }
    }
}

/// `10k`, `+1G`, `-5m`: smallest and largest size in bytes.
fn sizes(value: &str) -> Result<(u64, u64), String> {
    let invalid = || format!("invalid size: \"{value}\"");
    let (style, number) = match value.trim() {
        text if text.starts_with('-') => ('-', text.trim_start_matches('-')),
        text if text.starts_with('+') => ('+', text.trim_start_matches('+')),
        text => ('=', text),
    };
    let unit = number.chars().last().map(|c| c.to_ascii_lowercase());
    let multiplier: u64 = match unit {
        Some('k') => 1 << 10,
        Some('m') => 1 << 20,
        Some('g') => 1 << 30,
        Some('t') => 1 << 40,
        _ => 1,
    };
    let number = number.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim();
    let number: f64 = number.parse().map_err(|_| invalid())?;
    if number.is_nan() || number < 0.0 {
        return Err(invalid());
    }
    let bytes = (number * multiplier as f64) as u64;
    Ok(match style {
        '-' => (0, bytes),
        '+' => (bytes, u64::MAX),
        _ => (bytes, bytes + multiplier - 1),
    })
}

/// `3d`, `+1w2d`, `-6h`: the age in units of the smallest one named.
fn interval(value: &str) -> Result<Test, String> {
    let invalid = || format!("invalid time interval: '{value}'");
    let text: String = value.chars().filter(|c| !c.is_whitespace()).collect();
    let newer = text.starts_with('-');
    let (mut seconds, mut resolution, mut number) = (0.0, f64::MAX, String::new());
    let digits = text.trim_start_matches(['+', '-']).to_ascii_lowercase();
    if digits.is_empty() {
        return Err(invalid());
    }
    let with_unit =
        if digits.ends_with(|c: char| c.is_ascii_digit()) { format!("{digits}d") } else { digits };
    for c in with_unit.chars() {
        let unit = match c {
            '0'..='9' | '.' => {
                number.push(c);
                continue;
            }
            'w' => 604_800.0,
            'd' => 86_400.0,
            'h' => 3_600.0,
            'm' => 60.0,
            's' => 1.0,
            _ => return Err(invalid()),
        };
        let count: f64 = number.parse().map_err(|_| invalid())?;
        number.clear();
        seconds += count * unit;
        resolution = unit.min(resolution);
    }
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64());
    let time = now - (seconds / resolution).floor() * resolution;
    Ok(if newer { Test::Newer(time) } else { Test::Older(time) })
}

const FIELDS: [&str; 9] = ["path", "name", "size", "type", "mode", "user", "group", "mtime", "md5"];

fn fields(value: &str) -> Result<Vec<String>, String> {
    let names: Vec<String> = value
        .split([',', ' '])
        .filter(|n| !n.is_empty())
        .map(|n| if n == "owner" { "user".to_owned() } else { n.to_owned() })
        .collect();
    match names.iter().find(|n| !FIELDS.contains(&n.as_str())) {
        Some(unknown) => Err(format!("invalid print option: \"{unknown}\"")),
        None if names.is_empty() => Ok(vec!["path".to_owned()]),
        None => Ok(names),
    }
}

fn show(field: &str, path: &Path, meta: &Metadata) -> Value {
    match field {
        "name" => {
            Value::from(path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned())
        }
        "size" => meta.size().into(),
        "type" => Value::from(match kind(meta) {
            "file" => "f",
            "dir" => "d",
            "link" => "l",
            "char" => "c",
            "block" => "b",
            "pipe" => "p",
            _ => "s",
        }),
        "mode" => Value::from(meta.mode() & 0o777),
        "user" => user_name(meta.uid()),
        "group" => group_name(meta.gid()),
        "mtime" => meta.mtime().into(),
        "md5" => match fs::File::open(path) {
            Ok(file) if meta.is_file() => {
                saltern_crypto::HashType::Md5.hex_digest_of(file).unwrap_or_default().into()
            }
            _ => Value::from(""),
        },
        _ => Value::from(path.to_string_lossy().into_owned()),
    }
}
