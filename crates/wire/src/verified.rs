//! The mark that something was checked. It is a type so that forgetting the check does not compile.

use std::ops::Deref;

/// A `T` whose origin this crate has proved: the right session key, id and token for a minion's
/// request, the local root key for a tool's, key and signature of the master for a publication.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// Only for the code that has just done the proof.
    pub(crate) fn new(proved: T) -> Self {
        Verified(proved)
    }

    /// The thing itself, for a handler to take apart.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}
