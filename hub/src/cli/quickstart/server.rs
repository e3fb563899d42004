//! The hub of a quickstart, in this process, and what may end it: a signal, or its store.

use std::{
    fs::File,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::Duration,
};

use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    task::JoinHandle,
};

use super::programs::Programs;
use crate::{
    cli::{
        Context,
        error::{CliError, chain},
        hub,
    },
    server::{self, DEFAULT_API, DEFAULT_DEVICES, HubConfig, HubError},
};

/// What the main thread is told.
pub enum News {
    /// Stop.
    Asked,
    /// The hub had to end.
    Failed(String),
}

/// A hub in this process.
pub struct Server {
    runtime: Runtime,
    address: String,
    log: PathBuf,
    news: Receiver<News>,
    stop: oneshot::Sender<()>,
    hub: JoinHandle<Result<(), HubError>>,
}

impl Server {
    /// Starts the hub on the usual addresses, or on free ones if those are taken.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start(
        context: &mut Context,
        programs: &Programs,
        state: &Path,
    ) -> Result<Self, CliError> {
        let log = state.join("hub.log");
        let file =
            File::create(&log).map_err(|source| CliError::File { path: log.clone(), source })?;
        tracing_subscriber::fmt()
            .with_max_level(hub::log_level(context))
            .with_target(false)
            .with_ansi(false)
            .with_writer(file)
            .init();
        let runtime = hub::runtime()?;
        let (sender, news) = channel();
        let (stop, stopped) = oneshot::channel();
        let (api, devices) = (free_or_any(DEFAULT_API), free_or_any(DEFAULT_DEVICES));
        let mut config = HubConfig::new(state.join("hub"), api, devices);
        config.compiler = Some(programs.compiler.clone());
        let mut running = runtime.block_on(server::start(config))?;
        hub::announce(context, running.kubeconfig());
        let address = running.url();
        let asked = sender.clone();
        runtime.spawn(async move {
            let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
            let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else {
                return;
            };
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                // Nobody listens any more when everything is stopped already.
                let _ = asked.send(News::Asked);
            }
        });
        let hub = runtime.spawn(async move {
            tokio::select! {
                _ = stopped => running.stop().await,
                error = running.failed() => {
                    let _ = sender.send(News::Failed(chain(&error)));
                    Err(error)
                }
            }
        });
        Ok(Self { runtime, address, log, news, stop, hub })
    }

    /// Its URL.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// What happened within a time, if anything.
    pub fn news(&self, patience: Duration) -> Option<News> {
        match self.news.recv_timeout(patience) {
            Ok(news) => Some(news),
            Err(RecvTimeoutError::Timeout) => None,
            // Both senders are tasks of the runtime: it is gone.
            Err(RecvTimeoutError::Disconnected) => Some(News::Asked),
        }
    }

    /// Stops the hub.
    ///
    /// # Errors
    /// Its store failed before.
    pub fn stop(self) -> Result<(), CliError> {
        let Self { runtime, stop, hub, .. } = self;
        // It has ended by itself if nobody receives that.
        let _ = stop.send(());
        let ended = runtime.block_on(hub);
        runtime.shutdown_background();
        match ended {
            Ok(result) => Ok(result?),
            Err(error) => Err(CliError::Failed(format!("the hub's task ended badly: {error}"))),
        }
    }
}

/// An address if nothing listens there, else any of the same host.
fn free_or_any(address: &str) -> SocketAddr {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    // This machine is enough to try it; `lichen hub` listens for others too.
    let port = address.rsplit(':').next().unwrap_or_default();
    match format!("127.0.0.1:{port}").parse::<SocketAddr>() {
        Ok(address) if TcpListener::bind(address).is_ok() => address,
        _ => any,
    }
}
