//! The agent and its connection: what the hub says, who it is for the hub, when it stays away.

use alloc::{format, vec::Vec};
use core::time::Duration;

use firmware_compat::{
    frame::VERSION,
    time::{Instant, UnixMs},
    v1::owned::{List, Runtime, WasmSupport},
};

use super::Agent;
use crate::{
    backoff::{MISMATCH_GAP, TIME_FLOOR_GAP, TIME_FLOOR_STEP},
    effect::{Effect, Up},
    event::Down,
};

impl Agent {
    pub(super) fn heard(&mut self, down: Down, now: Instant) {
        match down {
            Down::Head(head) => {
                self.reporter.answered();
                self.assign.head(head, now, &mut self.out);
            }
            Down::Part(chunk) => self.assign.chunk(chunk, now, &mut self.out),
            // Without a link nobody would hear the answer.
            Down::Command(_) if !self.reporter.is_link_up() => {}
            Down::Command(command) => self.commands.take(command, &self.pods, &mut self.out),
            Down::Time(time) => self.time(time.unix_ms, now),
            Down::Report(report) => {
                let spread = Duration::from_millis(report.spread_ms.into());
                self.reporter.requested(spread, now, &mut self.out);
            }
        }
    }

    /// Told now and then, not once per frame. A hub of the other version can't read it; one that was upgraded since, can.
    pub(super) fn version_mismatch(&mut self, version: u8, now: Instant) {
        if self.mismatch_told.is_some_and(|told| now.since(told) < MISMATCH_GAP) {
            return;
        }
        self.mismatch_told = Some(now);
        let older = if version > VERSION { "this agent" } else { "the hub" };
        let message = format!(
            "the hub sent a frame of protocol version {version}, this agent speaks {VERSION}: what it says is not understood and everything runs on; upgrade {older}"
        );
        self.out.warn(now, None, "ProtocolMismatch", &message);
    }

    fn time(&mut self, unix_ms: UnixMs, now: Instant) {
        let moved = Duration::from_millis(unix_ms.saturating_sub(self.time_floor_ms));
        let is_rested = self.time_floor_saved.is_none_or(|at| now.since(at) >= TIME_FLOOR_GAP);
        if moved > TIME_FLOOR_STEP && is_rested {
            self.time_floor_ms = unix_ms;
            self.time_floor_saved = Some(now);
            self.out.push(Effect::SaveTimeFloor { unix_ms });
        }
    }

    pub(super) fn runtimes(
        &mut self,
        runtimes: Vec<Runtime>,
        wasm: Option<WasmSupport>,
        now: Instant,
    ) {
        let mut list = List::default();
        for runtime in runtimes {
            // More engines than a device can name: the first are the preferred ones.
            let _ = list.push(runtime);
        }
        if self.hello.runtimes != list || self.hello.wasm != wasm {
            self.hello.runtimes = list;
            self.hello.wasm = wasm;
            self.reporter.hello_changed(now);
        }
    }

    pub(super) fn link_up(&mut self, now: Instant) {
        self.name_taken = false;
        self.reporter.link_up(now);
        self.assign.link_up(now);
        self.fetches.link_up(now, &mut self.out);
    }

    pub(super) fn link_down(&mut self) {
        if self.reporter.is_link_up() {
            self.reporter.link_down();
            self.commands.link_down(&mut self.out);
        }
    }

    /// Going on to connect would throw the other one off, and then it would do the same.
    pub(super) fn taken_over(&mut self, now: Instant) {
        self.link_down();
        if !self.name_taken {
            self.name_taken = true;
            self.out.push(Effect::Disconnect);
            let message = "another device connected under this device's name; this one stays away and keeps running \
                           what it has. If one card was copied to the other, remove the directory identity in the \
                           state of one of the two and let it join anew";
            self.out.warn(now, None, "NameTaken", message);
        }
    }

    pub(super) fn name_free(&mut self, now: Instant) {
        if self.name_taken {
            self.name_taken = false;
            self.out.push(Effect::Connect);
            self.out.normal(now, None, "NameFree", "nobody else uses this device's name any more");
        }
    }

    pub(super) fn send_failed(&mut self, up: Up, now: Instant) {
        match up {
            Up::Hello(_) => self.reporter.send_failed(true, now),
            Up::Status(_) => self.reporter.send_failed(false, now),
            Up::Event(event) => self.out.journal.give_back(event, now),
            // A Want is repeated by its own clock; the hub gives up on a reply by its own.
            Up::Want(_) | Up::Reply(_) => {}
        }
    }
}
