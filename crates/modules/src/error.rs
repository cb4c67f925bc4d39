//! How an execution function fails. Each kind has its own wording towards the user, as in Salt.

use crate::host::HostError;

/// Why a function has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The work failed (Salt's `CommandExecutionError`): `ERROR: <text>`.
    Execution(String),
    /// The call made no sense (Salt's `SaltInvocationError`): `ERROR executing '<fun>': <text>`.
    Invocation(String),
    /// A program that is needed is not there (Salt's `CommandNotFoundError`).
    NotFound(String),
    /// The arguments do not fit the function (Python's `TypeError`).
    Arguments(String),
    /// Anything else; the text starts with the name of the kind, like `ValueError: ...`.
    Exception(String),
}

impl Error {
    /// The work failed.
    pub fn exec(text: impl Into<String>) -> Self {
        Error::Execution(text.into())
    }

    /// The call made no sense.
    pub fn invalid(text: impl Into<String>) -> Self {
        Error::Invocation(text.into())
    }

    /// The text alone, without the words around it.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Error::Execution(t)
            | Error::Invocation(t)
            | Error::NotFound(t)
            | Error::Arguments(t)
            | Error::Exception(t) => t,
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Error::Execution(error.to_string())
    }
}

impl From<HostError> for Error {
    fn from(error: HostError) -> Self {
        Error::Execution(error.to_string())
    }
}
