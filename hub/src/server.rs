//! The running hub: API, artefacts and registry around the one task that owns the engine.
//!
//! ```text
//! HTTP ── api ── handle ─► turn ─► store      one turn = one commit, before anything leaves
//!              ◄─ feed ◄──  │ ▲
//!                           ▼ └── supply      images resolved, Wasm compiled
//!                          link ◄─► devices
//! ```
//!
//! - [`turn`] owns the engine; [`handle`] asks it; [`feed`] keeps what it changed for those who watch.
//! - [`api`] speaks Kubernetes' REST; [`artefacts`] and [`registry`] serve bytes on the same listener.
//! - [`supply`] finds or makes what devices need of images.

mod api;
mod artefacts;
mod clock;
mod feed;
mod handle;
mod listen;
mod metrics;
mod registry;
mod supply;
mod turn;

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use lichen_hub_core::{
    engine::{self, Engine},
    record::LoadError,
};
use lichen_link::{Embedded, EmbeddedConfig, External, ExternalConfig, Link, LinkError};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

pub use listen::{ListenError, check_loopback};

use crate::store::{RedbStore, Store, StoreError};
use api::Api;
use clock::Clock;
use feed::Feed;
use handle::{EngineHandle, Input};
use supply::Supplier;
use turn::{Attached, Turn};

/// The API's address, where no other is given.
pub const DEFAULT_API: &str = "127.0.0.1:6180";
/// Reports of the link that may wait for the engine.
const LINK_QUEUE: usize = 1024;
/// How long requests may take to finish when the hub stops.
const STOP_TIME: Duration = Duration::from_secs(5);

/// What a hub needs to know.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// The directory of its store and its artefacts.
    pub state: PathBuf,
    /// Where API, artefacts and registry listen. Port 0 lets the system choose.
    pub api: SocketAddr,
    /// The way to the devices.
    pub broker: Broker,
    /// The Wasm compiler; without it, `lichen-wasmc` beside this program or in PATH.
    pub compiler: Option<PathBuf>,
    /// How long a device may be silent before copies that could run elsewhere are replaced.
    pub lost_after_s: u32,
}

impl HubConfig {
    /// A hub with the usual settings that listens where it is told to.
    #[must_use]
    pub fn new(state: PathBuf, api: SocketAddr, broker: Broker) -> Self {
        let lost_after_s = engine::Config::default().lost_after_s;
        Self { state, api, broker, compiler: None, lost_after_s }
    }
}

/// The way to the devices.
#[derive(Clone, Debug)]
pub enum Broker {
    /// A broker in this process, listening here. Port 0 lets the system choose.
    Embedded(SocketAddr),
    /// A broker of the operator's, `mqtt://HOST:PORT`.
    External(String),
}

/// Why a hub does not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its records can't be.
    #[error("could not load the hub's state")]
    Load(#[from] LoadError),
    /// The artefact store can't be used.
    #[error(transparent)]
    Artefacts(#[from] lichen_images::store::StoreError),
    /// An address can't be used.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The broker does not start.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Something of the system's.
    #[error("could not {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The store failed while running. What was not acknowledged is not saved.
    #[error("the hub had to end because its store failed; what it acknowledged is saved")]
    Failed(#[source] StoreError),
}

/// A hub that runs.
#[derive(Debug)]
pub struct Running {
    api: SocketAddr,
    broker: String,
    engine: EngineHandle,
    stop: watch::Sender<bool>,
    http: JoinHandle<io::Result<()>>,
    turn: oneshot::Receiver<Result<(), StoreError>>,
}

/// Starts a hub: store, engine, API, and then the way to the devices. When this returns, all of them work; with an
/// external broker, the connection may still be on its way (`/readyz` tells).
///
/// # Errors
/// [`HubError`] says what is in the way and what to do.
pub async fn start(config: HubConfig) -> Result<Running, HubError> {
    listen::check_loopback("api", config.api)?;
    if let Broker::Embedded(address) = config.broker {
        listen::check_loopback("broker", address)?;
    }
    let store = RedbStore::open(&config.state)?;
    start_on(config, Box::new(store)).await
}

/// Starts a hub on a store of the caller's.
///
/// # Errors
/// As [`start`].
pub async fn start_on(config: HubConfig, store: Box<dyn Store>) -> Result<Running, HubError> {
    let clock = Clock::start();
    let settings = engine::Config { seed: random_seed()?, lost_after_s: config.lost_after_s };
    let engine = Engine::load(store.load()?, settings, clock.now())?;
    let lineage = engine.lineage();
    let images = lichen_images::Store::open(&config.state.join("artefacts"))?;
    let (handle, inputs) = EngineHandle::new();
    let feed = Arc::new(Feed::new());
    let (stop, stopping) = watch::channel(false);
    let api = Api::new(handle.clone(), feed.clone(), images.clone(), lineage, stopping.clone());
    let supplier = Supplier::new(
        &config.state,
        config.compiler.clone(),
        images,
        handle.inputs().clone(),
        api.counters.clone(),
    );
    let failed = |what| move |source| HubError::System { what, source };
    let supplier = supplier.map_err(failed("prepare the directory of compiled modules"))?;
    // Before anything runs: an address that is taken is the commonest mistake.
    let (listener, address) = listen::listen("api", config.api).await?;
    let (attach, attached) = oneshot::channel();
    let turn = Turn {
        engine,
        store,
        clock,
        feed,
        supplier,
        counters: api.counters.clone(),
        inputs,
        waiting: HashMap::new(),
        logs: HashMap::new(),
        link: None,
        link_events: None,
    };
    let turn = spawn_turn(turn, attached).map_err(failed("start the engine's thread"))?;
    let router = api::router(api.clone());
    let http = tokio::spawn(serve(listener, router, stopping));
    tracing::info!(%address, "the API answers");

    let mut running =
        Running { api: address, broker: String::new(), engine: handle, stop, http, turn };
    match connect(&config.broker, &lineage.to_string()).await {
        Ok((link, url)) => {
            running.broker.clone_from(&url);
            // Set once, here.
            let _ = api.broker.set(url);
            let _turn_gone = attach.send(link);
            Ok(running)
        }
        Err(error) => {
            running.stop().await?;
            Err(error.into())
        }
    }
}

/// The engine's own thread. Its end is reported, whatever it is.
fn spawn_turn(
    mut turn: Turn,
    attached: oneshot::Receiver<Attached>,
) -> io::Result<oneshot::Receiver<Result<(), StoreError>>> {
    let runtime = tokio::runtime::Handle::current();
    let (ended, end) = oneshot::channel();
    std::thread::Builder::new().name("engine".to_owned()).spawn(move || {
        let result = runtime.block_on(async move {
            turn.begin()?;
            turn.run(attached).await
        });
        if let Err(error) = &result {
            tracing::error!(%error, "the store failed");
        }
        // Nobody may be waiting for it any more.
        let _ = ended.send(result);
    })?;
    Ok(end)
}

async fn serve(
    listener: listen::Bounded,
    router: axum::Router,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let stop = async move {
        // The sender going away means the same.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}

async fn connect(broker: &Broker, lineage: &str) -> Result<(Attached, String), LinkError> {
    let (events, reports) = mpsc::channel(LINK_QUEUE);
    match broker {
        Broker::Embedded(listen) => {
            let config = EmbeddedConfig { listen: *listen };
            let (link, address) = Embedded::start(config, events).await?;
            Ok(((Link::Embedded(link), reports), format!("mqtt://{address}")))
        }
        Broker::External(url) => {
            let client_id = format!("lichen-hub-{lineage}");
            let config = ExternalConfig { url: url.clone(), client_id };
            let link = External::start(config, events)?;
            Ok(((Link::External(link), reports), url.clone()))
        }
    }
}

/// Random bytes from the kernel.
fn random_seed() -> Result<[u8; 32], HubError> {
    let mut seed = [0; 32];
    File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut seed)).map_err(
        |source| HubError::System { what: "read random numbers from /dev/urandom", source },
    )?;
    Ok(seed)
}

impl Running {
    /// Where API, artefacts and registry listen.
    #[must_use]
    pub fn api(&self) -> SocketAddr {
        self.api
    }

    /// The URL that devices connect to.
    #[must_use]
    pub fn broker(&self) -> &str {
        &self.broker
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
            ended = &mut self.turn => Err(failed_with(ended)),
        }
    }

    /// Waits until the hub has to end by itself, which it does only if its store fails.
    pub async fn failed(&mut self) -> HubError {
        failed_with((&mut self.turn).await)
    }

    /// Stops: no new requests, open ones finish, streams end, devices are let go, the store is closed.
    ///
    /// # Errors
    /// [`HubError::Failed`] if the store failed before.
    pub async fn stop(mut self) -> Result<(), HubError> {
        self.stop.send_replace(true);
        if tokio::time::timeout(STOP_TIME, &mut self.http).await.is_err() {
            tracing::warn!("some requests did not finish and are broken off");
            self.http.abort();
        }
        let _turn_gone = self.engine.inputs().send(Input::Stop).await;
        match self.turn.await {
            Ok(Ok(())) => Ok(()),
            ended => Err(failed_with(ended)),
        }
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
