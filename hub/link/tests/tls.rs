//! The client over TLS: to the endpoint, and to servers that are not what they should be.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

#[allow(dead_code, reason = "each test program uses its part")]
#[path = "conformance/mosquitto.rs"]
mod broker;
mod conformance;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use conformance::{
    Rig,
    embedded::start,
    fleet::{DAY, Fleet, dial},
};
use firmware_compat::enrolment::Broker;
use lichen_link::{
    External, ExternalConfig, LinkEvent, TlsSource,
    client::{self, Client, Down, Handler, Place, RetryPolicy, Route, Tls, Way},
};
use lichen_trust::{DEVICES, HUB_NAME};
use rcgen::{CertificateParams, KeyPair};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, UnixListener},
    sync::mpsc,
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(30);
const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
fn tls(config: Arc<rustls::ClientConfig>) -> Option<Tls> {
    Some(Tls { config, name: Some(ServerName::try_from(HUB_NAME).unwrap()) })
}

#[derive(Debug, PartialEq)]
enum Told {
    Up,
    Down(Down),
    Message(Vec<u8>),
}

struct Ears(mpsc::UnboundedSender<Told>);

impl Handler for Ears {
    async fn up(&mut self) {
        self.0.send(Told::Up).unwrap();
    }
    async fn down(&mut self, why: &Down) {
        self.0.send(Told::Down(why.clone())).unwrap();
    }
    async fn message(&mut self, _topic: &str, bytes: &[u8]) {
        self.0.send(Told::Message(bytes.to_vec())).unwrap();
    }
}

struct Device {
    client: Client,
    told: mpsc::UnboundedReceiver<Told>,
}

impl Device {
    fn start(route: Route) -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        let config = client::ClientConfig {
            route,
            client_id: "pi".into(),
            keep_alive: Duration::from_secs(60),
            subscriptions: vec!["lichen/1/pi/down/#".into()],
            retry: RetryPolicy {
                first: Duration::from_millis(10),
                longest: Duration::from_millis(50),
                unwelcome: Duration::from_secs(3600),
            },
            outbox_bytes: 64 * 1024,
        };
        Self { client: Client::start(config, Ears(tell)), told }
    }

    async fn next(&mut self) -> Told {
        timeout(DEADLINE, self.told.recv()).await.expect("the client tells something").unwrap()
    }
}

fn way(rig: &Rig, config: Arc<ClientConfig>) -> Way {
    Way { places: vec![rig.broker.address().into()], tls: tls(config) }
}

/// A device whose certificate is of another hub.
fn of_another_hub(rig: &Rig) -> Arc<ClientConfig> {
    rig.fleet().client(Some(&Fleet::new().issue("pi", DEVICES, DAY)), &[b"mqtt"])
}

#[tokio::test]
async fn frames_travel_over_tls_and_a_hub_that_stops_says_so() {
    let rig = start(10).await;
    rig.link.set_head("pi", b"head".to_vec());
    let mut pi = Device::start(Route::fixed(way(&rig, rig.fleet().device("pi").1)));
    assert_eq!(pi.next().await, Told::Up);
    assert_eq!(pi.next().await, Told::Message(b"head".to_vec()));
    rig.link.shutdown().await;
    assert_eq!(pi.next().await, Told::Down(Down::Closed { code: "ServerShuttingDown".into() }));
}

#[tokio::test]
async fn a_server_of_another_authority_is_an_impostor() {
    let rig = start(10).await;
    let (own, _) = rig.fleet().device("pi");
    let config = Fleet::new().client(Some(&own), &[b"mqtt"]);
    let mut pi = Device::start(Route::fixed(way(&rig, config)));
    let Told::Down(Down::Impostor { why }) = pi.next().await else { panic!("it was believed") };
    assert!(why.starts_with("invalid peer certificate"), "{why}");
    assert_eq!(rig.link.counts().handshakes_full, 0);
}

#[tokio::test]
async fn a_server_that_refuses_the_certificate_is_told_apart_from_one_that_is_away() {
    let rig = start(10).await;
    let mut pi = Device::start(Route::fixed(way(&rig, of_another_hub(&rig))));
    let Told::Down(Down::CertificateRefused { why }) = pi.next().await else {
        panic!("it was let in")
    };
    // Each of these words is right: which one comes is the server's to say.
    assert!(["UnknownCA", "CertificateUnknown", "DecryptError"].contains(&&*why), "{why}");
}

#[tokio::test]
async fn each_connection_asks_for_its_certificate_anew_and_need_not_wait_for_it() {
    let rig = start(10).await;
    let config = Arc::new(Mutex::new(of_another_hub(&rig)));
    let (current, places) = (config.clone(), vec![rig.broker.address().into()]);
    let mut pi = Device::start(Route::new(move || {
        let config = current.lock().unwrap().clone();
        Way { places: places.clone(), tls: tls(config) }
    }));
    assert!(matches!(pi.next().await, Told::Down(Down::CertificateRefused { .. })));
    *config.lock().unwrap() = rig.fleet().device("pi").1;
    // It would wait an hour otherwise.
    pi.client.hurry();
    assert_eq!(pi.next().await, Told::Up);
}

/// Takes connections and closes them. Counts them.
async fn closed_door() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(ANYWHERE).await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Relaxed);
        }
    });
    (address, count)
}

#[tokio::test]
async fn places_are_tried_in_turn_and_the_one_that_worked_is_the_first_from_then_on() {
    let rig = start(10).await;
    let (closed, count) = closed_door().await;
    let wrong = start(10).await;
    let places = [closed, wrong.broker.address(), rig.broker.address()].map(Into::into).to_vec();
    let tls = tls(rig.fleet().device("pi").1);
    let mut pi = Device::start(Route::fixed(Way { places, tls }));
    // One attempt goes through all of them.
    assert_eq!(pi.next().await, Told::Up);
    assert_eq!(count.load(Relaxed), 1);
    // A newer connection of the same device takes its place, and gives it back.
    let newer = conformance::device::Device::connect(&rig.broker, "pi").await;
    assert!(matches!(pi.next().await, Told::Down(Down::TakenOver { .. })));
    drop(newer);
    // It is kept out until the newer one is known to be gone, and would wait long between its attempts.
    loop {
        pi.client.hurry();
        if pi.next().await == Told::Up {
            break;
        }
    }
    assert_eq!(count.load(Relaxed), 1);
}

#[tokio::test]
async fn when_no_place_takes_the_connection_each_is_named_with_its_reason() {
    let config = Fleet::new().device("pi").1;
    let nobody = TcpListener::bind(ANYWHERE).await.unwrap().local_addr().unwrap();
    let places = vec![nobody.into(), Place::Unix("/nowhere/socket".into())];
    let mut pi = Device::start(Route::fixed(Way { places, tls: tls(config) }));
    let Told::Down(Down::Lost(why)) = pi.next().await else { panic!("something was reached") };
    assert!(why.contains(&nobody.to_string()), "{why}");
    assert!(why.contains("nor at unix:///nowhere/socket"), "{why}");
    let mut lost = Device::start(Route::fixed(Way { places: Vec::new(), tls: None }));
    let Told::Down(Down::Lost(why)) = lost.next().await else { panic!("nothing is there") };
    assert_eq!(why, "no address of the broker is known");
}

#[tokio::test]
async fn a_broker_on_a_socket_of_this_machine_needs_no_tls() {
    let rig = start(10).await;
    let (address, config) = (rig.broker.address(), rig.fleet().device("pi").1);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mqtt.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (mut outer, _) = listener.accept().await.unwrap();
        let mut inner = dial(address, config).await.unwrap();
        let _closed = copy_bidirectional(&mut outer, &mut inner).await;
    });
    let mut pi = Device::start(Route::plain(Place::Unix(path)));
    assert_eq!(pi.next().await, Told::Up);
}

/// A server that takes the connection and says nothing: the handshake has its time, as the network has.
#[tokio::test]
async fn a_handshake_that_does_not_come_is_given_up() {
    let config = Fleet::new().device("pi").1;
    let listener = TcpListener::bind(ANYWHERE).await.unwrap();
    let silent = listener.local_addr().unwrap();
    let accepting = tokio::spawn(async move { listener.accept().await.unwrap() });
    let way = Way { places: vec![silent.into()], tls: tls(config) };
    let mut pi = Device::start(Route::fixed(way));
    let _held = accepting.await.unwrap();
    tokio::time::pause();
    let told = tokio::time::timeout(Duration::from_secs(60), pi.told.recv()).await;
    let Ok(Some(Told::Down(Down::Lost(why)))) = told else { panic!("{told:?}") };
    assert!(why.contains("timed out"), "{why}");
}

/// The hub's own connection to a broker of the operator's: by TLS with the hub's certificate, or on a socket of the machine.
#[tokio::test]
#[ignore = "needs mosquitto: run by make test"]
async fn the_hub_reaches_a_mosquitto_over_tls_and_on_a_socket() {
    let fleet = Fleet::new();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    // The broker's certificate is this test's own; the hub's is of its authority.
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![HUB_NAME.to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap();
    fs::write(path("ca"), fleet.trust.bundle()).unwrap();
    fs::write(path("certificate"), certificate.pem()).unwrap();
    fs::write(path("key"), key.serialize_pem()).unwrap();
    // `user`: started by root, it would change to one who can't read these files.
    let port = TcpListener::bind(ANYWHERE).await.unwrap().local_addr().unwrap().port();
    let more = format!(
        "user root\nlistener {port} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\n\
         require_certificate true\nuse_identity_as_username true\nlistener 0 {}\n",
        path("ca"),
        path("certificate"),
        path("key"),
        path("socket")
    );
    let _broker = broker::Mosquitto::start_with(&more);
    let hub = fleet.issue("lichen-hub", "lichen:hub", DAY);
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![hub.certificate], hub.key)
        .unwrap();
    let config = Arc::new(config);
    let source = TlsSource(Arc::new(move |_| tls(config.clone()).unwrap()));
    for url in [format!("mqtts://127.0.0.1:{port}"), format!("unix://{}", path("socket"))] {
        let (sender, mut events) = mpsc::channel(16);
        let (tls, client_id) = (source.clone(), "lichen-hub-test".into());
        let broker = Broker::parse(&url).unwrap();
        let hub = External::start(ExternalConfig { broker, tls, client_id }, sender);
        let event = timeout(DEADLINE, events.recv()).await.expect("the broker is there");
        assert_eq!(event, Some(LinkEvent::Up));
        hub.shutdown().await;
    }
}
