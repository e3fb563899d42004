//! Times on the command line: as Kubernetes writes them (Go's `time.ParseDuration`), or a plain number of seconds.

use std::time::Duration;

/// The longest that is taken: about 136 years. Beyond it is a slip of the finger, and clocks overflow somewhere.
const LONGEST: Duration = Duration::from_secs(u32::MAX as u64);
/// Units and their nanoseconds.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
    // Beyond Go: certificates last for days.
    ("d", 86_400e9),
];

/// Reads `30`, `5s`, `1.5h`, `2h45m` or `90d`.
///
/// # Errors
/// It is none of these; the sentence says how to write it.
pub fn duration(text: &str) -> Result<Duration, String> {
    let refused = || "write it like 30s, 2m, 1h30m, 90d or as a number of seconds".to_owned();
    let seconds = |nanos: f64| {
        let long = || format!("the longest time is {}s", LONGEST.as_secs());
        let time = Duration::try_from_secs_f64(nanos / 1e9).map_err(|_| long())?;
        if time <= LONGEST { Ok(time) } else { Err(long()) }
    };
    let mut rest = text;
    let mut nanos = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let number: f64 = number.parse().map_err(|_| refused())?;
        if after.is_empty() && text.len() == end {
            return seconds(number * 1e9);
        }
        let unit = UNITS.iter().find(|(unit, _)| {
            let of = after.strip_prefix(unit);
            // `m` is not the beginning of `ms`.
            of.is_some_and(|more| more.chars().next().is_none_or(|c| c.is_ascii_digit()))
        });
        let (unit, each) = unit.ok_or_else(refused)?;
        nanos += number * each;
        rest = &after[unit.len()..];
    }
    if text.is_empty() { Err(refused()) } else { seconds(nanos) }
}

/// Whole seconds, rounded up: what must be some time is never none.
#[must_use]
pub fn whole_seconds(time: Duration) -> u32 {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_kubernetes_writes_them() {
        for (text, millis) in [
            ("0", 0),
            ("30", 30_000),
            ("5s", 5_000),
            ("2m", 120_000),
            ("2d", 172_800_000),
            ("1h", 3_600_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            ("300ms", 300),
            ("1m5s500ms", 65_500),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_the_way_to_write_it() {
        for text in ["", "s", "5x", "-5s", "5 s", "1h30", "5s5", "1.2.3s", "five", "٣s", "+5", "."]
        {
            let refused = duration(text).expect_err(text);
            assert!(refused.contains("30s"), "{text}: {refused}");
        }
        for text in ["5000000000", "1200000h", &"9".repeat(400)] {
            assert!(duration(text).expect_err(text).contains("longest"), "{text}");
        }
    }

    #[test]
    fn part_of_a_second_is_a_second() {
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_secs(7)), 7);
        assert_eq!(whole_seconds(Duration::ZERO), 0);
    }
}
