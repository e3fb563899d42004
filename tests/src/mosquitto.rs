//! A real Mosquitto: the broker of an operator who has one already.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::Signal;

use tempfile::TempDir;

use crate::{
    ports,
    process::{Process, signal},
    wait::wait_until,
};

/// A running Mosquitto that keeps nothing: what it held is gone once it is killed.
#[derive(Debug)]
pub struct Mosquitto {
    // Before the directory: a process shows its log when it is dropped in a failing test.
    process: Process,
    dir: TempDir,
    address: SocketAddr,
    starts: usize,
}

impl Mosquitto {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// If Mosquitto is not installed or does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with("all")
    }

    /// As [`Self::start`], with a log that says little, for measurements.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn start_quietly() -> Self {
        Self::start_with("information")
    }

    fn start_with(log_type: &str) -> Self {
        let dir = TempDir::with_prefix("lt-mq-").unwrap();
        let address = ports::free();
        let config = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_queued_messages 100000\n\
             set_tcp_nodelay true\nlog_dest stderr\nlog_type {log_type}\nconnection_messages {}\n",
            address.port(),
            log_type == "all",
        );
        fs::write(dir.path().join("config"), config).unwrap();
        let process = launch(&dir);
        let mosquitto = Self { address, dir, process, starts: 1 };
        mosquitto.wait();
        mosquitto
    }

    /// Starts one with a configuration that `lichen broker config mosquitto` has written to a directory, for this address.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn configured(by: &Path, address: SocketAddr) -> Self {
        let dir = TempDir::with_prefix("lt-mq-").unwrap();
        // Started by root it would become another user, who can't read the test's directories.
        let config =
            format!("user root\nlog_dest stderr\nlog_type all\ninclude_dir {}\n", by.display());
        fs::write(dir.path().join("config"), config).unwrap();
        let process = launch(&dir);
        let mosquitto = Self { address, dir, process, starts: 1 };
        mosquitto.wait();
        mosquitto
    }

    /// Has it read its certificates and lists again (SIGHUP).
    pub fn reload(&self) {
        signal(self.process.pid(), Signal::HUP);
    }

    /// Everything that it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// `mqtt://HOST:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    /// Kills it as power loss would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again, empty, on the same port.
    pub fn start_again(&mut self) {
        self.process = launch(&self.dir);
        self.starts += 1;
        self.wait();
    }

    /// How many connections were opened under a client id, ever.
    #[must_use]
    pub fn connections_of(&self, client: &str) -> usize {
        let connected = format!(" as {client} ");
        let log = self.process.output();
        log.lines().filter(|line| line.contains("New client") && line.contains(&connected)).count()
    }

    fn wait(&self) {
        wait_until("mosquitto listens", || {
            let log = self.process.output();
            let running = log.lines().filter(|line| line.ends_with(" running")).count();
            if running >= self.starts { Ok(()) } else { Err(log) }
        });
    }
}

fn launch(dir: &TempDir) -> Process {
    let program =
        [PathBuf::from("/usr/sbin/mosquitto"), PathBuf::from("/usr/local/sbin/mosquitto")];
    let program = program.into_iter().find(|path| path.is_file());
    let mut command = Command::new(program.unwrap_or_else(|| PathBuf::from("mosquitto")));
    command.arg("-c").arg(dir.path().join("config"));
    Process::spawn("mosquitto", command, &dir.path().join("log"))
}
