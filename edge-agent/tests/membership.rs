//! Being a member of a hub: renewal, what changes of the hub, and hubs that do not want the device any more. A real link
//! over TLS to a real endpoint.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

mod support;

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use firmware_compat::{
    enrolment::{Address, Broker, CONNECT_PATH, HubFacts, RENEW_PATH, RenewRequest},
    frame::Kind,
    id::{AgentId, BootId, Lineage, PublicKey},
    keys::{PinnedHub, SigningKeys},
};
use lichen_agent::{
    hub::HubError,
    identity::IdentityDir,
    join,
    known_time::KnownTime,
    link::{Link, LinkConfig},
    membership::{Membership, MembershipError, keeper::Board},
    message::{CAPACITY, Message},
    options::KEEP_ALIVE,
    state::StateDir,
};
use lichen_link::{Endpoint, LinkEvent};
use support::{
    authority::{Authority, BEGINNING, NO_END},
    http::{Server, as_address},
    hub::DEADLINE,
};
use tokio::{sync::mpsc, time::timeout};

const BOARD: Board = Board { agent: AgentId([1; 16]), boot: BootId([2; 16]) };
const IN_2100_MS: u64 = 4_102_444_800_000;

struct Device {
    dir: tempfile::TempDir,
    time: KnownTime,
    membership: Arc<Membership>,
}

impl Device {
    fn of(hub: &Server) -> Self {
        Self::with(hub, false)
    }

    fn with(hub: &Server, may_adopt: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        let mut never = |_| panic!("it waits");
        let joined = join::join(&state, &hub.invitation(), Some("pi"), &mut |_| {}, &mut never);
        let time = KnownTime::load(&state).unwrap();
        let own = IdentityDir::of(&state);
        let membership = Membership::new(joined.unwrap(), own, time.clone(), may_adopt).unwrap();
        Self { dir, time, membership: Arc::new(membership) }
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join("identity").join(name)).unwrap()
    }

    fn renew(&self) -> Result<(), MembershipError> {
        let keys = self.membership.identity().keys.clone();
        let request = RenewRequest {
            csr: keys.request().unwrap().as_str().try_into().unwrap(),
            sealing_key: keys.sealing_key(),
            agent: BOARD.agent,
            boot: BOARD.boot,
        };
        self.membership.renewed(&self.membership.hub().renew(&request).unwrap())
    }

    fn shown(&self) -> Vec<u8> {
        self.membership.identity().certified.cert[0].to_vec()
    }
}

/// A device's link, and what it tells.
struct Linked {
    link: Link,
    messages: mpsc::Receiver<Message>,
}

impl Linked {
    fn start(device: &Device) -> Self {
        let (sender, messages) = mpsc::channel(CAPACITY);
        let config = LinkConfig::new(device.membership.clone(), BOARD, KEEP_ALIVE);
        let mut link = Link::new(Some(config), sender);
        link.connect();
        Self { link, messages }
    }

    /// The next thing that it tells, taken note of as the loop would.
    async fn next(&mut self) -> Message {
        let message = timeout(DEADLINE, self.messages.recv()).await.expect("it tells something");
        let message = message.unwrap();
        match &message {
            Message::LinkUp { client, session } => assert!(self.link.up(*client, *session)),
            Message::LinkDown { client, refused, .. } => drop(self.link.down(*client, *refused)),
            Message::MembershipChanged => self.link.hurry(),
            _ => {}
        }
        message
    }

    async fn until_up(&mut self) {
        while !matches!(self.next().await, Message::LinkUp { .. }) {}
    }
}

/// Counts the bytes of connections that pass through it.
struct Meter {
    address: SocketAddr,
    bytes: Arc<AtomicUsize>,
}

impl Meter {
    fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let bytes = Arc::new(AtomicUsize::new(0));
        let counted = bytes.clone();
        thread::spawn(move || {
            for outer in listener.incoming().map_while(Result::ok) {
                let inner = TcpStream::connect(to).unwrap();
                let (back, forth) = (outer.try_clone().unwrap(), inner.try_clone().unwrap());
                let counter = counted.clone();
                thread::spawn(move || pass(forth, back, &counter));
                pass(outer, inner, &counted);
            }
        });
        Self { address, bytes }
    }

    /// Bytes since the last time.
    fn take(&self) -> usize {
        self.bytes.swap(0, SeqCst)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, count: &AtomicUsize) {
    let mut block = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut block) {
        count.fetch_add(length, SeqCst);
        if to.write_all(&block[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

async fn endpoint(hub: &Server) -> (Endpoint, mpsc::Receiver<LinkEvent>) {
    let door = support::endpoint::open("127.0.0.1:0".parse().unwrap(), "pi").await;
    hub.set_endpoint(&door);
    (door.endpoint, door.events)
}

#[test]
fn a_renewed_certificate_is_kept_and_shown_from_then_on() {
    let hub = Server::start();
    let device = Device::of(&hub);
    let before = device.shown();
    hub.set_time(1_705_000_000_000);
    device.renew().unwrap();
    assert_ne!(device.shown(), before);
    device.membership.hub().connect().unwrap();
    assert_eq!(hub.asked().last().unwrap().shown, Some(device.shown()));
    // The request itself was authenticated by the old one.
    let renewal = hub.asked().into_iter().find(|asked| asked.path == RENEW_PATH).unwrap();
    assert_eq!(renewal.shown, Some(before));
    let state = StateDir::open(device.dir.path()).unwrap();
    let kept = IdentityDir::of(&state).load().unwrap().unwrap();
    assert_eq!(kept.certified.cert[0].to_vec(), device.shown());
    assert_eq!(kept.hub.issued_ms, 1_705_000_000_000);
}

#[test]
fn a_certificate_for_somebody_else_changes_nothing() {
    let hub = Server::start();
    let device = Device::of(&hub);
    let (before, file) = (device.shown(), device.file("certificate.pem"));
    let request = device.membership.identity().keys.request().unwrap();
    let foreign = hub.with_authority(|authority| authority.device(&request, "pi-2", NO_END));
    let facts = device.membership.identity().hub.facts.clone();
    let enrolled = |name: &str, certificate: &str| firmware_compat::enrolment::Enrolled {
        name: name.try_into().unwrap(),
        certificate: certificate.try_into().unwrap(),
        hub: facts.clone(),
    };
    let error = device.membership.renewed(&enrolled("pi-2", &foreign)).unwrap_err();
    assert!(matches!(error, MembershipError::OtherName { .. }), "{error}");
    let error = device.membership.renewed(&enrolled("pi", "rubbish")).unwrap_err();
    assert!(matches!(error, MembershipError::Unusable(_)), "{error}");
    assert_eq!((device.shown(), device.file("certificate.pem")), (before, file));
}

#[test]
fn what_the_hub_says_of_itself_is_kept_and_used_and_nothing_is_written_for_nothing() {
    let hub = Server::start();
    let device = Device::of(&hub);
    let said = device.membership.hub().connect().unwrap();
    assert!(!device.membership.learned(&said).unwrap());
    let moved = Address::parse("hub.example:443").unwrap();
    hub.change_facts(|facts| facts.addresses = vec![moved.clone(), hub.hub()].try_into().unwrap());
    let said = device.membership.hub().connect().unwrap();
    assert!(device.membership.learned(&said).unwrap());
    assert_eq!(device.membership.hub().addresses(), [moved, hub.hub()]);
    assert!(device.file("hub.json").contains("hub.example:443"));
    // CAs that can't be read would be the last that the device ever believed.
    hub.change_facts(|facts| facts.ca = "rubbish".try_into().unwrap());
    let said = HubFacts { ca: "x".try_into().unwrap(), ..said };
    assert!(device.membership.learned(&said).is_err());
    assert!(device.file("hub.json").contains("BEGIN CERTIFICATE"));
}

#[test]
fn another_store_takes_over_only_with_the_operators_word() {
    for may_adopt in [false, true] {
        let hub = Server::start();
        let device = Device::with(&hub, may_adopt);
        hub.change_facts(|facts| {
            facts.lineage = Lineage([9; 16]);
            facts.signing_keys = vec![PublicKey([9; 32])].try_into().unwrap();
            facts.addresses = vec![Address::parse("away:6183").unwrap()].try_into().unwrap();
        });
        // The former one's clock was wrong.
        device.time.raise(IN_2100_MS);
        let said = device.membership.hub().connect().unwrap();
        assert_eq!(device.membership.is_foreign(&said), !may_adopt);
        assert_eq!(device.membership.learned(&said).unwrap(), may_adopt);
        let kept = device.membership.identity().hub.facts.clone();
        assert_eq!(kept.lineage == Lineage([9; 16]), may_adopt);
        assert_eq!(kept.signing_keys[0] == PublicKey([9; 32]), may_adopt);
        assert_eq!(kept.addresses[0].to_string() == "away:6183", may_adopt);
        assert_eq!(device.time.now_unix_ms() < IN_2100_MS, may_adopt);
    }
}

#[test]
fn a_certificate_is_all_that_is_taken_of_another_hub() {
    let hub = Server::start();
    let device = Device::of(&hub);
    hub.change_facts(|facts| {
        facts.lineage = Lineage([9; 16]);
        facts.addresses = vec![Address::parse("away:6183").unwrap()].try_into().unwrap();
    });
    let before = device.shown();
    device.renew().unwrap();
    assert_ne!(device.shown(), before);
    assert_eq!(device.membership.identity().hub.facts.addresses.to_vec(), [hub.hub()]);
}

/// Threads of their own renew, ask, and keep keys that the hub has handed over.
#[test]
fn changes_at_the_same_time_do_not_undo_each_other() {
    let hub = Server::start();
    let device = Device::of(&hub);
    let lineage = device.membership.pinned().lineage;
    let (old, new) = (PublicKey([1; 32]), PublicKey([2; 32]));
    let said = device.membership.hub().connect().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for keys in [[new, old], [old, new]].iter().cycle().take(21) {
                let keys = SigningKeys::new(keys).unwrap();
                device.membership.pin(PinnedHub { lineage, keys }).unwrap();
            }
        });
        for port in 1..=20 {
            let address = Address::new("hub.example", port).unwrap();
            let addresses = vec![address].try_into().unwrap();
            device.membership.learned(&HubFacts { addresses, ..said.clone() }).unwrap();
        }
    });
    let state = StateDir::open(device.dir.path()).unwrap();
    let kept = IdentityDir::of(&state).load().unwrap().unwrap();
    assert_eq!(kept.hub, device.membership.identity().hub);
    assert_eq!(kept.hub.facts.addresses[0].port(), 20);
    assert_eq!(kept.pinned.keys.ids().next(), Some(new.id()));
}

#[tokio::test]
async fn a_link_that_stands_outlives_a_renewal_and_the_next_one_shows_the_new_certificate() {
    let hub = Server::start();
    let (old_endpoint, _events) = endpoint(&hub).await;
    let device = Device::of(&hub);
    let before = device.shown();
    let mut linked = Linked::start(&device);
    linked.until_up().await;
    device.renew().unwrap();
    linked.link.hurry();
    old_endpoint.send_all(Kind::Time, b"of whoever it may be".to_vec());
    let heard = linked.next().await;
    assert!(matches!(heard, Message::Happened(_)), "it should still stand: {heard:?}");
    assert_eq!(hub.mqtt_shown().as_slice(), std::slice::from_ref(&before));
    old_endpoint.shutdown().await;
    assert!(matches!(linked.next().await, Message::LinkDown { .. }));
    let _endpoint = endpoint(&hub).await;
    linked.until_up().await;
    let shown = hub.mqtt_shown();
    assert_eq!((shown.first(), shown.last()), (Some(&before), Some(&device.shown())));
}

#[tokio::test]
async fn a_device_that_was_away_too_long_renews_and_comes_back_by_itself() {
    let hub = Server::start();
    let _endpoint = endpoint(&hub).await;
    let device = Device::of(&hub);
    // For the hub the certificate has expired; the device, whose known time stood still, can't know.
    hub.refuse_mqtt(true);
    hub.answer_once(CONNECT_PATH, 401, r#"{"message":"the certificate has expired: renew it"}"#);
    let mut linked = Linked::start(&device);
    let down = linked.next().await;
    assert!(matches!(down, Message::LinkDown { refused: true, .. }), "{down:?}");
    hub.refuse_mqtt(false);
    linked.until_up().await;
    assert_eq!((hub.count(CONNECT_PATH), hub.count(RENEW_PATH)), (1, 1));
}

#[tokio::test]
async fn a_certificate_that_is_over_by_known_time_is_renewed_without_being_asked() {
    let hub = Server::start();
    let _endpoint = endpoint(&hub).await;
    hub.issue_until((2090, 1, 1));
    let device = Device::of(&hub);
    device.time.raise(IN_2100_MS);
    hub.set_time(IN_2100_MS);
    hub.issue_until(NO_END);
    let before = device.shown();
    let mut linked = Linked::start(&device);
    while !matches!(linked.next().await, Message::MembershipChanged) {}
    assert_ne!(device.shown(), before);
    assert_eq!((hub.count(CONNECT_PATH), hub.count(RENEW_PATH)), (0, 1));
}

#[tokio::test]
async fn a_hub_that_has_moved_is_found_by_asking_it_where_its_broker_is() {
    let hub = Server::start();
    let _endpoint = endpoint(&hub).await;
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    hub.set_broker(Some(Broker::Tls(as_address(nobody))));
    let device = Device::of(&hub);
    hub.set_broker(None);
    let mut linked = Linked::start(&device);
    linked.until_up().await;
    assert_eq!(hub.count(CONNECT_PATH), 1);
    assert!(!device.file("hub.json").contains("mqtts://"));
}

#[tokio::test]
async fn a_stranger_in_the_hubs_place_is_not_believed() {
    let hub = Server::start();
    let _endpoint = endpoint(&hub).await;
    let device = Device::of(&hub);
    hub.show(Authority::new().server());
    let mut linked = Linked::start(&device);
    let Message::LinkDown { refused: true, why, .. } = linked.next().await else {
        panic!("it was believed")
    };
    assert!(why.contains("not the broker that it should be"), "{why}");
    assert!(hub.mqtt_shown().is_empty(), "nothing was shown to it");
}

/// A broker beside the hub has a certificate of the hub's CA, and must not pass for the hub with it.
#[tokio::test]
async fn a_broker_is_believed_as_a_broker_and_not_as_the_hub() {
    let hub = Server::start();
    let _endpoint = endpoint(&hub).await;
    hub.set_broker(Some(Broker::Tls(hub.hub())));
    let device = Device::of(&hub);
    hub.show(hub.with_authority(|own| own.server_of("lichen-broker", BEGINNING, NO_END)));
    let mut linked = Linked::start(&device);
    linked.until_up().await;
    let error = device.membership.hub().connect().unwrap_err();
    assert!(matches!(error, HubError::Impostor { .. }), "{error}");
    // And the hub is none of its brokers.
    hub.show(hub.with_authority(Authority::server));
    let mut linked = Linked::start(&device);
    let told = linked.next().await;
    assert!(matches!(told, Message::LinkDown { refused: true, .. }), "{told:?}");
}

/// Bytes are a budget: what the weekly question costs, TLS included, TCP and IP not.
#[test]
fn asking_what_has_changed_costs_little() {
    let hub = Server::start();
    let device = Device::of(&hub);
    let meter = Meter::start(hub.address);
    let facts = device.membership.identity().hub.facts.clone();
    let addresses = vec![as_address(meter.address)].try_into().unwrap();
    device.membership.learned(&HubFacts { addresses, ..facts }).unwrap();
    let client = device.membership.hub();
    client.connect().unwrap();
    let (first, answer) = (meter.take(), serde_json::to_vec(&client.connect().unwrap()).unwrap());
    let resumed = meter.take();
    assert!(hub.asked().last().unwrap().resumed);
    println!("{first} bytes with a full handshake, {resumed} resumed, {} of answer", answer.len());
    assert!(first < 6 * 1024 && resumed < 3 * 1024, "{first} {resumed}");
}
