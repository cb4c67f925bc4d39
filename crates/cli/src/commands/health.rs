//! The answer of `manage.health` as a table for people.

use saltern_value::Value;

use super::fleet::{drawn, span};

/// Draws the table, with a sentence for each line that is not ok; `None` when this is not such an
/// answer.
pub(super) fn table(data: &Value) -> Option<String> {
    let lines = data.get("lines")?.as_map()?;
    let summary = data.get("summary")?.as_str()?;
    let mut rows = Vec::new();
    let mut advice = Vec::new();
    for (name, line) in lines {
        let name = name.as_str().unwrap_or_default();
        let text = |key: &str| line.get(key).and_then(Value::as_str).unwrap_or_default();
        rows.push(vec![
            name.to_owned(),
            value(line),
            text("state").to_owned(),
            text("what").into(),
        ]);
        if !text("text").is_empty() {
            advice.push(format!("{name}: {}", text("text")));
        }
    }
    let mut parts = vec![drawn(&["LINE", "VALUE", "STATE", "WHAT"], rows)];
    if !advice.is_empty() {
        parts.push(advice.join("\n"));
    }
    let since = data.get("counted_for").and_then(Value::as_f64).unwrap_or(0.0);
    parts.push(format!("{summary} (counted for {})", span(since as i64)));
    Some(parts.join("\n\n"))
}

fn value(line: &Value) -> String {
    let number = |key: &str| line.get(key).and_then(Value::as_int);
    match (number("value"), number("limit")) {
        (Some(value), Some(limit)) => format!("{value} of {limit}"),
        (Some(value), None) => value.to_string(),
        (None, _) => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ok_has_a_sentence() {
        let json = r#"{"healthy": false, "counted_for": 7300.5, "summary": "1 lost",
            "lines": {
                "events_dropped": {"value": 3, "state": "lost", "what": "events", "text": "do"},
                "open_files": {"value": 10, "limit": 100, "state": "ok", "what": "files"}}}"#;
        let data = saltern_value::json::parse(json).unwrap();
        let expected = "\
LINE            VALUE      STATE  WHAT
events_dropped  3          lost   events
open_files      10 of 100  ok     files

events_dropped: do

1 lost (counted for 2 h)";
        assert_eq!(table(&data).unwrap(), expected);
        assert_eq!(table(&Value::from("an error")), None);
    }
}
