//! Thousands of devices on one endpoint: what an idle one costs, and what happens when all come at once.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

mod conformance;
#[path = "crowd/heap.rs"]
mod heap;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use conformance::{
    bare::Bare,
    fleet::{DAY, Fleet, Identity},
};
use firmware_compat::frame::Kind;
use lichen_link::{Endpoint, LinkEvent};
use lichen_trust::DEVICES as DEVICE;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::ClientConfig;
use tokio::{
    runtime::{Builder, Runtime},
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};

/// Each needs two descriptors in this process.
const DEVICES: usize = 2000;
/// What an idle connection may cost the hub, in memory.
const IDLE_BYTES: usize = 8 * 1024;
const DEADLINE: Duration = Duration::from_secs(120);

/// What is measured is all endpoints' of this process: one at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Threads of the test, so that what all others hold is the endpoint's.
fn runtime() -> Runtime {
    heap::is_tests();
    let allowed = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: allowed.maximum, maximum: allowed.maximum };
    setrlimit(Resource::Nofile, raised).unwrap();
    let mut threads = Builder::new_multi_thread();
    threads.worker_threads(2).on_thread_start(heap::is_tests).enable_all().build().unwrap()
}

fn name(number: usize) -> String {
    format!("device-{number}")
}

type Devices = Vec<(String, Arc<ClientConfig>)>;

/// Devices that are welcome.
fn welcome(fleet: &Fleet, endpoint: &Endpoint, devices: usize) -> Devices {
    let made = (0..devices).map(|number| {
        let name = name(number);
        let identity: Identity = fleet.issue(&name, DEVICE, DAY);
        endpoint.admit(&name, &[identity.hash]);
        (name, fleet.client(Some(&identity), &[b"mqtt"]))
    });
    made.collect()
}

/// All at once. Who is turned away tries again, as agents do.
async fn connect_all(address: std::net::SocketAddr, devices: &Devices) -> Vec<Bare> {
    let mut connecting = JoinSet::new();
    for (number, (name, config)) in devices.iter().cloned().enumerate() {
        connecting.spawn(async move {
            loop {
                match Bare::connect(address, config.clone(), &name).await {
                    Ok(device) => return (number, device),
                    Err(_turned_away) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        });
    }
    let mut devices = timeout(DEADLINE, connecting.join_all()).await.unwrap();
    devices.sort_by_key(|(number, _)| *number);
    devices.into_iter().map(|(_, device)| device).collect()
}

/// Counts sessions as the engine would.
fn count_sessions(mut events: mpsc::Receiver<LinkEvent>) -> watch::Receiver<usize> {
    let (tell, open) = watch::channel(0);
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

async fn until(open: &mut watch::Receiver<usize>, wanted: usize) {
    timeout(DEADLINE, open.wait_for(|open| *open == wanted)).await.unwrap().unwrap();
}

#[test]
fn thousands_of_idle_devices_cost_little_and_all_hear_the_hub() {
    let _alone = ONE_AT_A_TIME.lock();
    runtime().block_on(async {
        let fleet = Fleet::new();
        let (sender, events) = mpsc::channel(1024);
        // With room for all of them on the doorstep of one address.
        let config = fleet.config("127.0.0.1:0".parse().unwrap(), 3 * DEVICES);
        let (endpoint, address) = Endpoint::start(config, sender).await.unwrap();
        let mut open = count_sessions(events);
        let fleet = welcome(&fleet, &endpoint, DEVICES);
        // All of them before measuring: what is kept of those that were here is there then.
        let started = Instant::now();
        drop(connect_all(address, &fleet).await);
        println!(
            "{DEVICES} full handshakes, sessions and subscriptions in {:?}",
            started.elapsed()
        );
        until(&mut open, 0).await;
        assert_eq!(endpoint.counts().handshakes_full, DEVICES as u64);

        let before = heap::held_by_the_endpoint();
        let started = Instant::now();
        let mut devices = connect_all(address, &fleet).await;
        println!("{DEVICES} resumed, and the same, in {:?}", started.elapsed());
        until(&mut open, DEVICES).await;
        let counts = endpoint.counts();
        let as_counted = (counts.devices, counts.handshakes_resumed, counts.crowded);
        assert_eq!(as_counted, (DEVICES as u64, DEVICES as u64, 0));
        let cost = usize::try_from(heap::held_by_the_endpoint() - before).unwrap() / DEVICES;
        println!("{cost} bytes of heap for each idle device");
        assert!(cost <= IDLE_BYTES, "{cost} bytes for each idle connection");

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
        until(&mut open, 0).await;
        assert_eq!(endpoint.counts().devices, 0);
        let nobody_left = async {
            while endpoint.counts().connections > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, nobody_left).await.expect("every connection gives its place back");
    });
}

/// A whole fleet behind one address, more than that address may have on the doorstep: it comes in by and by.
#[test]
fn a_fleet_behind_one_address_comes_in_by_and_by() {
    const FEW: usize = 400;
    let _alone = ONE_AT_A_TIME.lock();
    runtime().block_on(async {
        let fleet = Fleet::new();
        let (sender, events) = mpsc::channel(1024);
        let config = fleet.config("127.0.0.1:0".parse().unwrap(), FEW);
        let (endpoint, address) = Endpoint::start(config, sender).await.unwrap();
        let mut open = count_sessions(events);
        let devices = connect_all(address, &welcome(&fleet, &endpoint, FEW)).await;
        until(&mut open, FEW).await;
        assert_eq!(endpoint.counts().turned_away, 0);
        drop(devices);
    });
}
