//! `-d`: documentation of functions, as `sys.doc` returns it.

use std::collections::BTreeMap;

use saltern_value::{Map, Value};

use crate::exit::{self, Failure};
use crate::printer::Printer;

/// Prints the documentation that the minions of `answers` gave, each function once.
pub(crate) fn print(printer: &mut Printer, answers: &Map) -> Result<(), Failure> {
    if answers.is_empty() {
        return Err(Failure::new(exit::NO_RETURN, "No minions found to gather docs from"));
    }
    let mut docs = BTreeMap::new();
    for functions in answers.values().filter_map(Value::as_map) {
        for (name, text) in functions {
            if let (Some(name), Some(text)) = (name.as_str(), text.as_str()) {
                docs.entry(name).or_insert(text);
            }
        }
    }
    for (name, text) in docs {
        if printer.chosen().is_some() {
            printer.print(&Value::Map(Map::from([(name, text)])), None, 0)?;
        } else {
            printer.write(&format!("{name}:\n{text}\n"))?;
        }
    }
    Ok(())
}
