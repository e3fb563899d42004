//! Reads the signal that an image names for its graceful stop.
//!
//! Source: OCI image specification `config.md` (StopSignal): `SIGNAME` or an unsigned number; numbers are those of
//! Linux on every architecture that Lichen runs on.

/// The number of a signal written as `SIGTERM`, `TERM`, `15` or `SIGRTMIN+3`, if there is such a signal.
pub fn number(text: &str) -> Option<i32> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().filter(|number| (1..=LAST_REAL_TIME).contains(number));
    }
    let name = text.strip_prefix("SIG").unwrap_or(text);
    if let Some(offset) = name.strip_prefix("RTMIN") {
        return real_time(offset, '+').map(|offset| FIRST_REAL_TIME + offset);
    }
    if let Some(offset) = name.strip_prefix("RTMAX") {
        return real_time(offset, '-').map(|offset| LAST_REAL_TIME - offset);
    }
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// The first that the C library leaves to programs; it keeps 32 and 33 to itself.
const FIRST_REAL_TIME: i32 = 34;
const LAST_REAL_TIME: i32 = 64;

fn real_time(offset: &str, sign: char) -> Option<i32> {
    if offset.is_empty() {
        return Some(0);
    }
    let offset = offset.strip_prefix(sign)?.parse().ok()?;
    (0..=LAST_REAL_TIME - FIRST_REAL_TIME).contains(&offset).then_some(offset)
}

const NAMES: [(&str, i32); 19] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ABRT", 6),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_in_every_spelling_that_images_use() {
        let table = [
            ("SIGTERM", Some(15)),
            ("QUIT", Some(3)),
            ("9", Some(9)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX", Some(64)),
            ("RTMAX-1", Some(63)),
            ("SIGWINCH", Some(28)),
        ];
        for (text, expected) in table {
            assert_eq!(number(text), expected, "{text}");
        }
        for text in ["", "0", "65", "-1", "TERMINATE", "SIGRTMIN+31", "RTMIN-1", "99999999999"] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
