//! Containers from image to process, as root, with whatever OCI runtime the machine has.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

mod support;

use std::fs;

use firmware_compat::{
    id::PodId,
    v1::owned::{
        Action, ContainerState, Outcome, Phase, Pod, RestartPolicy, RuntimeClass, Text, Value,
        Variable,
    },
};
use support::{
    http::Server,
    hub::Hub,
    image::{image, with_scratch, with_script},
    machine::{Device, container, pod},
};

const ID: PodId = PodId([1; 16]);

fn shell(http: &Server, script: &str) -> Pod {
    let mut own = with_script(container("main", image(http)), "main", script);
    let variable = Variable {
        name: "GREETING".try_into().unwrap(),
        value: Value::Text("moss".try_into().unwrap()),
    };
    own.env = vec![variable].try_into().unwrap();
    pod(1, RuntimeClass::Container, vec![own])
}

fn assign(hub: &mut Hub, pods: Vec<Pod>) {
    hub.assign(&pods);
}

fn logs(previous: bool) -> Action {
    Action::Logs {
        pod: ID,
        container: Text::default(),
        follow: !previous,
        tail: None,
        previous,
        timestamps: false,
    }
}

fn mounts_mention(text: &str) -> bool {
    fs::read_to_string("/proc/self/mountinfo").unwrap().contains(text)
}

/// Every cgroup directory whose name holds `text`.
fn cgroups(text: &str) -> Vec<String> {
    let found = std::process::Command::new("find")
        .args(["/sys/fs/cgroup", "-name", &format!("*{text}*")])
        .output();
    String::from_utf8_lossy(&found.unwrap().stdout).lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, busybox-static and crun or runc: run by make test"]
async fn a_container_runs_is_adopted_and_leaves_no_process_mount_or_cgroup() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start("pi").await;
    let mut device = Device::new(&dir.path().join("state"), &hub.http, "pi");
    device.start(&[]);
    let script = "busybox cat /etc/motd; echo $GREETING on $(busybox hostname), secret: $SECRET.; \
                  trap 'echo bye; exit 0' TERM; while true; do busybox sleep 1 & wait; done";
    let pod = with_scratch(shell(&hub.http, script), false);
    assign(&mut hub, vec![pod]);
    let first = hub.until_running(ID).await;

    hub.command(1, logs(false));
    let (text, _) = hub.reply(1, |text| text.contains("secret")).await;
    assert_eq!(text, "hello from the layer\nmoss on web-1, secret: .\n");
    hub.command(2, Action::Cancel { command: 1 });

    device.kill();
    device.start(&[]);
    hub.until("it should find it", |hub| hub.told.iter().any(|l| l.contains("found 1 pods"))).await;
    let adopted = hub.until_running(ID).await;
    assert_eq!((adopted.pid, adopted.restarts), (first.pid, 0));

    assign(&mut hub, Vec::new());
    hub.until_gone(ID).await;
    assert!(device.processes().is_empty());
    assert_eq!(device.run_dirs(), 0);
    assert!(!mounts_mention(dir.path().to_str().unwrap()));
    let agent = fs::read_to_string(device.state.join("agent-id")).unwrap();
    assert_eq!(cgroups(&format!("{}-{ID}", &agent[..8])), [""; 0]);
    let layers = device.state.join("layers");
    assert_eq!(
        fs::read_dir(&layers).unwrap().flatten().filter(|entry| entry.path().is_dir()).count(),
        2,
        "the previous assignment keeps its layers"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, busybox-static and crun or runc: run by make test"]
async fn a_restarted_container_has_a_fresh_root_and_the_same_empty_dir() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start("pi").await;
    let mut device = Device::new(&dir.path().join("state"), &hub.http, "pi");
    device.start(&[]);
    let script = "busybox ls /stain /scratch; : > /stain; : > /scratch/kept; exit 3";
    let mut pod = with_scratch(shell(&hub.http, script), false);
    pod.restart = RestartPolicy::OnFailure;
    assign(&mut hub, vec![pod]);
    hub.until("it should be started again", |hub| {
        let again = hub.container(ID, "main").is_some_and(|own| own.restarts >= 1);
        again && hub.pods[&ID].phase == Phase::Backoff
    })
    .await;
    let own = hub.container(ID, "main").unwrap();
    assert!(matches!(own.state, ContainerState::Waiting { .. }), "{own:?}");
    let exit = own.last_exit.clone().unwrap();
    assert_eq!((exit.code, &exit.reason[..]), (3, "Error"));
    hub.command(1, logs(true));
    let (first, end) = hub.reply(1, |_| false).await;
    assert_eq!(end, Some(Outcome::Done));
    assert!(first.contains("/stain: No such file") && !first.contains("kept"), "{first}");
    hub.command(
        2,
        Action::Logs {
            pod: ID,
            container: Text::default(),
            follow: false,
            tail: None,
            previous: false,
            timestamps: false,
        },
    );
    let (second, _) = hub.reply(2, |_| false).await;
    assert!(second.contains("/stain: No such file") && second.contains("kept"), "{second}");
}
