//! The agent and its connection: who it is for the hub, when it stays away. What the hub says is in `hear`.

use alloc::vec::Vec;

use firmware_compat::{
    time::Instant,
    v1::owned::{List, Runtime, WasmSupport},
};

use super::Agent;
use crate::effect::{Effect, Up};

impl Agent {
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

    pub(super) fn link_up(&mut self, session: u32, now: Instant) {
        self.name_taken = false;
        self.guard.connected(session);
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
