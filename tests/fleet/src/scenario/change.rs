//! One changed variable on a device with 100 Pods: what passes on its connection, and what its agent writes to its disk to
//! keep the assignment.

use std::{collections::BTreeMap, net::SocketAddr};

use lichen_tests::{api::collection, samples};
use serde_json::{Value, json};

use super::{Outcome, settle};
use crate::{
    fleet::{self, WITH_A_DISK},
    report::Figure,
    site::{IMAGE, Site},
    sockets::{Traffic, traffic_by_port},
};

/// Pods on the device, and variables of each.
const PODS: usize = 100;
const VARIABLES: usize = 10;
/// The one that changes.
const CHANGED: usize = 7;

pub(super) fn run(site: &mut Site) -> Outcome {
    settle(site);
    let broker = site.broker()?;
    let before = traffic_by_port(broker)?;
    for pod in 0..PODS {
        site.create("daemonsets", &daemon_set(pod, "0"))?;
    }
    for pod in 0..PODS {
        site.until_status("daemonsets", &name(pod), &[("numberReady", 1)])?;
    }
    settle(site);
    let port = busiest(&before, &traffic_by_port(broker)?).ok_or("nothing passed")?;

    let (wire, disk) = (on(broker, port)?, site.fleet().written());
    let path = format!("{}/{}", collection("daemonsets"), name(CHANGED));
    site.api.put(&path, &daemon_set(CHANGED, "1")).map_err(|refused| refused.text)?;
    let done = [("updatedNumberScheduled", 1), ("numberReady", 1)];
    site.until_status("daemonsets", &name(CHANGED), &done)?;
    settle(site);
    let passed = on(broker, port)?.since(wire);
    let written = site.fleet().written() - disk;

    for pod in 0..PODS {
        let path = format!("{}/{}", collection("daemonsets"), name(pod));
        site.api.delete(&path).map_err(|refused| refused.text)?;
    }
    site.until_metric("lichen_pods", 0)?;
    Ok(vec![
        Figure::new(
            "one changed variable on a device with 100 Pods: bytes on its connection",
            format!("{} bytes in {} segments", passed.bytes(), passed.segments),
            "≤ 6,144 bytes",
        ),
        Figure::new(
            "one changed variable on a device with 100 Pods: bytes of assignments written to its disk",
            format!("{written} bytes"),
            "≤ 65,536 bytes",
        ),
    ])
}

fn name(pod: usize) -> String {
    format!("pod-{pod:03}")
}

/// A Pod for the device that has a disk.
fn daemon_set(pod: usize, value: &str) -> Value {
    let mut object = samples::daemon_set(&name(pod), IMAGE);
    let spec = samples::pod_spec(&mut object);
    spec["nodeSelector"] = json!({"kubernetes.io/hostname": fleet::name(WITH_A_DISK)});
    let variable = |number: usize| {
        let value = if number == 0 { value.to_owned() } else { number.to_string() };
        json!({"name": format!("VARIABLE_{number}"), "value": value})
    };
    spec["containers"][0]["env"] = (0..VARIABLES).map(variable).collect();
    object
}

/// The connection on which most has passed: that of the device with the Pods.
fn busiest(before: &BTreeMap<u16, Traffic>, after: &BTreeMap<u16, Traffic>) -> Option<u16> {
    let passed = |(port, traffic): (&u16, &Traffic)| {
        let before = before.get(port).copied().unwrap_or_default();
        (traffic.since(before).bytes(), *port)
    };
    after.iter().map(passed).max().map(|(_, port)| port)
}

fn on(broker: SocketAddr, port: u16) -> Result<Traffic, String> {
    let all = traffic_by_port(broker)?;
    all.get(&port).copied().ok_or("the device has connected anew".to_owned())
}
