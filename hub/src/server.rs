//! The running hub: API, artefacts and registry around the one task that owns the engine.
//!
//! ```text
//! HTTP ── api ── handle ─► turn ─► store      one turn = one commit, before anything leaves
//!              ◄─ feed ◄──  │ ▲
//!                           ▼ └── supply      images resolved, Wasm compiled
//!                          link ◄─► devices
//! ```
//!
//! - [`start`] takes a [`HubConfig`] and gives a [`Running`] hub.
//! - [`turn`] owns the engine; [`handle`] asks it; [`feed`] keeps what it changed for those who watch.
//! - [`api`] speaks Kubernetes' REST; [`artefacts`] and [`registry`] serve bytes on the same listener.
//! - [`supply`] finds or makes what devices need of images.

mod api;
mod artefacts;
mod clock;
mod config;
mod error;
mod feed;
mod handle;
mod limits;
mod listen;
mod metrics;
mod registry;
mod running;
mod supply;
mod turn;

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    sync::Arc,
};

use lichen_hub_core::engine::{self, Engine};
use lichen_link::{Endpoint, EndpointConfig, External, ExternalConfig, Link, LinkError};
use tokio::sync::{mpsc, oneshot, watch};

#[doc(hidden)]
pub use api::strangers;
pub use config::{Broker, DEFAULT_API, HubConfig};
pub use error::HubError;
pub use listen::{ListenError, check_loopback};
pub use running::Running;

use crate::store::{RedbStore, Store, StoreError};
use api::Api;
use clock::Clock;
use feed::Feed;
use handle::EngineHandle;
use limits::Limits;
use supply::Supplier;
use turn::{Attached, Turn};

/// Reports of the link that may wait for the engine.
const LINK_QUEUE: usize = 1024;

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
    let store = RedbStore::open(&config.state)?;
    start_on(config, Box::new(store)).await
}

/// Starts a hub on a store of the caller's.
///
/// # Errors
/// As [`start`].
pub async fn start_on(config: HubConfig, store: Box<dyn Store>) -> Result<Running, HubError> {
    let limits = Limits::raise();
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
    let (listener, address) = listen::listen("api", config.api, limits.api).await?;
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
