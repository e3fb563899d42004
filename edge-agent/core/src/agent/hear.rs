//! What reaches the agent on its topics. Nothing of it counts before the guard has found out who says it; what it refuses
//! is counted and told of now and then, and does nothing else.

use alloc::format;
use core::time::Duration;

use firmware_compat::{
    frame::{DecodeError, Frame, Kind, VERSION},
    guard::Refusal,
    keys::{PinnedHub, SigningKeys},
    time::Instant,
    topic::ALL,
    v1::owned::{Action, Command, Head, Report, Time},
};

use super::Agent;
use crate::{
    backoff::{TIME_FLOOR_GAP, TIME_FLOOR_STEP},
    commands::Logs,
    effect::Effect,
};

impl Agent {
    pub(super) fn heard(&mut self, to_all: bool, bytes: &[u8], now: Instant) {
        if let Err(refusal) = self.hear(to_all, bytes, now) {
            self.refuse(refusal, now);
        }
    }

    fn hear(&mut self, to_all: bool, bytes: &[u8], now: Instant) -> Result<(), Refusal> {
        let frame = Frame::parse(bytes)?;
        let to = if to_all { ALL } else { &*self.name };
        match frame.kind {
            Kind::Head => {
                let head: Head = self.guard.open(&frame, to)?;
                self.reporter.answered();
                self.assign.head(head, self.guard.hub(), now, &mut self.out);
            }
            // Nobody signs a part: it is of what a signed head names, or of nothing.
            Kind::Part => self.assign.chunk(frame.message()?, now, &mut self.out),
            Kind::Command => {
                let command: Command = self.guard.open(&frame, to)?;
                // Without a link nobody would hear the answer.
                if self.reporter.is_link_up() {
                    self.carry_out(command, now)?;
                }
            }
            Kind::Time => {
                let _: Time = self.guard.open(&frame, to)?;
                self.time_passed(now);
            }
            Kind::Report => {
                let report: Report = self.guard.open(&frame, to)?;
                self.time_passed(now);
                let spread = Duration::from_millis(report.spread_ms.into());
                self.reporter.requested(spread, now, &mut self.out);
            }
            Kind::Hello | Kind::Status | Kind::Event | Kind::Reply | Kind::Want | Kind::Gone => {
                return Err(DecodeError::Unexpected(frame.kind).into());
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, command: Command, now: Instant) -> Result<(), Refusal> {
        let Command { lineage, id, action } = command;
        match action {
            Action::Logs { pod, container, follow, tail, previous, timestamps } => {
                let wanted = Logs { pod, container, follow, tail, previous, timestamps };
                self.commands.logs(id, wanted, &self.pods, &mut self.out);
            }
            Action::Cancel { command } => self.commands.cancel(id, command, &mut self.out),
            Action::Grace { pod, grace_ms } => {
                if let Some(pod) = self.pods.get_mut(&pod) {
                    pod.set_grace(grace_ms);
                }
            }
            Action::Report => self.reporter.requested(Duration::ZERO, now, &mut self.out),
            // Other keys count once they are saved.
            Action::Keys { keys } => {
                let keys = SigningKeys::new(&keys).ok_or(DecodeError::Body)?;
                let hub = PinnedHub { lineage, keys };
                if self.guard.hub() != Some(hub) {
                    self.out.push(Effect::PinHub(hub));
                }
            }
        }
        Ok(())
    }

    /// Keys are saved, by whatever way the shell got them: they count, and the hub is told.
    pub(super) fn hub_pinned(&mut self, hub: PinnedHub, now: Instant) {
        if self.guard.hub() != Some(hub) {
            self.guard.pin(hub);
            // Time may have begun anew.
            if self.guard.known_ms() < self.time_floor_ms {
                (self.time_floor_ms, self.time_floor_saved) = (self.guard.known_ms(), None);
            }
            self.reporter.hello_changed(now);
        }
    }

    pub(super) fn pin_failed(&mut self, why: &str, now: Instant) {
        let message = format!(
            "the hub's new signing keys could not be saved, so the old ones stay; the hub hands them over again with the next connection: {why}"
        );
        self.out.complain(now, "KeysNotSaved", &message);
    }

    /// The hub has said what time it is.
    fn time_passed(&mut self, now: Instant) {
        let unix_ms = self.guard.known_ms();
        let moved = Duration::from_millis(unix_ms.saturating_sub(self.time_floor_ms));
        let is_rested = self.time_floor_saved.is_none_or(|at| now.since(at) >= TIME_FLOOR_GAP);
        let save = moved > TIME_FLOOR_STEP && is_rested;
        if save {
            self.time_floor_ms = unix_ms;
            self.time_floor_saved = Some(now);
        }
        self.out.push(Effect::RaiseTime { unix_ms, save });
    }

    fn refuse(&mut self, refusal: Refusal, now: Instant) {
        if let Refusal::Unreadable(DecodeError::Version(version)) = refusal {
            return self.version_mismatch(version, now);
        }
        let Some(reason) = refusal.reason() else { return };
        let message = format!("a frame was refused: {refusal}");
        let is_told = self.out.complain(now, reason, &message);
        // It may be the hub with a key that it changed while this device was away: the hello says which ones are known.
        if is_told && matches!(refusal, Refusal::Forged | Refusal::NoKey) {
            self.reporter.hello_changed(now);
        }
    }

    /// A hub of the other version can't read it; one that was upgraded since, can.
    fn version_mismatch(&mut self, version: u8, now: Instant) {
        let older = if version > VERSION { "this agent" } else { "the hub" };
        let message = format!(
            "the hub sent a frame of protocol version {version}, this agent speaks {VERSION}: what it says is not understood and everything runs on; upgrade {older}"
        );
        self.out.complain(now, "ProtocolMismatch", &message);
    }
}
