//! What can happen in a random history.

use firmware_compat::id::PodId;
use firmware_compat::v1::owned::*;
use lichen_agent_core::{ContainerId, Effect, Event};
use proptest::prelude::*;

use super::Chaos;
use crate::world::{
    chunks, exit,
    hub::{LINEAGE, UP, say},
    names::*,
    runtime,
};

#[derive(Clone, Debug)]
pub enum Op {
    /// The shell answers one piece of work, well or badly.
    Answer(u8, bool),
    Wait(u64),
    /// The hub wants this from now on: per name a version, or none; and whether it says so at once.
    Assign([u8; 5], bool),
    /// The newest head, or one so much older, arrives (again).
    Head(u8),
    /// Chunks of the newest body arrive in this order.
    Chunks(Vec<u8>),
    Link(bool),
    Serves(bool),
    /// A process ends by itself.
    Exit(u8, u8),
    KillAgent(u8),
    PowerOff(u8),
    Crun(bool),
    TakenOver,
    NameFree,
    Report(u32),
    Logs(u8),
    SendFails,
}

pub fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (any::<u8>(), proptest::bool::weighted(0.8)).prop_map(|(pick, works)| Op::Answer(pick, works)),
        4 => prop_oneof![0..2_000u64, 0..700_000u64].prop_map(Op::Wait),
        3 => (any::<[u8; 5]>(), any::<bool>()).prop_map(|(versions, says)| Op::Assign(versions, says)),
        2 => (0..3u8).prop_map(Op::Head),
        2 => proptest::collection::vec(0..5u8, 1..8).prop_map(Op::Chunks),
        2 => any::<bool>().prop_map(Op::Link),
        1 => any::<bool>().prop_map(Op::Serves),
        2 => (any::<u8>(), 0..2u8).prop_map(|(pick, code)| Op::Exit(pick, code)),
        1 => any::<u8>().prop_map(Op::KillAgent),
        1 => any::<u8>().prop_map(Op::PowerOff),
        1 => any::<bool>().prop_map(Op::Crun),
        1 => Just(Op::TakenOver),
        1 => Just(Op::NameFree),
        1 => (0..5_000u32).prop_map(Op::Report),
        1 => any::<u8>().prop_map(Op::Logs),
        1 => Just(Op::SendFails),
    ]
}

impl Chaos {
    pub fn carry_out(&mut self, op: Op) {
        match op {
            Op::Answer(pick, works) => self.answer(pick, works),
            Op::Wait(millis) => self.wait(millis),
            Op::Assign(versions, says) => {
                self.generation += 1;
                self.wanted =
                    ["a", "b", "c", "d", "e"].iter().zip(versions).filter_map(wanted).collect();
                let gone: Vec<_> = ["a", "b", "c", "d", "e"]
                    .into_iter()
                    .map(id_of)
                    .filter(|id| self.wanted.iter().all(|wanted| wanted.id != *id))
                    .collect();
                // Some take the place of those that are not assigned.
                for (pod, _) in
                    self.wanted.iter_mut().zip(versions).filter(|(_, version)| version % 3 == 0)
                {
                    pod.after = gone.clone().try_into().expect("few");
                }
                let (head, chunks) = self.world.assign(self.generation, self.wanted.clone());
                if says {
                    self.feed(say(&head));
                    chunks.into_iter().for_each(|chunk| self.feed(say(&chunk)));
                }
            }
            Op::Head(older) => {
                let generation = self.generation.saturating_sub(older.into());
                if let Some((head, _)) = self.world.hub.get(&generation).cloned() {
                    self.feed(say(&head));
                }
            }
            Op::Chunks(order) => {
                let Some((head, body)) = self.world.hub.get(&self.generation).cloned() else {
                    return;
                };
                let all: Vec<Part> = chunks(&head, &body).collect();
                for number in order {
                    if let Some(chunk) = all.get(usize::from(number)) {
                        self.feed(say(chunk));
                    }
                }
            }
            Op::Link(true) => self.feed(UP),
            Op::Link(false) => self.feed(Event::LinkDown),
            Op::Serves(serves) => self.world.hub_serves = serves,
            Op::Exit(pick, code) => self.exit(pick, code),
            Op::KillAgent(dice) => self.kill_agent(dice),
            Op::PowerOff(dice) => {
                self.world.lose_power();
                self.kill_agent(dice | 1);
            }
            Op::Crun(usable) => {
                let runtimes = vec![runtime(RuntimeClass::Container, "crun", usable)];
                self.feed(Event::Runtimes { runtimes, wasm: None });
            }
            Op::TakenOver => self.feed(Event::TakenOver),
            Op::NameFree => self.feed(Event::NameFree),
            Op::Report(spread_ms) => {
                let report = self.world.report(spread_ms);
                self.feed(report);
            }
            Op::Logs(id) => {
                let action = Action::Logs {
                    pod: id_of("a"),
                    container: Text::default(),
                    follow: true,
                    tail: None,
                    previous: false,
                    timestamps: false,
                };
                self.feed(say(&Command { lineage: LINEAGE, id: id.into(), action }));
            }
            Op::SendFails => {
                let lost = Status {
                    assignment: None,
                    full: false,
                    more: false,
                    pods: List::default(),
                    removed: List::default(),
                };
                self.feed(Event::SendFailed(lichen_agent_core::Up::Status(lost)));
            }
        }
        self.hub_answers();
    }

    fn exit(&mut self, pick: u8, code: u8) {
        let runs = self.world.runs.iter();
        let all = runs.flat_map(|(pod, run)| run.containers.iter().map(move |of| (*pod, of)));
        let running: Vec<_> = all
            .filter(|(_, (_, process))| process.is_running())
            .map(|(pod, (id, _))| (pod, *id))
            .collect();
        if let Some((pod, id)) = running.get(usize::from(pick) % running.len().max(1)) {
            self.end(*pod, *id, code.into());
        }
    }

    /// A process ends by itself.
    pub(super) fn end(&mut self, pod: PodId, id: ContainerId, code: i32) {
        let event = self.world.end(pod, id, exit(code, ""));
        let before = self.pending.len();
        self.pending.retain(|work| {
            !matches!(work, Effect::Stop { pod: other, container, .. } if *other == pod && *container == id)
        });
        self.watch.ended(pod, id, self.pending.len() < before);
        self.feed(event);
    }
}

/// One of three versions, with or without files, of one of three policies; or not at all.
fn wanted((name, choice): (&&str, u8)) -> Option<Pod> {
    let version = choice % 4;
    let restart = ["always", "always", "onfailure", "never"][usize::from(choice / 4 % 4)];
    let files = choice / 16 % 3;
    // The policy is part of the identity, as the hub makes it.
    let words =
        format!("{name}={version}-{restart} image={version} restart={restart} files={files}");
    let others = [
        "",
        " init=first:i",
        " beside=log:l",
        " init=first:i init=second:j beside=log:l",
        " startup=2:3 live=5:2 ready=5:1 hook=poststart hook=prestop",
        " sidecar=startup:s:l init=first:i ready=30:1",
    ];
    let others = others[usize::from(choice / 48)];
    // So are the lists of containers.
    let words = words.replacen(&format!("-{restart}"), &format!("-{restart}-{}", choice / 48), 1);
    (version > 0).then(|| pod(&(words + others)))
}
