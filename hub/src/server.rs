//! The running hub: two listeners around the one task that owns the engine.
//!
//! ```text
//! operators ─ accept ─ connection ─ access ─ api ── handle ──► turn ─► store   one turn = one commit, before anything leaves
//!                                       │      │        ▲       │ │ ▲
//!                                       └──────▼        │       │ │ └── supply    images resolved, Wasm compiled
//!                                      watch_cache ◄────│─ publish ◄┘
//!                                                       │         ▼
//! devices ─ endpoint ─ HTTP ─ connection ─ devices ──────┘     link ◄─► devices, by MQTT
//! ```
//!
//! - [`start`] takes a [`HubConfig`] and gives a [`Running`] hub.
//! - [`state_lock`] keeps a second hub out; [`turn`] owns the engine; [`handle`] asks it to change something.
//! - [`publish`] lets out what a turn has saved, into the [`watch_cache`] first: every read is served from there.
//! - [`accept`] and [`connection`] bound who may come and how long everything may take; TLS stands before anything else.
//! - [`access`] is the gate: [`authn`] says who asks, [`authz`] what for, and the rules whether that is allowed.
//! - [`audit`] notes every change and every refusal in a log that can be checked.
//! - [`api`] speaks Kubernetes' REST to operators; [`registry`] takes their images.
//! - [`devices`] is the HTTP side of the device port: enrolment, and [`artefacts`].
//! - [`advertise`] says under which names and addresses the hub is found, [`renewal`] keeps its certificate new.
//! - [`signing`] is how it signs what it says to devices; [`rotation`] changes its keys.
//! - [`supply`] finds or makes what devices need of images.

mod accept;
mod access;
mod addresses;
mod admin;
mod advertise;
mod api;
mod artefacts;
mod audit;
mod authn;
mod authz;
mod clock;
mod config;
mod connection;
mod devices;
mod error;
mod handle;
mod limits;
mod listen;
mod metrics;
mod peer;
mod publish;
mod registry;
mod renewal;
mod rotation;
mod running;
mod sealing;
mod signing;
mod state_lock;
mod supply;
mod turn;
mod watch_cache;

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    net::SocketAddr,
    path::Path,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use firmware_compat::{
    enrolment::{ALPN_HTTP, ALPN_MQTT, BROKER_NAME, Broker},
    id::Lineage,
};
use lichen_hub_core::engine::{self, Engine};
use lichen_images::store as images;
use lichen_link::{
    As, Endpoint, EndpointConfig, External, ExternalConfig, Link, PROTOCOLS, TlsSource, client::Tls,
};
use lichen_trust::{DEVICES, HUB_USER, KnownTime, Trust, TrustError};
use rustls::pki_types::ServerName;
use tokio::sync::{mpsc, oneshot, watch};

pub use admin::ADMIN;
#[doc(hidden)]
pub use api::strangers;
pub use authn::KeyError;
pub use config::{ApiTimes, DEFAULT_API, DEFAULT_DEVICES, HubConfig};
pub use devices::Lifetimes;
pub use error::HubError;
pub use listen::ListenError;
pub use running::Running;
pub(crate) use signing::Signer;
pub(crate) use state_lock::StateLock;
pub use state_lock::StateLockError;

use crate::{
    backup::{place, source::Source},
    store::{EncryptedStore, RedbStore, Store, StoreError},
};
use accept::Operators;
use access::Access;
use admin::Admin;
use api::Api;
use clock::Clock;
use connection::Serving;
use devices::Devices;
use handle::EngineHandle;
use limits::Limits;
use publish::Batch;
use rotation::Rotation;
use running::on_this_machine;
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
    let lock = StateLock::take(&config.state)?;
    place::finish(&config.state)?;
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
    let broker = config.external_broker.as_deref().map(Broker::parse).transpose()?;
    let limits = Limits::raise();
    let names = advertise::names(&config.advertise, config.devices);
    let trust_dir = config.state.join("trust");
    if config.accept_clock {
        KnownTime::accept_clock(&trust_dir).map_err(TrustError::from)?;
    }
    let trust = Arc::new(Trust::open(&trust_dir, names)?);
    let clock = Clock::start(trust.time().clone());
    let audit = audit::open(&config.state, config.audit)?;
    let store = EncryptedStore::open(store, &config.secrets_key, &config.state)?;
    let settings = engine::Config {
        seed: random_seed()?,
        lost_after_s: config.lost_after_s,
        seal: sealing::seals(store.keys()),
    };
    let engine = Engine::load(store.load()?, settings, Signer::of(&trust), clock.now())?;
    let lineage = engine.lineage();
    let images = open_artefacts(&config.state).await?;
    // Before anything runs: an address that is taken is the commonest mistake.
    let (listener, address) = listen::listen("api", config.api)?;
    lock.answers_at(address);
    let admin = Admin::new(&config.state, format!("https://{}", on_this_machine(address)));
    admin.keep(&trust)?;
    let (handle, inputs) = EngineHandle::new();
    let cache = Arc::new(WatchCache::new());
    let access = Arc::new(Access::open(
        &config.state,
        cache.clone(),
        trust.time().clone(),
        trust.era().clone(),
    )?);
    let (stop, stopping) = watch::channel(false);
    let connections = limits.api;
    let rotation = Rotation::new(trust.clone(), handle.clone(), admin.clone(), access.clone());
    let failed = |what| move |source| HubError::System { what, source };
    let audit = audit
        .start(trust.time().clone())
        .map_err(failed("start the thread that writes the audit log"))?;
    let api = Api::new(api::Parts {
        engine: handle.clone(),
        cache: cache.clone(),
        access: access.clone(),
        images: images.clone(),
        trust: trust.clone(),
        backups: Source::new(store.reader(), images.clone(), trust.clone(), config.state.clone()),
        rotation: rotation.clone(),
        audit: audit.clone(),
        devices: Arc::default(),
        stopping: stopping.clone(),
        limits,
    });
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
        store: Box::new(store),
        clock,
        publish: None,
        batch: Batch::default(),
        supplier,
        counters: api.counters.clone(),
        audit: audit.clone(),
        inputs,
        waiting: HashMap::new(),
        logs: HashMap::new(),
        link: None,
        port: None,
        admissions: Vec::new(),
        link_events: None,
        link_first: false,
        _lock: lock,
    };
    // Whoever asks finds everything there.
    turn.begin(&cache, &access)?;
    let (publish, publisher) =
        publish::start(cache, access).map_err(failed("start the thread that publishes changes"))?;
    turn.publish = Some(publish);
    let (attach, attached) = oneshot::channel();
    let turn =
        spawn_turn(turn, publisher, attached).map_err(failed("start the engine's thread"))?;
    let serving = Serving {
        router: api::router(api.clone()),
        times: config.times,
        counters: api.counters.clone(),
    };
    let operators = Operators {
        serving: serving.clone(),
        tls: trust.server_config(&[ALPN_HTTP]),
        era: trust.era().clone(),
        stopping: stopping.clone(),
    };
    let http = tokio::spawn(accept::serve(listener, connections, operators));
    tokio::spawn(renewal::run(rotation, stopping));
    tracing::info!(%address, connections, "the API answers");

    let mut running = Running {
        api: address,
        devices: config.devices,
        broker: broker.as_ref().map(ToString::to_string),
        kubeconfig: admin.path().to_owned(),
        engine: handle.clone(),
        stop,
        http,
        turn,
        audit: audit.clone(),
    };
    let connected = async {
        let devices = Devices {
            engine: handle,
            addresses: api.devices.clone(),
            trust: trust.clone(),
            lineage,
            broker: broker.clone(),
            lifetimes: config.lifetimes,
            audit,
        };
        let router = devices::router(devices, api.clone());
        let port = Port {
            listen: config.devices,
            devices: limits.devices,
            http: Arc::new(devices::Http {
                serving: Serving { router, ..serving },
                trust: trust.clone(),
            }),
            trust,
        };
        connect(port, broker, lineage).await
    };
    match connected.await {
        Ok((link, devices)) => {
            running.devices = devices;
            // Set once, here.
            let _ = api.devices.set(advertise::addresses(&config.advertise, devices));
            let _turn_gone = attach.send(link);
            Ok(running)
        }
        Err(error) => {
            running.stop().await?;
            Err(error)
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

/// The port of the devices, and who answers there.
struct Port {
    listen: SocketAddr,
    devices: usize,
    http: Arc<devices::Http>,
    trust: Arc<Trust>,
}

/// Opens the device port, and the way to the operator's broker if there is one. Devices speak MQTT with that one then.
async fn connect(
    port: Port,
    broker: Option<Broker>,
    lineage: Lineage,
) -> Result<(Attached, SocketAddr), HubError> {
    let (events, reports) = mpsc::channel(LINK_QUEUE);
    let protocols: &[&[u8]] = if broker.is_some() { &[ALPN_HTTP] } else { &PROTOCOLS };
    let config = EndpointConfig {
        listen: port.listen,
        devices: port.devices,
        tls: port.trust.server_config(protocols),
        time: port.trust.time().clone(),
        http: port.http,
    };
    let Some(broker) = broker else {
        let (endpoint, address) = Endpoint::start(config, events).await?;
        let attached = Attached { link: Link::Embedded(endpoint), port: None, events: reports };
        return Ok((attached, address));
    };
    // Nobody hears what it reports: without MQTT it is only a port.
    let (unheard, _) = mpsc::channel(LINK_QUEUE);
    let (endpoint, address) = Endpoint::start(config, unheard).await?;
    let tls = way_to_broker(port.trust)?;
    let config = ExternalConfig { broker, tls, client_id: format!("lichen-hub-{lineage}") };
    let link = Link::External(External::start(config, events));
    Ok((Attached { link, port: Some(endpoint), events: reports }, address))
}

/// What the hub shows to the operator's broker, and by which it knows it. To end a device's session it shows what that device
/// might: it is the authority of both.
fn way_to_broker(trust: Arc<Trust>) -> Result<TlsSource, HubError> {
    let now = |trust: &Trust, who: As<'_>| {
        let (name, group) = match who {
            As::Hub => (HUB_USER, HUB_USER),
            As::Device(name) => (name, DEVICES),
        };
        let config = trust.client_config(name, group, ALPN_MQTT)?;
        let broker = ServerName::try_from(BROKER_NAME).expect("a name that DNS could have");
        Ok::<_, TrustError>(Tls { config: Arc::new(config), name: Some(broker) })
    };
    let first = now(&trust, As::Hub)?;
    // A new certificate for each connection: it never ends while it is needed, and the hub's authority may be another one.
    Ok(TlsSource(Arc::new(move |who| now(&trust, who).unwrap_or_else(|_| first.clone()))))
}

/// Random bytes from the kernel.
fn random_seed() -> Result<[u8; 32], HubError> {
    let mut seed = [0; 32];
    File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut seed)).map_err(
        |source| HubError::System { what: "read random numbers from /dev/urandom", source },
    )?;
    Ok(seed)
}
