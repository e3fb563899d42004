//! A small load check: an endpoint, many devices, a head to each, and what that cost.
//!
//! `cargo run -p lichen-link --example load -- [DEVICES]` (500 unless told). Devices run in this process too, so the
//! memory printed after they have connected is both sides together.

use std::{
    error::Error,
    net::SocketAddr,
    time::{Duration, Instant},
};

use lichen_link::{
    Endpoint, EndpointConfig, LinkEvent,
    client::{Client, ClientConfig, Down, Handler, RetryPolicy, Route},
};
use tokio::{sync::mpsc, time::timeout};

const DEADLINE: Duration = Duration::from_secs(120);

struct Ears(mpsc::UnboundedSender<()>);

impl Handler for Ears {
    async fn up(&mut self) {}
    async fn down(&mut self, why: &Down) {
        eprintln!("down: {why}");
    }
    async fn message(&mut self, _topic: &str, _bytes: &[u8]) {
        let _main_ended = self.0.send(());
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let devices: usize = std::env::args().nth(1).map_or(Ok(500), |count| count.parse())?;
    println!("before the endpoint:    {}", memory());

    let started = Instant::now();
    let (sender, mut events) = mpsc::channel(1024);
    let config = EndpointConfig { listen: "127.0.0.1:0".parse()?, devices };
    let (broker, address) = Endpoint::start(config, sender).await?;
    println!("endpoint started in     {:?}", started.elapsed());
    println!("idle endpoint:          {}", memory());

    let counting = tokio::spawn(async move {
        let mut connected = 0;
        while connected < devices {
            match events.recv().await {
                Some(LinkEvent::Connected { .. }) => connected += 1,
                Some(_) => {}
                None => break,
            }
        }
        events
    });
    for number in 0..devices {
        broker.set_head(&name(number), vec![0; 180]);
    }
    let started = Instant::now();
    let (heard, mut heads) = mpsc::unbounded_channel();
    let clients: Vec<Client> = (0..devices)
        .map(|number| Client::start(client(address, &name(number)), Ears(heard.clone())))
        .collect();
    let _events = timeout(DEADLINE, counting).await??;
    println!("{devices} connected in     {:?}", started.elapsed());
    all(&mut heads, devices).await?;
    println!("heads read after        {:?}", started.elapsed());

    let started = Instant::now();
    for number in 0..devices {
        broker.set_head(&name(number), vec![1; 180]);
    }
    all(&mut heads, devices).await?;
    println!("new heads pushed in     {:?}", started.elapsed());
    println!("endpoint and clients:   {}", memory());
    println!("{:?}", broker.counts());
    drop(clients);
    broker.shutdown().await;
    Ok(())
}

async fn all(
    heads: &mut mpsc::UnboundedReceiver<()>,
    devices: usize,
) -> Result<(), Box<dyn Error>> {
    for _ in 0..devices {
        timeout(DEADLINE, heads.recv()).await?.ok_or("the clients have ended")?;
    }
    Ok(())
}

fn name(number: usize) -> String {
    format!("device-{number}")
}

fn client(address: SocketAddr, name: &str) -> ClientConfig {
    ClientConfig {
        route: Route::plain(address.into()),
        client_id: name.to_owned(),
        keep_alive: Duration::from_secs(1200),
        subscriptions: vec![format!("lichen/1/{name}/down/#"), "lichen/1/all/down/#".to_owned()],
        retry: RetryPolicy {
            first: Duration::from_millis(200),
            longest: Duration::from_secs(10),
            unwelcome: Duration::from_secs(60),
        },
        outbox_bytes: 64 * 1024,
    }
}

/// Proportional set size and threads of this process, where the system tells them.
fn memory() -> String {
    let line = |path: &str, key: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix(key))
            .map_or("unknown".to_owned(), |rest| rest.trim().to_owned())
    };
    format!(
        "{} PSS, {} threads",
        line("/proc/self/smaps_rollup", "Pss:"),
        line("/proc/self/status", "Threads:")
    )
}
