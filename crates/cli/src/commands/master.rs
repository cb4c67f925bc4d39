//! `salt-master`: the master daemon.

use std::time::Duration;

use saltern_client::Connection;
use saltern_config::load_master;
use saltern_master::Master;

use crate::args::{Common, Logging};
use crate::daemon::{self, DaemonArgs, Signals};
use crate::exit::{self, Failure};
use crate::{logging, service};

/// Longest time a master may take to answer its own ping before its watchdog counts that as a miss.
const OWN_PING: Duration = Duration::from_secs(10);

/// The master daemon
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
    let loaded = load_master(&args.common.config_dir())?;
    daemon::prepare(&args.daemon, &loaded.opts.pidfile.display().to_string(), &loaded.opts.user)?;
    logging::daemon(&loaded.raw, &args.logging)?;
    logging::warnings(&loaded.warnings);
    logging::notes(&loaded.notes());
    let runtime = daemon::master_runtime()?;
    let done = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        log::info!("Setting up the Salt Master");
        let own = Connection::new(&loaded.opts, &loaded.opts.user);
        let mut handle = Master::start(loaded).map_err(|e| Failure::generic(e.to_string()))?;
        let address = handle.request_address();
        let serving = format!("Serving minions on {address}");
        service::ready(&serving);
        let signal = tokio::select! {
            signal = signals.ended() => signal,
            // Through the same port and the same loop as the minions' requests.
            never = service::report(async || match own.ping(OWN_PING).await {
                Ok(()) => Ok(serving.clone()),
                Err(error) => Err(format!("Requests are not answered: {error}")),
            }) => match never {},
            // A master that can no longer serve must not look alive: whoever watches starts anew.
            () = handle.wait() => {
                return Err(Failure::generic("A part of the master has failed; its log says which"));
            }
        };
        log::warn!("Master received a {signal}. Exiting.");
        service::stopping();
        daemon::stop_within(daemon::GRACE, handle.shutdown()).await;
        Ok(exit::OK)
    });
    // Blocking work that is still going on must not hold the process.
    runtime.shutdown_background();
    done
}
