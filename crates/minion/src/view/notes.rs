//! What the last sign-in at each master said, in words: the machine that chooses masters knows
//! only the kind of a failure, operators want its text.

use std::collections::BTreeMap;
use std::mem::discriminant;
use std::sync::{Mutex, PoisonError};

use saltern_failover::{Hard, Soft, Verdict};
use saltern_wire::auth::client::Failure;

use crate::access::NotSignedIn;

/// Clocks further apart than this are worth a word: what is signed may be judged by its age.
const CLOCK: f64 = 30.0;

/// What one sign-in said.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    verdict: Verdict,
    reason: &'static str,
    text: String,
    /// Seconds the master's clock is ahead of ours, where it told its time.
    ahead: Option<f64>,
}

impl Note {
    /// A sentence if the master's clock and ours are too far apart.
    pub(crate) fn clock(&self) -> Option<String> {
        let ahead = self.ahead.filter(|seconds| seconds.abs() > CLOCK)?;
        let which = if ahead > 0.0 { "ahead of" } else { "behind" };
        Some(format!("its clock is {:.0} s {which} ours", ahead.abs()))
    }
}

/// The last sign-in at each master.
#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<BTreeMap<usize, Note>>);

impl Notes {
    /// A sign-in failed.
    pub(crate) fn failed(&self, master: usize, error: &NotSignedIn) {
        let verdict = error.verdict();
        let reason = reason_of(error, &verdict);
        self.put(master, Note { verdict, reason, text: error.to_string(), ahead: None });
    }

    /// A sign-in worked; `ahead` are the seconds the master's clock is ahead of ours.
    pub(crate) fn signed_in(&self, master: usize, ahead: Option<f64>) {
        let note = Note { verdict: Verdict::Ok, reason: "", text: String::new(), ahead };
        self.put(master, note);
    }

    /// Reason and text for a verdict of this master: those of its last sign-in if it ended so,
    /// else what can be said of the verdict alone.
    pub(crate) fn explain(&self, master: usize, verdict: &Verdict) -> (&'static str, String) {
        match self.of(master) {
            Some(note) if same_kind(&note.verdict, verdict) => (note.reason, note.text),
            // A connection lost because our key is no longer taken counts as rejected; signing in
            // again may have been told more.
            Some(note) if *verdict == Verdict::Soft(Soft::Rejected) && turned_away(&note) => {
                (note.reason, note.text)
            }
            _ => (reason(verdict), verdict.to_string()),
        }
    }

    /// What the last sign-in at this master said.
    pub(crate) fn of(&self, master: usize) -> Option<Note> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&master).cloned()
    }

    fn put(&self, master: usize, note: Note) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(master, note);
    }
}

/// Whether the last sign-in met a master that has us wait or go elsewhere.
fn turned_away(note: &Note) -> bool {
    matches!(
        note.verdict,
        Verdict::Soft(Soft::Pending | Soft::Denied | Soft::Full | Soft::Draining { .. })
    )
}

/// Whether two verdicts differ at most in their numbers.
fn same_kind(a: &Verdict, b: &Verdict) -> bool {
    match (a, b) {
        (Verdict::Soft(a), Verdict::Soft(b)) => discriminant(a) == discriminant(b),
        _ => a == b,
    }
}

/// The word for a verdict: short, lower case, one of a fixed set that masters count by.
pub(crate) fn reason(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "",
        Verdict::Soft(soft) => match soft {
            Soft::Unresolved | Soft::Refused | Soft::Timeout => "unreachable",
            Soft::Full => "full",
            Soft::Pending => "key pending",
            Soft::Rejected => "key rejected",
            Soft::Denied => "key denied",
            Soft::Busy { .. } => "busy",
            Soft::Draining { .. } => "draining",
            Soft::Clock { .. } => "clock",
            Soft::Broken => "broken answer",
        },
        Verdict::Hard(hard) => match hard {
            Hard::UntrustedKey => "key not trusted",
            Hard::BadSignature => "signature wrong",
            Hard::Algorithm => "version",
            Hard::Local => "local problem",
        },
    }
}

/// The word for a failed sign-in, which says more than its verdict.
fn reason_of(error: &NotSignedIn, verdict: &Verdict) -> &'static str {
    let NotSignedIn::Failed(error) = error else { return reason(verdict) };
    match error.failure {
        Failure::MissingPubSig => "signature missing",
        Failure::BadPubSig | Failure::NoVerificationKey => "signature wrong",
        Failure::BadSigAlgo | Failure::BadEncAlgo => "version",
        _ => reason(verdict),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use saltern_wire::auth::client::SignInError;

    use super::*;

    #[test]
    fn a_text_is_told_only_with_the_verdict_it_belongs_to() {
        let notes = Notes::default();
        let missing = NotSignedIn::Failed(SignInError::from(Failure::MissingPubSig));
        notes.failed(1, &missing);
        let (reason, text) = notes.explain(1, &missing.verdict());
        assert_eq!(reason, "signature missing");
        assert!(text.contains("master_sign_pubkey"), "{text}");
        let refused = Verdict::Soft(Soft::Refused);
        assert_eq!(notes.explain(1, &refused), ("unreachable", "nobody listens there".to_owned()));
        assert_eq!(notes.explain(2, &Verdict::Soft(Soft::Pending)).0, "key pending");
        notes.signed_in(1, Some(-45.2));
        let clock = notes.of(1).unwrap().clock();
        assert_eq!(clock.as_deref(), Some("its clock is 45 s behind ours"));
        notes.signed_in(1, Some(29.0));
        assert_eq!(notes.of(1).unwrap().clock(), None);
    }

    #[test]
    fn numbers_do_not_tell_verdicts_apart() {
        let busy = |s| Verdict::Soft(Soft::Busy { retry_after: Duration::from_secs(s) });
        assert!(same_kind(&busy(1), &busy(2)));
        assert!(!same_kind(&busy(1), &Verdict::Soft(Soft::Full)));
    }
}
