//! Deep merging of mappings (Salt's `dictupdate`).

use crate::{Map, Value};

/// Merges `upper` into `lower`: mappings recurse, lists are replaced, or joined (without doubles)
/// when `join_lists` is set.
pub fn deep(lower: &mut Map, upper: Map, join_lists: bool) {
    for (key, new) in upper {
        match (lower.get_value_mut(&key), new) {
            (Some(Value::Map(old)), Value::Map(new)) => deep(old, new, join_lists),
            (Some(Value::List(old)), Value::List(new)) if join_lists => {
                for item in new {
                    if !old.contains(&item) {
                        old.push(item);
                    }
                }
            }
            (_, new) => {
                lower.insert(key, new);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_recurse_and_the_rest_is_replaced() {
        let mut low = Map::from([("m", Value::Map(Map::from([("a", 1), ("b", 2)])))]);
        deep(&mut low, Map::from([("m", Value::Map(Map::from([("b", 3)])))]), false);
        assert_eq!(low.get("m").and_then(|m| m.get("a")), Some(&Value::Int(1)));
        assert_eq!(low.get("m").and_then(|m| m.get("b")), Some(&Value::Int(3)));
    }
}
