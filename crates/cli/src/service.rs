//! What a daemon tells systemd (`sd_notify`): ready, where it stands, that it is still alive, that
//! it ends. Without systemd, or under another manager, all of it does nothing.

use std::convert::Infallible;
use std::time::Duration;

use sd_notify::NotifyState;

/// Between two reports when the manager runs no watchdog.
const CALM: Duration = Duration::from_secs(15);

/// Reports sent in one period of the watchdog: two of three may be late.
const PER_PERIOD: u32 = 3;

/// Says that the daemon does its work from now on.
pub(crate) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Says that the daemon ends in order.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("Ending")]);
}

/// Says again and again, for ever, what `check` finds: a status line as long as the daemon is
/// well. On an error the watchdog is not fed; when that lasts, the manager starts the daemon anew.
pub(crate) async fn report(check: impl AsyncFn() -> Result<String, String>) -> Infallible {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return std::future::pending().await;
    }
    let period = sd_notify::watchdog_enabled();
    let pause = period.map_or(CALM, |p| p / PER_PERIOD);
    let mut said = String::new();
    loop {
        tokio::time::sleep(pause).await;
        match check().await {
            Ok(status) => {
                if period.is_some() {
                    tell(&[NotifyState::Watchdog]);
                }
                if status != said {
                    tell(&[NotifyState::Status(&status)]);
                    said = status;
                }
            }
            Err(why) => {
                log::error!("{why}");
                tell(&[NotifyState::Status(&why)]);
                said = why;
            }
        }
    }
}

/// A manager that does not listen is no reason to stop.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::debug!("The service manager was not told: {error}");
    }
}
