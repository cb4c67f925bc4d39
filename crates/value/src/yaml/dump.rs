//! Values to YAML text, byte for byte what PyYAML with libyaml prints.

use libyaml_safer::{
    Emitter, Encoding, Event, MappingStyle, Result as EmitResult, ScalarStyle, SequenceStyle,
};

use super::resolve::{self, Tag};
use super::scalar::binary_text;
use crate::{Map, Value, pyrepr};

/// How a document is laid out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Everything in braces and brackets.
    pub(super) flow: bool,
    /// Spaces a level; libyaml takes 2 for anything that is not 2..=9.
    pub(super) indent: i32,
}

/// Prints one document.
pub(super) fn dump(value: &Value, layout: Layout) -> String {
    let mut out = Vec::new();
    {
        let mut emitter = Emitter::new();
        emitter.set_output_string(&mut out);
        emitter.set_unicode(true);
        emitter.set_indent(layout.indent);
        // The emitter fails on events in a wrong order and on a failing writer; there is neither.
        drop(document(&mut emitter, value, layout));
    }
    escape_astral(String::from_utf8(out).unwrap_or_default())
}

/// libyaml calls characters beyond U+FFFF not printable and our emitter does not: texts with one are
/// put in double quotes (see [`scalar`]) and the character is escaped here.
fn escape_astral(text: String) -> String {
    if !has_astral(&text) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 32);
    for c in text.chars() {
        if c > '\u{ffff}' {
            out.push_str(&format!("\\U{:08X}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

fn has_astral(text: &str) -> bool {
    text.bytes().any(|b| b >= 0xf0)
}

fn document(emitter: &mut Emitter<'_>, value: &Value, layout: Layout) -> EmitResult<()> {
    emitter.emit(Event::stream_start(Encoding::Utf8))?;
    emitter.emit(Event::document_start(None, &[], true))?;
    node(emitter, value, layout)?;
    emitter.emit(Event::document_end(true))?;
    emitter.emit(Event::stream_end())
}

fn node(emitter: &mut Emitter<'_>, value: &Value, layout: Layout) -> EmitResult<()> {
    match value {
        Value::Nil => scalar(emitter, Tag::Null, "null"),
        Value::Bool(b) => scalar(emitter, Tag::Bool, if *b { "true" } else { "false" }),
        Value::Int(i) => scalar(emitter, Tag::Int, &i.to_string()),
        Value::Big(digits) => scalar(emitter, Tag::Int, digits),
        Value::Float(f) => scalar(emitter, Tag::Float, &float(*f)),
        Value::Str(text) => scalar(emitter, Tag::Str, text),
        Value::Bytes(bytes) => emitter.emit(Event::scalar(
            None,
            Some("tag:yaml.org,2002:binary"),
            &binary_text(bytes),
            false,
            false,
            ScalarStyle::Literal,
        )),
        Value::List(items) => {
            let style = if layout.flow { SequenceStyle::Flow } else { SequenceStyle::Block };
            emitter.emit(Event::sequence_start(None, None, true, style))?;
            for item in items {
                node(emitter, item, layout)?;
            }
            emitter.emit(Event::sequence_end())
        }
        Value::Map(map) => {
            let style = if layout.flow { MappingStyle::Flow } else { MappingStyle::Block };
            emitter.emit(Event::mapping_start(None, None, true, style))?;
            for (key, member) in sorted(map) {
                node(emitter, key, layout)?;
                node(emitter, member, layout)?;
            }
            emitter.emit(Event::mapping_end())
        }
    }
}

/// A scalar may stand plain when it would be read back as the same type.
fn scalar(emitter: &mut Emitter<'_>, tag: Tag, text: &str) -> EmitResult<()> {
    let plain = resolve::plain(text) == tag;
    let quoted = tag == Tag::Str;
    let long = format!("tag:yaml.org,2002:{}", tag.name().trim_start_matches('!'));
    let style = if has_astral(text) { ScalarStyle::DoubleQuoted } else { ScalarStyle::Plain };
    emitter.emit(Event::scalar(None, Some(&long), text, plain, quoted, style))
}

fn sorted(map: &Map) -> Vec<(&Value, &Value)> {
    let mut members: Vec<_> = map.iter().collect();
    if pyrepr::comparable(map.keys()) {
        members.sort_by(|(a, _), (b, _)| pyrepr::compare(a, b));
    }
    members
}

fn float(f: f64) -> String {
    if f.is_nan() {
        ".nan".to_owned()
    } else if f.is_infinite() {
        if f > 0.0 { ".inf" } else { "-.inf" }.to_owned()
    } else {
        let text = pyrepr::float(f);
        if text.contains('e') && !text.contains('.') { text.replacen('e', ".0e", 1) } else { text }
    }
}
