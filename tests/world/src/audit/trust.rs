//! Checks that a device does nothing that its hub did not say to it, and nothing twice, whatever its broker delivers.

use std::collections::BTreeSet;

use firmware_compat::{
    frame::{Frame, Kind},
    id::{Generation, Hash, Lineage},
    keys::PinnedHub,
    v1::owned::{Action, AssignmentId, Command, Head, Report, Time},
};

use crate::{World, broker::Packet};

/// What hubs have said, and what boards have done of it.
#[derive(Debug, Default)]
pub struct Said {
    /// To a device.
    heads: BTreeSet<(String, Lineage, Generation, Hash)>,
    /// To anybody.
    times: BTreeSet<u64>,
    /// To a device, in a connection.
    logs: BTreeSet<(String, u32, u64)>,
    /// Keys that hubs had, in the bytes that devices keep.
    keys: BTreeSet<Vec<u8>>,
    /// By a board.
    logs_read: BTreeSet<(String, u64)>,
}

impl World {
    /// A hub says something.
    pub(crate) fn note_said(&mut self, name: &str, packet: &Packet) {
        let Ok(frame) = Frame::parse(&packet.bytes) else { return };
        let said = &mut self.audit.said;
        match packet.kind {
            Kind::Head => {
                if let Ok(Head { assignment: id, .. }) = frame.message::<Head>() {
                    said.heads.insert((name.to_owned(), id.lineage, id.generation, id.hash));
                }
            }
            Kind::Time => {
                said.times.extend(frame.message::<Time>().map(|time| time.unix_ms));
            }
            Kind::Report => {
                said.times.extend(frame.message::<Report>().map(|report| report.unix_ms));
            }
            Kind::Command => {
                if let Ok(Command { id, action: Action::Logs { .. }, .. }) = frame.message() {
                    said.logs.insert((name.to_owned(), frame.stamp.session, id));
                }
            }
            _ => {}
        }
    }

    /// A hub has keys.
    pub(crate) fn note_keys(&mut self, hub: PinnedHub) {
        self.audit.said.keys.insert(crate::trust::to_bytes(hub));
    }

    /// An agent takes an assignment for one of its hub's.
    pub(crate) fn judge_source(&mut self, board: usize, id: AssignmentId) {
        let it = &self.boards[board];
        let head = (it.name.clone(), id.lineage, id.generation, id.hash);
        if !self.audit.said.heads.contains(&head) {
            let what =
                format!("{} saves generation {}, of which no hub told it", it.label, id.generation);
            self.fail("hub-alone-is-heard", &what);
        }
    }

    /// An agent takes it that so much time has passed.
    pub(crate) fn judge_time(&mut self, board: usize, unix_ms: u64) {
        let it = &mut self.boards[board];
        let before = std::mem::replace(&mut it.heard_ms, unix_ms);
        let label = it.label.clone();
        if unix_ms <= before {
            let what = format!("{label} heard {unix_ms} after {before}");
            self.fail("hub-alone-is-heard", &what);
        } else if !self.audit.said.times.contains(&unix_ms) {
            let what = format!("{label} believes that it is {unix_ms}, and no hub said so");
            self.fail("hub-alone-is-heard", &what);
        }
    }

    /// An agent reads a log.
    pub(crate) fn judge_log(&mut self, board: usize, id: u64) {
        let it = &self.boards[board];
        let (label, session) = (it.label.clone(), it.link.session());
        if !self.audit.said.logs.contains(&(it.name.clone(), session, id)) {
            let what =
                format!("{label} carries out command {id}, which was not for this connection");
            self.fail("hub-alone-is-heard", &what);
        } else if !self.audit.said.logs_read.insert((label.clone(), id)) {
            self.fail("hub-alone-is-heard", &format!("{label} carries out command {id} twice"));
        }
    }

    /// An agent knows its hub by other keys.
    pub(crate) fn judge_keys(&mut self, board: usize, hub: PinnedHub) {
        if !self.audit.said.keys.contains(&crate::trust::to_bytes(hub)) {
            let what = format!("{} knows keys that no hub ever had", self.boards[board].label);
            self.fail("hub-alone-is-heard", &what);
        }
    }
}
