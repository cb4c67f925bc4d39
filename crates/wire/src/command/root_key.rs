//! The local root keys: files only certain users of the master's host can read, whose content
//! proves who sends a clear command (wire-protocol §8.1).

use std::fmt;

use saltern_crypto::SealKey;

use super::clear::Credentials;

/// The keys of a running master, by user.
///
/// Stricter than Salt in one place: a key proves its own user and nobody else. Only the keys of
/// the master's user and of `root` may speak for others.
#[derive(Clone, Debug)]
pub struct RootKeys {
    master_user: String,
    keys: Vec<(String, SealKey)>,
}

/// Credentials that prove nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthFailed {
    /// No key, or not the user's.
    Key,
    /// `token` was given; tokens are not served.
    Token,
    /// `eauth` was given; external authentication is not served.
    Eauth,
}

impl RootKeys {
    /// No keys yet, for a master that runs as that user.
    #[must_use]
    pub fn new(master_user: &str) -> Self {
        RootKeys { master_user: master_user.to_owned(), keys: Vec::new() }
    }

    /// Adds the key of a user.
    pub fn insert(&mut self, user: &str, key: SealKey) {
        self.keys.retain(|(name, _)| name != user);
        self.keys.push((user.to_owned(), key));
    }

    /// The user that the credentials prove.
    pub(super) fn user(&self, credentials: &Credentials) -> Result<String, AuthFailed> {
        let Some(key) = credentials.key() else {
            return Err(match (credentials.token(), credentials.eauth()) {
                (Some(_), _) => AuthFailed::Token,
                (_, Some(_)) => AuthFailed::Eauth,
                _ => AuthFailed::Key,
            });
        };
        let key = SealKey::parse(key).map_err(|_| AuthFailed::Key)?;
        let owner = self.keys.iter().find(|(_, k)| *k == key).map(|(user, _)| user.as_str());
        let owner = owner.ok_or(AuthFailed::Key)?;
        let powerful = owner == self.master_user || owner == "root";
        match credentials.user() {
            Some(claimed) if powerful || claimed == owner => Ok(claimed.to_owned()),
            Some(_) => Err(AuthFailed::Key),
            None => Ok(owner.to_owned()),
        }
    }
}

impl AuthFailed {
    /// Salt's name of the error in answers to `runner` and `wheel`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            AuthFailed::Key => "UserAuthenticationError",
            AuthFailed::Token => "TokenAuthenticationError",
            AuthFailed::Eauth => "EauthAuthenticationError",
        }
    }

    /// The kind in Salt's words.
    fn kind(self) -> &'static str {
        match self {
            AuthFailed::Key => "user",
            AuthFailed::Token => "token",
            AuthFailed::Eauth => "eauth",
        }
    }
}

impl fmt::Display for AuthFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authentication failure of type \"{}\" occurred", self.kind())
    }
}
