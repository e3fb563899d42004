//! Thousands of devices on one endpoint: what an idle one costs, and what happens when all come at once.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use firmware_compat::frame::Kind;
use lichen_link::{Endpoint, EndpointConfig, LinkEvent};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};

/// Each needs two descriptors in this process.
const DEVICES: usize = 2000;
/// What an idle connection may cost the hub, in memory.
const IDLE_BYTES: usize = 8 * 1024;
const DEADLINE: Duration = Duration::from_secs(60);

/// A device that is nothing but a socket, so that the memory measured is the endpoint's.
struct Bare {
    stream: TcpStream,
}

impl Bare {
    async fn connect(address: SocketAddr, name: &str) -> std::io::Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        let mut connect = vec![0x10, 0, 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 60, 0];
        connect.extend(text(name));
        stream.write_all(&sized(connect)).await?;
        assert_eq!(packet(&mut stream).await?[1], 0, "it is let in");
        let mut subscribe = vec![0x82, 0, 0, 1, 0];
        subscribe.extend(text(&format!("lichen/1/{name}/down/#")));
        subscribe.push(1);
        subscribe.extend(text("lichen/1/all/down/#"));
        subscribe.push(0);
        stream.write_all(&sized(subscribe)).await?;
        assert_eq!(packet(&mut stream).await?[3..], [1, 0], "both are granted");
        Ok(Self { stream })
    }

    /// The next message's payload.
    async fn message(&mut self, len: usize) -> std::io::Result<Vec<u8>> {
        let body = packet(&mut self.stream).await?;
        Ok(body[body.len() - len..].to_vec())
    }
}

fn text(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat()
}

/// Fills in the length of a packet below 128 bytes.
fn sized(mut packet: Vec<u8>) -> Vec<u8> {
    packet[1] = u8::try_from(packet.len() - 2).unwrap();
    assert!(packet[1] < 128);
    packet
}

/// The body of the next packet, one below 16 KiB.
async fn packet(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let _kind = stream.read_u8().await?;
    let mut len = usize::from(stream.read_u8().await?);
    if len >= 128 {
        len = (len & 127) | usize::from(stream.read_u8().await?) << 7;
    }
    let mut body = vec![0; len];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

fn name(number: usize) -> String {
    format!("device-{number}")
}

/// Bytes of this process that are in memory and its own.
fn private_bytes() -> usize {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let kib = |key: &str| -> usize {
        let line = rollup.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    (kib("Private_Dirty:") + kib("Private_Clean:")) * 1024
}

async fn connect_all(address: SocketAddr, devices: usize) -> Vec<Bare> {
    let mut connecting = JoinSet::new();
    for number in 0..devices {
        connecting.spawn(async move { (number, Bare::connect(address, &name(number)).await) });
    }
    let mut devices = timeout(DEADLINE, connecting.join_all()).await.unwrap();
    devices.sort_by_key(|(number, _)| *number);
    devices.into_iter().map(|(_, device)| device.unwrap()).collect()
}

/// Counts sessions as the engine would.
fn count_sessions(mut events: mpsc::Receiver<LinkEvent>) -> tokio::sync::watch::Receiver<usize> {
    let (tell, open) = tokio::sync::watch::channel(0);
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            match event {
                LinkEvent::Connected { .. } => tell.send_modify(|open| *open += 1),
                LinkEvent::Disconnected { .. } => tell.send_modify(|open| *open -= 1),
                _ => {}
            }
        }
    });
    open
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_idle_devices_cost_little_and_all_hear_the_hub() {
    let allowed = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: allowed.maximum, maximum: allowed.maximum };
    setrlimit(Resource::Nofile, raised).unwrap();
    let (sender, events) = mpsc::channel(1024);
    let config = EndpointConfig { listen: "127.0.0.1:0".parse().unwrap(), devices: DEVICES };
    let (endpoint, address) = Endpoint::start(config, sender).await.unwrap();
    let mut open = count_sessions(events);
    // A few before measuring: what the first one costs is there then.
    drop(connect_all(address, 20).await);
    timeout(DEADLINE, open.wait_for(|open| *open == 0)).await.unwrap().unwrap();

    let before = private_bytes();
    let started = Instant::now();
    let mut devices = connect_all(address, DEVICES).await;
    let took = started.elapsed();
    assert_eq!(endpoint.counts().devices, DEVICES as u64);
    let cost = private_bytes().saturating_sub(before) / DEVICES;
    println!("{DEVICES} devices connected and subscribed in {took:?}, {cost} bytes more for each");
    assert!(cost <= IDLE_BYTES, "{cost} bytes for each idle connection, both of its ends together");

    for number in 0..DEVICES {
        endpoint.set_head(&name(number), name(number).into_bytes());
    }
    endpoint.send_all(Kind::Time, b"noon".to_vec());
    for (number, device) in devices.iter_mut().enumerate() {
        let head = name(number).into_bytes();
        assert_eq!(timeout(DEADLINE, device.message(head.len())).await.unwrap().unwrap(), head);
        assert_eq!(timeout(DEADLINE, device.message(4)).await.unwrap().unwrap(), b"noon");
    }
    drop(devices);
    timeout(DEADLINE, open.wait_for(|open| *open == 0)).await.unwrap().unwrap();
    assert_eq!(endpoint.counts().devices, 0);
}
