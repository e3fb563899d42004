//! Effects in words, one line each.

use firmware_compat::{id::KeyId, v1::owned::*};
use lichen_agent_core::{ContainerId, Effect, Up};

use super::names::{container_label, container_name, id_label, label};

pub fn effect(effect: &Effect) -> String {
    match effect {
        Effect::SaveAssignment(saved) => format!("save assignment {}", saved.id.generation),
        Effect::RaiseTime { unix_ms, save } => {
            let save = if *save { ", saved" } else { "" };
            format!("known time {}{save}", time(*unix_ms))
        }
        Effect::PinHub(hub) => format!("pin hub of keys {}", keys(hub.keys.ids())),
        Effect::Note(event) => format!("note {}", event.reason),
        Effect::Connect => "connect".into(),
        Effect::Disconnect => "disconnect".into(),
        Effect::Send(up) => format!("send {}", message(up)),
        Effect::Fetch(blob) => format!("fetch {}", label(&blob.digest)),
        Effect::CancelFetch { digest } => format!("cancel fetch {}", label(digest)),
        Effect::Retain(keep) => {
            let mut names: Vec<String> = keep.iter().map(label).collect();
            names.sort();
            format!("retain {}", names.join(" "))
        }
        Effect::PrepareSandbox { pod } => format!("prepare sandbox of {}", label(&pod.identity)),
        Effect::Prepare { pod, container, attempt } => {
            format!("prepare {} attempt {attempt}", with_version(pod, *container))
        }
        Effect::Start { pod, container, attempt } => {
            format!("start {} attempt {attempt}", with_version(pod, *container))
        }
        Effect::Stop { pod, container, grace_ms } => {
            format!("stop {} within {grace_ms} ms", container_label(pod, *container))
        }
        Effect::Probe { pod, container, purpose, .. } => {
            format!("ask {}: {purpose:?}", container_label(&pod.id, *container))
        }
        Effect::RunHook { pod, container, moment, timeout_ms, .. } => {
            let within = timeout_ms.map(|ms| format!(" within {ms} ms")).unwrap_or_default();
            format!("run hook {moment:?} of {}{within}", container_label(&pod.id, *container))
        }
        Effect::KeepHealth { pod, container, health, .. } => {
            let is = |is, word: &str| if is { format!(" {word}") } else { String::new() };
            format!(
                "keep of {}:{}{}{}",
                container_label(pod, *container),
                is(health.hooked, "hooked"),
                is(health.started, "started"),
                is(health.ready, "ready")
            )
        }
        Effect::KeepFailure { pod, failure } => {
            format!("keep that {} has failed: {}", id_label(pod), failure.reason)
        }
        Effect::UpdateFiles { pod } => format!("update files of {}", id_label(&pod.id)),
        Effect::CleanContainer { pod, container } => {
            format!("clean {}", container_label(pod, *container))
        }
        Effect::RemoveSandbox { pod, keep_volumes: true } => {
            format!("remove sandbox of {} but for its volumes", id_label(pod))
        }
        Effect::RemoveSandbox { pod, keep_volumes: false } => {
            format!("remove sandbox of {}", id_label(pod))
        }
        Effect::RemoveClaims(claims) => {
            let names: Vec<String> =
                claims.iter().map(|claim| claim.to_string()[..8].into()).collect();
            format!("remove the data of claims {}", names.join(" "))
        }
        Effect::ReadLogs(r) => {
            let follow = if r.follow { " following" } else { "" };
            format!(
                "read log of {}/{} for command {}{follow}",
                id_label(&r.pod),
                container_name(&r.pod, r.container),
                r.command
            )
        }
        Effect::CancelCommand { command } => format!("cancel command {command}"),
        Effect::Quit => "quit".into(),
    }
}

/// `web=1`, or `web=1/side` of several.
fn with_version(pod: &Pod, container: ContainerId) -> String {
    let label = container_label(&pod.id, container);
    let name = label.split_once('/').map(|(_, name)| format!("/{name}")).unwrap_or_default();
    format!("{}{name}", self::label(&pod.identity))
}

fn message(up: &Up) -> String {
    match up {
        Up::Hello(hello) => {
            let holding = generation(hello.assignment);
            match &hello.keys[..] {
                [KeyId([1, ..])] => format!("hello holding {holding}"),
                other => {
                    format!("hello holding {holding}, of keys {}", keys(other.iter().copied()))
                }
            }
        }
        Up::Status(status) => self::status(status),
        Up::Event(event) => {
            let about = event.pod.as_ref().map_or("device".into(), id_label);
            format!("event {:?} {about} {}: {}", event.severity, event.reason, event.message)
        }
        Up::Reply(reply) => match &reply.outcome {
            Outcome::Data(bytes) => format!("reply to {}: {} bytes", reply.command, bytes.len()),
            Outcome::Done => format!("reply to {}: done", reply.command),
            Outcome::Failed { reason, message } => {
                format!("reply to {}: {reason}: {message}", reply.command)
            }
        },
        Up::Want(want) if want.also.is_empty() => format!("want from byte {}", want.offset),
        Up::Want(want) => format!("want from byte {}, and {} more", want.offset, want.also.len()),
    }
}

fn status(status: &Status) -> String {
    let mut words = vec![format!("status of {}", generation(status.assignment))];
    words.extend(status.full.then(|| "full".to_string()));
    for s in &status.pods {
        let mut word = format!("{} {:?}", id_label(&s.id), s.phase);
        if !s.reason.is_empty() {
            word += &format!(" {} ({})", s.reason, s.message);
        }
        let all: Vec<_> = s.init_containers.iter().chain(s.containers.iter()).collect();
        word += &match &all[..] {
            [] => String::new(),
            [only] => {
                // All but a few that run are ready.
                let runs = matches!(only.state, ContainerState::Running { .. });
                let is_not_ready = runs && !only.ready && s.phase == Phase::Running;
                format!("{}{}", if is_not_ready { " not ready" } else { "" }, of_container(only))
            }
            several => {
                let each = |c: &&ContainerStatus| {
                    let ready = if c.ready { " ready" } else { "" };
                    format!("{}{}{ready}{}", c.name, state(&c.state), of_container(c))
                };
                format!(" [{}]", several.iter().map(each).collect::<Vec<_>>().join(", "))
            }
        };
        words.push(word);
    }
    words.extend(status.removed.iter().map(|id| format!("{} removed", id_label(id))));
    words.extend(status.more.then(|| "more follows".to_string()));
    words.join("; ")
}

/// Process id and restarts.
fn of_container(status: &ContainerStatus) -> String {
    let mut word = String::new();
    if let ContainerState::Running { pid, .. } = status.state {
        word += &format!(" pid {pid}");
    }
    if status.restarts != 0 {
        word += &format!(" restarts {}", status.restarts);
    }
    word
}

fn state(state: &ContainerState) -> String {
    match state {
        ContainerState::Waiting { reason, .. } => format!(" waits: {reason}"),
        ContainerState::Running { .. } => " runs".into(),
        ContainerState::Terminated(exit) => format!(" ended with {}", exit.code),
    }
}

/// Of tests: one byte, again and again.
fn keys(ids: impl Iterator<Item = KeyId>) -> String {
    let words: Vec<String> = ids.map(|id| id.0[0].to_string()).collect();
    if words.is_empty() { "none".into() } else { words.join(" ") }
}

/// Since the beginning of the tests.
fn time(unix_ms: u64) -> String {
    let ms = unix_ms - super::EPOCH_MS;
    format!("{}h {}ms", ms / 3_600_000, ms % 3_600_000)
}

fn generation(assignment: Option<AssignmentId>) -> String {
    assignment.map_or("nothing".into(), |id| id.generation.to_string())
}
