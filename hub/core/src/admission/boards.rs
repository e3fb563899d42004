//! Which boards come under one name, by their boot ids. A boot never comes back: whoever shows one after another boot
//! had the name is a second board, with a copy of the first one's key and agent id. Most often somebody has copied an
//! SD card.
//!
//! The first time that another boot comes, it looks like a reboot, and is let in. From then on whoever holds the name
//! keeps it for as long as it is connected, so that neither board pushes the other out in turn.

use alloc::vec::Vec;
use core::time::Duration;

use firmware_compat::{id::BootId, time::Instant};

/// Boots that are remembered for one name: its board's last ones, and those of its copies that still knock.
pub const BOOTS: usize = 4;
/// A second board that was not seen for this long is gone for good, and news when it comes again. One that is kept out
/// knocks every minute.
pub const SECOND_BOARD_GONE: Duration = Duration::from_hours(24);

/// What is known of the boards under one name.
#[derive(Debug)]
pub struct Boards<B> {
    /// The one that had the name last, then those before it.
    known: Vec<(BootId, B)>,
    /// When a second board was seen last.
    second_seen: Option<Instant>,
}

/// Who comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comer<B> {
    /// The board that had the name last, or one that was never seen.
    Expected,
    /// A board that another one has replaced.
    Second {
        /// The one that had the name last.
        other: B,
        /// It was not seen for long: this is news.
        is_news: bool,
    },
}

impl<B> Default for Boards<B> {
    fn default() -> Self {
        Self { known: Vec::new(), second_seen: None }
    }
}

impl<B: Copy> Boards<B> {
    /// Takes note of a board that wants to come in. A second board does not while the other one `is_there`.
    pub fn comes(&mut self, boot: BootId, board: B, is_there: bool, now: Instant) -> Comer<B> {
        let place = self.known.iter().position(|(known, _)| *known == boot);
        match (place, self.known.first().copied()) {
            (Some(place @ 1..), Some((_, other))) => {
                self.known.remove(place);
                // The other one stays first while it is there.
                self.known.insert(usize::from(is_there), (boot, board));
                let seen = self.second_seen.replace(now);
                let is_news = seen.is_none_or(|seen| now.since(seen) >= SECOND_BOARD_GONE);
                Comer::Second { other, is_news }
            }
            (place, _) => {
                match place {
                    Some(place) => self.known[place] = (boot, board),
                    None => self.known.insert(0, (boot, board)),
                }
                self.known.truncate(BOOTS);
                Comer::Expected
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn comes(boards: &mut Boards<u8>, boot: u8, is_there: bool, now: Instant) -> Comer<u8> {
        boards.comes(BootId([boot; 16]), boot, is_there, now)
    }

    /// Boots that come one after the other, each while the one before is still there.
    fn check(boots: &[u8], expected: &[bool]) {
        let mut boards = Boards::default();
        let came: Vec<bool> = boots
            .iter()
            .map(|boot| comes(&mut boards, *boot, true, Instant(0)) == Comer::Expected)
            .collect();
        assert_eq!(came, expected, "{boots:?}");
    }

    #[test]
    fn a_reboot_is_let_in_and_a_boot_that_comes_back_is_a_second_board() {
        check(&[1, 1, 1], &[true, true, true]);
        check(&[1, 2, 3, 3, 4], &[true, true, true, true, true]);
        check(&[1, 2, 1, 1, 2, 1], &[true, true, false, false, true, false]);
        check(&[1, 2, 1, 3, 1, 2, 3], &[true, true, false, true, false, false, true]);
    }

    #[test]
    fn a_second_board_takes_the_name_when_the_other_is_gone_and_keeps_it() {
        let mut boards = Boards::default();
        for boot in [1, 2] {
            comes(&mut boards, boot, true, Instant(0));
        }
        let first_is_back = comes(&mut boards, 1, false, Instant(0));
        assert_eq!(first_is_back, Comer::Second { other: 2, is_news: true });
        assert_eq!(comes(&mut boards, 1, true, Instant(0)), Comer::Expected);
        let second = comes(&mut boards, 2, true, Instant(0));
        assert_eq!(second, Comer::Second { other: 1, is_news: false });
    }

    #[test]
    fn two_boards_are_news_once_until_one_was_gone_for_long() {
        let mut boards = Boards::default();
        for boot in [1, 2] {
            comes(&mut boards, boot, true, Instant(0));
        }
        let mut now = Instant(0);
        let mut is_news = |after: Duration| {
            now = now + after;
            let comer = comes(&mut boards, 1, true, now);
            matches!(comer, Comer::Second { is_news: true, .. })
        };
        assert!(is_news(Duration::ZERO));
        assert!(!is_news(Duration::from_secs(30)));
        assert!(!is_news(SECOND_BOARD_GONE - Duration::from_secs(1)));
        assert!(is_news(SECOND_BOARD_GONE));
    }

    #[test]
    fn a_board_that_knocks_is_remembered_however_often_the_other_boots() {
        let mut boards = Boards::default();
        comes(&mut boards, 1, true, Instant(0));
        for boot in 2..100 {
            assert_eq!(comes(&mut boards, boot, true, Instant(0)), Comer::Expected, "{boot}");
            let knock = comes(&mut boards, 1, true, Instant(0));
            assert!(matches!(knock, Comer::Second { .. }), "{boot}");
            assert!(boards.known.len() <= BOOTS);
        }
    }
}
