//! A real Mosquitto with TLS, with the configuration that `lichen broker config mosquitto` writes: what devices need of it
//! works, and nobody else gets anything.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use lichen_tests::{
    agent::Agent,
    hub::Hub,
    mosquitto::Mosquitto,
    ports, samples,
    samples::wasm_deployment,
    wait::{wait_for, wait_until},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::site::DEVICE;

/// A hub, its broker, and devices that speak by it.
struct Guarded {
    // Dropped first.
    agent: Agent,
    mosquitto: Mosquitto,
    hub: Hub,
    address: SocketAddr,
    dir: TempDir,
}

impl Guarded {
    fn new() -> Self {
        let address = ports::free();
        let hub = Hub::start_towards(format!("mqtts://{address}"));
        let dir = TempDir::with_prefix("lt-broker-").unwrap();
        let (listen, place) = (address.to_string(), dir.path().to_str().unwrap());
        let config = ["broker", "config", "mosquitto", "--name", "localhost"];
        hub.cli().run(&[&config[..], &["--listen", &listen, "--output", place]].concat()).well();
        let mosquitto = Mosquitto::configured(dir.path(), address);
        wait_for("the hub finds its broker", || hub.api().text("/readyz").is_ok());
        hub.cli().push(&samples::hello_module(), "hello:1");
        let agent = Agent::start(DEVICE, &hub);
        Self { agent, mosquitto, hub, address, dir }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// One of Mosquitto's programs, with the certificate of a device or with none.
    fn client(&self, program: &str, device: Option<&Agent>, arguments: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(["-h", "localhost", "-p", &self.address.port().to_string(), "-V", "mqttv5"]);
        command.arg("--cafile").arg(self.file("ca.pem")).arg("-d");
        if let Some(device) = device {
            let identity = device.state().join("identity");
            command.arg("--cert").arg(identity.join("certificate.pem"));
            command.arg("--key").arg(identity.join("key.pem"));
        }
        command.args(arguments).output().unwrap()
    }

    fn publish(&self, device: Option<&Agent>, topic: &str) -> Output {
        self.client("mosquitto_pub", device, &["-q", "1", "-t", topic, "-m", "x"])
    }

    /// Topics of what is heard, one at the most, within so many seconds.
    fn hears(&self, device: Option<&Agent>, filter: &str, seconds: &str) -> Output {
        let arguments = ["-q", "1", "-t", filter, "-C", "1", "-W", seconds, "-F", "heard %t"];
        self.client("mosquitto_sub", device, &arguments)
    }

    fn revoke(&self, name: &str) {
        self.hub.cli().run(&["device", "revoke", name]).well();
    }

    /// What the timer of a broker's machine does.
    fn refresh_list(&self) {
        let list = self.file("crl.pem");
        self.hub.cli().run(&["broker", "crl", "--output", list.to_str().unwrap()]).well();
        self.mosquitto.reload();
    }
}

/// One Pod of the greeting module on every device.
fn everywhere(name: &str) -> Value {
    let mut set = samples::daemon_set(name, "hello:1");
    samples::pod_spec(&mut set)["runtimeClassName"] = json!("wasm");
    set
}

fn said(output: &Output) -> String {
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{} {out}{err}", output.status)
}

fn assert_private(file: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{}", file.display());
}

#[test]
#[ignore = "needs mosquitto: run by make test"]
fn a_broker_as_configured_serves_devices_and_neither_its_end_nor_the_hubs_restarts_a_pod() {
    let mut site = Guarded::new();
    assert_private(&site.file("broker.key"));
    let api = site.hub.api();
    api.apply("deployments", &wasm_deployment("web", "hello:1", 1));
    let pod = api.until_one_runs("web");
    let pid = site.agent.pid_of(&pod.uid).expect("it runs");

    site.mosquitto.kill();
    wait_for("the hub notices", || api.text("/readyz").is_err());
    site.mosquitto.start_again();
    wait_for("the hub is back", || api.text("/readyz").is_ok());
    api.until_ready(DEVICE);
    site.hub.kill();
    site.hub.start_again();
    let api = site.hub.api();
    api.apply("deployments", &wasm_deployment("second", "hello:1", 1));
    assert_eq!(api.until_one_runs("second").restarts, 0);
    assert_eq!(api.until_one_runs("web").restarts, 0);
    assert_eq!(site.agent.pid_of(&pod.uid), Some(pid));
}

#[test]
#[ignore = "needs mosquitto: run by make test"]
fn nobody_gets_at_another_devices_topics_and_nobody_comes_in_without_a_certificate() {
    let site = Guarded::new();
    let mut other = Agent::start("other", &site.hub);
    site.hub.api().apply("deployments", &wasm_deployment("web", "hello:1", 2));
    let _both = site.hub.api().until_running("web", 2);
    // Its name is free for what follows: a client id is the certificate's name.
    assert!(other.stop());

    let head = |device: &str| format!("lichen/1/{device}/down/head");
    let own = site.hears(Some(&other), &head("other"), "20");
    assert!(said(&own).contains("heard lichen/1/other/down/head"), "{}", said(&own));
    for filter in [&head(DEVICE), "lichen/1/pi/#", "lichen/1/+/down/head"] {
        let heard = site.hears(Some(&other), filter, "2");
        assert!(!said(&heard).contains("heard lichen/1/pi"), "{filter}: {}", said(&heard));
    }
    let own = site.publish(Some(&other), "lichen/1/other/up/event");
    assert!(!said(&own).contains("Not authorized"), "{}", said(&own));
    for topic in [
        "lichen/1/pi/up/hello",
        "lichen/1/pi/down/head",
        "lichen/1/other/down/head",
        "lichen/1/other/up/anything",
        "lichen/1/all/down/time",
        "elsewhere",
    ] {
        let refused = site.publish(Some(&other), topic);
        assert!(said(&refused).contains("Not authorized"), "{topic}: {}", said(&refused));
    }
    for output in [
        site.publish(None, "lichen/1/pi/up/hello"),
        site.hears(None, "lichen/1/all/down/time", "5"),
    ] {
        assert!(!output.status.success(), "{}", said(&output));
        assert!(!said(&output).contains("CONNACK (0)"), "{}", said(&output));
    }
    assert_eq!(site.agent.log().matches(" connected").count(), 1, "it was not disturbed");
}

#[test]
#[ignore = "needs mosquitto: run by make test"]
fn a_revoked_device_is_out_at_once_is_not_heard_and_is_refused_by_the_list() {
    let site = Guarded::new();
    let mut other = Agent::start("other", &site.hub);
    let api = site.hub.api();
    api.apply("daemonsets", &everywhere("web"));
    let pod = api.until_running("web", 2).into_iter().find(|pod| pod.node == DEVICE).unwrap();
    let pid = site.agent.pid_of(&pod.uid).expect("it runs");

    site.revoke(DEVICE);
    let out = "its session at the broker was ended";
    wait_until("its session is ended", || match site.hub.log() {
        log if log.contains(out) => Ok(()),
        log => Err(log),
    });
    api.until_away(DEVICE);
    // It may come back to the broker, which has not heard of it: nothing waits for it there, and it is not heard.
    let head = site.hears(Some(&site.agent), "lichen/1/pi/down/head", "2");
    assert!(!said(&head).contains("heard"), "{}", said(&head));

    site.refresh_list();
    wait_until("the broker refuses its certificate", || {
        let refused = site.publish(Some(&site.agent), "lichen/1/pi/up/event");
        match site.mosquitto.log().contains("certificate verify failed") {
            true => Ok(()),
            false => Err(said(&refused)),
        }
    });
    assert!(!site.publish(Some(&site.agent), "lichen/1/pi/up/event").status.success());
    api.until_away(DEVICE);
    assert_eq!(site.agent.pid_of(&pod.uid), Some(pid), "what runs on it runs on");

    // Others are not concerned, and come back.
    assert!(other.stop());
    other.start_again();
    api.until_ready("other");
}

#[test]
#[ignore = "needs root and mosquitto: run by make test"]
fn of_two_boards_with_one_card_at_a_broker_one_works_and_the_other_stays_away_with_one_warning() {
    let site = Guarded::new();
    let api = site.hub.api();
    let mut copy = Agent::with_card_of(&site.agent);
    copy.start_again();
    wait_until("there is a warning", || match api.events("TwoBoards", DEVICE).as_slice() {
        [_] => Ok(()),
        seen => Err(format!("{seen:?} {}", site.agent.log())),
    });
    for count in 1..=3 {
        api.apply("deployments", &wasm_deployment("web", "hello:1", count));
        for pod in api.until_running("web", usize::try_from(count).unwrap()) {
            assert!(copy.pid_of(&pod.uid).is_some(), "the newer one runs {}", pod.name);
            assert_eq!(site.agent.pid_of(&pod.uid), None);
        }
    }
    assert_eq!(api.events("TwoBoards", DEVICE).len(), 1);
    assert_eq!(copy.log().matches(" connected").count(), 1, "the one that works was not disturbed");
}
