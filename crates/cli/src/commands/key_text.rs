//! What `salt-key` says, in the words Salt's users know.

use std::io::{self, BufRead, Write};

use saltern_store::pki::KeyState;

/// A change of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Accept,
    Reject,
    Delete,
}

impl Action {
    /// The line above the list of keys.
    pub(crate) fn announcement(self) -> &'static str {
        match self {
            Action::Accept => "The following keys are going to be accepted:",
            Action::Reject => "The following keys are going to be rejected:",
            Action::Delete => "The following keys are going to be deleted:",
        }
    }

    /// What has been done to a key.
    pub(crate) fn done(self) -> &'static str {
        match self {
            Action::Accept => "accepted",
            Action::Reject => "rejected",
            Action::Delete => "deleted",
        }
    }

    /// `act` of the `salt/key` event, as Salt 3006 names it.
    pub(crate) fn event(self) -> &'static str {
        match self {
            Action::Accept => "accept",
            Action::Reject => "reject",
            Action::Delete => "delete",
        }
    }
}

/// The line for a glob that matches nothing.
pub(crate) fn no_match(action: Action, pattern: &str, from: &[KeyState]) -> String {
    let name = |state: &KeyState| match state {
        KeyState::Accepted => "accepted",
        KeyState::Pending => "unaccepted",
        KeyState::Rejected => "rejected",
        KeyState::Denied => "denied",
    };
    // Salt names only unaccepted keys when it deletes, whatever it searched.
    let states: Vec<_> = match action {
        Action::Delete => vec!["unaccepted, accepted or rejected"],
        _ => from.iter().map(name).collect(),
    };
    format!("The key glob '{pattern}' does not match any {} keys.", states.join(", "))
}

/// Asks on the terminal; only `n` refuses, an empty line agrees, the end of input refuses.
pub(crate) fn confirmed() -> io::Result<bool> {
    let mut out = io::stdout().lock();
    out.write_all(b"Proceed? [n/Y] ")?;
    out.flush()?;
    let mut answer = String::new();
    if io::stdin().lock().read_line(&mut answer)? == 0 {
        return Ok(false);
    }
    Ok(!answer.trim().to_lowercase().starts_with('n'))
}
