//! What an option is: the macro that declares each one once, and how values become typed fields.

use std::path::PathBuf;

use saltern_base::secret::Secret;
use saltern_value::{Map, Value};

/// A default, written as a constant of the binary.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Preset {
    /// The default inside, which `config.get` does not show: Salt has no such name among its own
    /// defaults and treats a missing one like this.
    Quiet(&'static Preset),
    /// Python's `None`.
    Nil,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A double.
    Float(f64),
    /// Text.
    Str(&'static str),
    /// A list of texts.
    List(&'static [&'static str]),
    /// An empty mapping.
    EmptyMap,
    /// A mapping of environment names to directories.
    Roots(&'static [&'static str]),
}

impl Preset {
    /// The default as a value.
    #[must_use]
    pub(crate) fn value(self) -> Value {
        let texts = |list: &[&str]| Value::List(list.iter().map(|s| Value::from(*s)).collect());
        match self {
            Preset::Nil => Value::Nil,
            Preset::Quiet(inner) => inner.value(),
            Preset::Bool(b) => Value::Bool(b),
            Preset::Int(i) => Value::Int(i),
            Preset::Float(f) => Value::Float(f),
            Preset::Str(s) => Value::from(s),
            Preset::List(list) => texts(list),
            Preset::EmptyMap => Value::Map(Map::new()),
            Preset::Roots(dirs) => {
                let mut map = Map::new();
                map.insert("base", texts(dirs));
                Value::Map(map)
            }
        }
    }
}

/// How far Saltern acts on an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Does what Salt's documentation says.
    Honoured,
    /// Salt knows it; setting it has no effect in Saltern yet, which is warned of.
    Later,
    /// There is nothing it could change in Saltern (Python processes, niceness of workers ...).
    Moot,
}

/// One declared option.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    /// Its name in the file.
    pub name: &'static str,
    /// Former names that still work.
    pub aliases: &'static [&'static str],
    /// What a value has to be, for people.
    pub expected: &'static str,
    /// What it is when nobody sets it.
    pub default: Preset,
    /// What it does.
    pub doc: &'static str,
    /// Whether it acts.
    pub support: Support,
    /// Whether its value must not be shown.
    pub secret: bool,
    /// Whether a value is of its type.
    pub accepts: fn(&Value) -> bool,
}

/// A value that is not of the option's type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WrongType {
    /// The option.
    pub name: &'static str,
    /// What it has to be.
    pub expected: &'static str,
    /// What it is (a value or its Python type).
    pub found: String,
}

/// A type an option can have.
pub(crate) trait OptionValue: Sized {
    /// What a value has to be, for people: follows "is required".
    const EXPECTED: &'static str;

    /// Whether values must not be shown.
    const SECRET: bool = false;

    /// The typed value; `None` when it is of another type.
    fn read(value: &Value) -> Option<Self>;
}

impl OptionValue for bool {
    const EXPECTED: &'static str = "True or False";
    fn read(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl OptionValue for i64 {
    const EXPECTED: &'static str = "a whole number";
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Int(i) => Some(*i),
            // Salt's check passes whatever Python's int() takes, so quoted numbers are common.
            Value::Str(s) => s.trim().parse().ok(),
            _ => None,
        }
    }
}

impl OptionValue for f64 {
    const EXPECTED: &'static str = "a number";
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Int(_) | Value::Float(_) => value.as_f64(),
            Value::Str(s) => s.trim().parse().ok(),
            _ => None,
        }
        .filter(|f| f.is_finite())
    }
}

impl OptionValue for u16 {
    const EXPECTED: &'static str = "a port number (0 to 65535)";
    fn read(value: &Value) -> Option<Self> {
        i64::read(value).and_then(|i| u16::try_from(i).ok())
    }
}

impl OptionValue for String {
    const EXPECTED: &'static str = "text";
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Str(s) => Some(s.clone()),
            Value::Int(i) => Some(i.to_string()),
            Value::Big(s) => Some(s.to_string()),
            Value::Float(f) => Some(f.to_string()),
            Value::Bool(b) => Some(if *b { "True" } else { "False" }.to_owned()),
            _ => None,
        }
    }
}

impl OptionValue for PathBuf {
    const EXPECTED: &'static str = "a path";
    fn read(value: &Value) -> Option<Self> {
        value.as_str().map(PathBuf::from)
    }
}

impl OptionValue for Secret<String> {
    const EXPECTED: &'static str = "text";
    const SECRET: bool = true;
    fn read(value: &Value) -> Option<Self> {
        String::read(value).map(Secret::new)
    }
}

macro_rules! optional {
    ($($ty:ty = $expected:literal;)*) => {$(
        impl OptionValue for Option<$ty> {
            const EXPECTED: &'static str = $expected;
            const SECRET: bool = <$ty>::SECRET;
            fn read(value: &Value) -> Option<Self> {
                if value.is_nil() { Some(None) } else { <$ty>::read(value).map(Some) }
            }
        }
    )*};
}

optional! {
    bool = "True, False or nothing";
    i64 = "a whole number or nothing";
    PathBuf = "a path or nothing";
    u16 = "a port number (0 to 65535) or nothing";
    String = "text or nothing";
    Secret<String> = "text or nothing";
}

impl OptionValue for Vec<String> {
    const EXPECTED: &'static str = "a list";
    fn read(value: &Value) -> Option<Self> {
        value.as_list()?.iter().map(String::read).collect()
    }
}

impl OptionValue for Vec<Value> {
    const EXPECTED: &'static str = "a list";
    fn read(value: &Value) -> Option<Self> {
        value.as_list().map(<[Value]>::to_vec)
    }
}

impl OptionValue for Map {
    const EXPECTED: &'static str = "a mapping";
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Map(map) => Some(map.clone()),
            // A list of mappings says the same with an order; Salt unpacks it where it is usual.
            Value::List(list) => {
                let mut all = Map::new();
                for item in list {
                    for (key, value) in item.as_map()?.iter() {
                        all.insert(key.clone(), value.clone());
                    }
                }
                Some(all)
            }
            _ => None,
        }
    }
}

impl OptionValue for Value {
    const EXPECTED: &'static str = "any value";
    fn read(value: &Value) -> Option<Self> {
        Some(value.clone())
    }
}

/// One text or several: what `master`, `syndic_master` and the like hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OneOrMany {
    /// The texts, in the file's order.
    pub items: Vec<String>,
    /// Whether the file had a list (Salt treats a list of one otherwise than a text).
    pub is_list: bool,
}

impl OptionValue for OneOrMany {
    const EXPECTED: &'static str = "text or a list of texts";
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::List(_) => Some(OneOrMany { items: Vec::<String>::read(value)?, is_list: true }),
            _ => Some(OneOrMany { items: vec![String::read(value)?], is_list: false }),
        }
    }
}

/// Environments and their directories in search order: `file_roots` and `pillar_roots`.
pub type Roots = Vec<(String, Vec<PathBuf>)>;

impl OptionValue for Roots {
    const EXPECTED: &'static str = "a mapping of environments to lists of directories";
    fn read(value: &Value) -> Option<Self> {
        let dirs = |value: &Value| match value {
            // Salt takes anything that is no list as no directory at all.
            Value::List(list) => list.iter().map(PathBuf::read).collect::<Option<Vec<_>>>(),
            _ => Some(Vec::new()),
        };
        value.as_map()?.iter().map(|(env, list)| Some((String::read(env)?, dirs(list)?))).collect()
    }
}

/// Reads option `name` out of the merged mapping, or from its default when it is not there. The
/// first value of a wrong type is noted, and something stands for it: hundreds of calls that may
/// each end the reading of a structure make a quarter of a megabyte of code.
#[inline(never)]
pub(crate) fn field<T: OptionValue + Default>(
    raw: &Map,
    name: &'static str,
    default: Preset,
    wrong: &mut Option<WrongType>,
) -> T {
    let mut read = |value: &Value| {
        T::read(value).unwrap_or_else(|| {
            let found = found(value);
            wrong.get_or_insert(WrongType { name, expected: T::EXPECTED, found });
            T::default()
        })
    };
    match raw.get(name) {
        Some(value) => read(value),
        None => read(&default.value()),
    }
}

/// A scalar as text, the way Python's `str` writes it; empty for anything else.
pub(crate) fn text_of(value: &Value) -> String {
    String::read(value).unwrap_or_default()
}

/// A value as a message shows it.
pub(crate) fn found(value: &Value) -> String {
    match value {
        Value::Str(s) if s.chars().count() <= 60 => format!("'{s}' (str)"),
        Value::Int(_) | Value::Big(_) | Value::Float(_) => {
            format!("{} ({})", text_of(value), value.type_name())
        }
        Value::Bool(b) => format!("{} (bool)", if *b { "True" } else { "False" }),
        other => other.type_name().to_owned(),
    }
}

/// Declares a program's options: from each row come the typed field, its doc and its [`Spec`].
///
/// A row is `/// doc`, then `name ["former name"]: Type = Default => Support;`.
macro_rules! define_options {
    (
        $(#[$meta:meta])* $struct:ident, $table:ident;
        $( $(#[doc = $doc:literal])+ $name:ident $([$($alias:literal),+])? : $ty:ty
           = $default:expr => $support:ident; )*
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug)]
        pub struct $struct { $( $(#[doc = $doc])+ pub $name: $ty, )* }

        pub(crate) static $table: &[$crate::option::Spec] = &[ $( $crate::option::Spec {
            name: stringify!($name),
            aliases: &[$($($alias),+)?],
            expected: <$ty as $crate::option::OptionValue>::EXPECTED,
            default: $default,
            doc: concat!($($doc),+),
            support: $crate::option::Support::$support,
            secret: <$ty as $crate::option::OptionValue>::SECRET,
            accepts: |value| <$ty as $crate::option::OptionValue>::read(value).is_some(),
        }, )* ];

        impl $struct {
            pub(crate) fn read(
                raw: &saltern_value::Map,
            ) -> Result<Self, $crate::option::WrongType> {
                let mut wrong = None;
                let read = Self {
                    $( $name: $crate::option::field(
                        raw, stringify!($name), $default, &mut wrong
                    ), )*
                };
                wrong.map_or(Ok(read), Err)
            }
        }
    };
}
pub(crate) use define_options;
