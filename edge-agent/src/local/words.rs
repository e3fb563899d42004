//! The agent's answers, for people.

use std::{collections::VecDeque, fmt::Write as _};

use firmware_compat::{
    time::UnixMs,
    v1::owned::{ContainerState, ContainerStatus, Phase},
};
use lichen_agent_core::{Agent, LocalPod};

/// Events that are remembered for whoever asks: enough for the last hours of a device in trouble.
pub(crate) const RECENT: usize = 100;

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) at_ms: UnixMs,
    pub(crate) reason: String,
    /// Of which Pod, as the operator calls it; empty for the device.
    pub(crate) pod: String,
    pub(crate) message: String,
}

/// What runs, and why the rest does not.
pub(crate) fn status(agent: &Agent, name: &str, is_connected: bool) -> String {
    let mut text = String::new();
    let link = if is_connected { "connected to its hub" } else { "not connected to its hub" };
    let name = if name.is_empty() { "of no hub" } else { name };
    let assignment = match agent.assignment() {
        Some(id) => format!("generation {}", id.generation),
        None => "none is in force".to_owned(),
    };
    // Writing to a text cannot fail.
    let _ = writeln!(text, "device      {name}, {link}\nassignment  {assignment}");
    for condition in agent.conditions().iter().filter(|said| said.is_true) {
        let _ = writeln!(text, "{}  {}", condition.kind.name(), condition.message);
    }
    let mut rows = vec![["POD", "STATE", "RESTARTS", "WHY"].map(str::to_owned)];
    for pod in agent.local_pods() {
        rows.extend(of_pod(&pod));
    }
    if rows.len() == 1 {
        text.push_str("no pods\n");
        return text;
    }
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let [pod, state, restarts] = [0, 1, 2].map(width);
    for row in &rows {
        let line = format!("{:pod$}  {:state$}  {:restarts$}  {}", row[0], row[1], row[2], row[3]);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn of_pod(pod: &LocalPod) -> Vec<[String; 4]> {
    let LocalPod { label, status, .. } = pod;
    let restarts: u32 =
        status.containers.iter().map(|own| own.restarts).fold(0, u32::saturating_add);
    let why = why(&status.reason, &status.message);
    let mut rows = vec![[label.clone(), phase(status.phase).to_owned(), restarts.to_string(), why]];
    let all = || status.init_containers.iter().chain(status.containers.iter());
    if all().count() > 1 {
        rows.extend(all().map(of_container));
    }
    rows
}

fn of_container(own: &ContainerStatus) -> [String; 4] {
    let (state, why) = match &own.state {
        ContainerState::Waiting { reason, message } => ("Waiting", why(reason, message)),
        ContainerState::Running { .. } => ("Running", String::new()),
        ContainerState::Terminated(exit) => {
            ("Terminated", why(&exit.reason, &format!("code {}", exit.code)))
        }
    };
    [format!("  {}", own.name), state.to_owned(), own.restarts.to_string(), why]
}

fn why(reason: &str, message: &str) -> String {
    let both = if reason.is_empty() || message.is_empty() { "" } else { ": " };
    plain(&format!("{reason}{both}{message}"))
}

/// Texts come from programs and from a hub: nothing of them steers a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Waiting => "Waiting",
        Phase::Fetching => "Fetching",
        Phase::Starting => "Starting",
        Phase::Running => "Running",
        Phase::Backoff => "Backoff",
        Phase::Stopping => "Stopping",
        Phase::Succeeded => "Succeeded",
        Phase::Failed => "Failed",
    }
}

/// What happened of late, oldest first.
pub(crate) fn events(recent: &VecDeque<Event>) -> String {
    let mut text = String::new();
    for Event { at_ms, reason, pod, message } in recent {
        let time = lichen_shim::log::rfc3339(*at_ms);
        let about = if pod.is_empty() { "device" } else { pod };
        let _ = writeln!(text, "{time}  {reason}  {}  {}", plain(about), plain(message));
    }
    text
}
