//! How a program ends: Salt's exit codes, and what is said to the person in front of it.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use saltern_client::ClientError;
use saltern_config::ConfigError;
use saltern_minion::{CallError, StartError};

/// All is well.
pub(crate) const OK: i32 = 0;
/// Something failed (Salt's `EX_GENERIC`).
pub(crate) const GENERIC: i32 = 1;
/// No answer to print, or no way to get one.
pub(crate) const NO_RETURN: i32 = 2;
/// Words are missing on the command line of `salt`, or settings no program can work with.
pub(crate) const CONFIG: i32 = 42;
/// The command line makes no sense (`EX_USAGE`).
pub(crate) const USAGE: i32 = 64;
/// The user may not do this (`EX_NOUSER`).
pub(crate) const NO_USER: i32 = 67;

/// Ctrl-C, as shells count it.
pub(crate) const INTERRUPTED: i32 = 130;

/// An unsuccessful end.
#[derive(Debug)]
pub(crate) struct Failure {
    code: i32,
    message: String,
    hint: Option<String>,
    to_stdout: bool,
}

impl Failure {
    /// Ends with `code` and says why.
    pub(crate) fn new(code: i32, message: impl Into<String>) -> Self {
        Failure { code, message: message.into(), hint: None, to_stdout: false }
    }

    /// Something on this machine went wrong.
    pub(crate) fn generic(message: impl Into<String>) -> Self {
        Self::new(GENERIC, message)
    }

    /// The command line makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(USAGE, message)
    }

    /// Adds what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says it where results are expected.
    pub(crate) fn on_stdout(mut self) -> Self {
        self.to_stdout = true;
        self
    }

    /// Tells the user and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let mut text = self.message;
        if !text.is_empty() {
            text.push('\n');
        }
        if let Some(hint) = self.hint {
            let _ = writeln!(text, "Hint: {hint}");
        }
        // A closed terminal is no reason for another error.
        let _ = if self.to_stdout {
            io::stdout().write_all(text.as_bytes())
        } else {
            io::stderr().write_all(text.as_bytes())
        };
        code(self.code)
    }
}

/// The exit code as the system takes it.
pub(crate) fn code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1))
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Failure::new(error.exit_code(), error.to_string())
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Failure::new(error.exit_code, error.message)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Start(error) => error.into(),
            other => Failure::generic(other.to_string()),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused { message, .. } => Failure::generic(message).on_stdout(),
            other => Failure::new(NO_RETURN, other.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // The reader of our output has seen enough (`salt ... | head`); no failure in Salt.
            io::ErrorKind::BrokenPipe => Failure::new(OK, ""),
            _ => Failure::generic(error.to_string()),
        }
    }
}
