//! A board's side of its connection: connecting with full jitter, noticing an end, staying away from a name that
//! another board has.

use firmware_compat::{
    frame::{self, Kind, Stamp},
    keys::PinnedHub,
    v1::owned::Gone,
};
use lichen_agent_core::{Event, Up, membership::upkeep::Sign};

use super::Wake;
use crate::{Due, World, broker::Packet, canary::Canary, hub::Asked, trust};

/// Longest pause between two attempts to connect.
const LONGEST_MS: u64 = 60_000;
/// The same where one side does not want the other.
const UNWELCOME_MS: u64 = 600_000;
/// After the hub has said no to a board that joins, a person has it try again within so long.
const JOINS_AGAIN_MS: u64 = 12 * 3_600_000;
/// After so many failed attempts something may be wrong with the membership.
const ASK_AFTER_FAILURES: u32 = 4;

/// The state of a board's link.
#[derive(Debug, Default)]
pub struct Link {
    /// The core wants a connection.
    wanted: bool,
    pub conn: Option<u64>,
    up: bool,
    session: u32,
    sequence: u32,
    failures: u32,
    /// Attempts in a row after which it was kept out.
    unwelcome: u32,
    /// Since when it stands.
    since: u64,
    /// Stays away and asks now and then whether its name is free.
    polls: bool,
}

impl Link {
    /// Whether a connection is wanted.
    pub fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Whether a connection stands, as far as the board knows.
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// Since when it stands, if it does.
    pub fn up_since(&self) -> Option<u64> {
        self.up.then_some(self.since)
    }

    /// The number of its newest connection.
    pub fn session(&self) -> u32 {
        self.session
    }
}

impl World {
    pub(super) fn wants_link(&mut self, board: usize, wanted: bool) {
        let link = &mut self.boards[board].link;
        link.wanted = wanted;
        link.polls = !wanted;
        if wanted {
            self.connect_after(board, 500);
        } else {
            let conn = link.conn.take();
            link.up = false;
            if let Some(conn) = conn {
                let name = self.boards[board].name.clone();
                self.close_session(&name, conn, false);
            }
            self.board_later(board, 30_000, Wake::AskHolder);
        }
    }

    pub(super) fn board_later(&mut self, board: usize, after: u64, wake: Wake) {
        let after = after + self.up_to(after);
        let life = self.boards[board].life;
        self.at(after, Due::Board { board, life, wake });
    }

    fn connect_after(&mut self, board: usize, most: u64) {
        let after = 1 + self.up_to(most);
        let life = self.boards[board].life;
        self.at(after, Due::Board { board, life, wake: Wake::Connect });
    }

    pub(super) fn connect(&mut self, board: usize) {
        let it = &mut self.boards[board];
        if !it.link.wanted || it.link.conn.is_some() {
            return;
        }
        if !it.is_on_the_network() || !self.broker_listens() {
            let it = &mut self.boards[board];
            it.link.failures += 1;
            let failures = it.link.failures;
            let most = (200 << failures.min(12)).min(LONGEST_MS);
            if failures.is_multiple_of(ASK_AFTER_FAILURES) {
                self.member_saw(board, Sign::Failing);
            }
            return self.connect_after(board, most);
        }
        if !self.is_introduced(board) {
            return self.connect_after(board, LONGEST_MS);
        }
        if self.needs_certificate(board) && self.boards[board].identity().is_none() {
            self.join(board);
            // Nobody joins by itself: a person looks what the hub has said, and tries again.
            let looks_ms = if self.is_kept_out(board) { JOINS_AGAIN_MS } else { LONGEST_MS };
            return self.connect_after(board, looks_ms);
        }
        if let Err(why) = self.comes_in(board) {
            return self.is_unwelcome(board, &why);
        }
        let session = match self.is(Canary::SessionsAreAllAlike) {
            true => 7,
            false => self.dice.u32(1..),
        };
        let boot = self.boot_id(board);
        let it = &self.boards[board];
        let (name, gone) = (it.name.clone(), Gone { agent: it.agent_id(), boot });
        let will = Stamp { session, sequence: u32::MAX };
        let will = frame::encode(&gone, will).unwrap_or_default();
        let conn = self.open_session(board, &name, will);
        let it = &mut self.boards[board];
        it.link.conn = Some(conn);
        it.link.session = session;
        it.link.sequence = 0;
        (it.link.failures, it.link.unwelcome) = (0, 0);
        if let Some(firmware) = &mut it.firmware {
            firmware.session.connected(session);
        }
        let delay = 1 + self.up_to(self.weather.delay);
        let life = self.boards[board].life;
        self.at(delay, Due::Board { board, life, wake: Wake::Established { conn } });
    }

    /// One side does not want the other: it tries again, ever more seldom.
    fn is_unwelcome(&mut self, board: usize, why: &str) {
        let label = self.boards[board].label.clone();
        let link = &mut self.boards[board].link;
        if link.unwelcome == 0 {
            self.tell(&format!("{label} does not come in: {why}"));
        }
        let link = &mut self.boards[board].link;
        link.unwelcome += 1;
        let bound = ((UNWELCOME_MS / 4) << (link.unwelcome - 1).min(2)).min(UNWELCOME_MS);
        let after = bound / 2 + self.up_to(bound / 2);
        let life = self.boards[board].life;
        self.at(after, Due::Board { board, life, wake: Wake::Connect });
        self.member_saw(board, Sign::Refused);
        if self.is_kept_out(board) {
            self.give_up_work(board);
        }
    }

    /// What a board shows at its next connection has changed: it need not wait.
    pub(crate) fn link_hurries(&mut self, board: usize) {
        let link = &self.boards[board].link;
        if link.wanted && link.conn.is_none() {
            self.connect_after(board, 500);
        }
    }

    /// Before a board connects for the first time, it asks its hub who that is, and keeps the answer. False while there is
    /// no hub to be asked.
    fn is_introduced(&mut self, board: usize) -> bool {
        if self.boards[board].pinned().is_some() {
            return true;
        }
        let Some(hub) = self.identity(0) else { return false };
        self.introduce(board, hub);
        true
    }

    /// A board's shell has learned whom to believe. Without room to keep it, it asks again, and believes nobody meanwhile.
    pub(crate) fn introduce(&mut self, board: usize, hub: PinnedHub) {
        if let Some(firmware) = &mut self.boards[board].firmware {
            return firmware.pin(hub);
        }
        match self.boards[board].disk.replace("pinned-hub", &trust::to_bytes(hub)) {
            Ok(()) => self.feed(board, Event::HubPinned(hub)),
            Err(why) => {
                self.feed(board, Event::PinFailed { message: why.to_owned() });
                self.board_later(board, 60_000, Wake::Introduce);
            }
        }
    }

    pub(super) fn introduce_again(&mut self, board: usize) {
        if self.boards[board].pinned().is_some() {
            return;
        }
        match self.identity(0).filter(|_| self.boards[board].is_on_the_network()) {
            Some(hub) => self.introduce(board, hub),
            None => self.board_later(board, 60_000, Wake::Introduce),
        }
    }

    pub(crate) fn broker_listens(&self) -> bool {
        self.broker.up && (self.broker.external || self.hubs[0].engine.is_some())
    }

    pub(super) fn established(&mut self, board: usize, conn: u64) {
        if self.boards[board].link.conn != Some(conn) {
            return;
        }
        let now = self.now;
        let it = &mut self.boards[board];
        (it.link.up, it.link.since) = (true, now);
        it.kept_out = None;
        let (label, name) = (self.boards[board].label.clone(), self.boards[board].name.clone());
        self.tell(&format!("{label} is connected"));
        self.audit.wire.connected(&name);
        // The subscription brings what is retained, before or after the agent knows that it is connected.
        let retained = self.broker.retained(&name).cloned();
        if self.broker.knows(&name, conn)
            && let Some(bytes) = retained
        {
            self.deliver(&name, Packet { kind: Kind::Head, bytes, to_all: false, by_hub: true });
        }
        if self.boards[board].firmware.is_some() {
            return self.firmware_connected(board);
        }
        let session = self.boards[board].link.session;
        self.enrol(board);
        self.feed(board, Event::LinkUp { session });
        self.member_saw(board, Sign::Up);
        if self.is(Canary::ReconnectRestarts) {
            self.restart_something(board);
        }
    }

    pub(super) fn connection_lost(&mut self, board: usize, conn: u64) {
        if self.boards[board].link.conn != Some(conn) {
            return;
        }
        // A cable that is in again, and a broker that still knows the connection: it goes on.
        let name = self.boards[board].name.clone();
        if self.boards[board].is_on_the_network() && self.broker.knows(&name, conn) {
            return;
        }
        let label = self.boards[board].label.clone();
        self.tell(&format!("{label} is disconnected"));
        let link = &mut self.boards[board].link;
        link.conn = None;
        link.up = false;
        self.feed(board, Event::LinkDown);
        self.connect_after(board, 2000);
    }

    pub(super) fn taken_over(&mut self, board: usize, conn: u64, told: bool) {
        if self.boards[board].link.conn != Some(conn) || !self.boards[board].is_on_the_network() {
            return;
        }
        let link = &mut self.boards[board].link;
        link.conn = None;
        link.up = false;
        if told {
            self.feed(board, Event::TakenOver);
        } else {
            // Closed without a word: the hub knows who is connected now.
            self.feed(board, Event::LinkDown);
            self.board_later(board, 500, Wake::AskHolder);
            self.connect_after(board, 10_000);
        }
    }

    pub(super) fn ask_holder(&mut self, board: usize) {
        let life = self.boards[board].life;
        let device = self.boards[board].name.clone();
        if !self.broker.external && self.boards[board].is_on_the_network() && self.broker_listens()
        {
            // The endpoint knows by itself, and knows the boot.
            let holder = self.broker.holder(&device).map(|(holder, _)| holder);
            let is_another = |holder: usize| {
                let own = (self.boards[board].agent_id(), self.boot_id(board));
                (self.boards[holder].agent_id(), self.boot_id(holder)) != own
            };
            return self.holder_answers(board, life, holder.is_some_and(is_another));
        }
        let asked = self.boards[board].is_on_the_network() && {
            let request = lichen_hub_core::event::Request::Session { device, asker: None };
            self.ask_hub(0, request, Asked::Holder { board, life })
        };
        if !asked && self.boards[board].link.polls {
            self.board_later(board, 30_000, Wake::AskHolder);
        }
    }

    /// The hub says whether another one has a board's name.
    pub(crate) fn holder_answers(&mut self, board: usize, life: u32, another: bool) {
        let delay = self.up_to(self.weather.delay);
        self.at(delay, Due::Board { board, life, wake: Wake::Holder { another } });
    }

    pub(super) fn holder_is(&mut self, board: usize, another: bool) {
        let it = &self.boards[board];
        match (it.link.polls, another) {
            (true, true) => self.board_later(board, 30_000, Wake::AskHolder),
            (true, false) => self.feed(board, Event::NameFree),
            (false, true) if !it.link.up => self.feed(board, Event::TakenOver),
            (false, _) => {}
        }
    }

    /// The shell's part of sending: stamps and encodes.
    pub(super) fn send(&mut self, board: usize, up: Up) {
        let it = &mut self.boards[board];
        if !it.link.up {
            return self.feed(board, Event::SendFailed(up));
        }
        let stamp = Stamp { session: it.link.session, sequence: it.link.sequence };
        it.link.sequence += 1;
        let Ok(mut bytes) = up.encode(stamp) else {
            return self.fail("bounds-hold", "an agent's message does not fit a frame");
        };
        bytes[0] = it.facts.protocol;
        let up = self.sabotage_up(up, stamp, &mut bytes);
        self.judge_up(board, &up);
        if self.is(Canary::AgentRepeatsItself) {
            for _ in 0..99 {
                self.send_up(
                    board,
                    Packet { kind: up.kind(), bytes: bytes.clone(), to_all: false, by_hub: false },
                );
            }
        }
        self.send_up(board, Packet { kind: up.kind(), bytes, to_all: false, by_hub: false });
    }

    /// A frame of a microcontroller.
    pub(crate) fn send_raw(&mut self, board: usize, kind: Kind, bytes: Vec<u8>) {
        self.send_up(board, Packet { kind, bytes, to_all: false, by_hub: false });
    }

    pub(crate) fn firmware_wants_link(&mut self, board: usize) {
        self.wants_link(board, true);
    }
}
