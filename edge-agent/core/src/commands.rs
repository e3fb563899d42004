//! What the hub asks to be done once. Each command is answered: by the shell's replies, or by a refusal from here.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};

use firmware_compat::{
    id::PodId,
    v1::owned::{Action, Command, Outcome, Reply, Text},
};

use crate::{
    effect::{Effect, LogRequest, Up},
    out::Out,
    pod::Pod,
    spec::ContainerId,
};

/// Commands at a time: each follows a file and holds a task in the shell.
pub const CONCURRENT: usize = 8;
/// Ids of commands that are remembered, so that a duplicate is not carried out again. A hub's ids rise: of those that are
/// no greater than one that was forgotten none is carried out any more.
pub const REMEMBERED: usize = 32;

/// The hub's commands.
#[derive(Debug, Default)]
pub struct Commands {
    running: BTreeSet<u64>,
    /// The greatest that were heard in this connection.
    heard: BTreeSet<u64>,
    /// The greatest that was forgotten.
    forgotten: Option<u64>,
}

impl Commands {
    /// Carries a command out, unless its id is known.
    pub fn take(&mut self, command: Command, pods: &BTreeMap<PodId, Pod>, out: &mut Out) {
        let is_forgotten = self.forgotten.is_some_and(|forgotten| command.id <= forgotten);
        if is_forgotten || self.running.contains(&command.id) || !self.heard.insert(command.id) {
            return;
        }
        if self.heard.len() > REMEMBERED {
            self.forgotten = self.heard.pop_first();
        }
        match command.action {
            Action::Cancel { command: earlier } => {
                if self.running.contains(&earlier) {
                    out.push(Effect::CancelCommand { command: earlier });
                }
                reply(command.id, Outcome::Done, out);
            }
            Action::Logs { pod, container, follow, tail, previous, timestamps } => {
                match self.log_container(pod, &container, pods) {
                    Ok(container) => {
                        self.running.insert(command.id);
                        out.push(Effect::ReadLogs(LogRequest {
                            command: command.id,
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
                        reply(command.id, Outcome::Failed { reason, message }, out);
                    }
                }
            }
        }
    }

    /// A new connection: the commands of those before it are not let through any more.
    pub fn connected(&mut self) {
        self.heard.clear();
        self.forgotten = None;
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
