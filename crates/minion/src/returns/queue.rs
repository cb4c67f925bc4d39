//! The returns that no master has acknowledged yet, within bounds. Pure: time is an argument.

use std::collections::VecDeque;
use std::time::Instant;

use saltern_value::{Map, Value};

/// Most returns kept while no master takes them.
const MAX_ITEMS: usize = 10_000;

/// Most bytes (estimated) kept; a larger one is kept as long as it is alone.
const MAX_BYTES: usize = 64 << 20;

/// One return, or another message that must not be lost.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// The load with its `cmd`.
    pub(crate) load: Map,
    /// The slot it came through: where it should go first.
    pub(crate) slot: usize,
    /// Failed tries so far.
    pub(crate) tries: u32,
    /// Not before this moment, unless a new connection comes.
    pub(crate) not_before: Option<Instant>,
    bytes: usize,
}

impl Item {
    pub(crate) fn new(load: Map, slot: usize) -> Self {
        let bytes = load.iter().map(|(k, v)| weight(k) + weight(v)).sum();
        Item { load, slot, tries: 0, not_before: None, bytes }
    }

    /// For the log.
    pub(crate) fn jid(&self) -> &str {
        self.load.get_str("jid").unwrap_or("-")
    }
}

/// Roughly the bytes a value takes on the wire.
fn weight(value: &Value) -> usize {
    8 + match value {
        Value::Str(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(list) => list.iter().map(weight).sum(),
        Value::Map(map) => map.iter().map(|(k, v)| weight(k) + weight(v)).sum(),
        _ => 0,
    }
}

/// Returns that wait.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
}

impl Queue {
    /// Adds one; gives back those, oldest first, there is no more room for.
    pub(crate) fn push(&mut self, item: Item) -> Vec<Item> {
        self.bytes += item.bytes;
        self.items.push_back(item);
        let mut dropped = Vec::new();
        while self.items.len() > MAX_ITEMS || (self.bytes > MAX_BYTES && self.items.len() > 1) {
            let Some(oldest) = self.items.pop_front() else { break };
            self.bytes -= oldest.bytes;
            dropped.push(oldest);
        }
        dropped
    }

    /// The first one that may be sent at `now`.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Item> {
        let due = |item: &Item| item.not_before.is_none_or(|at| at <= now);
        let at = self.items.iter().position(due)?;
        let item = self.items.remove(at)?;
        self.bytes -= item.bytes;
        Some(item)
    }

    /// When the next one may be sent.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.items.iter().filter_map(|item| item.not_before).min()
    }

    /// A connection came: everything may be tried again.
    pub(crate) fn release(&mut self) {
        for item in &mut self.items {
            item.not_before = None;
            item.tries = 0;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn item(jid: &str, size: usize) -> Item {
        Item::new(Map::from([("jid", jid.to_owned()), ("return", "x".repeat(size))]), 0)
    }

    #[test]
    fn returns_leave_in_order_and_wait_when_told() {
        let now = Instant::now();
        let mut queue = Queue::default();
        let mut late = item("1", 1);
        late.not_before = Some(now + Duration::from_secs(5));
        assert!(queue.push(late).is_empty());
        assert!(queue.push(item("2", 1)).is_empty());
        assert_eq!(queue.pop(now).unwrap().jid(), "2");
        assert!(queue.pop(now).is_none());
        assert_eq!(queue.next_due(), Some(now + Duration::from_secs(5)));
        queue.release();
        assert_eq!(queue.pop(now).unwrap().jid(), "1");
        assert_eq!((queue.len(), queue.bytes), (0, 0));
    }

    #[test]
    fn too_many_bytes_push_out_the_oldest_but_never_the_newest() {
        let mut queue = Queue::default();
        assert!(queue.push(item("1", MAX_BYTES / 2)).is_empty());
        let dropped = queue.push(item("2", MAX_BYTES / 2));
        assert_eq!(dropped.iter().map(Item::jid).collect::<Vec<_>>(), ["1"]);
        let dropped = queue.push(item("3", MAX_BYTES * 2));
        assert_eq!(dropped.iter().map(Item::jid).collect::<Vec<_>>(), ["2"]);
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn too_many_items_push_out_the_oldest() {
        let mut queue = Queue::default();
        let dropped: usize =
            (0..=MAX_ITEMS).map(|i| queue.push(item(&i.to_string(), 1)).len()).sum();
        assert_eq!(dropped, 1);
        assert_eq!(queue.pop(Instant::now()).unwrap().jid(), "1");
    }
}
