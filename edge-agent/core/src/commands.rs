//! Logs that the hub asks for. Each command is answered: by the shell's replies, or by a refusal from here. That it is heard
//! once is the guard's business.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};

use firmware_compat::{
    capacity::full as capacity,
    id::PodId,
    v1::owned::{Outcome, Reply, Text},
};

use crate::{
    effect::{Effect, LogRequest, Up},
    out::Out,
    pod::Pod,
    spec::ContainerId,
};

/// Commands at a time: each follows a file and holds a task in the shell.
pub const CONCURRENT: usize = 8;
/// The hub's commands that go on for a while.
#[derive(Debug, Default)]
pub struct Commands {
    running: BTreeSet<u64>,
}

/// Which log to send, and how.
#[derive(Clone, Debug)]
pub struct Logs {
    pub pod: PodId,
    pub container: Text<{ capacity::NAMESPACE }>,
    pub follow: bool,
    pub tail: Option<u32>,
    pub previous: bool,
    pub timestamps: bool,
}

impl Commands {
    /// Ends an earlier command, if it goes on.
    pub fn cancel(&mut self, id: u64, earlier: u64, out: &mut Out) {
        if self.running.contains(&earlier) {
            out.push(Effect::CancelCommand { command: earlier });
        }
        reply(id, Outcome::Done, out);
    }

    /// Sends a log.
    pub fn logs(&mut self, id: u64, wanted: Logs, pods: &BTreeMap<PodId, Pod>, out: &mut Out) {
        let Logs { pod, container, follow, tail, previous, timestamps } = wanted;
        match self.log_container(pod, &container, pods) {
            Ok(container) => {
                self.running.insert(id);
                out.push(Effect::ReadLogs(LogRequest {
                    command: id,
                    pod,
                    container,
                    follow,
                    tail,
                    previous,
                    timestamps,
                }));
            }
            Err((reason, message)) => {
                let (reason, message) = (Text::cut(reason), Text::cut(&message));
                reply(id, Outcome::Failed { reason, message }, out);
            }
        }
    }

    /// Its last reply was sent.
    pub fn ended(&mut self, command: u64) {
        self.running.remove(&command);
    }

    /// Nobody listens any more.
    pub fn link_down(&mut self, out: &mut Out) {
        for command in &self.running {
            out.push(Effect::CancelCommand { command: *command });
        }
    }

    /// Which container's log is meant, or why there is none.
    fn log_container(
        &self,
        pod: PodId,
        container: &str,
        pods: &BTreeMap<PodId, Pod>,
    ) -> Result<ContainerId, (&'static str, String)> {
        if self.running.len() >= CONCURRENT {
            let message =
                format!("{CONCURRENT} commands are running on this device; end one first");
            return Err(("TooManyCommands", message));
        }
        let Some(of_pod) = pods.get(&pod) else {
            return Err(("NotFound", format!("pod {pod} is not on this device")));
        };
        let is_meant = |(id, name, _): &(ContainerId, &str, bool)| match container {
            "" => !id.is_init(),
            _ => *name == container,
        };
        let meant: Vec<_> = of_pod.containers().filter(is_meant).collect();
        match meant[..] {
            [(id, _, true)] => Ok(id),
            [(_, name, false)] if !name.is_empty() && of_pod.containers().nth(1).is_some() => Err(
                ("NotStarted", format!("container {name} of pod {pod} has not been started yet")),
            ),
            [_] => Err(("NotStarted", format!("pod {pod} has not been started yet"))),
            [] if container.is_empty() => {
                Err(("NotStarted", format!("pod {pod} has not been started yet")))
            }
            [] => Err(("NotFound", format!("pod {pod} has no container {container}"))),
            [..] => {
                let names: Vec<&str> = meant.iter().map(|(_, name, _)| *name).collect();
                Err(("ContainerRequired", format!("name one of: {}", names.join(", "))))
            }
        }
    }
}

fn reply(command: u64, outcome: Outcome, out: &mut Out) {
    out.push(Effect::Send(Up::Reply(Reply { command, part: 0, outcome })));
}
