//! A broker that is an attacker's: it sees all that hub and devices say by it, and says what it likes. An operator's own
//! broker is the worst case, since the hub's own endpoint is no broker.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use lichen_tests::{
    api::Pod,
    mosquitto::Mosquitto,
    process::Process,
    samples::{pod_spec, wasm_deployment},
    wait::wait_until,
};
use serde_json::json;
use tempfile::TempDir;

use crate::site::{DEVICE, Site};

const SECRET: &str = "fennel-and-thyme";

/// A site around a broker whose owner listens.
struct Scene {
    site: Site,
    _listener: Process,
    dir: TempDir,
    port: String,
    // Last: the others end better while it is there.
    _mosquitto: Mosquitto,
}

/// What was said on a topic.
#[derive(Clone, Debug)]
struct Heard {
    topic: String,
    bytes: Vec<u8>,
}

impl Scene {
    fn new() -> Self {
        let mosquitto = Mosquitto::start();
        let dir = TempDir::with_prefix("lt-ear-").unwrap();
        let port = mosquitto.url().rsplit(':').next().unwrap().to_owned();
        let mut ear = Command::new("mosquitto_sub");
        ear.args(["-h", "127.0.0.1", "-p", &port, "-q", "1", "-t", "#", "-F", "%t %x"]);
        let listener = Process::spawn("ear", ear, &dir.path().join("heard"));
        let site = Site::beside(&mosquitto);
        Self { site, _listener: listener, dir, port, _mosquitto: mosquitto }
    }

    fn heard(&self) -> Vec<Heard> {
        let text = fs::read_to_string(self.dir.path().join("heard")).unwrap();
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.map(|(topic, hex)| Heard { topic: topic.to_owned(), bytes: unhex(hex) }).collect()
    }

    /// The newest that was said to the device of a kind.
    fn newest(&self, kind: &str) -> Heard {
        let topic = format!("lichen/1/{DEVICE}/down/{kind}");
        wait_until(&format!("a {kind}"), || {
            let heard = self.heard();
            let found = heard.iter().rev().find(|heard| heard.topic == topic);
            found.cloned().ok_or_else(|| format!("{} others", heard.len()))
        })
    }

    /// The broker says it.
    fn say(&self, topic: &str, bytes: &[u8], retained: bool) {
        let file = self.dir.path().join("said");
        fs::write(&file, bytes).unwrap();
        let mut words = vec!["-h", "127.0.0.1", "-p", &self.port, "-q", "1", "-t", topic, "-f"];
        words.push(file.to_str().unwrap());
        if retained {
            words.push("-r");
        }
        let said = Command::new("mosquitto_pub").args(&words).stdin(Stdio::null()).output();
        let said = said.expect("mosquitto-clients is installed");
        assert!(said.status.success(), "{said:?}");
    }

    fn until_told(&self, reason: &str) {
        wait_until(&format!("the hub is told of a {reason}"), || {
            let told = self.site.api().events(reason, DEVICE);
            if told.is_empty() { Err(self.site.agent.log()) } else { Ok(()) }
        });
    }

    fn assert_untouched(&self, pods: &[(&Pod, u32)]) {
        for (pod, pid) in pods {
            assert_eq!(self.site.agent.pid_of(&pod.uid), Some(*pid), "{}", pod.name);
        }
        assert_eq!(self.site.agent.pods().len(), pods.len());
    }
}

fn unhex(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len() / 2).map(|at| digit(at * 2)).collect()
}

fn contains(bytes: &[u8], part: &str) -> bool {
    bytes.windows(part.len()).any(|window| window == part.as_bytes())
}

#[test]
#[ignore = "needs mosquitto and mosquitto_pub: run by make test"]
fn what_a_broker_alters_or_makes_up_starts_and_stops_nothing_and_the_hub_is_told() {
    let scene = Scene::new();
    let web = scene.site.run_hello("web");
    let pid = scene.site.pid_of(&web);
    let head = scene.newest("head");
    for at in 0..head.bytes.len() {
        let mut altered = head.bytes.clone();
        altered[at] ^= 1;
        scene.say(&head.topic, &altered, false);
    }
    scene.until_told("ForgedFrame");
    // Made up, cut short, empty (as if the device had been taken away), and of another kind.
    for kind in ["head", "part", "command", "time", "report"] {
        for bytes in [&b"made up"[..], &head.bytes[..head.bytes.len() - 1], &head.bytes, b""] {
            for whose in [DEVICE, "all"] {
                if (kind, bytes) != ("head", &head.bytes) {
                    scene.say(&format!("lichen/1/{whose}/down/{kind}"), bytes, true);
                }
            }
        }
    }
    let next = scene.site.run_hello("next");
    let next_pid = scene.site.pid_of(&next);
    scene.assert_untouched(&[(&web, pid), (&next, next_pid)]);
}

#[test]
#[ignore = "needs mosquitto and mosquitto_pub: run by make test"]
fn what_a_broker_says_again_leads_no_device_back_and_repeats_no_command() {
    let mut scene = Scene::new();
    let web = scene.site.run_hello("web");
    let before = scene.newest("head");
    let _log = scene.site.api().log(&web.name, "").unwrap();
    let command = scene.newest("command");
    let next = scene.site.run_hello("next");
    let pids = [(&web, scene.site.pid_of(&web)), (&next, scene.site.pid_of(&next))];
    assert_ne!(scene.newest("head").bytes, before.bytes);
    // Kept as well, so that the device finds it when it comes back.
    scene.say(&before.topic, &before.bytes, true);
    scene.say(&command.topic, &command.bytes, false);
    scene.site.agent.kill();
    scene.site.agent.start_again();
    wait_until("the device is back", || {
        match scene.site.agent.log().matches("INFO connected").count() {
            2.. => Ok(()),
            times => Err(times.to_string()),
        }
    });
    scene.say(&before.topic, &before.bytes, false);
    scene.say(&command.topic, &command.bytes, false);
    scene.until_told("ReplayedFrame");
    scene.assert_untouched(&pids);
    // The hub's word still counts.
    scene.site.api().remove("deployments", "web");
    wait_until("one is left", || match scene.site.agent.pods() {
        left if left == [next.uid.clone()] => Ok(()),
        left => Err(format!("{left:?}")),
    });
}

#[test]
#[ignore = "needs mosquitto and mosquitto_pub: run by make test"]
fn a_broker_sees_no_secret() {
    let scene = Scene::new();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "herbs"},
        "stringData": {"word": SECRET},
    });
    let mut web = wasm_deployment("web", "hello:1", 1);
    let reference = json!({"secretKeyRef": {"name": "herbs", "key": "word"}});
    pod_spec(&mut web)["containers"][0]["env"] = json!([{"name": "NAME", "valueFrom": reference}]);
    scene.site.cli().apply(&[&secret, &web]);
    let pod = scene.site.api().until_one_runs("web");
    let has_it = |run: &Path| fs::read_to_string(run.join("log")).unwrap_or_default();
    wait_until("the Pod has it", || {
        let log = scene.site.agent.run_dir(&pod.uid).map(|run| has_it(&run)).unwrap_or_default();
        if log.contains(SECRET) { Ok(()) } else { Err(log) }
    });
    let heard = scene.heard();
    let parts = heard.iter().filter(|heard| heard.topic.ends_with("/down/part")).count();
    assert_ne!(parts, 0, "the Pod came by this broker");
    for Heard { topic, bytes } in heard {
        assert!(!contains(&bytes, SECRET), "{topic}");
    }
    // What the Pod prints is no secret any more: logs travel as they are.
    let _log = scene.site.api().log(&pod.name, "").unwrap();
    assert!(scene.heard().iter().any(|heard| contains(&heard.bytes, SECRET)));
}
