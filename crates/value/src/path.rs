//! `a:b:c` look-ups through nested mappings and lists, as Salt's `traverse_dict_and_list` does.

use crate::Value;

/// Walks `path` (keys joined by `delimiter`) from `root`. A list is entered by index, or, for a
/// key that is no index, the first mapping in it that has the key is taken.
#[must_use]
pub fn get<'a>(root: &'a Value, path: &str, delimiter: &str) -> Option<&'a Value> {
    path.split(delimiter).try_fold(root, step)
}

fn step<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Map(m) => {
            m.get(key).or_else(|| key.parse::<i64>().ok().and_then(|i| m.get_value(&Value::Int(i))))
        }
        Value::List(l) => match key.parse::<usize>() {
            Ok(i) => l.get(i),
            Err(_) => l.iter().find_map(|item| item.get(key)),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Map;

    #[test]
    fn walks_maps_and_lists() {
        let v = Value::Map(Map::from([(
            "a",
            Value::List(vec![Value::from("x"), Value::Map(Map::from([("b", 5)]))]),
        )]));
        assert_eq!(get(&v, "a:0", ":"), Some(&Value::from("x")));
        assert_eq!(get(&v, "a:1:b", ":"), Some(&Value::Int(5)));
        assert_eq!(get(&v, "a:b", ":"), Some(&Value::Int(5)));
        assert_eq!(get(&v, "a:9", ":"), None);
    }
}
