//! `salt-master`: the master daemon.

use saltern_config::load_master;
use saltern_master::Master;

use crate::args::{Common, Logging};
use crate::daemon::{self, DaemonArgs, Signals};
use crate::exit::{self, Failure};
use crate::logging;

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
    let runtime = daemon::master_runtime()?;
    let done = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        log::info!("Setting up the Salt Master");
        let mut handle = Master::start(loaded).map_err(|e| Failure::generic(e.to_string()))?;
        let signal = tokio::select! {
            signal = signals.ended() => signal,
            // A master that can no longer serve must not look alive: whoever watches starts anew.
            () = handle.wait() => {
                return Err(Failure::generic("A part of the master has failed; its log says which"));
            }
        };
        log::warn!("Master received a {signal}. Exiting.");
        daemon::stop_within(daemon::GRACE, handle.shutdown()).await;
        Ok(exit::OK)
    });
    // Blocking work that is still going on must not hold the process.
    runtime.shutdown_background();
    done
}
