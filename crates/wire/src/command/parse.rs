//! How the commands of minions are read from their loads.

use saltern_base::Jid;
use saltern_value::{Map, Value};

use super::fields::{FieldError, Fields};
use super::minion::{
    Event, FileList, FilePath, FileRecv, MineFun, MineGet, MinionEvent, MinionPub, MinionRunner,
    Pillar, Return, ReturnJid, ServeFile,
};

pub(super) fn jid(f: &mut Fields<'_>) -> Result<Jid, FieldError> {
    let text = f.need_text("jid")?;
    Jid::parse(&text).map_err(|_| f.wrong("jid", "a job id", Some(&Value::Str(text))))
}

impl Return {
    pub(super) fn parse(mut load: Map) -> Result<Self, FieldError> {
        let text = load.get("jid").cloned();
        let f = Fields { command: "_return", load: &mut load };
        let jid = match text.as_ref().and_then(Value::as_str) {
            Some("req") => ReturnJid::Allocate,
            Some(text) => Jid::parse(text)
                .map(ReturnJid::Job)
                .map_err(|_| f.wrong("jid", "a job id", Some(&Value::from(text))))?,
            None => return Err(f.wrong("jid", "a job id", text.as_ref())),
        };
        Ok(Return { jid, load })
    }
}

impl Pillar {
    pub(super) fn parse(f: &mut Fields<'_>) -> Result<Self, FieldError> {
        Ok(Pillar {
            grains: f.need_map("grains")?,
            saltenv: f.text("saltenv")?,
            pillarenv: f.text("pillarenv")?,
            pillar_override: f.map("pillar_override")?.unwrap_or_default(),
            extra_minion_data: f.map("extra_minion_data")?.unwrap_or_default(),
            ver: f.text_or("ver", "1")?,
            ext: f.value("ext"),
            clean_cache: f.truth("clean_cache"),
        })
    }
}

impl MinionEvent {
    pub(super) fn parse(mut load: Map) -> Result<Self, FieldError> {
        let events = match load.get("events") {
            None | Some(Value::Nil) => None,
            Some(_) => Fields { command: "_minion_event", load: &mut load }.list("events")?,
        };
        let f = Fields { command: "_minion_event", load: &mut load };
        let pretag = match f.load.get("pretag") {
            None | Some(Value::Nil) => None,
            Some(Value::Str(pretag)) => Some(pretag.clone()),
            Some(other) => return Err(f.wrong("pretag", "text", Some(other))),
        };
        let grains = f.load.get("grains").and_then(Value::as_map).cloned();
        let events = match events {
            Some(events) => Event::Many(
                events
                    .into_iter()
                    .map(|event| {
                        let mut event = event.into_map()?;
                        let tag = event.get_str("tag")?.to_owned();
                        Some((tag, event.remove("data").unwrap_or_default()))
                    })
                    .collect::<Option<_>>()
                    .ok_or_else(|| f.wrong("events", "a list of tags with data", None))?,
            ),
            None => {
                let tag = f.load.get("tag");
                let tag = tag.and_then(Value::as_str).ok_or_else(|| f.wrong("tag", "text", tag))?;
                Event::Single { tag: tag.to_owned(), load }
            }
        };
        Ok(MinionEvent { events, pretag, grains })
    }
}

impl MineGet {
    pub(super) fn parse(f: &mut Fields<'_>) -> Result<Self, FieldError> {
        let old_form = f.text("expr_form")?;
        let tgt_type = f.text_or("tgt_type", old_form.as_deref().unwrap_or("glob"))?;
        let tgt = f.need_value("tgt", "a target")?;
        let fun = match f.need_value("fun", "a function or a list of them")? {
            Value::Str(csv) if csv.contains(',') => {
                MineFun::Many(csv.split(',').map(|fun| fun.trim().to_owned()).collect())
            }
            Value::Str(one) => MineFun::One(one),
            Value::List(funs) => {
                let names: Option<_> =
                    funs.iter().map(|fun| fun.as_str().map(str::to_owned)).collect();
                MineFun::Many(names.ok_or_else(|| f.wrong("fun", "names", None))?)
            }
            other => return Err(f.wrong("fun", "a function or a list of them", Some(&other))),
        };
        Ok(MineGet { tgt, tgt_type, fun })
    }
}

impl FilePath {
    pub(super) fn parse(f: &mut Fields<'_>) -> Result<Self, FieldError> {
        Ok(FilePath { path: f.need_text("path")?, saltenv: f.text_or("saltenv", "base")? })
    }
}

impl ServeFile {
    pub(super) fn parse(f: &mut Fields<'_>) -> Result<Self, FieldError> {
        let gzip = match f.value("gzip") {
            None | Some(Value::Bool(false)) => None,
            Some(Value::Int(level)) => Some(level),
            Some(other) => return Err(f.wrong("gzip", "a compression level", Some(&other))),
        };
        let whole = f.value("whole").is_some_and(|wanted| wanted.truthy());
        Ok(ServeFile { file: FilePath::parse(f)?, loc: f.size("loc")?.unwrap_or(0), gzip, whole })
    }
}

impl FileList {
    pub(super) fn parse(f: &mut Fields<'_>) -> Result<Self, FieldError> {
        Ok(FileList { saltenv: f.text_or("saltenv", "base")?, prefix: f.text_or("prefix", "")? })
    }
}

impl FileRecv {
    pub(super) fn parse(f: &mut Fields<'_>) -> Result<Self, FieldError> {
        let parts = f.list("path")?.ok_or_else(|| f.wrong("path", "a list", None))?;
        let path: Option<_> = parts.iter().map(|p| p.as_str().map(str::to_owned)).collect();
        Ok(FileRecv {
            path: path.ok_or_else(|| f.wrong("path", "a list of texts", None))?,
            loc: f.size("loc")?.unwrap_or(0),
            data: f.bytes("data")?.unwrap_or_default(),
            size: f.size("size")?,
        })
    }
}

impl MinionPub {
    pub(super) fn parse(f: &mut Fields<'_>) -> Result<Self, FieldError> {
        Ok(MinionPub {
            fun: f.need_text("fun")?,
            arg: f.list("arg")?.unwrap_or_default(),
            tgt: f.need_value("tgt", "a target")?,
            tgt_type: f.text_or("tgt_type", "glob")?,
            ret: f.text_or("ret", "")?,
            tmo: f.int("tmo")?,
            form: f.text_or("form", "")?,
            no_parse: f.list("no_parse")?.unwrap_or_default(),
        })
    }
}

impl MinionRunner {
    pub(super) fn parse(f: &mut Fields<'_>) -> Result<Self, FieldError> {
        Ok(MinionRunner {
            fun: f.need_text("fun")?,
            arg: f.list("arg")?.unwrap_or_default(),
            tmo: f.int("tmo")?,
            no_parse: f.list("no_parse")?.unwrap_or_default(),
        })
    }
}
