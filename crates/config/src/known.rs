//! The options of Salt that have no field here (yet): names, types and defaults of Salt 3006 and
//! the further names of 3008, so that none of them is taken for a mistake.

use saltern_value::{Value, json};

use crate::option::Support;

/// One line an option: name, types, support, the master's default, the minion's default. A
/// default is JSON, `-` where Salt has none, and `=` where the typed table has the option.
static TABLE: &str = include_str!("known.tsv");

/// Whose options are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Master,
    Minion,
}

impl Role {
    /// The program's name in files and messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Role::Master => "master",
            Role::Minion => "minion",
        }
    }

    pub(crate) fn other(self) -> Role {
        match self {
            Role::Master => Role::Minion,
            Role::Minion => Role::Master,
        }
    }
}

/// An option Salt knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) name: &'static str,
    types: &'static str,
    pub(crate) support: Support,
    default: &'static str,
    /// Whether the other program has a field for it.
    pub(crate) of_other: bool,
}

/// All such options, by name.
pub(crate) fn all(role: Role) -> impl Iterator<Item = Known> {
    TABLE.lines().filter_map(move |line| parse(line, role))
}

/// The option of that name.
pub(crate) fn find(role: Role, name: &str) -> Option<Known> {
    let line = TABLE.lines().find(|line| line.split('\t').next() == Some(name))?;
    parse(line, role)
}

fn parse(line: &'static str, role: Role) -> Option<Known> {
    let mut columns = line.split('\t');
    let (name, types, support) = (columns.next()?, columns.next()?, columns.next()?);
    let (master, minion) = (columns.next()?, columns.next()?);
    let (default, other) = match role {
        Role::Master => (master, minion),
        Role::Minion => (minion, master),
    };
    let support = match support {
        "honoured" => Support::Honoured,
        "moot" => Support::Moot,
        _ => Support::Later,
    };
    (default != "=").then_some(Known { name, types, support, default, of_other: other == "=" })
}

impl Known {
    /// Salt's default; `None` when Salt has none.
    pub(crate) fn default(&self) -> Option<Value> {
        match self.default {
            "-" => None,
            "null" => Some(Value::Nil),
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            "[]" => Some(Value::List(Vec::new())),
            "{}" => Some(Value::Map(saltern_value::Map::new())),
            text => match text.parse() {
                Ok(number) => Some(Value::Int(number)),
                Err(_) => json::parse(text).ok(),
            },
        }
    }

    /// What a value has to be, for people.
    pub(crate) fn expected(&self) -> String {
        let words = self.types.split('/').map(|t| match t {
            "bool" => "True or False",
            "int" => "a whole number",
            "float" => "a number",
            "str" => "text",
            "list" => "a list",
            "dict" => "a mapping",
            "none" => "nothing",
            _ => "any value",
        });
        words.collect::<Vec<_>>().join(" or ")
    }

    /// Whether a value is of its type, as Salt checks it.
    pub(crate) fn accepts(&self, value: &Value) -> bool {
        self.types.split('/').any(|t| match t {
            "bool" => matches!(value, Value::Bool(_)),
            "int" => match value {
                Value::Str(s) => s.trim().parse::<i64>().is_ok(),
                other => matches!(other, Value::Int(_) | Value::Big(_)),
            },
            "float" => match value {
                Value::Str(s) => s.trim().parse::<f64>().is_ok(),
                other => other.as_f64().is_some(),
            },
            "str" => !matches!(value, Value::List(_) | Value::Map(_)),
            "list" => matches!(value, Value::List(_)),
            "dict" => matches!(value, Value::Map(_) | Value::List(_)),
            "none" => value.is_nil(),
            _ => true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_sound() {
        for role in [Role::Master, Role::Minion] {
            for line in TABLE.lines() {
                assert_eq!(line.split('\t').count(), 5, "{line}");
            }
            for known in all(role) {
                let default = known.default();
                assert!(default.is_some() || known.default == "-", "{}", known.name);
            }
        }
        assert_eq!(find(Role::Master, "publish_port").map(|k| k.name), None, "it has a field");
        assert!(find(Role::Minion, "auto_accept").is_some_and(|k| k.of_other));
    }
}
