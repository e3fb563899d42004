//! Commands to devices and their answers; logs for now.

use alloc::{borrow::ToOwned, collections::BTreeMap, format, string::String, vec::Vec};

use firmware_compat::{
    capacity::full as capacity,
    v1::owned::{Action, Outcome, Reply, Text},
};

use crate::{
    api::{ApiError, Key, Kind},
    effect::{Effect, LogPart, Response},
    engine::Engine,
    event::RequestId,
    pod::Pod,
};

/// Logs that are read at once, over all devices.
const MOST: usize = 256;

/// Logs that are being read.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    reading: BTreeMap<u64, Reading>,
}

#[derive(Debug)]
struct Reading {
    request: RequestId,
    device: String,
    next_part: u32,
}

/// What to read of which log.
pub(crate) struct Wanted {
    pub container: Option<String>,
    pub follow: bool,
    pub tail: Option<u32>,
    pub previous: bool,
    pub timestamps: bool,
}

/// The container whose log is meant: the one that was named, or the only one.
fn container(pod: &Pod, named: Option<&str>) -> Result<Text<{ capacity::NAMESPACE }>, ApiError> {
    let resolved = &pod.revision.resolved;
    let main = || resolved.containers.iter().map(|container| container.name.as_str());
    let init = resolved.init_containers.iter().map(|container| container.name.as_str());
    let all: Vec<&str> = init.chain(main()).collect();
    match (named, main().nth(1)) {
        (Some(name), _) if all.contains(&name) => Ok(Text::cut(name)),
        (Some(name), _) => Err(ApiError::BadRequest(format!(
            "container {name} is not in pod {}; it has {}",
            pod.name,
            all.join(", ")
        ))),
        (None, None) => Ok(Text::cut(main().next().unwrap_or_default())),
        (None, Some(_)) => Err(ApiError::BadRequest(format!(
            "a container must be named, as pod {} has several: {}",
            pod.name,
            all.join(", ")
        ))),
    }
}

impl Engine {
    pub(crate) fn start_logs(
        &mut self,
        request: RequestId,
        namespace: &str,
        name: &str,
        wanted: &Wanted,
    ) -> Result<Response, ApiError> {
        let key = Key::new(Kind::Pod, namespace, name);
        let pod = self.state.pods.named(&key).ok_or_else(|| ApiError::NotFound(key.clone()))?;
        let Some(device) = pod.device.as_ref().and_then(|name| self.state.fleet.get(name)) else {
            let why = pod.waiting.as_ref().map_or("", |waiting| waiting.message.as_str());
            return Err(ApiError::Unavailable(format!("{key} is on no device yet: {why}")));
        };
        if !device.online() {
            return Err(ApiError::Unavailable(format!(
                "{key} is on {}, which is not connected; its log is kept there and can be read when it is back",
                device.name
            )));
        }
        let container = container(pod, wanted.container.as_deref())?;
        if self.sessions.logs.reading.len() >= MOST {
            return Err(ApiError::Full(format!("{MOST} logs are being read already; close one")));
        }
        let (device, pod) = (device.name.clone(), pod.id);
        let action = Action::Logs {
            pod,
            container,
            follow: wanted.follow,
            tail: wanted.tail,
            previous: wanted.previous,
            timestamps: wanted.timestamps,
        };
        let session = self.connection(&device).unwrap_or_default();
        let command = self.command(session, &device, action);
        self.sessions.logs.reading.insert(command, Reading { request, device, next_part: 0 });
        Ok(Response::LogStarted)
    }

    pub(crate) fn cancel_logs(&mut self, request: RequestId) {
        let command = self
            .sessions
            .logs
            .reading
            .iter()
            .find(|(_, reading)| reading.request == request)
            .map(|(command, reading)| (*command, reading.device.clone()));
        let Some((command, device)) = command else { return };
        self.sessions.logs.reading.remove(&command);
        if let Some(session) = self.connection(&device) {
            self.command(session, &device, Action::Cancel { command });
        }
    }

    pub(crate) fn on_log_reply(&mut self, device: &str, reply: Reply) {
        let Some(reading) = self
            .sessions
            .logs
            .reading
            .get_mut(&reply.command)
            .filter(|reading| reading.device == device)
        else {
            return;
        };
        let request = reading.request;
        if reply.part < reading.next_part {
            return;
        }
        let part = if reply.part > reading.next_part {
            LogPart::Failed {
                reason: "PartsLost".to_owned(),
                message: format!("parts of the log from {device} were lost; read it again"),
            }
        } else {
            reading.next_part += 1;
            match reply.outcome {
                Outcome::Data(bytes) => LogPart::Data(bytes.to_vec()),
                Outcome::Done => LogPart::End,
                Outcome::Failed { reason, message } => LogPart::Failed {
                    reason: reason.as_str().to_owned(),
                    message: message.as_str().to_owned(),
                },
            }
        };
        if !matches!(part, LogPart::Data(_)) {
            self.sessions.logs.reading.remove(&reply.command);
        }
        self.effects.push(Effect::LogPart { id: request, part });
    }

    /// Ends the logs that a device can't go on with.
    pub(crate) fn end_logs_of(&mut self, device: &str, why: &str) {
        let ended: Vec<u64> = self
            .sessions
            .logs
            .reading
            .iter()
            .filter(|(_, reading)| reading.device == device)
            .map(|(command, _)| *command)
            .collect();
        for command in ended {
            if let Some(reading) = self.sessions.logs.reading.remove(&command) {
                let part = LogPart::Failed {
                    reason: "DeviceAway".to_owned(),
                    message: format!("{device}: {why}"),
                };
                self.effects.push(Effect::LogPart { id: reading.request, part });
            }
        }
    }
}
