//! The status of a Pod as Kubernetes has it: phase, conditions, and the state of each container. Made of what the hub
//! knows and of what the device last said.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};

use firmware_compat::v1::owned::{self as wire, Artefacts, Exit, Phase};

use super::{Pod, Waiting};
use crate::{
    api::{
        core::pod::{self as api, ContainerState, ContainerStatus, PodStatus, Terminated},
        meta::Condition,
        time::rfc3339,
    },
    device::Device,
    resolve::Container,
};

/// A device's phase in one word of Kubernetes, where it gave no reason.
pub(crate) fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Waiting => "Waiting",
        Phase::Fetching => "Fetching",
        Phase::Starting => "ContainerCreating",
        Phase::Running => "Running",
        Phase::Backoff => "CrashLoopBackOff",
        Phase::Stopping => "Terminating",
        Phase::Succeeded => "Completed",
        Phase::Failed => "Error",
    }
}

/// The whole status. `waiting`: why it does not run, from whoever knows best.
pub(crate) fn pod_status(
    pod: &Pod,
    device: Option<&Device>,
    waiting: Option<Waiting>,
) -> PodStatus {
    let heard = device.is_some_and(Device::online);
    let (runs, is_ready) = (pod.runs(), pod.is_ready());
    let (mut reason, mut message) =
        waiting.clone().map(|w| (w.reason, w.message)).unwrap_or_default();
    if runs && !heard {
        "NodeLost".clone_into(&mut reason);
        let name = device.map_or("its device", |device| device.name.as_str());
        message = format!("{name} is not connected; this is what it last said");
    }
    let resolved = &pod.revision.resolved;
    let init_container_statuses = statuses(pod, &resolved.init_containers, true, heard);
    let container_statuses = statuses(pod, &resolved.containers, false, heard);
    PodStatus {
        phase: phase(pod).to_owned(),
        reason,
        message,
        conditions: conditions(pod, is_ready && heard, waiting.as_ref()),
        host_ip: String::new(),
        start_time: started_ms(pod).map(rfc3339),
        init_container_statuses,
        container_statuses,
    }
}

/// Kubernetes' rule: Pending until the init containers are done and a container was started; Running while one runs or
/// will again; else Succeeded, or Failed if one ended otherwise.
fn phase(pod: &Pod) -> &'static str {
    let Some(report) = &pod.report else { return "Pending" };
    match report.phase {
        Phase::Succeeded => return "Succeeded",
        Phase::Failed => return "Failed",
        _ => {}
    }
    let was_started = |status: &wire::ContainerStatus| {
        status.last_exit.is_some() || !matches!(status.state, wire::ContainerState::Waiting { .. })
    };
    if is_initialized(pod) && report.containers.iter().any(was_started) {
        "Running"
    } else {
        "Pending"
    }
}

/// Whether its init containers have succeeded, and its sidecars have come up.
fn is_initialized(pod: &Pod) -> bool {
    let said = |name: &str| {
        let of = pod.report.as_ref()?.init_containers.iter();
        of.clone().find(|status| status.name.as_str() == name)
    };
    let mut init = pod.revision.resolved.init_containers.iter();
    init.all(|spec| {
        said(&spec.name).is_some_and(|status| match spec.supervision.sidecar {
            true => status.started,
            false => status.ready,
        })
    })
}

/// When the oldest container that runs, or ended and stays so, was started.
fn started_ms(pod: &Pod) -> Option<u64> {
    let report = pod.report.as_ref()?;
    let all = report.init_containers.iter().chain(&report.containers);
    let started = all.filter_map(|status| match &status.state {
        wire::ContainerState::Running { started_ms, .. } => Some(*started_ms),
        wire::ContainerState::Terminated(exit) => Some(exit.started_ms),
        wire::ContainerState::Waiting { .. } => None,
    });
    started.filter(|started_ms| *started_ms > 0).min()
}

fn conditions(pod: &Pod, ready: bool, waiting: Option<&Waiting>) -> Vec<Condition> {
    let unready = unready(pod);
    let waiting = waiting.or(unready.as_ref());
    let condition = |kind: &str, good: bool| {
        let why = waiting.filter(|_| !good);
        Condition {
            kind: kind.to_owned(),
            status: if good { "True" } else { "False" }.to_owned(),
            reason: why.map(|w| w.reason.clone()).unwrap_or_default(),
            message: why.map(|w| w.message.clone()).unwrap_or_default(),
            last_transition_time: None,
        }
    };
    Vec::from([
        condition("PodScheduled", pod.device.is_some()),
        condition("Initialized", is_initialized(pod)),
        condition("ContainersReady", ready),
        condition("Ready", ready),
    ])
}

/// Why a Pod that runs is not ready, in Kubernetes' words.
pub(crate) fn unready(pod: &Pod) -> Option<Waiting> {
    let report = pod.report.as_ref().filter(|report| report.phase == Phase::Running)?;
    let names: Vec<&str> = pod.unready(report).collect();
    let message = format!("containers with unready status: [{}]", names.join(" "));
    (!names.is_empty()).then(|| Waiting::new("ContainersNotReady", message))
}

fn statuses(pod: &Pod, specs: &[Container], init: bool, heard: bool) -> Vec<ContainerStatus> {
    let reported = |name: &str| {
        let report = pod.report.as_ref()?;
        let list = if init { &report.init_containers[..] } else { &report.containers[..] };
        list.iter().find(|status| status.name.as_str() == name)
    };
    specs.iter().map(|spec| status(pod, spec, reported(&spec.name), init, heard)).collect()
}

fn status(
    pod: &Pod,
    spec: &Container,
    reported: Option<&wire::ContainerStatus>,
    init: bool,
    heard: bool,
) -> ContainerStatus {
    let ready = reported.is_some_and(|reported| reported.ready);
    ContainerStatus {
        name: spec.name.clone(),
        // What an init container has done stays done, whether its device is heard or not.
        ready: ready && (heard || init && !spec.supervision.sidecar),
        restart_count: reported.map_or(0, |reported| reported.restarts),
        image: spec.image.clone(),
        image_id: image_id(pod, &spec.image),
        state: state(pod, reported),
        last_state: ContainerState {
            terminated: reported.and_then(|reported| reported.last_exit.as_ref()).map(terminated),
            ..ContainerState::default()
        },
        started: reported.is_some_and(|reported| reported.started),
    }
}

fn image_id(pod: &Pod, image: &str) -> String {
    let digest = pod.revision.roots.get(image).copied().flatten();
    let supplied = pod.supply.as_ref().and_then(|(_, supplied)| supplied.get(image));
    match (supplied, digest) {
        (_, Some(digest)) => format!("sha256:{digest}"),
        (Some(Artefacts::Wasm { module, .. }), None) => format!("sha256:{module}"),
        _ => String::new(),
    }
}

fn state(pod: &Pod, reported: Option<&wire::ContainerStatus>) -> ContainerState {
    match reported.map(|reported| &reported.state) {
        Some(wire::ContainerState::Running { started_ms, .. }) => ContainerState {
            running: Some(api::Running { started_at: Some(rfc3339(*started_ms)) }),
            ..ContainerState::default()
        },
        Some(wire::ContainerState::Terminated(exit)) => {
            ContainerState { terminated: Some(terminated(exit)), ..ContainerState::default() }
        }
        Some(wire::ContainerState::Waiting { reason, message }) => {
            ContainerState { waiting: Some(waits(pod, reason, message)), ..Default::default() }
        }
        None => ContainerState { waiting: Some(waits(pod, "", "")), ..ContainerState::default() },
    }
}

/// Why a container does not run. Its device leaves out what its Pod's message says.
fn waits(pod: &Pod, reason: &str, message: &str) -> api::Waiting {
    if let Some(waiting) = &pod.waiting {
        return api::Waiting { reason: waiting.reason.clone(), message: waiting.message.clone() };
    }
    let Some(report) = &pod.report else {
        return api::Waiting { reason: "Assigned".to_owned(), message: String::new() };
    };
    let first = |texts: [&str; 3]| {
        texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default().to_owned()
    };
    let reason_of_pod = report.reason.as_str();
    let message_of_pod = if reason == reason_of_pod { report.message.as_str() } else { "" };
    api::Waiting {
        reason: first([reason, reason_of_pod, phase_word(report.phase)]),
        message: first([message, message_of_pod, ""]),
    }
}

fn terminated(exit: &Exit) -> Terminated {
    Terminated {
        exit_code: exit.code,
        reason: exit.reason.to_string(),
        message: exit.message.to_string(),
        started_at: (exit.started_ms > 0).then(|| rfc3339(exit.started_ms)),
        finished_at: Some(rfc3339(exit.at_ms)),
    }
}

/// How a container last ended.
pub(crate) struct LastExit<'a> {
    /// Its name as the beginning of a sentence; empty if the Pod has no other container.
    pub name: String,
    /// How it ended.
    pub exit: &'a Exit,
    /// Whether that is as it should be: with code 0, of one that is not to run for ever.
    pub is_good: bool,
}

/// How each container last ended.
pub(crate) fn last_exits(pod: &Pod) -> Vec<LastExit<'_>> {
    let Some(report) = &pod.report else { return Vec::new() };
    let has_several = report.init_containers.len() + report.containers.len() > 1;
    let of = |status: &'_ wire::ContainerStatus| match has_several {
        true => format!("container {} ", status.name),
        false => String::new(),
    };
    let init = report.init_containers.iter().map(|status| (status, true));
    init.chain(report.containers.iter().map(|status| (status, false)))
        .filter_map(|(status, is_init)| {
            let (exit, is_over) = match &status.state {
                wire::ContainerState::Terminated(exit) => (exit, true),
                _ => (status.last_exit.as_ref()?, is_init),
            };
            Some(LastExit { name: of(status), exit, is_good: is_over && exit.code == 0 })
        })
        .collect()
}
