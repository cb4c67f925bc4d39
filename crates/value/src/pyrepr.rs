//! Values as Python prints them.

use crate::Value;

/// Python's `repr()` of a value.
#[must_use]
pub fn repr(_value: &Value) -> String {
    todo!()
}

/// Python's `str()` of a value: text is itself, the rest as [`repr`].
#[must_use]
pub fn str(_value: &Value) -> String {
    todo!()
}

/// Python's `repr()` of a double.
#[must_use]
pub fn float(_f: f64) -> String {
    todo!()
}
