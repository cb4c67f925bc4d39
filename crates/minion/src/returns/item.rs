//! One return or event on its way to a master, and how it is written down. Pure.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use saltern_value::msgpack::{self, Encoding};
use saltern_value::{Map, Value};

/// One return, or another message for a master.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// The load with its `cmd`.
    pub(crate) load: Arc<Map>,
    /// The master that asked for it, by its name as configured; none when any will do.
    pub(crate) origin: Option<String>,
    /// When it was made.
    pub(crate) made: SystemTime,
    /// The number under which the job's begin is in the journal.
    pub(crate) closes: Option<u64>,
}

/// What an item is without its load.
#[derive(Clone, Debug)]
pub(crate) struct Label {
    pub(crate) origin: Option<String>,
    pub(crate) made: SystemTime,
    pub(crate) closes: Option<u64>,
}

impl Item {
    pub(crate) fn new(load: Map, origin: Option<String>) -> Self {
        Item { load: Arc::new(load), origin, made: SystemTime::now(), closes: None }
    }

    /// Whether it must outlive the program: returns and what others fire. What this minion says of
    /// itself is only true now, and the mine is sent anew after every start.
    pub(crate) fn must_last(&self) -> bool {
        match self.load.get_str("cmd") {
            Some("_return") => true,
            Some("_minion_event") => {
                !self.load.get_str("tag").is_some_and(|tag| tag.ends_with("/failover/report"))
            }
            _ => false,
        }
    }

    /// For the log: `return of job X` or `event X`.
    pub(crate) fn what(&self) -> String {
        what(&self.load)
    }

    /// Bytes it takes, roughly.
    pub(crate) fn weight(&self) -> u64 {
        self.load.iter().map(|(k, v)| weight(k) + weight(v)).sum()
    }

    /// Writes it behind what is there.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let origin = self.origin.as_deref().unwrap_or_default().as_bytes();
        let length = u16::try_from(origin.len()).unwrap_or(0);
        out.extend_from_slice(&self.closes.unwrap_or(0).to_be_bytes());
        out.extend_from_slice(&micros(self.made).to_be_bytes());
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(origin.get(..usize::from(length)).unwrap_or_default());
        msgpack::encode_map_into(out, &self.load, Encoding::Bin);
    }
}

/// Reads what [`Item::write`] wrote, but for the load: the label and where the load begins.
pub(crate) fn label(bytes: &[u8]) -> Option<(Label, usize)> {
    let closes = u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
    let made = u64::from_be_bytes(bytes.get(8..16)?.try_into().ok()?);
    let length = usize::from(u16::from_be_bytes(bytes.get(16..18)?.try_into().ok()?));
    let origin = std::str::from_utf8(bytes.get(18..18 + length)?).ok()?;
    let label = Label {
        origin: (!origin.is_empty()).then(|| origin.to_owned()),
        made: UNIX_EPOCH + Duration::from_micros(made.min(1 << 60)),
        closes: (closes != 0).then_some(closes),
    };
    Some((label, 18 + length))
}

/// Reads the load of what [`Item::write`] wrote.
pub(crate) fn load(bytes: &[u8]) -> Option<Map> {
    let (_, at) = label(bytes)?;
    match msgpack::from_file(bytes.get(at..)?) {
        Ok(Value::Map(load)) => Some(load),
        _ => None,
    }
}

pub(crate) fn what(load: &Map) -> String {
    match (load.get_str("jid"), load.get_str("tag")) {
        (Some(jid), _) => format!("return of job {jid}"),
        (None, Some(tag)) => format!("event {tag}"),
        (None, None) => format!("message {}", load.get_str("cmd").unwrap_or_default()),
    }
}

fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Roughly the bytes a value takes on the wire.
fn weight(value: &Value) -> u64 {
    8 + match value {
        Value::Str(text) => text.len() as u64,
        Value::Bytes(bytes) => bytes.len() as u64,
        Value::List(list) => list.iter().map(weight).sum(),
        Value::Map(map) => map.iter().map(|(k, v)| weight(k) + weight(v)).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_reads_back_as_it_was_written() {
        let load = Map::from([
            ("cmd", Value::from("_return")),
            ("jid", "20260102030405000678".into()),
            ("return", Value::Bytes(vec![0xff, 0])),
        ]);
        let mut item = Item::new(load, Some("m1".to_owned()));
        item.closes = Some(9);
        let mut bytes = Vec::new();
        item.write(&mut bytes);
        let (label, _) = label(&bytes).unwrap();
        assert_eq!((label.origin.as_deref(), label.closes), (Some("m1"), Some(9)));
        assert!(item.made.duration_since(label.made).unwrap() < Duration::from_millis(1));
        assert_eq!(super::load(&bytes).unwrap(), *item.load);
        assert!(item.must_last() && item.what().contains("20260102030405000678"));
        for end in 0..bytes.len() {
            assert!(super::load(&bytes[..end]).is_none());
        }
    }
}
