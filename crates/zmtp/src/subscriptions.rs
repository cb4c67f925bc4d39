//! The topics one subscriber asked for.

/// A subscriber asked for more topics than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

/// Topic prefixes of one subscriber. Most have one or two, so a sorted list is both the smallest
/// and the fastest form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscriptions(Vec<Box<[u8]>>);

impl Subscriptions {
    /// No topic: nothing is wanted.
    #[must_use]
    pub fn new() -> Self {
        Subscriptions::default()
    }

    /// Adds a prefix; asking twice is asking once, as with libzmq.
    ///
    /// # Errors
    /// When there are `max` already.
    pub fn subscribe(&mut self, prefix: &[u8], max: usize) -> Result<(), TooMany> {
        match self.0.binary_search_by(|have| have.as_ref().cmp(prefix)) {
            Ok(_) => Ok(()),
            Err(_) if self.0.len() >= max => Err(TooMany),
            Err(at) => {
                self.0.insert(at, prefix.into());
                Ok(())
            }
        }
    }

    /// Takes a prefix back; one that was never asked for is no error.
    pub fn cancel(&mut self, prefix: &[u8]) {
        if let Ok(at) = self.0.binary_search_by(|have| have.as_ref().cmp(prefix)) {
            self.0.remove(at);
        }
    }

    /// Whether a message with this first frame is wanted.
    #[must_use]
    pub fn wants(&self, first_frame: &[u8]) -> bool {
        self.0.iter().any(|prefix| first_frame.starts_with(prefix))
    }

    /// The prefixes, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// Whether nothing at all is wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many prefixes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_match_until_cancelled() {
        let mut topics = Subscriptions::new();
        assert!(!topics.wants(b"broadcast"));
        topics.subscribe(b"broad", 8).unwrap();
        topics.subscribe(b"broad", 8).unwrap();
        assert!(topics.wants(b"broadcast") && !topics.wants(b"bro"));
        topics.cancel(b"never");
        topics.cancel(b"broad");
        assert!(topics.is_empty() && !topics.wants(b"broadcast"));
    }

    #[test]
    fn the_empty_prefix_takes_everything() {
        let mut topics = Subscriptions::new();
        topics.subscribe(b"", 1).unwrap();
        assert!(topics.wants(b"") && topics.wants(b"x"));
        assert_eq!(topics.subscribe(b"x", 1), Err(TooMany));
        assert_eq!(topics.len(), 1);
    }
}
