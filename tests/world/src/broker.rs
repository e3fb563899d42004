//! The MQTT broker and the network around it, as MQTT 5 defines what matters here: one session per client id, takeover,
//! wills, retained messages, clean starts. Messages are lost, doubled and overtaken as the weather has it; connections
//! end with or without a word.
//!
//! Embedded, the broker lives and dies with the hub. External, it outlives the hub, may forget what it retained, and need
//! not tell a client that its session was taken over.

use std::collections::BTreeMap;

use firmware_compat::{frame::Kind, id::Hash};

use crate::{Due, Way, World, board::Wake, forger::Memory, hub::HubWake};

/// How long a broker waits for a silent client: one and a half keep-alive intervals of 20 minutes.
const SILENCE_MS: u64 = 30 * 60_000;

/// Messages that a broker may have to keep for one device at once: a window of chunks, twice, and some.
const UNDER_WAY: usize = 64;

/// A frame on a topic.
#[derive(Clone, Debug)]
pub struct Packet {
    pub kind: Kind,
    pub bytes: Vec<u8>,
    /// For every device.
    pub to_all: bool,
    /// A hub has said it, now: devices have reason to answer.
    pub by_hub: bool,
}

/// What a hub hears of its link.
#[derive(Clone, Debug)]
pub enum LinkEvent {
    Frame { device: String, kind: Kind, bytes: Vec<u8> },
    Disconnected { device: String },
    TakenOver { device: String },
}

/// One client's session.
#[derive(Clone, Debug)]
struct Session {
    conn: u64,
    board: usize,
    /// Of the certificate that it was opened with, in a world that has certificates.
    key: Option<Hash>,
    /// The frame of its will.
    will: Vec<u8>,
}

/// The broker.
#[derive(Debug)]
pub struct Broker {
    pub external: bool,
    pub up: bool,
    sessions: BTreeMap<String, Session>,
    /// The newest head of each device.
    retained: BTreeMap<String, Vec<u8>>,
    /// What it has seen, should it be hostile.
    pub memory: Memory,
    /// The hub whose session is the newest.
    pub hub: Option<usize>,
    next_conn: u64,
}

impl Broker {
    pub fn new(external: bool) -> Self {
        Self {
            external,
            up: true,
            sessions: BTreeMap::new(),
            retained: BTreeMap::new(),
            memory: Memory::default(),
            hub: None,
            next_conn: 1,
        }
    }

    /// Whether a connection stands, as far as the broker knows.
    pub fn knows(&self, name: &str, conn: u64) -> bool {
        self.sessions.get(name).is_some_and(|session| session.conn == conn)
    }

    /// The board that has the session of a name, and its connection.
    pub fn holder(&self, name: &str) -> Option<(usize, u64)> {
        self.sessions.get(name).map(|session| (session.board, session.conn))
    }

    /// Of the certificate that the session of a name was opened with.
    pub fn key(&self, name: &str) -> Option<Hash> {
        self.sessions.get(name)?.key
    }

    /// Names that have a session, and who has it.
    pub fn holders(&self) -> impl Iterator<Item = (&String, usize)> {
        self.sessions.iter().map(|(name, session)| (name, session.board))
    }

    pub fn retained(&self, name: &str) -> Option<&Vec<u8>> {
        self.retained.get(name)
    }

    pub fn retain(&mut self, name: &str, bytes: Vec<u8>) {
        self.retained.insert(name.to_owned(), bytes);
    }
}

impl World {
    /// A board connects: an older session of its name ends. Returns the new connection.
    pub(crate) fn open_session(&mut self, board: usize, name: &str, will: Vec<u8>) -> u64 {
        let conn = self.broker.next_conn;
        self.broker.next_conn += 1;
        let key = self.needs_certificate(board).then(|| self.boards[board].key());
        let session = Session { conn, board, key, will };
        let older = self.broker.holder(name).map(|(older, _)| older);
        self.judge_takeover(name, older, board);
        if let Some(old) = self.broker.sessions.insert(name.to_owned(), session) {
            self.publish_will(name, old.will);
            // Mosquitto 2.0 closes the older connection without the reason that MQTT 5 has for it.
            let told = !self.broker.external || self.chance(50);
            let delay = self.up_to(self.weather.delay);
            let life = self.boards[old.board].life;
            let wake = Wake::TakenOver { conn: old.conn, told };
            self.at(delay, Due::Board { board: old.board, life, wake });
            if !self.broker.external {
                self.tell_hub(LinkEvent::TakenOver { device: name.to_owned() });
            }
        }
        conn
    }

    /// The broker's side of a connection ends: by its own count of silence, by a word of the client, by its own end.
    fn end_session(&mut self, name: &str, conn: u64, with_will: bool) {
        if !self.broker.knows(name, conn) {
            return;
        }
        if let Some(session) = self.broker.sessions.remove(name) {
            self.audit.goes_absent(name, self.now);
            if with_will {
                self.publish_will(name, session.will);
            }
            if !self.broker.external {
                self.tell_hub(LinkEvent::Disconnected { device: name.to_owned() });
            }
        }
    }

    fn publish_will(&mut self, name: &str, bytes: Vec<u8>) {
        self.pass_on_frame(name, Kind::Gone, bytes);
    }

    /// A connection is closed and both sides notice.
    pub(crate) fn close_session(&mut self, name: &str, conn: u64, with_will: bool) {
        let board = self.broker.sessions.get(name).filter(|s| s.conn == conn).map(|s| s.board);
        self.end_session(name, conn, with_will);
        if let Some(board) = board {
            self.board_notices(board, conn, 100);
        }
    }

    fn board_notices(&mut self, board: usize, conn: u64, within_ms: u64) {
        let delay = self.up_to(within_ms);
        let life = self.boards[board].life;
        self.at(delay, Due::Board { board, life, wake: Wake::Lost { conn } });
    }

    /// A cable is out: nobody is told. Each side finds out by itself, much later.
    pub(crate) fn go_silent(&mut self, board: usize) {
        let name = self.boards[board].name.clone();
        let Some(conn) = self.boards[board].link.conn else { return };
        self.board_notices(board, conn, SILENCE_MS);
        self.count_silence(&name, conn);
    }

    /// The client is gone without a word.
    pub(crate) fn count_silence(&mut self, name: &str, conn: u64) {
        let after = SILENCE_MS / 2 + self.up_to(SILENCE_MS / 2);
        self.at(after, Due::Silence { name: name.to_owned(), conn });
    }

    pub(crate) fn give_up_on(&mut self, name: &str, conn: u64) {
        let Some(session) = self.broker.sessions.get(name).filter(|s| s.conn == conn) else {
            return;
        };
        // It may be heard again by now.
        let board = &self.boards[session.board];
        if board.link.conn == Some(conn) && board.is_on_the_network() {
            return;
        }
        self.tell(&format!("the broker gives up on {name}"));
        self.end_session(name, conn, true);
    }

    /// The broker ends and, with what it retained or without, is there again.
    pub(crate) fn restart_broker(&mut self, wipe: bool) {
        self.drop_all_sessions();
        if wipe {
            self.broker.retained.clear();
        }
        if let Some(hub) = self.broker.hub.take() {
            self.hub_link_down(hub);
        }
    }

    /// Every connection ends; the boards that can notice do.
    pub(crate) fn drop_all_sessions(&mut self) {
        let sessions: Vec<_> =
            self.broker.sessions.iter().map(|(name, s)| (name.clone(), s.conn, s.board)).collect();
        self.broker.sessions.clear();
        for (name, conn, board) in sessions {
            self.audit.goes_absent(&name, self.now);
            if self.boards[board].is_on_the_network() {
                self.board_notices(board, conn, 200);
            }
        }
    }

    /// Forgets what an embedded broker held in memory.
    pub(crate) fn forget_retained(&mut self) {
        self.broker.retained.clear();
    }

    /// A frame of a board sets out for the broker.
    pub(crate) fn send_up(&mut self, board: usize, packet: Packet) {
        let Some(conn) = self.boards[board].link.conn else { return };
        let name = self.boards[board].name.clone();
        self.audit.wire.sent(&name, self.now, packet.kind, packet.bytes.len());
        self.judge_openness(&format!("a frame of {name}"), &packet.bytes);
        if !self.boards[board].is_on_the_network() {
            return;
        }
        for delay in self.legs() {
            let (name, packet) = (name.clone(), packet.clone());
            self.on_its_way(Way::Up(conn), delay, Due::Up { name, conn, packet });
        }
    }

    /// How often a message arrives, and when.
    fn legs(&mut self) -> Vec<u64> {
        let weather = self.weather;
        if self.chance(weather.loss) {
            self.was_lossy = true;
            return Vec::new();
        }
        let mut legs = vec![self.up_to(weather.delay)];
        if self.chance(weather.duplication) {
            legs.push(self.up_to(weather.delay * 3));
        }
        legs
    }

    pub(crate) fn reaches_broker(&mut self, name: &str, conn: u64, packet: Packet) {
        // A connection that was taken over says nothing more; what it had said before may still be on its way.
        if self.broker.up && (self.broker.knows(name, conn) || self.chance(50)) {
            self.pass_on_frame(name, packet.kind, packet.bytes);
        }
    }

    fn pass_on_frame(&mut self, name: &str, kind: Kind, bytes: Vec<u8>) {
        self.tell_hub(LinkEvent::Frame { device: name.to_owned(), kind, bytes });
    }

    /// Something reaches the hub that has the broker's ear, if there is one.
    fn tell_hub(&mut self, event: LinkEvent) {
        let Some(hub) = self.broker.hub else { return };
        let delay = if self.broker.external { self.up_to(self.weather.delay) } else { 0 };
        let life = self.hubs[hub].life;
        let due = Due::Hub { hub, life, wake: HubWake::Link(event) };
        self.on_its_way(Way::ToHub(hub), delay, due);
    }

    /// A hub publishes to a device; retained or not.
    pub(crate) fn send_down(&mut self, hub: usize, name: &str, kind: Kind, bytes: &[u8]) {
        if self.broker.hub != Some(hub) || !self.broker.up {
            return;
        }
        if kind == Kind::Head {
            self.broker.retain(name, bytes.to_vec());
        }
        let packet = Packet { kind, bytes: bytes.to_vec(), to_all: false, by_hub: true };
        self.judge_openness(&format!("a frame for {name}"), bytes);
        self.note_said(name, &packet);
        self.broker.memory.note(name, &packet);
        self.deliver(name, packet);
    }

    pub(crate) fn clear_retained(&mut self, hub: usize, name: &str) {
        if self.broker.hub == Some(hub) {
            self.broker.retained.remove(name);
        }
    }

    pub(crate) fn send_all(&mut self, hub: usize, kind: Kind, bytes: &[u8]) {
        if self.broker.hub != Some(hub) || !self.broker.up {
            return;
        }
        let packet = Packet { kind, bytes: bytes.to_vec(), to_all: true, by_hub: true };
        self.note_said("", &packet);
        self.broker.memory.note("", &packet);
        let names: Vec<String> = self.broker.sessions.keys().cloned().collect();
        for name in names {
            self.deliver(&name, packet.clone());
        }
    }

    /// The broker sends to the session of a name, if there is one.
    pub(crate) fn deliver(&mut self, name: &str, packet: Packet) {
        let Some(session) = self.broker.sessions.get(name) else { return };
        let (board, conn) = (session.board, session.conn);
        for delay in self.legs() {
            let packet = packet.clone();
            if packet.by_hub {
                self.boards[board].under_way += 1;
                let under_way = self.boards[board].under_way;
                self.audit.bound("messages under way to one device", under_way, UNDER_WAY);
            }
            self.on_its_way(Way::Down(conn), delay, Due::Down { board, conn, packet });
        }
    }
}
