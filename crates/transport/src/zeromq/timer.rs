//! A timer that is set once for many deadlines: moving a deadline away costs nothing.

use std::pin::Pin;

use tokio::time::{Instant, Sleep, sleep_until};

/// Waits for deadlines that mostly move away before they come.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    /// When it wakes. `None` until it is needed.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// Waits until `deadline`, or some time before it: whoever waits looks at the clock. Waits for
    /// ever without one. Cancellation-safe.
    pub(crate) async fn wait(&mut self, deadline: Option<Instant>) {
        let Some(deadline) = deadline else {
            // A connection without deadlines holds no memory for them.
            self.sleep = None;
            return std::future::pending().await;
        };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline || sleep.is_elapsed() {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().await;
    }
}
