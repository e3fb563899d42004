//! How long ago something was, as kubectl prints it: `5s`, `3m20s`, `2d`.

/// The time since an RFC 3339 timestamp; `<unknown>` if there is none.
pub(super) fn since(timestamp: Option<&str>, now_ms: u64) -> String {
    let then = timestamp.and_then(unix_seconds);
    then.map_or_else(|| "<unknown>".to_owned(), |then| human((now_ms / 1000).saturating_sub(then)))
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
    use lichen_hub_core::api::time::rfc3339;
    use proptest::prelude::*;

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
            assert_eq!(since(Some(text), 0), "<unknown>", "{text}");
        }
        assert_eq!(since(None, 0), "<unknown>");
        assert_eq!(since(Some("2099-01-01T00:00:00Z"), 0), "0s");
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
