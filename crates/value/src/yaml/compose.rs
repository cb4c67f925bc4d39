//! Parser events to a graph of nodes: anchors are resolved, nothing is built yet.

use std::collections::HashMap;

use libyaml_safer::{Event, EventData, Mark, Parser, ScalarStyle};

use super::YamlError;
use super::resolve::{self, Tag};

/// Nesting of lists and mappings; the same as values may have on the wire.
pub(super) const MAX_DEPTH: usize = 200;

/// Index of a node in its [`Graph`].
pub(super) type NodeId = usize;

/// One node: an alias is a second reference to the same one.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) tag: Tag,
    pub(super) kind: Kind,
    pub(super) at: Position,
}

/// What a node consists of.
#[derive(Debug)]
pub(super) enum Kind {
    Scalar(String),
    Seq(Vec<NodeId>),
    Map(Vec<(NodeId, NodeId)>),
}

/// Where a node starts, both counted from 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// All nodes of one document.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
}

impl Position {
    fn of(mark: Mark) -> Self {
        let from_one = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).saturating_add(1);
        Position { line: from_one(mark.line), column: from_one(mark.column) }
    }

    /// An error at this place.
    pub(super) fn error(self, message: impl Into<String>) -> YamlError {
        YamlError { file: None, line: self.line, column: self.column, message: message.into() }
    }
}

/// Reads the only document of a text; `None` when there is none.
///
/// The scanner panics on a block scalar, and on a backslash in double quotes, that the text ends
/// with. Such texts get a line break, which is taken back out of the scalar. The one panic left that
/// texts are known to reach is a tag right in front of a comma (`[!!str, a]`).
pub(super) fn compose(text: &str) -> Result<Option<(Graph, NodeId)>, YamlError> {
    let ends_open = !text.is_empty() && !text.ends_with(LINE_BREAKS);
    let risky = text.contains(['|', '>']) || text.ends_with('\\');
    let padded = (ends_open && risky).then(|| format!("{text}\n"));
    let read = || compose_one(padded.as_deref().unwrap_or(text), padded.is_some());
    let composed = std::panic::catch_unwind(read).unwrap_or_else(|_| {
        Err(Position { line: 1, column: 1 }
            .error("this YAML cannot be read; is there a tag (!...) right in front of a comma?"))
    });
    composed.map_err(|mut e| {
        // Only in quotes the end of the text counts as a place on its last line.
        if padded.is_some() && e.message.starts_with("while scanning a quoted scalar") {
            e.line = e.line.min(text.split('\n').count());
        }
        e
    })
}

const LINE_BREAKS: [char; 5] = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];

fn compose_one(text: &str, padded: bool) -> Result<Option<(Graph, NodeId)>, YamlError> {
    let mut bytes = text.as_bytes();
    let mut parser = Parser::new();
    parser.set_input_string(&mut bytes);
    parser.set_encoding(libyaml_safer::Encoding::Utf8);
    let mut composer = Composer {
        text,
        parser,
        graph: Graph::default(),
        anchors: HashMap::new(),
        depth: 0,
        last_block: None,
    };
    composer.next()?; // the start of the stream
    let event = composer.next()?;
    if matches!(event.data, EventData::StreamEnd) {
        return Ok(None);
    }
    let event = composer.next()?; // the one above started the document
    let root = composer.node(event)?;
    composer.next()?; // the end of the document
    let event = composer.next()?;
    if !matches!(event.data, EventData::StreamEnd) {
        return Err(Position::of(event.start_mark)
            .error("a second document starts here; only one is expected in a file"));
    }
    if padded {
        composer.take_padding_back();
    }
    Ok(Some((composer.graph, root)))
}

struct Composer<'r, 'b> {
    text: &'b str,
    parser: Parser<&'r mut &'b [u8]>,
    graph: Graph,
    anchors: HashMap<String, NodeId>,
    depth: usize,
    /// The scalar read last, when it is a block scalar, and the line (from 0) it ends on.
    last_block: Option<(NodeId, u64)>,
}

impl Composer<'_, '_> {
    fn next(&mut self) -> Result<Event, YamlError> {
        self.parser.parse().map_err(|e| {
            let at = e.problem_mark().map_or_else(|| self.bad_character(), Position::of);
            let context = e.context().map_or_else(String::new, |c| format!("{c}: "));
            at.error(format!("{context}{}", e.problem()))
        })
    }

    /// Place of the first character YAML does not allow (the reader reports none).
    fn bad_character(&self) -> Position {
        let allowed = |c: char| {
            matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}'
                | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
                && c != '\u{feff}'
        };
        let before: &str = self.text.split(|c| !allowed(c)).next().unwrap_or_default();
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        Position { line, column }
    }

    /// Removes the line break that was put behind the text from the scalar that has got it.
    fn take_padding_back(&mut self) {
        let last_line = self.text.trim_end_matches('\n').rsplit(LINE_BREAKS).next().unwrap_or("");
        let lines = self.text.matches('\n').count() as u64;
        let Some((id, end)) = self.last_block else { return };
        let Some(Node { kind: Kind::Scalar(value), .. }) = self.graph.nodes.get_mut(id) else {
            return;
        };
        let is_blank = |line: &str| line.bytes().all(|b| b == b' ');
        let last_of_value = value.strip_suffix('\n').and_then(|v| v.rsplit('\n').next());
        // A blank last line only counts when it is kept (`|+`) or longer than the indentation.
        if end >= lines && (!is_blank(last_line) || last_of_value.is_some_and(is_blank)) {
            value.truncate(value.len() - usize::from(value.ends_with('\n')));
        }
    }

    fn add(&mut self, anchor: Option<String>, node: Node) -> Result<NodeId, YamlError> {
        let id = self.graph.nodes.len();
        if let Some(anchor) = anchor {
            if let Some(first) = self.anchors.get(&anchor) {
                let first = self.graph.nodes.get(*first).map_or(0, |n| n.at.line);
                return Err(node
                    .at
                    .error(format!("the anchor &{anchor} is there twice, first on line {first}")));
            }
            self.anchors.insert(anchor, id);
        }
        self.graph.nodes.push(node);
        Ok(id)
    }

    fn node(&mut self, event: Event) -> Result<NodeId, YamlError> {
        let at = Position::of(event.start_mark);
        let end = event.end_mark.line;
        self.last_block = None;
        let explicit = |tag: Option<String>| tag.filter(|t| t != "!").map(|t| Tag::explicit(&t));
        match event.data {
            EventData::Alias { anchor } => {
                self.anchors.get(&anchor).copied().ok_or_else(|| {
                    at.error(format!("there is no anchor &{anchor} before this alias"))
                })
            }
            EventData::Scalar { anchor, tag, value, plain_implicit, style, .. } => {
                let tag = explicit(tag).unwrap_or_else(|| {
                    if plain_implicit { resolve::plain(&value) } else { Tag::Str }
                });
                let id = self.add(anchor, Node { tag, kind: Kind::Scalar(value), at })?;
                let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                self.last_block = block.then_some((id, end));
                Ok(id)
            }
            EventData::SequenceStart { anchor, tag, .. } => {
                let tag = explicit(tag).unwrap_or(Tag::Seq);
                let id = self.add(anchor, Node { tag, kind: Kind::Seq(Vec::new()), at })?;
                let items = self.nested(at, Self::items)?;
                self.fill(id, Kind::Seq(items));
                Ok(id)
            }
            EventData::MappingStart { anchor, tag, .. } => {
                let tag = explicit(tag).unwrap_or(Tag::Map);
                let id = self.add(anchor, Node { tag, kind: Kind::Map(Vec::new()), at })?;
                let pairs = self.nested(at, Self::pairs)?;
                self.fill(id, Kind::Map(pairs));
                Ok(id)
            }
            _ => Err(at.error("a value is expected here")),
        }
    }

    fn fill(&mut self, id: NodeId, kind: Kind) {
        if let Some(node) = self.graph.nodes.get_mut(id) {
            node.kind = kind;
        }
    }

    fn nested<T>(
        &mut self,
        at: Position,
        read: impl FnOnce(&mut Self) -> Result<T, YamlError>,
    ) -> Result<T, YamlError> {
        if self.depth >= MAX_DEPTH {
            return Err(at.error(format!("nested more than {MAX_DEPTH} levels deep")));
        }
        self.depth += 1;
        let out = read(self);
        self.depth -= 1;
        out
    }

    fn items(&mut self) -> Result<Vec<NodeId>, YamlError> {
        let mut items = Vec::new();
        loop {
            let event = self.next()?;
            if matches!(event.data, EventData::SequenceEnd) {
                return Ok(items);
            }
            items.push(self.node(event)?);
        }
    }

    fn pairs(&mut self) -> Result<Vec<(NodeId, NodeId)>, YamlError> {
        let mut pairs = Vec::new();
        loop {
            let event = self.next()?;
            if matches!(event.data, EventData::MappingEnd) {
                return Ok(pairs);
            }
            let key = self.node(event)?;
            let event = self.next()?;
            pairs.push((key, self.node(event)?));
        }
    }
}
