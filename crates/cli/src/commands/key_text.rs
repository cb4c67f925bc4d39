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
        Action::Delete => vec!["unaccepted"],
        _ => from.iter().map(name).collect(),
    };
    let states = match states.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        one => one.concat(),
    };
    format!("The key glob '{pattern}' does not match any {states} keys.")
}

/// Asks on the terminal. An empty line agrees, but not to a deletion; the end of input refuses.
pub(crate) fn confirmed(action: Action) -> io::Result<bool> {
    let deletes = action == Action::Delete;
    let mut out = io::stdout().lock();
    out.write_all(if deletes { b"Proceed? [N/y] " } else { b"Proceed? [n/Y] " })?;
    out.flush()?;
    let mut answer = String::new();
    if io::stdin().lock().read_line(&mut answer)? == 0 {
        return Ok(false);
    }
    Ok(agrees(answer.trim_end_matches('\n'), deletes))
}

fn agrees(answer: &str, deletes: bool) -> bool {
    if answer.is_empty() { !deletes } else { answer.to_lowercase().starts_with('y') }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_deletes() {
        for (answer, accepts, deletes) in
            [("", true, false), ("y", true, true), ("Yes", true, true), ("n", false, false)]
        {
            assert_eq!((agrees(answer, false), agrees(answer, true)), (accepts, deletes));
        }
        assert!(!agrees("what?", false));
    }
}
