//! A microcontroller on the wire: the fixed forms of the messages, one assignment in its flash, no agent core.

use firmware_compat::{
    frame::{self, Kind},
    id::{AgentId, BootId},
    v1::fixed::{
        Assignment, AssignmentId, Head, Hello, List, Part, Runtime, RuntimeClass, Status, Text,
        Want,
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
    held: Option<AssignmentId>,
    coming: Option<Head>,
    newest: Option<AssignmentId>,
    /// Frames of the hub that its forms could not take.
    pub refused: u32,
}

impl Firmware {
    pub fn new(agent: AgentId) -> Self {
        Self { agent, held: None, coming: None, newest: None, refused: 0 }
    }

    pub fn after_power_cut(self) -> Self {
        Self { coming: None, newest: None, ..self }
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
            assignment: self.held,
            clock_ms: 0,
            max_assignment_bytes: BODY_BYTES,
        }
    }

    fn status(&self) -> Status {
        Status {
            assignment: self.held,
            full: true,
            more: false,
            pods: List::default(),
            removed: List::default(),
        }
    }

    /// What it still lacks.
    pub fn lacks(&self, label: &str) -> Option<String> {
        (self.newest.is_some() && self.newest != self.held)
            .then(|| format!("{label} does not hold the newest assignment"))
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
        let stamp = self.next_stamp(board);
        match frame::encode(message, stamp) {
            Ok(bytes) => self.send_raw(board, M::KIND, bytes),
            Err(error) => self.fail("bounds-hold", &error.to_string()),
        }
    }

    pub(crate) fn firmware_hears(&mut self, board: usize, kind: Kind, bytes: &[u8]) {
        let Some(mut firmware) = self.boards[board].firmware.clone() else { return };
        let mut wants = None;
        let mut reports = false;
        match kind {
            Kind::Head => match frame::decode::<Head>(bytes) {
                Ok((_, head)) => {
                    let new = head.assignment;
                    // A head that is known asks whether it is held.
                    reports = firmware.held == Some(new);
                    let newer = firmware.held.is_none_or(|held| {
                        held.lineage == new.lineage && held.generation < new.generation
                    });
                    if newer {
                        firmware.newest = Some(new);
                        wants = Some(Want { hash: new.hash, offset: 0, also: List::default() });
                        firmware.coming = Some(head);
                    }
                }
                Err(_) => firmware.refused += 1,
            },
            Kind::Part => match (frame::decode::<Part>(bytes), &firmware.coming) {
                (Ok((_, body)), Some(head)) if body.hash == head.assignment.hash => {
                    let whole = body.bytes.len() == head.length as usize
                        && Sha256::digest(body.bytes.as_slice()).as_slice() == body.hash.0;
                    // Only what assigns nothing can be held: there is no firmware to run yet.
                    let assigns = frame::decode_body::<Assignment>(&body.bytes);
                    if whole && assigns.is_ok_and(|assignment| assignment.pods.is_empty()) {
                        firmware.held = Some(head.assignment);
                        firmware.coming = None;
                        reports = true;
                    }
                }
                (Ok(_), _) => {}
                (Err(_), _) => firmware.refused += 1,
            },
            Kind::Report => return self.firmware_connected(board),
            _ => {}
        }
        let status = firmware.status();
        self.boards[board].firmware = Some(firmware);
        if let Some(want) = wants {
            self.firmware_sends(board, &want);
        }
        if reports {
            self.firmware_sends(board, &status);
        }
    }
}
