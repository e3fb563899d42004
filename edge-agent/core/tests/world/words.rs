//! Effects in words, one line each.

use firmware_compat::v1::owned::*;
use lichen_agent_core::{Effect, Up};

use super::names::{id_label, label};

pub fn effect(effect: &Effect) -> String {
    match effect {
        Effect::SaveAssignment(saved) => format!("save assignment {}", saved.id.generation),
        Effect::SaveTimeFloor { unix_ms } => format!("save time floor {unix_ms}"),
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
        Effect::Prepare { pod, attempt } => {
            format!("prepare {} attempt {attempt}", label(&pod.identity))
        }
        Effect::Start { pod, attempt } => {
            format!("start {} attempt {attempt}", label(&pod.identity))
        }
        Effect::Stop { pod, grace_ms } => {
            format!("stop {} within {grace_ms} ms", id_label(pod))
        }
        Effect::UpdateFiles { pod } => format!("update files of {}", id_label(&pod.id)),
        Effect::Clean { pod, keep_volumes: true } => {
            format!("clean {} but for its volumes", id_label(pod))
        }
        Effect::Clean { pod, keep_volumes: false } => format!("clean {}", id_label(pod)),
        Effect::ReadLogs(r) => {
            let follow = if r.follow { " following" } else { "" };
            format!(
                "read log of {}/{} for command {}{follow}",
                id_label(&r.pod),
                r.container,
                r.command
            )
        }
        Effect::CancelCommand { command } => format!("cancel command {command}"),
        Effect::Quit => "quit".into(),
    }
}

fn message(up: &Up) -> String {
    match up {
        Up::Hello(hello) => format!("hello holding {}", generation(hello.assignment)),
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
        Up::Want(want) => format!("want from byte {}", want.offset),
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
        if s.pid != 0 {
            word += &format!(" pid {}", s.pid);
        }
        if s.restarts != 0 {
            word += &format!(" restarts {}", s.restarts);
        }
        words.push(word);
    }
    words.extend(status.removed.iter().map(|id| format!("{} removed", id_label(id))));
    words.extend(status.more.then(|| "more follows".to_string()));
    words.join("; ")
}

fn generation(assignment: Option<AssignmentId>) -> String {
    assignment.map_or("nothing".into(), |id| id.generation.to_string())
}
