//! A real Mosquitto for one test: on a free loopback port, with a configuration of its own, ended with the test.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
};

use tempfile::NamedTempFile;

/// A running Mosquitto. It keeps nothing: what it held is gone once it is killed.
pub struct Mosquitto {
    pub address: SocketAddr,
    config: NamedTempFile,
    process: Child,
}

impl Mosquitto {
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// With more lines of configuration: other listeners.
    pub fn start_with(more: &str) -> Self {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
        let address = free.local_addr().expect("it is bound");
        drop(free);
        let mut config = NamedTempFile::new().expect("a temporary file");
        write!(
            config,
            "listener {} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_queued_messages 100000\n\
             set_tcp_nodelay true\nlog_dest stderr\nlog_type all\n{more}\n",
            address.port()
        )
        .expect("the file can be written");
        let process = launch(&config);
        Self { address, config, process }
    }

    /// Kills it as power loss would.
    pub fn kill(&mut self) {
        let _already_dead = self.process.kill();
        let _status = self.process.wait();
    }

    /// Starts it again, empty, on the same port.
    pub fn start_again(&mut self) {
        self.process = launch(&self.config);
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
    }
}

fn launch(config: &NamedTempFile) -> Child {
    let mut process = Command::new("mosquitto")
        .arg("-c")
        .arg(config.path())
        .stderr(Stdio::piped())
        .spawn()
        .expect("mosquitto is installed (Debian package mosquitto; /usr/sbin is in PATH)");
    let mut log = BufReader::new(process.stderr.take().expect("it is piped"));
    let mut seen = String::new();
    while !seen.contains(" running") {
        let read = log.read_line(&mut seen).expect("the log can be read");
        assert!(read > 0, "mosquitto ended: {seen}");
    }
    // Read on, so that it never waits for room in the pipe.
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    process
}
