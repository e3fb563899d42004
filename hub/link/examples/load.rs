//! A load check: a storm of handshakes on an endpoint, as when a whole fleet comes back at once, and whether the rest of
//! the process goes on answering meanwhile.
//!
//! `cargo run --release -p lichen-link --example load -- [DEVICES]` (1000 unless told). The devices run in a process of
//! their own. For each storm: how long it took, what a handshake cost this process in processor time, and how long an
//! answer took of a small server on the threads of the rest, which stands for the API.

use std::{
    error::Error,
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use lichen_link::Endpoint;
use lichen_trust::DEVICES;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::ClientConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};

#[path = "../tests/conformance/bare.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests")]
mod bare;
#[path = "../tests/conformance/fleet.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests")]
mod fleet;

use bare::Bare;
use fleet::{DAY, Fleet};

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let allowed = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: allowed.maximum, maximum: allowed.maximum })?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [address, trust, devices] => {
            be_fleet(address.parse()?, trust.as_ref(), devices.parse()?).await
        }
        [devices] => be_hub(devices.parse()?).await,
        _ => be_hub(1000).await,
    }
}

/// The devices: connect all at once, and again, as the hub's end says.
async fn be_fleet(address: SocketAddr, trust: &Path, devices: usize) -> Result<(), Failure> {
    let fleet = Fleet::at(trust);
    let made: Vec<(String, Arc<ClientConfig>)> = (0..devices)
        .map(|number| {
            let name = format!("device-{number}");
            let identity = fleet.issue(&name, DEVICES, DAY);
            println!("{name} {}", identity.hash);
            (name, fleet.client(Some(&identity), &[b"mqtt"]))
        })
        .collect();
    println!("made");
    let mut line = String::new();
    while io::stdin().read_line(&mut line)? > 0 {
        let mut connecting = JoinSet::new();
        for (name, config) in made.clone() {
            connecting.spawn(async move {
                let mut pause = Duration::from_millis(100);
                loop {
                    match Bare::connect(address, config.clone(), &name).await {
                        Ok(device) => return device,
                        // Spread as agents do, without their dice.
                        Err(_turned_away) => tokio::time::sleep(pause).await,
                    }
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
            });
        }
        let all = connecting.join_all().await;
        println!("connected");
        io::stdin().read_line(&mut line)?;
        drop(all);
        println!("gone");
    }
    Ok(())
}

async fn be_hub(devices: usize) -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let trust = dir.path().join("trust");
    let fleet = Fleet::at(&trust);
    let (sender, mut events) = mpsc::channel(1024);
    let config = fleet.config("127.0.0.1:0".parse()?, 2 * devices + 64);
    let (endpoint, address) = Endpoint::start(config, sender).await?;
    let mut others = Command::new(std::env::current_exe()?)
        .arg(address.to_string())
        .arg(&trust)
        .arg(devices.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut told = others.stdin.take().ok_or("no pipe")?;
    let mut said = BufReader::new(others.stdout.take().ok_or("no pipe")?).lines();
    loop {
        let line = said.next().ok_or("the fleet has ended")??;
        let Some((name, key)) = line.split_once(' ') else { break };
        let key = firmware_compat::id::Hash::parse(key).ok_or("not a key")?;
        endpoint.admit(name, &[key]);
    }
    // The engine: it hears everything and says nothing.
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    let api = api().await?;
    println!("{devices} devices, {} idle", pss());
    println!("nobody connects:  {}", asked(api, Duration::from_secs(2)).await);

    for storm in ["full", "resumed", "resumed"] {
        let stop = Arc::new(AtomicBool::new(false));
        let asking = tokio::spawn(ask_until(api, stop.clone()));
        let (before, started) = (processor_time()?, Instant::now());
        io::Write::write_all(&mut told, b"connect\n")?;
        let (next, rest) = tokio::task::spawn_blocking(move || (said.next(), said)).await?;
        said = rest;
        next.ok_or("the fleet has ended")??;
        let (took, processor) = (started.elapsed(), processor_time()? - before);
        stop.store(true, Relaxed);
        let answers = asking.await?;
        let counts = endpoint.counts();
        println!(
            "{storm}: {took:.2?} for {devices}, {:.0} a second; {:.0} µs of processor each, so two cores alone do {:.0} a \
             second",
            devices as f64 / took.as_secs_f64(),
            processor.as_secs_f64() * 1e6 / devices as f64,
            2.0 * devices as f64 / processor.as_secs_f64(),
        );
        println!("  meanwhile:      {}", Answers(answers));
        println!(
            "  {} with {} connected, {} crowded, {} failed so far",
            pss(),
            counts.devices,
            counts.crowded,
            counts.handshakes_failed
        );
        io::Write::write_all(&mut told, b"go\n")?;
        let (next, rest) = tokio::task::spawn_blocking(move || (said.next(), said)).await?;
        said = rest;
        next.ok_or("the fleet has ended")??;
        while endpoint.counts().connections > 0 {
            tokio::task::yield_now().await;
        }
    }
    println!("{:?}", endpoint.counts());
    drop(told);
    others.wait()?;
    endpoint.shutdown().await;
    Ok(())
}

/// A server that answers each line, on the threads of the rest of the process.
async fn api() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut byte = [0];
                while stream.read_exact(&mut byte).await.is_ok() {
                    let _gone = stream.write_all(&byte).await;
                }
            });
        }
    });
    Ok(address)
}

/// Connects and asks, again and again: how long each answer took.
async fn ask_until(api: SocketAddr, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let mut answers = Vec::new();
    while !stop.load(Relaxed) {
        let started = Instant::now();
        let answered = async {
            let mut stream = TcpStream::connect(api).await?;
            stream.write_all(b"x").await?;
            stream.read_u8().await
        };
        if answered.await.is_ok() {
            answers.push(started.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    answers
}

async fn asked(api: SocketAddr, length: Duration) -> Answers {
    let stop = Arc::new(AtomicBool::new(false));
    let asking = tokio::spawn(ask_until(api, stop.clone()));
    tokio::time::sleep(length).await;
    stop.store(true, Relaxed);
    Answers(asking.await.unwrap_or_default())
}

struct Answers(Vec<Duration>);

impl std::fmt::Display for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut sorted = self.0.clone();
        sorted.sort();
        let at = |share: usize| sorted.get(sorted.len() * share / 100).copied().unwrap_or_default();
        let longest = sorted.last().copied().unwrap_or_default();
        write!(
            f,
            "{} answers, half within {:.1?}, 99 of 100 within {:.1?}, the longest {longest:.1?}",
            sorted.len(),
            at(50),
            at(99),
        )
    }
}

/// Of this process, in user and system mode.
fn processor_time() -> Result<Duration, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    // A tick is a hundredth of a second for programs, whatever the kernel's own is.
    Ok(Duration::from_millis(ticks * 10))
}

/// Proportional set size of this process, where the system tells it.
fn pss() -> String {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.map_or("unknown".to_owned(), |rest| format!("{} PSS", rest.trim()))
}
