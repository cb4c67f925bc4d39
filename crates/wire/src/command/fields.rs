//! Typed access to the members of a command's load.

use std::fmt;

use saltern_value::{Map, Value};

/// A member is missing or of the wrong type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The command.
    pub command: String,
    /// The member.
    pub field: &'static str,
    /// What it must be.
    pub expected: &'static str,
    /// What it is, as Python names types; `nothing` when missing.
    pub found: &'static str,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FieldError { command, field, expected, found } = self;
        write!(f, "{command}: {field} must be {expected}, not {found}")
    }
}

impl std::error::Error for FieldError {}

/// The load of a command, taken apart member by member. `None` counts as missing, as Salt's
/// clients send it for what is not set.
pub(super) struct Fields<'a> {
    pub(super) command: &'a str,
    pub(super) load: &'a mut Map,
}

type Result<T> = std::result::Result<T, FieldError>;

impl Fields<'_> {
    fn take(&mut self, field: &str) -> Option<Value> {
        self.load.remove(field).filter(|v| !v.is_nil())
    }

    pub(super) fn wrong(
        &self,
        field: &'static str,
        expected: &'static str,
        found: Option<&Value>,
    ) -> FieldError {
        FieldError {
            command: self.command.to_owned(),
            field,
            expected,
            found: found.map_or("nothing", Value::type_name),
        }
    }

    fn typed<T>(
        &mut self,
        field: &'static str,
        expected: &'static str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>> {
        match self.take(field) {
            None => Ok(None),
            Some(value) => {
                read(&value).map(Some).ok_or_else(|| self.wrong(field, expected, Some(&value)))
            }
        }
    }

    pub(super) fn value(&mut self, field: &str) -> Option<Value> {
        self.take(field)
    }

    pub(super) fn need_value(
        &mut self,
        field: &'static str,
        expected: &'static str,
    ) -> Result<Value> {
        self.take(field).ok_or_else(|| self.wrong(field, expected, None))
    }

    pub(super) fn text(&mut self, field: &'static str) -> Result<Option<String>> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::Str(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(field, "text", Some(&other))),
        }
    }

    pub(super) fn need_text(&mut self, field: &'static str) -> Result<String> {
        self.text(field)?.ok_or_else(|| self.wrong(field, "text", None))
    }

    /// Text, or the default where Salt's clients send nothing, `None` or an empty text.
    pub(super) fn text_or(&mut self, field: &'static str, default: &str) -> Result<String> {
        Ok(self.text(field)?.filter(|t| !t.is_empty()).unwrap_or_else(|| default.to_owned()))
    }

    pub(super) fn truth(&mut self, field: &str) -> bool {
        self.take(field).is_some_and(|v| v.truthy())
    }

    pub(super) fn int(&mut self, field: &'static str) -> Result<Option<i64>> {
        self.typed(field, "an integer", |v| match v {
            Value::Int(i) => Some(*i),
            Value::Float(f) => Some(*f as i64),
            _ => None,
        })
    }

    /// An offset or size.
    pub(super) fn size(&mut self, field: &'static str) -> Result<Option<u64>> {
        self.typed(field, "a number of bytes", |v| v.as_int().and_then(|i| u64::try_from(i).ok()))
    }

    pub(super) fn map(&mut self, field: &'static str) -> Result<Option<Map>> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::Map(map)) => Ok(Some(map)),
            Some(other) => Err(self.wrong(field, "a mapping", Some(&other))),
        }
    }

    pub(super) fn need_map(&mut self, field: &'static str) -> Result<Map> {
        self.map(field)?.ok_or_else(|| self.wrong(field, "a mapping", None))
    }

    pub(super) fn list(&mut self, field: &'static str) -> Result<Option<Vec<Value>>> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::List(list)) => Ok(Some(list)),
            Some(other) => Err(self.wrong(field, "a list", Some(&other))),
        }
    }

    pub(super) fn bytes(&mut self, field: &'static str) -> Result<Option<Vec<u8>>> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::Bytes(bytes)) => Ok(Some(bytes)),
            Some(Value::Str(text)) => Ok(Some(text.into_bytes())),
            Some(other) => Err(self.wrong(field, "bytes", Some(&other))),
        }
    }
}
