//! Names of signals, as images spell them in `StopSignal`.

/// What asks a program to stop if its image does not say.
pub const TERM: i32 = 15;

/// The number behind `SIGTERM`, `TERM` or `15`. `None` for what is no signal of Linux, or one of its real-time ones.
#[must_use]
pub fn parse(text: &str) -> Option<i32> {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
        "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
        "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    if let Ok(number) = text.parse::<i32>() {
        return (1..=31).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let place = NAMES.iter().position(|known| *known == name)?;
    i32::try_from(place + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_known_by_name_and_number() {
        for (text, number) in [
            ("SIGTERM", 15),
            ("term", 15),
            ("SIGINT", 2),
            ("9", 9),
            ("SIGWINCH", 28),
            ("SIGQUIT", 3),
            ("SYS", 31),
        ] {
            assert_eq!(parse(text), Some(number), "{text}");
        }
        for text in ["", "0", "32", "SIGRTMIN", "-1", "SIG"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
