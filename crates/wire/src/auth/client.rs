//! The minion's half of `_auth`: one try to sign in at one master, and every check of its answer.

mod error;
mod hints;
mod sign_in;
mod trust;

pub use error::{Failure, Severity, SignInError};
pub use hints::Hints;
pub use sign_in::{CachedKey, Credentials, Outcome, SignIn};
pub use trust::{Mismatch, Trust, VerificationKey, Warning};
