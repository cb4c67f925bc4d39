//! `config --explain OPTION`: what an option is, does and is set to, and who said so.

use saltern_value::Value;

use crate::error::Place;
use crate::load::Loaded;
use crate::option::Support;

/// All there is to say about one option.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Its name.
    pub name: String,
    /// What it has to be.
    pub expected: String,
    /// Its default, when it has one.
    pub default: Option<Value>,
    /// Its value now.
    pub value: Value,
    /// Where it was set; `None` when the default holds.
    pub place: Option<Place>,
    /// What it does.
    pub doc: String,
    /// Whether Saltern acts on it.
    pub support: Support,
}

impl<T> Loaded<T> {
    /// Explains an option by its name or a former name; `None` when no such option is known or
    /// set.
    #[must_use]
    pub fn explain(&self, option: &str) -> Option<Explanation> {
        let _ = option;
        todo!()
    }
}
