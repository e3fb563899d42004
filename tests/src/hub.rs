//! A hub with a directory of its own, which can be killed and started again on the same addresses.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    net::{Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tempfile::TempDir;

use crate::{
    api::Api, cli::Cli, clock::Clock, mosquitto::Mosquitto, ports, process::Process,
    programs::workspace_program, wait::wait_until,
};

/// A hub. While it is stopped, its state directory stays.
#[derive(Debug)]
pub struct Hub {
    // Before the directory: a process shows its log when it is dropped in a failing test.
    process: Option<Process>,
    dir: TempDir,
    api: SocketAddr,
    devices: SocketAddr,
    broker: Option<String>,
    log_level: &'static str,
    flags: Vec<String>,
    environment: BTreeMap<String, OsString>,
}

impl Hub {
    /// Starts a hub with its embedded broker, and waits until devices can connect.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(None, "debug")
    }

    /// Starts a hub that uses an operator's broker, and waits until it is connected to that.
    #[must_use]
    pub fn start_beside(mosquitto: &Mosquitto) -> Self {
        Self::start_with(Some(mosquitto.url()), "debug")
    }

    /// As [`Self::start`], with the log that a hub writes by default, for measurements.
    #[must_use]
    pub fn start_quietly() -> Self {
        Self::start_with(None, "info")
    }

    /// As [`Self::start_quietly`], with an operator's broker.
    #[must_use]
    pub fn start_quietly_beside(mosquitto: &Mosquitto) -> Self {
        Self::start_with(Some(mosquitto.url()), "info")
    }

    /// Starts a hub that looks for an operator's broker, which may come later, and waits until the API answers.
    #[must_use]
    pub fn start_towards(broker: String) -> Self {
        let mut hub = Self::new(Some(broker), "debug");
        hub.start_api();
        hub
    }

    /// As [`Self::start`], with more flags.
    #[must_use]
    pub fn start_with_flags(flags: &[&str]) -> Self {
        let mut hub = Self::new(None, "debug");
        hub.flags.extend(flags.iter().map(ToString::to_string));
        hub.start_again();
        hub
    }

    /// Starts a hub for other machines: at its usual ports of every address, found at these.
    #[must_use]
    pub fn start_for_others(advertised: &[&str]) -> Self {
        let mut hub = Self::new(None, "debug");
        hub.api = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 6180));
        hub.devices = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 6183));
        for address in advertised {
            hub.flags.extend(["--advertise".to_owned(), (*address).to_owned()]);
        }
        hub.start_again();
        hub
    }

    fn start_with(broker: Option<String>, log_level: &'static str) -> Self {
        let mut hub = Self::new(broker, log_level);
        hub.start_again();
        hub
    }

    fn new(broker: Option<String>, log_level: &'static str) -> Self {
        let dir = TempDir::with_prefix("lt-hub-").unwrap();
        let (api, devices, flags) = (ports::free(), ports::free(), Vec::new());
        let environment = BTreeMap::new();
        Self { dir, api, devices, broker, process: None, log_level, flags, environment }
    }

    /// The hub of a backup, on another machine: with another directory and other addresses.
    ///
    /// # Panics
    /// If it can't be restored, or does not start.
    #[must_use]
    pub fn restored(backup: &Path) -> Self {
        let mut hub = Self::new(None, "debug");
        let state = hub.state().display().to_string();
        let backup = backup.display().to_string();
        let said = hub.cli().run(&["hub", "restore", &backup, "--state", &state]);
        assert!(said.success, "{said:#?}");
        hub.start_again();
        hub
    }

    /// Starts it on its state, at its old addresses, and waits until devices can connect.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_again(&mut self) {
        self.launch();
        self.until("/readyz");
    }

    /// Starts it on its state, and waits until the API answers.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_api(&mut self) {
        self.launch();
        self.until("/healthz");
    }

    /// Starts the process and waits for nothing.
    pub fn launch(&mut self) {
        self.process = Some(Process::spawn("hub", self.command(), &self.log_file()));
    }

    fn until(&mut self, path: &str) {
        let api = self.api();
        wait_until(&format!("the hub answers {path}"), || {
            if let Some(status) = self.process.as_mut().and_then(Process::ended) {
                panic!("the hub has ended: {status}");
            }
            api.text(path).map(drop).map_err(|refused| format!("{refused:?}"))
        });
    }

    fn command(&self) -> Command {
        let mut command = Command::new(workspace_program("lichen"));
        command.arg("hub").arg("--state").arg(self.state());
        command.arg("--api").arg(self.api.to_string());
        command.arg("--devices").arg(self.devices.to_string());
        if let Some(url) = &self.broker {
            command.arg("--external-broker").arg(url);
        }
        // Its own, so that it leaves no word of itself to the commands of whoever runs the tests.
        command.env("HOME", self.dir.path()).env_remove("XDG_STATE_HOME");
        command.args(&self.flags).env("LICHEN_LOG", self.log_level).envs(&self.environment);
        command
    }

    /// What time its machine believes that it is, from its next start on.
    pub fn set_clock(&mut self, clock: &Clock) {
        self.environment = clock.environment();
    }

    /// Kills it (`kill -9`). With an embedded broker that goes too.
    pub fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    /// Stops it as a service manager would. Returns whether it ended well.
    pub fn stop(&mut self) -> bool {
        self.process.take().unwrap().terminate().success()
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().pid()
    }

    /// A client of its API.
    #[must_use]
    pub fn api(&self) -> Api {
        Api::new(&self.kubeconfig())
    }

    /// The command line, talking to this hub.
    #[must_use]
    pub fn cli(&self) -> Cli {
        Cli::new(&self.kubeconfig(), self.dir.path())
    }

    /// The kubeconfig of its admin. It is there once the hub has started.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.state().join("admin.kubeconfig")
    }

    /// Where operators connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.api
    }

    /// Where devices connect.
    #[must_use]
    pub fn device_address(&self) -> SocketAddr {
        self.devices
    }

    /// What a TLS client shows that is its admin.
    ///
    /// # Panics
    /// If it has not started.
    #[must_use]
    pub fn admin_tls(&self) -> ClientConfig {
        let text = fs::read_to_string(self.kubeconfig()).unwrap();
        let part = |name: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(name)).unwrap();
            BASE64.decode(line.trim()).unwrap()
        };
        let certificate = |name: &str| CertificateDer::from_pem_slice(&part(name)).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate("certificate-authority-data:")).unwrap();
        let key = PrivateKeyDer::from_pem_slice(&part("client-key-data:")).unwrap();
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate("client-certificate-data:")], key)
            .unwrap()
    }

    /// A token by which one device can join.
    ///
    /// # Panics
    /// If the hub makes none.
    #[must_use]
    pub fn token(&self) -> String {
        let answer = self.api().post("/lichen/v1/jointokens", &serde_json::json!({}));
        answer.unwrap()["token"].as_str().unwrap().to_owned()
    }

    /// Its state directory.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// A directory for the test's files, which goes with the hub.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// Everything that it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    /// Where everything is that it has logged.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.dir.path().join("log")
    }
}
