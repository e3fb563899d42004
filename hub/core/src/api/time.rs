//! Timestamps of the API, RFC 3339 text, from and to Unix milliseconds; and ages, as kubectl prints them.

use alloc::{borrow::ToOwned, format, string::String};

use firmware_compat::time::UnixMs;

/// `2026-05-01T09:30:00Z`. Whole seconds, as Kubernetes prints them.
#[must_use]
pub fn rfc3339(at: UnixMs) -> String {
    let seconds = at / 1000;
    let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) =
        (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of a count of days since 1970, in the Gregorian calendar. Years start in March here, so that
/// the leap day is the last of its year; 146,097 days make 400 years.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// How long ago an RFC 3339 timestamp was, as kubectl prints it (`5s`, `3m20s`, `2d`); `<unknown>` if there is none.
#[must_use]
pub fn age(timestamp: Option<&str>, now_ms: u64) -> String {
    let then = timestamp.and_then(unix_seconds);
    then.map_or_else(|| "<unknown>".to_owned(), |then| human((now_ms / 1000).saturating_sub(then)))
}

/// Milliseconds since 1970 of a timestamp like `2026-05-01T09:30:00Z`; `None` for any other form.
#[must_use]
pub fn unix_ms(text: &str) -> Option<UnixMs> {
    unix_seconds(text)?.checked_mul(1000)
}

/// Seconds as kubectl shows them: two units where the first is small.
fn human(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |first: u64, unit: char, second: u64, smaller: char| match second {
        0 => format!("{first}{unit}"),
        second => format!("{first}{unit}{second}{smaller}"),
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, 'm', seconds % 60, 's'),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, 'h', minutes % 60, 'm'),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, 'd', hours % 24, 'h'),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => two(days / 365, 'y', days % 365, 'd'),
        _ => format!("{}y", days / 365),
    }
}

/// Seconds since 1970 of `2026-05-01T09:30:00Z`; `None` for any other form.
fn unix_seconds(text: &str) -> Option<u64> {
    let text = text.strip_suffix('Z')?;
    let (date, time) = text.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time.split('.').next()?, ':')?;
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years start in March, so that the leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    Some(days * 86_400 + hour.min(23) * 3600 + minute.min(59) * 60 + second.min(60))
}

fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let mut parts = text.split(separator).map(|part| part.parse().ok());
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_days_print_as_the_calendar_has_them() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_709_210_096_789), "2024-02-29T12:34:56Z");
        assert_eq!(rfc3339(4_107_542_399_000), "2100-02-28T23:59:59Z");
        assert_eq!(rfc3339(4_107_542_400_000), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn ages_read_as_kubectl_prints_them() {
        for (seconds, expected) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (200, "3m20s"),
            (600, "10m"),
            (10_740, "179m"),
            (10_800, "3h"),
            (11_000, "3h3m"),
            (30_000, "8h"),
            (180_000, "2d2h"),
            (700_000, "8d"),
            (70_000_000, "2y80d"),
            (300_000_000, "9y"),
        ] {
            assert_eq!(human(seconds), expected);
        }
    }

    #[test]
    fn what_is_no_timestamp_has_an_unknown_age() {
        for text in [
            "",
            "x",
            "2020-01-01",
            "2020-13-01T00:00:00Z",
            "1960-01-01T00:00:00Z",
            "2020-01-01T00:00Z",
        ] {
            assert_eq!(age(Some(text), 0), "<unknown>", "{text}");
        }
        assert_eq!(age(None, 0), "<unknown>");
        assert_eq!(age(Some("2099-01-01T00:00:00Z"), 0), "0s");
    }

    proptest! {
        #[test]
        fn a_timestamp_is_read_as_it_was_written(seconds in 0_u64..100_000_000_000) {
            prop_assert_eq!(unix_seconds(&rfc3339(seconds * 1000)), Some(seconds));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9TZ:.-]{0,24}|.{0,24}") {
            let _ = unix_seconds(&text);
        }
    }
}
