//! `salt-minion`: the minion daemon.

use saltern_config::load_minion;
use saltern_minion::Minion;

use crate::args::{Common, Logging};
use crate::daemon::{self, DaemonArgs, Signals};
use crate::exit::{self, Failure};
use crate::{logging, service};

/// The minion daemon
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    daemon: DaemonArgs,
    #[command(flatten)]
    logging: Logging,
}

pub(crate) fn run(args: Args) -> Result<i32, Failure> {
    let loaded = load_minion(&args.common.config_dir())?;
    daemon::prepare(&args.daemon, &loaded.opts.pidfile.display().to_string(), &loaded.opts.user)?;
    logging::daemon(&loaded.raw, &args.logging)?;
    logging::warnings(&loaded.warnings);
    logging::notes(&loaded.notes());
    let runtime = daemon::minion_runtime()?;
    let done = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        log::info!("Setting up the Salt Minion \"{}\"", loaded.opts.id);
        let handle = Minion::start(loaded).await.map_err(Failure::from)?;
        // Ready means that it runs and looks for masters: it must not be killed for theirs.
        service::ready("Looking for a master");
        let signal = tokio::select! {
            signal = signals.ended() => signal,
            never = service::report(async || Ok(standing(&handle.masters()))) => match never {},
        };
        log::warn!("Minion received a {signal}. Exiting.");
        service::stopping();
        daemon::stop_within(daemon::GRACE, handle.shutdown()).await;
        Ok(exit::OK)
    });
    // Blocking work that is still going on must not hold the process.
    runtime.shutdown_background();
    done
}

/// Where the minion stands, in one line.
fn standing(masters: &[String]) -> String {
    match masters {
        [] => "Looking for a master".to_owned(),
        some => format!("Connected to {}", some.join(", ")),
    }
}
