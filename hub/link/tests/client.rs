//! The client on its own, as a device would use it, against the endpoint.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

mod conformance;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::BytesMut;
use conformance::{
    Events, Rig,
    device::{Broker, DEADLINE},
    embedded::start_at,
    fleet::Fleet,
    frame,
};
use firmware_compat::frame::Kind;
use lichen_link::{
    Link, LinkError, LinkEvent,
    client::{Client, ClientConfig, Down, Handler, RetryPolicy, Route, Tls, Way, Will},
};
use lichen_trust::HUB_NAME;
use rumqttc::Packet;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
    time::timeout,
};

#[derive(Debug, PartialEq)]
enum Told {
    Up,
    Down(Down),
    Message(String, Vec<u8>),
}

/// Passes on what it is told. Its will is numbered by connection.
struct Ears {
    told: mpsc::UnboundedSender<Told>,
    name: &'static str,
    connections: u32,
}

impl Handler for Ears {
    fn will(&mut self) -> Option<Will> {
        self.connections += 1;
        let frame = format!("gone {}", self.connections).into_bytes();
        Some(Will { topic: format!("lichen/1/{}/up/gone", self.name), frame })
    }
    async fn up(&mut self) {
        self.told.send(Told::Up).unwrap();
    }
    async fn down(&mut self, why: &Down) {
        self.told.send(Told::Down(why.clone())).unwrap();
    }
    async fn message(&mut self, topic: &str, bytes: &[u8]) {
        self.told.send(Told::Message(topic.into(), bytes.into())).unwrap();
    }
}

struct Agent {
    client: Client,
    told: mpsc::UnboundedReceiver<Told>,
}

impl Agent {
    fn start(broker: &Broker, name: &'static str) -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        let tls = match broker {
            Broker::Plain(_) => None,
            // With the certificate of `pi`, whatever it calls itself.
            Broker::Tls(_, fleet) => {
                Some(Tls { config: fleet.device("pi").1, name: Some(HUB_NAME.try_into().unwrap()) })
            }
        };
        let config = ClientConfig {
            route: Route::fixed(Way { places: vec![broker.address().into()], tls }),
            client_id: name.into(),
            keep_alive: Duration::from_secs(60),
            subscriptions: vec![format!("lichen/1/{name}/down/#"), "lichen/1/all/down/#".into()],
            retry: RetryPolicy {
                first: Duration::from_millis(10),
                longest: Duration::from_millis(50),
                unwelcome: Duration::from_secs(3600),
            },
            outbox_bytes: 64 * 1024,
        };
        let client = Client::start(config, Ears { told: tell, name, connections: 0 });
        Self { client, told }
    }

    async fn next(&mut self) -> Told {
        timeout(DEADLINE, self.told.recv())
            .await
            .expect("the client should tell something")
            .unwrap()
    }
}

const ANY_PORT: &str = "127.0.0.1:0";

/// A hub on any port, or again on the same one.
async fn hub_at(fleet: &Arc<Fleet>, listen: SocketAddr) -> (Link, Events, Broker) {
    loop {
        match start_at(fleet.clone(), listen, 100, 1024).await {
            Ok(Rig { link, events, broker }) => return (link, events, broker),
            // The one before was killed, and its threads are on their way out.
            Err(LinkError::AddressInUse { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

async fn hub() -> (Link, Events, Broker) {
    hub_at(&Fleet::new(), ANY_PORT.parse().unwrap()).await
}

#[tokio::test]
async fn a_client_connects_again_with_a_new_will_and_hears_the_newest_head() {
    let fleet = Fleet::new();
    let (link, mut events, broker) = hub_at(&fleet, ANY_PORT.parse().unwrap()).await;
    let mut agent = Agent::start(&broker, "pi");
    assert_eq!(agent.next().await, Told::Up);
    assert!(agent.client.send("lichen/1/pi/up/hello".into(), b"hello".to_vec()));
    events.wait_for(&frame("pi", Kind::Hello, b"hello")).await;
    link.shutdown().await;
    let stops = Down::Closed { code: "ServerShuttingDown".into() };
    assert_eq!(agent.next().await, Told::Down(stops));

    let (link, mut events, _) = hub_at(&fleet, broker.address()).await;
    link.set_head("pi", b"head".to_vec());
    loop {
        match agent.next().await {
            Told::Down(_) => {}
            Told::Up => break,
            message => panic!("{message:?} before the connection"),
        }
    }
    assert_eq!(agent.next().await, Told::Message("lichen/1/pi/down/head".into(), b"head".to_vec()));
    // Dropping the handle breaks the connection off.
    drop(agent.client);
    let seen = events.wait_for(&LinkEvent::Disconnected { device: "pi".into() }).await;
    let wills: Vec<_> = seen.iter().filter(|event| is_will(event)).collect();
    assert_eq!(wills.len(), 1);
    assert_ne!(*wills[0], frame("pi", Kind::Gone, b"gone 1"));
    drop(link);
}

fn is_will(event: &LinkEvent) -> bool {
    matches!(event, LinkEvent::Frame { kind: Kind::Gone, .. })
}

#[tokio::test]
async fn a_replaced_client_says_so_and_does_not_come_back_at_once() {
    let (_link, mut events, broker) = hub().await;
    let mut older = Agent::start(&broker, "pi");
    assert_eq!(older.next().await, Told::Up);
    let mut newer = Agent::start(&broker, "pi");
    assert_eq!(newer.next().await, Told::Up);
    assert_eq!(older.next().await, Told::Down(Down::TakenOver { client_id: "pi".into() }));
    assert!(newer.client.send("lichen/1/pi/up/hello".into(), b"newer".to_vec()));
    events.wait_for(&frame("pi", Kind::Hello, b"newer")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_hub_that_is_restarted_or_killed_again_and_again_is_no_second_client() {
    let fleet = Fleet::new();
    let (first, _events, broker) = hub_at(&fleet, ANY_PORT.parse().unwrap()).await;
    let mut agent = Agent::start(&broker, "pi");
    assert_eq!(agent.next().await, Told::Up);
    first.shutdown().await;
    for _ in 0..10 {
        let hub = hub_at(&fleet, broker.address()).await;
        loop {
            match agent.next().await {
                Told::Up => break,
                Told::Down(Down::Lost(_) | Down::Closed { .. }) => {}
                other => panic!("{other:?} while the hub was restarted"),
            }
        }
        // Killed: its connections are closed without a word.
        drop(hub);
    }
}

#[tokio::test]
async fn a_shutdown_sends_what_waits_and_leaves_no_will() {
    let (_link, mut events, broker) = hub().await;
    let mut agent = Agent::start(&broker, "pi");
    assert_eq!(agent.next().await, Told::Up);
    for number in 0..100_u8 {
        assert!(agent.client.send("lichen/1/pi/up/event".into(), vec![number]));
    }
    agent.client.shutdown().await;
    let seen = events.wait_for(&LinkEvent::Disconnected { device: "pi".into() }).await;
    let frames: Vec<_> =
        seen.into_iter().filter(|event| matches!(event, LinkEvent::Frame { .. })).collect();
    assert_eq!(frames.len(), 100);
    assert_eq!(frames[99], frame("pi", Kind::Event, &[99]));
}

#[tokio::test]
async fn a_refused_client_says_so() {
    let (_link, _events, broker) = hub().await;
    let mut agent = Agent::start(&broker, "Not A Name");
    let Told::Down(why) = agent.next().await else { panic!("it was let in") };
    assert_eq!(
        why.to_string(),
        "the broker refused the connection (ClientIdentifierNotValid: \"the client id is not the name in the certificate, \
         pi\"); check its users and access rules"
    );
}

#[tokio::test]
async fn nothing_is_accepted_for_sending_without_a_connection() {
    let (link, _events, broker) = hub().await;
    link.shutdown().await;
    let mut agent = Agent::start(&broker, "pi");
    assert!(matches!(agent.next().await, Told::Down(_)));
    assert!(!agent.client.send("lichen/1/pi/up/hello".into(), b"x".to_vec()));
}

/// A broker that lets a client in and subscribe, and says nothing more.
async fn silent_broker() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = BytesMut::new();
        loop {
            if stream.read_buf(&mut bytes).await.unwrap() == 0 {
                return;
            }
            while let Ok(packet) = Packet::read(&mut bytes, None) {
                match packet {
                    Packet::Connect(..) => stream.write_all(b"\x20\x03\x00\x00\x00").await.unwrap(),
                    Packet::Subscribe(subscribe) => {
                        let [high, low] = subscribe.pkid.to_be_bytes();
                        let suback = [0x90, 5, high, low, 0, 1, 1];
                        stream.write_all(&suback).await.unwrap();
                    }
                    _ => {}
                }
            }
        }
    });
    address
}

/// A broker that pays no heed to the longest packet that its client takes: what it retains is longer. Says how often it was
/// connected to, and what was acknowledged.
async fn careless_broker() -> (SocketAddr, mpsc::UnboundedReceiver<u16>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, acknowledged) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut bytes = BytesMut::new();
                while stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
                    while let Ok(packet) = Packet::read(&mut bytes, None) {
                        match packet {
                            Packet::Connect(..) => {
                                stream.write_all(b"\x20\x03\x00\x00\x00").await.unwrap();
                            }
                            Packet::Subscribe(subscribe) => {
                                let [high, low] = subscribe.pkid.to_be_bytes();
                                stream.write_all(&[0x90, 5, high, low, 0, 1, 1]).await.unwrap();
                                for number in 1..=40 {
                                    stream.write_all(&publish(number, 500_000)).await.unwrap();
                                }
                                stream.write_all(&publish(41, 4)).await.unwrap();
                            }
                            Packet::PubAck(puback) => tell.send(puback.pkid).unwrap(),
                            _ => {}
                        }
                    }
                }
            });
        }
    });
    (address, acknowledged)
}

/// A retained QoS 1 message on the topic of a head, with so many bytes.
fn publish(number: u16, payload: usize) -> Vec<u8> {
    let topic = b"lichen/1/pi/down/head";
    let mut left = 2 + topic.len() + 2 + 1 + payload;
    let mut packet = vec![0x33];
    while left >= 0x80 {
        packet.push(left as u8 & 0x7f | 0x80);
        left >>= 7;
    }
    packet.push(left as u8);
    packet.extend([0, topic.len() as u8]);
    packet.extend(topic);
    packet.extend(number.to_be_bytes());
    packet.push(0);
    packet.resize(packet.len() + payload, b'x');
    packet
}

#[tokio::test]
async fn messages_longer_than_any_frame_arrive_cut_are_acknowledged_and_end_no_connection() {
    let (address, mut acknowledged) = careless_broker().await;
    let mut agent = Agent::start(&Broker::Plain(address), "pi");
    assert_eq!(agent.next().await, Told::Up);
    for _ in 0..40 {
        let Told::Message(_, bytes) = agent.next().await else { panic!("the connection ended") };
        assert!(bytes.len() > firmware_compat::frame::MAX_FRAME_BYTES, "{} bytes", bytes.len());
    }
    assert_eq!(agent.next().await, Told::Message("lichen/1/pi/down/head".into(), b"xxxx".to_vec()));
    for number in 1..=41 {
        assert_eq!(timeout(DEADLINE, acknowledged.recv()).await.unwrap(), Some(number));
    }
}

#[tokio::test]
async fn a_broker_that_acknowledges_nothing_is_given_up_however_much_is_sent_to_it() {
    let mut agent = Agent::start(&Broker::Plain(silent_broker().await), "pi");
    assert_eq!(agent.next().await, Told::Up);
    tokio::time::pause();
    // Sending goes on all the time that the broker has, and beyond.
    for second in 0..60_u8 {
        agent.client.send("lichen/1/pi/up/event".into(), vec![second]);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(agent.told.try_recv().unwrap(), Told::Down(Down::Silent));
}
