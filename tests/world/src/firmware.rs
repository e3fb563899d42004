//! A microcontroller on the wire: the fixed forms of the messages, one assignment in its flash, no agent core.

use firmware_compat::{
    frame::{self, Frame, Kind},
    guard::{Guard, Refusal},
    id::{AgentId, BootId, Hash},
    keys::PinnedHub,
    session::{Name, Session, Step},
    topic::ALL,
    v1::fixed::{
        Action, Assignment, AssignmentId, Command, Event, Hello, List, Part, Report, Runtime,
        RuntimeClass, Severity, Status, Text, Time, Want,
    },
};
use sha2::{Digest, Sha256};

use crate::{World, trust};

/// Largest body that it takes: one chunk.
const BODY_BYTES: u32 = 480;

/// A microcontroller's state. What it holds is in flash.
#[derive(Clone, Debug)]
pub struct Firmware {
    agent: AgentId,
    pub session: Session,
    newest: Option<Name>,
    /// The body that is coming.
    body: Vec<u8>,
    /// Frames that it did not heed.
    pub refused: u32,
}

/// What a frame leads to.
enum Heard {
    Step(Step),
    /// Say hello, and report.
    Report,
}

impl Firmware {
    pub fn new(agent: AgentId) -> Self {
        let body = vec![0; BODY_BYTES as usize];
        let session = Session::new(Guard::new(trust::verify, None, 0), None);
        Self { agent, session, newest: None, body, refused: 0 }
    }

    /// What it holds, whom it believes and what time it has heard are in its flash.
    pub fn after_power_cut(self) -> Self {
        let guard = self.session.guard();
        let guard = Guard::new(trust::verify, guard.hub(), guard.known_ms());
        Self { session: Session::new(guard, self.session.held()), newest: None, ..self }
    }

    pub fn pin(&mut self, hub: PinnedHub) {
        self.session.pin(hub);
    }

    fn hello(&self) -> Hello {
        let runtime = Runtime {
            runtime_class: RuntimeClass::Firmware,
            name: text("slot"),
            version: text("1"),
            usable: true,
            limits_enforced: true,
            reason: Text::default(),
        };
        let mut runtimes = List::default();
        let _fits = runtimes.push(runtime);
        Hello {
            agent: self.agent,
            boot: BootId([1; 16]),
            version: text("0.1.0"),
            arch: text("thumbv7em"),
            os: text("embassy"),
            kernel: Text::default(),
            cpu_features: List::default(),
            cpu_milli: 1000,
            memory_bytes: 64 << 10,
            disk_bytes: 512 << 10,
            storage: Default::default(),
            runtimes,
            wasm: None,
            labels: List::default(),
            assignment: self.session.held().map(AssignmentId::from),
            clock_ms: 0,
            max_assignment_bytes: BODY_BYTES,
            conditions: Default::default(),
            keys: {
                let hub = self.session.guard().hub();
                let mut keys = List::default();
                for id in hub.iter().flat_map(|hub| hub.keys.ids()) {
                    let _fits = keys.push(id);
                }
                keys
            },
        }
    }

    fn status(&self) -> Status {
        Status {
            assignment: self.session.held().map(AssignmentId::from),
            full: true,
            more: false,
            pods: List::default(),
            removed: List::default(),
        }
    }

    /// What it makes of what the broker delivers.
    fn hear(&mut self, name: &str, to_all: bool, bytes: &[u8]) -> Result<Heard, Refusal> {
        let frame = Frame::parse(bytes)?;
        let to = if to_all { ALL } else { name };
        Ok(Heard::Step(match frame.kind {
            Kind::Head => self.head(&frame, name)?,
            Kind::Part => self.part(&frame.message()?),
            Kind::Report => {
                let _: Report = self.session.open(&frame, to)?;
                return Ok(Heard::Report);
            }
            Kind::Time => {
                let _: Time = self.session.open(&frame, to)?;
                Step::Rest
            }
            Kind::Command => {
                let command: Command = self.session.open(&frame, to)?;
                match command.action {
                    Action::Report => return Ok(Heard::Report),
                    Action::Keys { keys } => {
                        let keys = firmware_compat::keys::SigningKeys::new(&keys);
                        if let Some(keys) = keys {
                            self.pin(PinnedHub { lineage: command.lineage, keys });
                        }
                        return Ok(Heard::Report);
                    }
                    Action::Logs { .. } | Action::Cancel { .. } | Action::Grace { .. } => {
                        Step::Rest
                    }
                }
            }
            _ => Step::Rest,
        }))
    }

    fn head(&mut self, frame: &Frame<'_>, name: &str) -> Result<Step, Refusal> {
        let step = self.session.head(frame, name, self.body.len())?;
        self.newest = self.session.coming().or(self.newest);
        Ok(step)
    }

    fn part(&mut self, part: &Part) -> Step {
        let digest = |bytes: &[u8]| Hash(Sha256::digest(bytes).into());
        let step = self.session.chunk(part.hash, part.offset, &part.bytes, &mut self.body, digest);
        if !matches!(step, Step::Body(_)) {
            return step;
        }
        // Only what assigns nothing can be held: there is no firmware to run yet. The body of that is one byte.
        let assigns = frame::decode_body::<Assignment>(&part.bytes);
        if assigns.is_ok_and(|assignment| assignment.pods.is_empty()) {
            self.session.kept();
            return Step::Report;
        }
        self.session.refuse();
        Step::Rest
    }

    /// What it still lacks.
    pub fn lacks(&self, label: &str) -> Option<String> {
        (self.newest.is_some() && self.newest != self.session.held())
            .then(|| format!("{label} does not hold the newest assignment"))
    }
}

/// As a board says it, in fewer words.
fn refusal(name: Name, length: u32, room: usize) -> Event {
    let message =
        format!("generation {} is refused: {length} bytes, it takes 1 to {room}", name.generation);
    Event {
        pod: None,
        severity: Severity::Warning,
        reason: text("AssignmentRefused"),
        message: text(&message),
        at_ms: 0,
    }
}

fn text<const N: usize>(text: &str) -> Text<N> {
    Text::try_from(text).unwrap_or_default()
}

impl World {
    pub(crate) fn start_firmware(&mut self, board: usize) {
        self.boards[board].life += 1;
        self.firmware_wants_link(board);
    }

    pub(crate) fn firmware_connected(&mut self, board: usize) {
        let Some(firmware) = self.boards[board].firmware.clone() else { return };
        self.firmware_sends(board, &firmware.hello());
        self.firmware_sends(board, &firmware.status());
    }

    fn firmware_sends<M: frame::Message>(&mut self, board: usize, message: &M) {
        let Some(firmware) = &mut self.boards[board].firmware else { return };
        let stamp = firmware.session.next_stamp();
        match frame::encode(message, stamp) {
            Ok(bytes) => self.send_raw(board, M::KIND, bytes),
            Err(error) => self.fail("bounds-hold", &error.to_string()),
        }
    }

    pub(crate) fn firmware_hears(&mut self, board: usize, to_all: bool, bytes: &[u8]) {
        let Some(mut firmware) = self.boards[board].firmware.clone() else { return };
        let before = (firmware.session.held(), firmware.session.guard().known_ms());
        let heard = firmware.hear(&self.boards[board].name, to_all, bytes);
        firmware.refused += u32::from(heard.is_err());
        let status = firmware.status();
        let (held, known_ms) = (firmware.session.held(), firmware.session.guard().known_ms());
        self.boards[board].firmware = Some(firmware);
        if held != before.0
            && let Some(held) = held
        {
            self.judge_source(board, held.into());
        }
        if known_ms != before.1 {
            self.judge_time(board, known_ms);
        }
        let step = match heard {
            Ok(Heard::Step(step)) => step,
            Ok(Heard::Report) => return self.firmware_connected(board),
            Err(_) => return,
        };
        match step {
            Step::Want { hash, offset } => {
                self.firmware_sends(board, &Want { hash, offset, also: List::default() });
            }
            Step::Report => self.firmware_sends(board, &status),
            Step::Refuse { name, length, room } => {
                self.firmware_sends(board, &refusal(name, length, room));
            }
            Step::Rest | Step::Body(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use firmware_compat::{
        frame::Stamp,
        id::{Generation, Lineage},
        signed,
        v1::fixed::Head,
    };
    use lichen_hub_core::signing::Sign;

    use super::*;

    #[test]
    fn a_body_that_has_no_room_is_told_of_with_the_bound_and_a_strangers_head_is_not_heeded() {
        let mut firmware = Firmware::new(AgentId([1; 16]));
        let signer = trust::Signer::new(&[1]);
        let lineage = Lineage([1; 16]);
        firmware.pin(PinnedHub { lineage, keys: signer.keys() });
        let assignment = AssignmentId { lineage, generation: Generation(3), hash: Hash([1; 32]) };
        let head = Head { assignment, length: BODY_BYTES + 1 };
        let mut bytes = frame::encode(&head, Stamp::default()).expect("it fits");
        trust::forge_signature(&mut bytes, "m");
        assert!(matches!(firmware.hear("m", false, &bytes), Err(Refusal::Forged)));
        signed::sign(&mut bytes, "m", |message| signer.sign(message)).expect("it has a place");
        let Ok(Heard::Step(Step::Refuse { name, length, room })) =
            firmware.hear("m", false, &bytes)
        else {
            panic!("it has no room");
        };
        let event = refusal(name, length, room);
        assert_eq!(&event.message[..], "generation 3 is refused: 481 bytes, it takes 1 to 480");
        assert_eq!(firmware.lacks("m"), None);
    }
}
