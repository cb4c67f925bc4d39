//! Compound targets: words with `and`, `or`, `not` and parentheses, as Python would evaluate them.

use saltern_value::Map;

use crate::matcher::{Matcher, Part};
use crate::nodegroup::expand_nodegroup;
use crate::path::Mode;
use crate::{Options, Reads, Subject, TargetError};

/// Nesting of parentheses.
const MAX_DEPTH: usize = 100;
/// Words in one expression, node groups expanded.
const MAX_WORDS: usize = 50_000;

/// A compiled expression.
#[derive(Debug)]
pub(crate) enum Node {
    Leaf(Matcher),
    Not(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
    /// `( )`: Python's empty tuple, which is false.
    Empty,
}

impl Node {
    pub(crate) fn matches(&self, subject: &Subject<'_>, greedy: bool) -> bool {
        match self {
            Node::Leaf(matcher) => matcher.matches(subject, greedy),
            Node::Not(node) => !node.matches(subject, greedy),
            Node::And(nodes) => nodes.iter().all(|n| n.matches(subject, greedy)),
            Node::Or(nodes) => nodes.iter().any(|n| n.matches(subject, greedy)),
            Node::Empty => false,
        }
    }

    pub(crate) fn reads<'a>(&'a self, reads: &mut Reads<'a>) {
        match self {
            Node::Leaf(matcher) => matcher.reads(reads),
            Node::Not(node) => node.reads(reads),
            Node::And(nodes) | Node::Or(nodes) => nodes.iter().for_each(|n| n.reads(reads)),
            Node::Empty => {}
        }
    }

    pub(crate) fn listed<'a>(&'a self, out: &mut Vec<&'a str>) {
        match self {
            Node::Leaf(Matcher::List(ids)) => out.extend(ids.names()),
            Node::And(nodes) | Node::Or(nodes) => nodes.iter().for_each(|n| n.listed(out)),
            Node::Leaf(_) | Node::Not(_) | Node::Empty => {}
        }
    }
}

/// Whether a word is an operator rather than a target.
pub(crate) fn is_operator(word: &str) -> bool {
    matches!(word, "and" | "or" | "not" | "(" | ")")
}

enum Token {
    And,
    Or,
    Not,
    Open,
    Close,
    Operand(Node),
}

/// Reads the words of an expression. `exact_pillar`: pillar words compare without globs, for access
/// lists.
pub(crate) fn parse(
    words: Vec<String>,
    options: &Options<'_>,
    exact_pillar: bool,
) -> Result<Node, TargetError> {
    let shown = words.join(" ");
    let tokens = tokens(words, options, exact_pillar)?;
    let mut parser = Parser { tokens: tokens.into_iter().peekable(), depth: 0 };
    let node = parser.any();
    match (node, parser.tokens.peek()) {
        (Some(node), None) => Ok(node),
        _ => {
            let short: String = shown.chars().take(200).collect();
            Err(TargetError::Invalid(format!(
                "{short:?} is no compound target; words are joined by 'and' and 'or', \
                 parentheses stand alone"
            )))
        }
    }
}

fn tokens(
    words: Vec<String>,
    options: &Options<'_>,
    exact_pillar: bool,
) -> Result<Vec<Token>, TargetError> {
    let no_groups = Map::new();
    let nodegroups = options.nodegroups.unwrap_or(&no_groups);
    let mut tokens: Vec<Token> = Vec::new();
    let mut rest = words;
    rest.reverse();
    let mut read = 0;
    while let Some(word) = rest.pop() {
        read += 1;
        if read > MAX_WORDS {
            return Err(TargetError::Invalid("the compound target has too many words".to_owned()));
        }
        match word.as_str() {
            "and" => tokens.push(Token::And),
            "or" => tokens.push(Token::Or),
            "(" => tokens.push(Token::Open),
            ")" => tokens.push(Token::Close),
            "not" => {
                // "a not b" is "a and not b".
                if !matches!(tokens.last(), None | Some(Token::And | Token::Or | Token::Open)) {
                    tokens.push(Token::And);
                }
                tokens.push(Token::Not);
            }
            word => match Word::parse(word) {
                // Salt leaves an unknown group out, which breaks most expressions.
                Word { engine: Some('N'), pattern, .. } => {
                    let expanded = expand_nodegroup(pattern, nodegroups).unwrap_or_default();
                    rest.extend(expanded.into_iter().rev());
                }
                word => tokens.push(Token::Operand(Node::Leaf(word.matcher(exact_pillar)?))),
            },
        }
    }
    Ok(tokens)
}

/// `engine[delimiter]@pattern`, or just a pattern.
struct Word<'a> {
    engine: Option<char>,
    delimiter: &'a str,
    pattern: &'a str,
}

impl<'a> Word<'a> {
    fn parse(word: &'a str) -> Self {
        let glob = Word { engine: None, delimiter: ":", pattern: word };
        let mut chars = word.chars();
        let Some(engine) = chars.next().filter(|c| "GPIJLNSER".contains(*c)) else { return glob };
        let rest = chars.as_str();
        // The delimiter is tried first: in "G@@a" it is the first "@".
        if "GPIJ".contains(engine) {
            let mut chars = rest.chars();
            if chars.next().is_some()
                && let Some(pattern) = chars.as_str().strip_prefix('@').filter(|p| !p.is_empty())
            {
                let delimiter = rest.strip_suffix(chars.as_str()).unwrap_or(":");
                return Word { engine: Some(engine), delimiter, pattern };
            }
        }
        match rest.strip_prefix('@').filter(|p| !p.is_empty()) {
            Some(pattern) => Word { engine: Some(engine), delimiter: ":", pattern },
            None => glob,
        }
    }

    fn matcher(&self, exact_pillar: bool) -> Result<Matcher, TargetError> {
        let path = |part, mode| Ok(Matcher::path(part, self.pattern, self.delimiter, mode));
        match self.engine {
            None => Ok(Matcher::glob(self.pattern)),
            Some('G') => path(Part::Grains, Mode::Glob),
            Some('P') => path(Part::Grains, Mode::Pcre),
            Some('I' | 'J') if exact_pillar => path(Part::Pillar, Mode::Exact),
            Some('I') => path(Part::Pillar, Mode::Glob),
            Some('J') => path(Part::Pillar, Mode::Pcre),
            Some('L') => Ok(Matcher::list(self.pattern.split(','))),
            // An address that is none matches nobody, the rest of the expression counts.
            Some('S') => Ok(Matcher::ip(self.pattern).unwrap_or(Matcher::Never)),
            Some('E') => Matcher::pcre(self.pattern),
            Some(other) => Err(TargetError::Invalid(format!(
                "there is no matcher for {other}@ in a compound target"
            ))),
        }
    }
}

struct Parser<I: Iterator<Item = Token>> {
    tokens: std::iter::Peekable<I>,
    depth: usize,
}

impl<I: Iterator<Item = Token>> Parser<I> {
    fn any(&mut self) -> Option<Node> {
        let mut nodes = vec![self.all()?];
        while self.tokens.next_if(|t| matches!(t, Token::Or)).is_some() {
            nodes.push(self.all()?);
        }
        Some(if nodes.len() == 1 { nodes.swap_remove(0) } else { Node::Or(nodes) })
    }

    fn all(&mut self) -> Option<Node> {
        let mut nodes = vec![self.one()?];
        while self.tokens.next_if(|t| matches!(t, Token::And)).is_some() {
            nodes.push(self.one()?);
        }
        Some(if nodes.len() == 1 { nodes.swap_remove(0) } else { Node::And(nodes) })
    }

    fn one(&mut self) -> Option<Node> {
        match self.tokens.next()? {
            Token::Operand(node) => Some(node),
            Token::Not => {
                // "not not" cannot come: an "and" stands between them, which is an error.
                Some(Node::Not(Box::new(self.one()?)))
            }
            Token::Open => {
                if self.depth >= MAX_DEPTH {
                    return None;
                }
                if self.tokens.next_if(|t| matches!(t, Token::Close)).is_some() {
                    return Some(Node::Empty);
                }
                self.depth += 1;
                let node = self.any()?;
                self.depth -= 1;
                self.tokens.next_if(|t| matches!(t, Token::Close))?;
                Some(node)
            }
            Token::And | Token::Or | Token::Close => None,
        }
    }
}
