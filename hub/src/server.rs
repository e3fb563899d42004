//! The running hub: API, artefacts and registry around the one task that owns the engine.
//!
//! ```text
//! HTTP ─ accept ─ connection ─ api ── handle ──► turn ─► store   one turn = one commit, before anything leaves
//!                               │                │ │ ▲
//!                               ▼                │ │ └── supply    images resolved, Wasm compiled
//!                          watch_cache ◄─ publish ◄┘ ▼
//!                                                   link ◄─► devices
//! ```
//!
//! - [`start`] takes a [`HubConfig`] and gives a [`Running`] hub.
//! - [`state_lock`] keeps a second hub out; [`turn`] owns the engine; [`handle`] asks it to change something.
//! - [`publish`] lets out what a turn has saved, into the [`watch_cache`] first: every read is served from there.
//! - [`accept`] and [`connection`] bound who may come and how long everything may take.
//! - [`api`] speaks Kubernetes' REST; [`artefacts`] and [`registry`] serve bytes on the same listener.
//! - [`signing`] is the key by which devices know this hub.
//! - [`supply`] finds or makes what devices need of images.

mod accept;
mod api;
mod artefacts;
mod clock;
mod config;
mod connection;
mod error;
mod handle;
mod limits;
mod listen;
mod metrics;
mod publish;
mod registry;
mod running;
mod signing;
mod state_lock;
mod supply;
mod turn;
mod watch_cache;

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use lichen_hub_core::engine::{self, Engine};
use lichen_images::store as images;
use lichen_link::{Endpoint, EndpointConfig, External, ExternalConfig, Link, LinkError};
use tokio::sync::{mpsc, oneshot, watch};

#[doc(hidden)]
pub use api::strangers;
pub use config::{ApiTimes, Broker, DEFAULT_API, HubConfig};
pub use error::HubError;
pub use listen::{ListenError, check_loopback};
pub use running::Running;
pub use signing::SigningKeyError;
pub use state_lock::StateLockError;

use crate::store::{RedbStore, Store, StoreError};
use accept::Serving;
use api::{Api, Authority};
use clock::Clock;
use handle::EngineHandle;
use limits::Limits;
use publish::Batch;
use signing::SigningKey;
use state_lock::StateLock;
use supply::Supplier;
use turn::{Attached, Turn};
use watch_cache::WatchCache;

/// Reports of the link that may wait for the engine.
const LINK_QUEUE: usize = 1024;
/// How long the artefact store of a hub that has just ended may stay in use, and how often to look.
const ARTEFACTS_TIME: Duration = Duration::from_secs(10);
const ARTEFACTS_PAUSE: Duration = Duration::from_millis(20);

/// Starts a hub: store, engine, API, and then the way to the devices. When this returns, all of them work; with an
/// external broker, the connection may still be on its way (`/readyz` tells).
///
/// # Errors
/// [`HubError`] says what is in the way and what to do.
pub async fn start(config: HubConfig) -> Result<Running, HubError> {
    listen::check_loopback("api", config.api)?;
    match &config.broker {
        Broker::Embedded(address) => listen::check_loopback("broker", *address)?,
        Broker::External(url) => listen::check_loopback_url(url)?,
    }
    let lock = StateLock::take(&config.state)?;
    let store = RedbStore::open(&config.state)?;
    start_locked(config, lock, Box::new(store)).await
}

/// Starts a hub on a store of the caller's.
///
/// # Errors
/// As [`start`].
pub async fn start_on(config: HubConfig, store: Box<dyn Store>) -> Result<Running, HubError> {
    let lock = StateLock::take(&config.state)?;
    start_locked(config, lock, store).await
}

async fn start_locked(
    config: HubConfig,
    mut lock: StateLock,
    store: Box<dyn Store>,
) -> Result<Running, HubError> {
    let limits = Limits::raise();
    let clock = Clock::start();
    let settings = engine::Config { seed: random_seed()?, lost_after_s: config.lost_after_s };
    let signer = Arc::new(SigningKey::open(&config.state)?);
    let engine = Engine::load(store.load()?, settings, signer.clone(), clock.now())?;
    let lineage = engine.lineage();
    let images = open_artefacts(&config.state).await?;
    // Before anything runs: an address that is taken is the commonest mistake.
    let (listener, address) = listen::listen("api", config.api).await?;
    lock.answers_at(address);
    let (handle, inputs) = EngineHandle::new();
    let cache = Arc::new(WatchCache::new());
    let (stop, stopping) = watch::channel(false);
    let connections = limits.api;
    let api = Api::new(api::Parts {
        engine: handle.clone(),
        cache: cache.clone(),
        images: images.clone(),
        lineage,
        signer,
        stopping: stopping.clone(),
        authority: Authority::of(address),
        limits,
    });
    let failed = |what| move |source| HubError::System { what, source };
    let supplier = Supplier::new(
        &config.state,
        config.compiler.clone(),
        images,
        handle.inputs().clone(),
        api.counters.clone(),
    )
    .map_err(failed("prepare the directory of compiled modules"))?;
    let mut turn = Turn {
        engine,
        store,
        clock,
        publish: None,
        batch: Batch::default(),
        supplier,
        counters: api.counters.clone(),
        inputs,
        waiting: HashMap::new(),
        logs: HashMap::new(),
        link: None,
        link_events: None,
        link_first: false,
        _lock: lock,
    };
    // Whoever asks finds everything there.
    turn.begin(&cache)?;
    let (publish, publisher) =
        publish::start(cache).map_err(failed("start the thread that publishes changes"))?;
    turn.publish = Some(publish);
    let (attach, attached) = oneshot::channel();
    let turn =
        spawn_turn(turn, publisher, attached).map_err(failed("start the engine's thread"))?;
    let serving = Serving {
        router: api::router(api.clone()),
        times: config.times,
        counters: api.counters.clone(),
        stopping,
    };
    let http = tokio::spawn(accept::serve(listener, connections, serving));
    tracing::info!(%address, connections, "the API answers");

    let mut running =
        Running { api: address, broker: String::new(), engine: handle, stop, http, turn };
    match connect(&config.broker, &lineage.to_string(), limits).await {
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

/// Opens the artefact store. The state directory is this hub's, so whoever still has the store is on its way out: an
/// upload or a compilation of the hub before it.
async fn open_artefacts(state: &Path) -> Result<lichen_images::Store, images::StoreError> {
    let opened = async {
        loop {
            match lichen_images::Store::open(&state.join("artefacts")) {
                Err(images::StoreError::InUse(_)) => tokio::time::sleep(ARTEFACTS_PAUSE).await,
                opened => return opened,
            }
        }
    };
    match tokio::time::timeout(ARTEFACTS_TIME, opened).await {
        Ok(opened) => opened,
        Err(_late) => lichen_images::Store::open(&state.join("artefacts")),
    }
}

/// The engine's own thread. Its end is reported, whatever it is. It has a runtime of its own, so that it can come to an
/// orderly end after the one of its caller has gone.
fn spawn_turn(
    turn: Turn,
    publisher: JoinHandle<()>,
    attached: oneshot::Receiver<Attached>,
) -> io::Result<oneshot::Receiver<Result<(), StoreError>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let (ended, end) = oneshot::channel();
    std::thread::Builder::new().name("engine".to_owned()).spawn(move || {
        let result = runtime.block_on(turn.run(attached));
        if let Err(error) = &result {
            tracing::error!(%error, "the store failed");
        }
        // A panic there has been printed; what is saved is saved.
        let _ = publisher.join();
        // Nobody may be waiting for it any more.
        let _ = ended.send(result);
    })?;
    Ok(end)
}

async fn connect(
    broker: &Broker,
    lineage: &str,
    limits: Limits,
) -> Result<(Attached, String), LinkError> {
    let (events, reports) = mpsc::channel(LINK_QUEUE);
    match broker {
        Broker::Embedded(listen) => {
            let config = EndpointConfig { listen: *listen, devices: limits.devices };
            let (link, address) = Endpoint::start(config, events).await?;
            Ok(((Link::Embedded(link), reports), format!("mqtt://{address}")))
        }
        Broker::External(url) => {
            let client_id = format!("lichen-hub-{lineage}");
            let config = ExternalConfig { url: url.clone(), tls: None, client_id };
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
