//! Two boards with one device's card. A boot never comes back: whoever shows one after another boot had the name is a second
//! board, with a copy of the first one's key and agent id. It is said on the Node, for nothing else shows it: the device looks
//! well.
//!
//! The hub's own endpoint notices them by itself, and keeps the second one out while the first is connected. A broker of the
//! operator's lets the newer one in; the older one is told by the hub who has the name, and stays away. It is noticed when it
//! asks, or when it is back.

use alloc::{format, string::String, vec::Vec};
use core::time::Duration;

use firmware_compat::{
    id::{AgentId, BootId},
    time::Instant,
    v1::owned::{Hello, Severity},
};

use crate::{
    api::{Key, Kind},
    effect::Response,
    engine::Engine,
    event::Board,
};

/// Boots that are remembered for one name: its board's last ones, and those of its copies.
const BOOTS: usize = 4;
/// A second board that was not seen for this long is gone for good, and news when it comes again. One that stays away asks
/// every hour.
const GONE_AFTER: Duration = Duration::from_secs(24 * 3600);

/// The boards that have come under one name.
#[derive(Clone, Debug, Default)]
pub struct Boards {
    /// The one that was heard last, then those before it.
    known: Vec<Known>,
    /// When a second board was noticed last.
    second_seen: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Known {
    agent: AgentId,
    boot: BootId,
    /// What it said of itself.
    said: String,
}

/// A board that another one has replaced, and that is news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Second {
    agent: AgentId,
    /// The one that has the name, or had it last.
    there: String,
    /// The one that comes or asks.
    other: String,
}

impl Boards {
    /// A board says hello.
    pub(crate) fn said_hello(&mut self, hello: &Hello, now: Instant) -> Option<Second> {
        let Hello { agent, boot, .. } = *hello;
        if self.known.first().is_some_and(|known| known.agent != agent) {
            // Another state directory: no copy of the card.
            self.known.clear();
        }
        let place = self.place(boot);
        if place == Some(0) {
            return None;
        }
        let said = in_words(hello);
        let before = self.known.first().map(|known| known.said.clone());
        if let Some(place) = place {
            self.known.remove(place);
        }
        self.known.insert(0, Known { agent, boot, said: said.clone() });
        self.known.truncate(BOOTS);
        let (_, before) = place.zip(before)?;
        let is_news = self.is_news(now);
        let there = format!("was connected ({before})");
        is_news.then(|| Second { agent, there, other: format!("is back ({said})") })
    }

    /// A board asks who has the name.
    fn asks(&mut self, asker: &Board, now: Instant) -> Option<Second> {
        let place = self.place(asker.boot).filter(|place| *place > 0)?;
        let (there, other) = (self.known.first()?, self.known.get(place)?);
        let second = Second {
            agent: asker.agent,
            there: format!("is connected ({})", there.said),
            other: format!("asks for the name from {} ({})", asker.address, other.said),
        };
        self.is_news(now).then_some(second)
    }

    fn place(&self, boot: BootId) -> Option<usize> {
        self.known.iter().position(|known| known.boot == boot)
    }

    /// Takes note that there are two. True if that was not known, or long ago.
    fn is_news(&mut self, now: Instant) -> bool {
        let seen = self.second_seen.replace(now);
        seen.is_none_or(|seen| now.since(seen) >= GONE_AFTER)
    }
}

/// What tells one board from another, for people.
fn in_words(hello: &Hello) -> String {
    let Hello { boot, arch, kernel, cpu_milli, memory_bytes, version, .. } = hello;
    let (cpus, mebibytes) = (cpu_milli / 1000, memory_bytes >> 20);
    format!(
        "boot {boot}, {arch}, {cpus} CPUs, {mebibytes} MiB, kernel {kernel}, agent {version}",
        arch = arch.as_str(),
        kernel = kernel.as_str(),
        version = version.as_str(),
    )
}

impl Engine {
    /// The link has noticed two boards. It says so once, until one of them was away for long; a hub that was started again
    /// hears it anew, and equal events are counted together.
    pub(crate) fn on_two_boards(&mut self, name: &str, boards: &[Board; 2]) {
        let [there, kept_out] = boards;
        if let Some(device) = self.state.fleet.get_mut(name) {
            device.boards.second_seen = Some(self.now);
        }
        let second = Second {
            agent: there.agent,
            there: format!("connects from {} (boot {})", there.address, there.boot),
            other: format!("from {} (boot {})", kept_out.address, kept_out.boot),
        };
        self.note_second_board(&Key::new(Kind::Node, "", name), &second);
    }

    pub(crate) fn note_second_board(&mut self, key: &Key, second: &Second) {
        let (name, Second { agent, there, other }) = (&key.name, second);
        let message = format!(
            "two boards are {name}: they have one key and one agent id ({agent}), as after a copy of an SD card. One {there}, \
             the other {other}. Whichever is connected stays, and the other is kept out; give one of them an empty state \
             directory and join it under a name of its own"
        );
        self.record(key, Severity::Warning, "TwoBoards", message);
    }

    /// Which board has a device's session. One of its boards that asks while another one has it is told so, and noticed.
    pub(crate) fn holder(&mut self, name: &str, asker: Option<Board>) -> Response {
        let now = self.now;
        let device = self.state.fleet.get_mut(name).filter(|device| device.online());
        let Some(device) = device else { return Response::Session(None) };
        let holder = (device.facts.agent, device.facts.boot);
        let second = asker
            .filter(|asker| asker.agent == holder.0)
            .and_then(|asker| device.boards.asks(&asker, now));
        if let Some(second) = second {
            self.note_second_board(&Key::new(Kind::Node, "", name), &second);
        }
        Response::Session(Some(holder))
    }
}

#[cfg(test)]
mod tests {
    use firmware_compat::v1::owned::{List, Text};

    use super::*;

    fn hello(agent: u8, boot: u8) -> Hello {
        Hello {
            agent: AgentId([agent; 16]),
            boot: BootId([boot; 16]),
            version: Text::default(),
            arch: "arm64".try_into().expect("it fits"),
            os: Text::default(),
            kernel: Text::default(),
            cpu_features: List::default(),
            cpu_milli: 4000,
            memory_bytes: 1 << 30,
            disk_bytes: 0,
            storage: Default::default(),
            runtimes: List::default(),
            wasm: None,
            labels: List::default(),
            assignment: None,
            clock_ms: 0,
            max_assignment_bytes: 0,
            keys: List::default(),
            conditions: List::default(),
        }
    }

    fn board(boot: u8) -> Board {
        let address = format!("10.0.0.{boot}");
        Board { agent: AgentId([1; 16]), boot: BootId([boot; 16]), address }
    }

    /// Whether each hello is news of a second board.
    fn check(boots: &[u8], expected: &[bool]) {
        let mut boards = Boards::default();
        let news: Vec<bool> = boots
            .iter()
            .map(|boot| boards.said_hello(&hello(1, *boot), Instant(0)).is_some())
            .collect();
        assert_eq!(news, expected, "{boots:?}");
    }

    #[test]
    fn a_reboot_is_no_second_board_and_a_boot_that_comes_back_is_told_of_once() {
        check(&[1, 1, 2, 2, 3, 4, 5, 6], &[false; 8]);
        check(&[1, 2, 1, 2, 1], &[false, false, true, false, false]);
    }

    #[test]
    fn a_board_that_asks_is_noticed_if_it_had_the_name_and_another_boot_has_it_now() {
        let mut boards = Boards::default();
        for boot in [1, 2] {
            boards.said_hello(&hello(1, boot), Instant(0));
        }
        for (boot, noticed) in [(2, false), (3, false), (1, true), (1, false)] {
            let second = boards.asks(&board(boot), Instant(0));
            assert_eq!(second.is_some(), noticed, "{boot}");
            if let Some(second) = second {
                assert!(second.there.contains("is connected (boot 0202"), "{second:?}");
                assert!(second.other.contains("from 10.0.0.1 (boot 0101"), "{second:?}");
                assert!(second.other.contains("arm64, 4 CPUs, 1024 MiB"), "{second:?}");
            }
        }
        let later = |time| Instant(0) + time;
        assert_eq!(boards.asks(&board(1), later(GONE_AFTER - Duration::from_secs(1))), None);
        assert!(boards.asks(&board(1), later(GONE_AFTER * 2)).is_some());
    }

    #[test]
    fn another_state_directory_is_no_copy_of_the_card() {
        let mut boards = Boards::default();
        for (agent, boot) in [(1, 1), (2, 2), (1, 1), (2, 2)] {
            assert_eq!(boards.said_hello(&hello(agent, boot), Instant(0)), None);
        }
    }

    #[test]
    fn however_often_a_board_boots_little_is_remembered() {
        let mut boards = Boards::default();
        for boot in 0..=255 {
            boards.said_hello(&hello(1, boot), Instant(0));
        }
        assert_eq!(boards.known.len(), BOOTS);
    }
}
