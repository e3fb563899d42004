//! Times of the API as ages, in kubectl's short form.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970 by this machine's clock.
#[must_use]
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default()
}

/// How long ago an RFC 3339 time was: `42s`, `5m12s`, `3h`, `12d`. `<unknown>` if there is none or it is none.
#[must_use]
pub fn since(time: Option<&str>, now_s: u64) -> String {
    match time.and_then(seconds) {
        // Clocks of two machines differ; an age can't be negative.
        Some(then) => short(now_s.saturating_sub(then)),
        None => "<unknown>".to_owned(),
    }
}

fn short(seconds: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let two = |big: u64, unit: char, small: u64, part: char| match small {
        0 => format!("{big}{unit}"),
        _ => format!("{big}{unit}{small}{part}"),
    };
    match seconds {
        s if s < 2 * MINUTE => format!("{s}s"),
        s if s < 10 * MINUTE => two(s / MINUTE, 'm', s % MINUTE, 's'),
        s if s < 3 * HOUR => format!("{}m", s / MINUTE),
        s if s < 8 * HOUR => two(s / HOUR, 'h', s % HOUR / MINUTE, 'm'),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s if s < 8 * DAY => two(s / DAY, 'd', s % DAY / HOUR, 'h'),
        s if s < 730 * DAY => format!("{}d", s / DAY),
        s => two(s / (365 * DAY), 'y', s / DAY % 365, 'd'),
    }
}

/// Seconds since 1970 of `2026-05-01T09:30:00Z`; fractions are dropped.
fn seconds(time: &str) -> Option<u64> {
    let (date, clock) = time.strip_suffix('Z')?.split_once('T')?;
    let clock = clock.split('.').next()?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut clock = clock.splitn(3, ':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let fits = (1970..10_000).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 61;
    fits.then(|| days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days since 1970 in the Gregorian calendar, with years that start in March.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use lichen_hub_core::api::time::rfc3339;
    use proptest::prelude::*;

    #[test]
    fn ages_read_as_in_kubectl() {
        for (seconds, expected) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (312, "5m12s"),
            (3599, "59m"),
            (4 * 3600 + 60, "4h1m"),
            (30 * 3600, "30h"),
            (3 * 86_400 + 7200, "3d2h"),
            (100 * 86_400, "100d"),
            (800 * 86_400, "2y70d"),
        ] {
            assert_eq!(short(seconds), expected);
        }
        assert_eq!(since(Some("1970-01-01T00:00:10Z"), 5), "0s");
        assert_eq!(since(None, 5), "<unknown>");
        assert_eq!(since(Some("soon"), 5), "<unknown>");
    }

    proptest! {
        #[test]
        fn every_time_of_the_hub_is_read_back(at in 0..250_000_000_000_u64) {
            prop_assert_eq!(seconds(&rfc3339(at * 1000)), Some(at));
        }

        #[test]
        fn any_text_is_a_time_or_not(text in "[0-9TZ:.-]{0,30}|.{0,10}") {
            let _ = seconds(&text);
        }
    }
}
