//! Counts every byte between one agent and its hub: the agent has a network namespace of its own, whose loopback
//! carries nothing else.
//!
//! The hub listens on this machine only, so the two namespaces are joined by unix sockets: a forwarder inside accepts
//! the agent's connections to the hub's ports, and a thread outside carries each on to the hub.

use std::{
    fs,
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use crate::{agent::Agent, hub::Hub};

/// The word that makes the benchmark's program a forwarder.
pub const FORWARD: &str = "forward";

/// The connections of a device, which can be cut.
#[derive(Clone, Debug, Default)]
pub struct Way(Arc<Mutex<Vec<TcpStream>>>);

impl Way {
    /// Ends every connection, as a network that goes away would if it told both sides.
    pub fn cut(&self) {
        let streams = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for stream in streams {
            let _ended_already = stream.shutdown(Shutdown::Both);
        }
    }

    fn carries(&self, stream: &TcpStream) {
        let stream = stream.try_clone();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(stream);
    }
}

/// A device whose bytes are counted, and its way to the hub. Not started yet.
///
/// # Panics
/// If the way to the hub cannot be opened.
#[must_use]
pub fn counted_device(name: &str, hub: &Hub, flags: &[&str]) -> (Agent, Way) {
    let way = Way::default();
    let mut agent = Agent::new(name, hub).with_flags(flags);
    let dir = agent.state().parent().unwrap().join("way");
    fs::create_dir(&dir).unwrap();
    let port = hub.device_address().port();
    {
        let listener = UnixListener::bind(socket(&dir, port)).unwrap();
        let way = way.clone();
        thread::spawn(move || carry_out(&listener, port, &way));
    }
    let forwarder = std::env::current_exe().unwrap();
    // The state directory in its arguments makes the forwarder end with the device.
    let line = "ip link set lo up && \"$1\" forward \"$2\" \"$3\" \"$4\" & shift 4; exec \"$@\"";
    let text = port.to_string();
    agent.set_wrapper(&[
        "unshare",
        "-n",
        "sh",
        "-c",
        line,
        "sh",
        forwarder.to_str().unwrap(),
        dir.to_str().unwrap(),
        &text,
        agent.state().to_str().unwrap(),
    ]);
    (agent, way)
}

/// What the forwarder does: `forward DIR PORT…`, inside the namespace, until it is killed.
///
/// # Errors
/// If it cannot listen.
pub fn forward(arguments: &[String]) -> io::Result<()> {
    let [dir, ports @ ..] = arguments else { return Err(io::Error::other("forward DIR PORT…")) };
    let mut threads = Vec::new();
    // The last argument is there to be found by, see above.
    for port in ports.iter().filter_map(|port| port.parse::<u16>().ok()) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let socket = socket(Path::new(dir), port);
        threads.push(thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Ok(other) = UnixStream::connect(&socket) else { continue };
                join_tcp_and_unix(stream, other);
            }
        }));
    }
    threads.into_iter().for_each(|thread| drop(thread.join()));
    Ok(())
}

fn carry_out(listener: &UnixListener, port: u16, way: &Way) {
    for stream in listener.incoming().flatten() {
        let hub = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let Ok(other) = TcpStream::connect(hub) else { continue };
        way.carries(&other);
        join_tcp_and_unix(other, stream);
    }
}

fn join_tcp_and_unix(tcp: TcpStream, unix: UnixStream) {
    let _unimportant = tcp.set_nodelay(true);
    let (Ok(tcp_too), Ok(unix_too)) = (tcp.try_clone(), unix.try_clone()) else { return };
    thread::spawn(move || {
        copy(&tcp_too, &unix_too);
        let _gone = unix_too.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        copy(&unix, &tcp);
        let _gone = tcp.shutdown(Shutdown::Write);
    });
}

fn copy(mut from: impl Read, mut to: impl Write) {
    // Either end may go at any time.
    let _ended = io::copy(&mut from, &mut to);
}

fn socket(dir: &Path, port: u16) -> PathBuf {
    dir.join(port.to_string())
}

/// Bytes and packets that have passed the loopback of a process's network namespace, in both directions together,
/// with their headers.
#[must_use]
pub fn passed(pid: u32) -> (u64, u64) {
    let table = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    let line = table.lines().find_map(|line| line.trim().strip_prefix("lo:"));
    let fields: Vec<u64> =
        line.unwrap_or_default().split_whitespace().filter_map(|f| f.parse().ok()).collect();
    // What is sent to oneself is received once: the received bytes and packets are all of them.
    match fields.as_slice() {
        [bytes, packets, ..] => (*bytes, *packets),
        _ => (0, 0),
    }
}
