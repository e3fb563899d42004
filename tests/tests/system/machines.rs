//! Several machines: the hub on one, devices and operators on others, with the addresses of a network between them.

use std::{fs, path::PathBuf, process::Command};

use lichen_tests::{
    agent::Agent,
    api::{Api, Pod},
    cli::Cli,
    footprint::is_alive,
    hub::Hub,
    network::{Machine, Network},
    process::Process,
    programs::{repository, workspace_program},
    samples::{busybox_layout, daemon_set, hello_module, pod_spec},
    wait::wait_until,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const HUB: [&str; 2] = ["10.83.0.1", "fd83::1"];
const OPERATOR: [&str; 2] = ["10.83.0.9", "fd83::9"];

/// A hub, two devices that share no family of addresses, and an operator, each on a machine of its own.
struct Scene {
    // In the order in which they should end.
    old: Device,
    new: Device,
    hub: Hub,
    at_hub: Machine,
    at_operator: Machine,
    /// What the operator has: a copy of the admin's kubeconfig.
    kubeconfig: PathBuf,
}

struct Device {
    agent: Agent,
    machine: Machine,
}

impl Scene {
    fn new() -> Self {
        let mut network = Network::new();
        let both = |[v4, v6]: [&str; 2]| [format!("{v4}/24"), format!("{v6}/64")];
        let mut machine = |addresses: &[String]| {
            network.machine(&addresses.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let (at_hub, at_operator) = (machine(&both(HUB)), machine(&both(OPERATOR)));
        let at_old = machine(&["10.83.0.4/24".to_owned()]);
        let at_new = machine(&["fd83::6/64".to_owned()]);

        // Devices may come to one port, the operator to the other one; devices may go nowhere else, and nobody comes to them.
        let operators = OPERATOR.map(|from| format!("-p tcp -s {from} --dport 6180"));
        let into = ["-p tcp --dport 6183", &operators[0], &operators[1]];
        let answers = ["-p tcp --sport 6183 ! --syn", "-p tcp --sport 6180 ! --syn"];
        at_hub.firewall(&into, &answers);
        for device in [&at_old, &at_new] {
            device.firewall(&answers[..1], &into[..1]);
        }

        let hub = at_hub.enter(|| Hub::start_for_others(&["10.83.0.1", "[fd83::1]"]));
        let device = |name: &str, machine: Machine| {
            let line = at_hub.enter(|| hub.cli().run(&["token", "create"]).well());
            let token = line.trim().strip_prefix("lichen-agent join ").expect("the line to paste");
            let mut agent = Agent::switched_off(name, token).with_flags(&["--runtime", "runc"]);
            machine.enter(|| agent.start_again());
            Device { agent, machine }
        };
        let (old, new) = (device("old", at_old), device("new", at_new));
        let kubeconfig = hub.scratch().join("copied.kubeconfig");
        fs::copy(hub.kubeconfig(), &kubeconfig).unwrap();
        Self { old, new, hub, at_hub, at_operator, kubeconfig }
    }

    /// What is asked on the hub's machine.
    fn ask<T: Send>(&self, what: impl FnOnce(Api, Cli) -> T + Send) -> T {
        self.at_hub.enter(|| what(self.hub.api(), self.hub.cli()))
    }

    /// A module and a container on each device.
    fn deploy(&self) -> Vec<Pod> {
        let layout = busybox_layout(self.hub.scratch());
        self.ask(|api, cli| {
            api.until_ready("old");
            api.until_ready("new");
            cli.push(&layout, "busybox:1");
            cli.push(&hello_module(), "hello:1");
            cli.apply(&[&module("module"), &daemon_set("container", "busybox:1")]);
            ["module", "container"].iter().flat_map(|app| api.until_running(app, 2)).collect()
        })
    }

    fn device(&self, pod: &Pod) -> &Device {
        if pod.node == "old" { &self.old } else { &self.new }
    }

    /// Waits until a Pod has written more than it had.
    fn until_it_goes_on(&self, pod: &Pod) {
        let log = || {
            let run = self.device(pod).agent.run_dir(&pod.uid);
            run.map(|run| fs::read_to_string(run.join("log")).unwrap_or_default())
                .unwrap_or_default()
        };
        let before = log();
        wait_until(&format!("{} goes on", pod.name), || match log() {
            now if now.len() > before.len() || !now.starts_with(&before) => Ok(()),
            now => Err(now),
        });
    }
}

fn module(name: &str) -> Value {
    let mut set = daemon_set(name, "hello:1");
    pod_spec(&mut set)["runtimeClassName"] = json!("wasm");
    set
}

#[test]
#[ignore = "needs root, ip, iptables, runc, umoci, busybox-static and kubectl: run by make test"]
fn devices_of_either_family_of_addresses_need_one_port_and_operators_another() {
    let scene = Scene::new();
    let pods = scene.deploy();
    assert_eq!(pods.len(), 4);
    for pod in &pods {
        let log = scene.ask(|api, _| api.log(&pod.name, "")).unwrap();
        assert!(log.starts_with("hello from "), "{log}");
    }
    scene.at_operator.enter(|| {
        for server in ["https://10.83.0.1:6180", "https://[fd83::1]:6180"] {
            let lichen = Cli::new(&scene.kubeconfig, scene.hub.scratch());
            let shown = lichen.run(&["get", "nodes", "-o", "name", "--server", server]).well();
            assert_eq!(shown, "node/new\nnode/old\n");
            let kubeconfig = format!("--kubeconfig={}", scene.kubeconfig.display());
            let server = format!("--server={server}");
            let words = [&kubeconfig, &server, "get", "nodes", "-o", "name"];
            let mut kubectl = Command::new("kubectl");
            kubectl.args(words).env("HOME", scene.hub.scratch());
            let output = kubectl.output().expect("kubectl is installed");
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.stdout, b"node/new\nnode/old\n", "{errors}");
        }
    });
    for device in [&scene.old, &scene.new] {
        assert_eq!(device.machine.dropped(), 0, "it went nowhere else");
        let listening = device.machine.enter(|| Command::new("ss").args(["-lntuH"]).output());
        assert_eq!(String::from_utf8_lossy(&listening.unwrap().stdout), "", "nobody may come");
    }
    assert_eq!(scene.at_hub.dropped(), 0, "nobody came to another port, and it went nowhere");
    // The firewall counts what it is there for: the operators' port is not a device's.
    let lichen = scene.old.machine.enter(|| {
        let mut curl = Command::new("curl");
        curl.args(["-sk", "--connect-timeout", "1", "https://10.83.0.1:6180/version"]);
        curl.status().expect("curl is installed")
    });
    assert!(!lichen.success());
    assert_ne!(scene.old.machine.dropped(), 0);
}

#[test]
#[ignore = "needs root, ip, iptables, runc, umoci and busybox-static: run by make test"]
fn a_pulled_cable_stops_nothing_and_what_came_meanwhile_is_there_when_it_is_back() {
    let mut scene = Scene::new();
    let pods = scene.deploy();
    let pid = |scene: &Scene, pod: &Pod| scene.device(pod).agent.pid_of(&pod.uid);
    let before: Vec<Option<u32>> = pods.iter().map(|pod| pid(&scene, pod)).collect();
    scene.old.machine.unplug();
    scene.new.machine.unplug();
    scene.ask(|_, cli| cli.apply(&[&module("later")]));
    pods.iter().for_each(|pod| scene.until_it_goes_on(pod));
    // One is switched off and on as well, with nobody to ask.
    scene.new.agent.lose_power();
    let Device { agent, machine } = &mut scene.new;
    machine.enter(|| agent.start_again());
    pods.iter().for_each(|pod| scene.until_it_goes_on(pod));
    assert!(scene.ask(|api, _| api.pods_of("later")).iter().all(|pod| !pod.ready));

    scene.old.machine.plug_in();
    scene.new.machine.plug_in();
    scene.ask(|api, _| {
        let _later = api.until_running("later", 2);
        for app in ["module", "container"] {
            let restarts = |pod: &Pod| (pod.node.clone(), pod.restarts);
            let after: Vec<_> = api.until_pods("all is as it was", app, |pods| {
                pods.len() == 2
                    && pods.iter().all(|pod| pod.ready)
                    && pods.iter().any(|pod| pod.restarts == 1)
            });
            let after: Vec<_> = after.iter().map(restarts).collect();
            assert!(after.contains(&("old".to_owned(), 0)), "{after:?}");
            assert!(after.contains(&("new".to_owned(), 1)), "{after:?}");
        }
    });
    for (pod, before) in pods.iter().zip(before).filter(|(pod, _)| pod.node == "old") {
        assert_eq!(pid(&scene, pod), before, "it was not touched");
    }
}

/// The lines of a page that a reader types, up to the one that begins with `last`.
fn lines_of_readme(first: &str, last: &str) -> Vec<String> {
    let text = fs::read_to_string(repository("README.md")).unwrap();
    let section = text.split(&format!("## {first}\n")).nth(1).unwrap();
    let blocks = section.split("```\n").skip(1).step_by(2);
    let mut lines = Vec::new();
    for line in blocks.flat_map(str::lines) {
        lines.push(line.to_owned());
        if line.starts_with(last) {
            return lines;
        }
    }
    panic!("README.md has no line {last} under {first}");
}

/// Has its processes, its host name and its `/var/lib` for itself, as a machine does; they end with it.
const BOARD: &str = "mount -t tmpfs none /var/lib && hostname Barn-2 && sh -c \"$0\"; :";

#[test]
#[ignore = "needs root and ip: run by make test"]
fn the_lines_of_the_readme_make_a_device_of_a_second_machine() {
    let lines = lines_of_readme("Use it", "lichen apply");
    let typed: Vec<&str> = lines.iter().map(String::as_str).collect();
    let [build, more, path, hub, token, join, rest @ ..] = typed.as_slice() else {
        panic!("{lines:#?}")
    };
    assert!(build.starts_with("cargo build ") && more.starts_with("cargo build "), "{lines:#?}");
    assert!(path.starts_with("export PATH="), "{lines:#?}");
    assert!(join.starts_with("lichen-agent join lichen-join."), "{lines:#?}");

    let mut network = Network::new();
    let (at_hub, second) = (network.machine(&["10.83.1.1/24"]), network.machine(&["10.83.1.2/24"]));
    let dir = TempDir::with_prefix("lt-readme-").unwrap();
    for name in ["hub", "manifests"] {
        std::os::unix::fs::symlink(repository(name), dir.path().join(name)).unwrap();
    }
    let bin = workspace_program("lichen");
    let path = format!("{}:{}", bin.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let typed = |program: &str, words: &[&str]| {
        let mut command = Command::new(program);
        command.args(words).current_dir(dir.path());
        command.env("PATH", &path).env("HOME", dir.path()).env_remove("XDG_STATE_HOME");
        command
    };
    let log = |name: &str| dir.path().join(name);
    let _hub = at_hub.enter(|| Process::spawn("hub", typed("sh", &["-c", hub]), &log("hub.log")));
    let said = |line: &str| {
        let output = at_hub.enter(|| typed("sh", &["-c", line]).output().unwrap());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (said, errors) = (text(&output.stdout), text(&output.stderr));
        if output.status.success() { Ok(said) } else { Err(errors) }
    };
    let printed = wait_until("a token", || said(token));
    let known: String = join.chars().take_while(|letter| *letter != '…').collect();
    assert!(printed.starts_with(&known), "the page shows how one begins: {printed}");
    let board = ["--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let mut words = board.to_vec();
    words.extend(["sh", "-c", BOARD, printed.trim()]);
    let device =
        second.enter(|| Process::spawn("device", typed("unshare", &words), &log("device.log")));
    for line in rest {
        wait_until(line, || said(line));
    }
    wait_until("the second machine runs what was applied", || {
        match said("lichen get pods -o wide") {
            Ok(pods) if pods.contains("Running") && pods.contains("barn-2") => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    });
    assert!(is_alive(device.pid()));
}
