//! Which boards come under one name, by their boot ids. A boot never comes back: whoever shows one after another boot
//! had the name is a second board, with a copy of the first one's key and agent id. Most often somebody has copied an
//! SD card.
//!
//! The first time that another boot comes, it looks like a reboot, and is let in. From then on whoever holds the name
//! keeps it for as long as it is connected, so that neither board pushes the other out in turn.

use firmware_compat::time::Instant;

use super::limits::{BOOTS, SECOND_BOARD_GONE};
use crate::Board;

/// What is known of the boards under one name.
#[derive(Debug, Default)]
pub(crate) struct Boards {
    /// The one that had the name last, then those before it.
    known: Vec<Board>,
    /// When a second board was seen last.
    second_seen: Option<Instant>,
}

/// Who comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comer {
    /// The board that had the name last, or one that was never seen.
    Expected,
    /// A board that another one has replaced.
    Second {
        /// The one that had the name last.
        other: Board,
        /// It was not seen for long: this is news.
        is_news: bool,
    },
}

impl Boards {
    /// Takes note of a board that wants to come in. A second board does not while the other one `is_there`.
    pub(crate) fn comes(&mut self, board: Board, is_there: bool, now: Instant) -> Comer {
        let place = self.known.iter().position(|known| known.boot == board.boot);
        match (place, self.known.first().copied()) {
            (Some(place @ 1..), Some(other)) => {
                self.known.remove(place);
                // The other one stays first while it is there.
                self.known.insert(usize::from(is_there), board);
                let seen = self.second_seen.replace(now);
                let is_news = seen.is_none_or(|seen| now.since(seen) >= SECOND_BOARD_GONE);
                Comer::Second { other, is_news }
            }
            (place, _) => {
                match place {
                    Some(place) => self.known[place] = board,
                    None => self.known.insert(0, board),
                }
                self.known.truncate(BOOTS);
                Comer::Expected
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use firmware_compat::id::{AgentId, BootId};

    use super::*;

    fn board(boot: u8) -> Board {
        let address = std::net::SocketAddr::from(([10, 0, 0, boot], 1));
        Board { agent: AgentId([1; 16]), boot: BootId([boot; 16]), address }
    }

    /// Boots that come one after the other, each while the one before is still there.
    fn check(boots: &[u8], expected: &[bool]) {
        let mut boards = Boards::default();
        let came: Vec<bool> = boots
            .iter()
            .map(|boot| boards.comes(board(*boot), true, Instant(0)) == Comer::Expected)
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
            boards.comes(board(boot), true, Instant(0));
        }
        let first_is_back = boards.comes(board(1), false, Instant(0));
        assert_eq!(first_is_back, Comer::Second { other: board(2), is_news: true });
        assert_eq!(boards.comes(board(1), true, Instant(0)), Comer::Expected);
        let second = boards.comes(board(2), true, Instant(0));
        assert_eq!(second, Comer::Second { other: board(1), is_news: false });
    }

    #[test]
    fn two_boards_are_news_once_until_one_was_gone_for_long() {
        let mut boards = Boards::default();
        for boot in [1, 2] {
            boards.comes(board(boot), true, Instant(0));
        }
        let mut now = Instant(0);
        let mut is_news = |after: Duration| {
            now = now + after;
            let comer = boards.comes(board(1), true, now);
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
        boards.comes(board(1), true, Instant(0));
        for boot in 2..100 {
            assert_eq!(boards.comes(board(boot), true, Instant(0)), Comer::Expected, "{boot}");
            let knock = boards.comes(board(1), true, Instant(0));
            assert!(matches!(knock, Comer::Second { .. }), "{boot}");
            assert!(boards.known.len() <= BOOTS);
        }
    }
}
