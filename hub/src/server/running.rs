//! A hub that runs: where it is reached, and how it stops.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};

use super::{
    HubError,
    audit::Recorder,
    handle::{EngineHandle, Input},
};
use crate::store::StoreError;

/// A hub that runs.
#[derive(Debug)]
pub struct Running {
    pub(super) api: SocketAddr,
    pub(super) devices: SocketAddr,
    pub(super) broker: Option<String>,
    pub(super) kubeconfig: PathBuf,
    pub(super) engine: EngineHandle,
    pub(super) stop: watch::Sender<bool>,
    pub(super) http: JoinHandle<()>,
    pub(super) turn: oneshot::Receiver<Result<(), StoreError>>,
    pub(super) audit: Recorder,
}

impl Running {
    /// Where operators connect.
    #[must_use]
    pub fn api(&self) -> SocketAddr {
        self.api
    }

    /// The operators' URL on this machine.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", on_this_machine(self.api))
    }

    /// Where devices connect.
    #[must_use]
    pub fn devices(&self) -> SocketAddr {
        self.devices
    }

    /// The operator's broker, if there is one.
    #[must_use]
    pub fn broker(&self) -> Option<&str> {
        self.broker.as_deref()
    }

    /// The file by which this machine's owner is an admin.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Waits until SIGINT or SIGTERM, and stops; or until the hub has to end by itself.
    ///
    /// # Errors
    /// [`HubError::Failed`] if the store failed: the process must end with it.
    pub async fn until_signal(mut self) -> Result<(), HubError> {
        use tokio::signal::unix::{SignalKind, signal};
        let failed = |source| HubError::System { what: "listen for signals", source };
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        tokio::select! {
            _ = interrupt.recv() => self.stop().await,
            _ = terminate.recv() => self.stop().await,
            ended = &mut self.turn => {
                self.audit.stop().await;
                Err(failed_with(ended))
            }
        }
    }

    /// Waits until the hub has to end by itself, which it does only if its store fails.
    pub async fn failed(&mut self) -> HubError {
        failed_with((&mut self.turn).await)
    }

    /// Stops: no new requests, open ones finish, streams end, devices are let go, store and audit log are closed.
    ///
    /// # Errors
    /// [`HubError::Failed`] if the store failed before.
    pub async fn stop(mut self) -> Result<(), HubError> {
        self.stop.send_replace(true);
        // It gives requests a bounded time; if it panicked, that has been printed.
        let _ = (&mut self.http).await;
        let _turn_gone = self.engine.inputs().send(Input::Stop).await;
        let ended = self.turn.await;
        self.audit.stop().await;
        match ended {
            Ok(Ok(())) => Ok(()),
            ended => Err(failed_with(ended)),
        }
    }
}

/// How a listener is reached from its own machine.
pub(super) fn on_this_machine(listener: SocketAddr) -> SocketAddr {
    match listener.ip().is_unspecified() {
        true => SocketAddr::from((Ipv4Addr::LOCALHOST, listener.port())),
        false => listener,
    }
}

fn failed_with(ended: Result<Result<(), StoreError>, oneshot::error::RecvError>) -> HubError {
    match ended {
        Ok(Err(error)) => HubError::Failed(error),
        Ok(Ok(())) | Err(_) => HubError::System {
            what: "keep the engine running",
            source: io::Error::other("its thread ended; its log says more"),
        },
    }
}
