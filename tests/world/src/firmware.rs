//! A microcontroller on the wire: the fixed forms of the messages, one assignment in its flash, no agent core.

use firmware_compat::{
    frame::{self, Kind},
    id::{AgentId, BootId, Hash},
    session::{Name, Session, Step},
    v1::fixed::{
        Assignment, AssignmentId, Event, Head, Hello, List, Part, Runtime, RuntimeClass, Severity,
        Status, Text, Want,
    },
};
use sha2::{Digest, Sha256};

use crate::World;

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
    /// Frames of the hub that its forms could not take.
    pub refused: u32,
}

impl Firmware {
    pub fn new(agent: AgentId) -> Self {
        let body = vec![0; BODY_BYTES as usize];
        Self { agent, session: Session::new(None), newest: None, body, refused: 0 }
    }

    pub fn after_power_cut(self) -> Self {
        Self { session: Session::new(self.session.held()), newest: None, ..self }
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
            runtimes,
            wasm: None,
            labels: List::default(),
            assignment: self.session.held().map(AssignmentId::from),
            clock_ms: 0,
            max_assignment_bytes: BODY_BYTES,
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

    fn head(&mut self, bytes: &[u8]) -> Step {
        let Ok((_, head)) = frame::decode::<Head>(bytes) else {
            self.refused += 1;
            return Step::Rest;
        };
        let step = self.session.head(head.assignment.into(), head.length, self.body.len());
        self.newest = self.session.coming().or(self.newest);
        step
    }

    fn part(&mut self, bytes: &[u8]) -> Step {
        let Ok((_, part)) = frame::decode::<Part>(bytes) else {
            self.refused += 1;
            return Step::Rest;
        };
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

    pub(crate) fn firmware_hears(&mut self, board: usize, kind: Kind, bytes: &[u8]) {
        let Some(mut firmware) = self.boards[board].firmware.clone() else { return };
        let step = match kind {
            Kind::Head => firmware.head(bytes),
            Kind::Part => firmware.part(bytes),
            Kind::Report => return self.firmware_connected(board),
            _ => Step::Rest,
        };
        let status = firmware.status();
        self.boards[board].firmware = Some(firmware);
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
        v1::fixed::Bytes,
    };

    use super::*;

    #[test]
    fn a_body_that_has_no_room_is_told_of_with_the_bound() {
        let mut firmware = Firmware::new(AgentId([1; 16]));
        let assignment = AssignmentId {
            lineage: Lineage([1; 16]),
            generation: Generation(3),
            hash: Hash([1; 32]),
        };
        let head = Head { assignment, length: BODY_BYTES + 1, signature: Bytes::default() };
        let frame = frame::encode(&head, Stamp::default()).expect("it fits");
        let Step::Refuse { name, length, room } = firmware.head(&frame) else {
            panic!("it has no room");
        };
        let event = refusal(name, length, room);
        assert_eq!(&event.message[..], "generation 3 is refused: 481 bytes, it takes 1 to 480");
        assert_eq!(firmware.lacks("m"), None);
    }
}
