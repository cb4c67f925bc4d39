//! Who subscribed to what: finds the subscribers of one message without looking at the others.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::server::Id;

/// Those who asked for one prefix. Most topics are one minion's own.
#[derive(Debug)]
enum Who<C> {
    One(Id, Arc<C>),
    Many(HashMap<Id, Arc<C>>),
}

impl<C> Who<C> {
    fn add(&mut self, id: Id, connection: &Arc<C>) {
        match self {
            Who::One(have, _) if *have == id => {}
            Who::One(have, first) => {
                let both = [(*have, Arc::clone(first)), (id, Arc::clone(connection))];
                *self = Who::Many(HashMap::from(both));
            }
            Who::Many(all) => drop(all.insert(id, Arc::clone(connection))),
        }
    }

    /// Whether nobody is left.
    fn remove(&mut self, id: Id) -> bool {
        match self {
            Who::One(have, _) => *have == id,
            Who::Many(all) => {
                all.remove(&id);
                if all.len() * 4 < all.capacity() {
                    all.shrink_to_fit();
                }
                all.is_empty()
            }
        }
    }

    fn each(&self, mut with: impl FnMut(Id, &Arc<C>)) {
        match self {
            Who::One(id, connection) => with(*id, connection),
            Who::Many(all) => all.iter().for_each(|(id, connection)| with(*id, connection)),
        }
    }

    fn len(&self) -> usize {
        match self {
            Who::One(..) => 1,
            Who::Many(all) => all.len(),
        }
    }
}

/// Subscribers by prefix.
#[derive(Debug)]
pub(crate) struct Topics<C> {
    by_prefix: HashMap<Box<[u8]>, Who<C>>,
    /// How many prefixes have this length: few lengths are in use, so few look-ups find all
    /// prefixes of a message.
    lengths: BTreeMap<usize, usize>,
}

impl<C> Default for Topics<C> {
    fn default() -> Self {
        Topics { by_prefix: HashMap::new(), lengths: BTreeMap::new() }
    }
}

impl<C> Topics<C> {
    pub(crate) fn add(&mut self, prefix: &[u8], id: Id, connection: &Arc<C>) {
        if let Some(who) = self.by_prefix.get_mut(prefix) {
            return who.add(id, connection);
        }
        *self.lengths.entry(prefix.len()).or_insert(0) += 1;
        self.by_prefix.insert(prefix.into(), Who::One(id, Arc::clone(connection)));
    }

    pub(crate) fn remove(&mut self, prefix: &[u8], id: Id) {
        if !self.by_prefix.get_mut(prefix).is_some_and(|who| who.remove(id)) {
            return;
        }
        self.by_prefix.remove(prefix);
        if let Some(number) = self.lengths.get_mut(&prefix.len()) {
            *number -= 1;
            if *number == 0 {
                self.lengths.remove(&prefix.len());
            }
        }
    }

    /// Those who asked for exactly this.
    pub(crate) fn of(&self, prefix: &[u8]) -> Vec<(Id, Arc<C>)> {
        let Some(who) = self.by_prefix.get(prefix) else { return Vec::new() };
        let mut all = Vec::with_capacity(who.len());
        who.each(|id, connection| all.push((id, Arc::clone(connection))));
        all
    }

    /// Those who asked for exactly this, and not for everything.
    pub(crate) fn only_of(&self, prefix: &[u8]) -> Vec<(Id, Arc<C>)> {
        let mut all = self.of(prefix);
        match self.by_prefix.get(&[][..]) {
            Some(Who::Many(plain)) => all.retain(|(id, _)| !plain.contains_key(id)),
            Some(Who::One(plain, _)) => all.retain(|(id, _)| id != plain),
            None => {}
        }
        all
    }

    /// Those who asked for a prefix of this first frame, each once.
    pub(crate) fn wanting(&self, first: &[u8]) -> Vec<(Id, Arc<C>)> {
        let mut all = Vec::new();
        let mut kinds = 0;
        for length in self.lengths.keys() {
            let Some(prefix) = first.get(..*length) else { break };
            let found = self.of(prefix);
            kinds += usize::from(!found.is_empty());
            all.extend(found);
        }
        if kinds > 1 {
            let mut seen = HashSet::with_capacity(all.len());
            all.retain(|(id, _)| seen.insert(*id));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(found: Vec<(Id, Arc<()>)>) -> Vec<Id> {
        let mut ids: Vec<Id> = found.into_iter().map(|(id, _)| id).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn prefixes_find_their_subscribers_each_once() {
        let mut topics = Topics::default();
        let someone = Arc::new(());
        for (id, prefix) in [(1, &b""[..]), (1, b"broad"), (2, b"broad"), (2, b"b"), (3, b"x")] {
            topics.add(prefix, id, &someone);
            topics.add(prefix, id, &someone);
        }
        assert_eq!(ids(topics.wanting(b"broadcast")), [1, 2]);
        assert_eq!(ids(topics.wanting(b"br")), [1, 2]);
        assert_eq!(ids(topics.wanting(b"")), [1]);
        assert_eq!(ids(topics.of(b"broad")), [1, 2]);
        assert_eq!(ids(topics.only_of(b"broad")), [2]);
        topics.remove(b"broad", 1);
        topics.remove(b"broad", 9);
        assert_eq!(ids(topics.of(b"broad")), [2]);
        topics.remove(b"broad", 2);
        topics.remove(b"b", 2);
        topics.remove(b"", 1);
        topics.remove(b"x", 3);
        assert!(topics.by_prefix.is_empty() && topics.lengths.is_empty());
    }
}
