//! Prints wall-clock time as RFC 3339 in UTC with nanoseconds.

use std::time::{SystemTime, UNIX_EPOCH};

/// The machine's clock in milliseconds since 1970; 0 when it stands before that.
pub(crate) fn wall_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// The time now, such as `2024-02-29T23:59:59.000000001Z`.
pub(crate) fn stamp() -> String {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format(elapsed.as_secs(), elapsed.subsec_nanos())
}

fn format(seconds: u64, nanos: u32) -> String {
    format!("{}.{nanos:09}Z", date(seconds))
}

/// To the second.
pub(crate) fn seconds(seconds: u64) -> String {
    format!("{}Z", date(seconds))
}

fn date(seconds: u64) -> String {
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar. Years are counted from
/// March, so that the leap day is the last of its year; 400 years have 146097 days.
fn civil(day: u64) -> (u64, u64, u64) {
    let from_march_0 = day + 719_468;
    let era = from_march_0 / 146_097;
    let in_era = from_march_0 % 146_097;
    let year_in_era = (in_era - in_era / 1460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year_in_era + year_in_era / 4 - year_in_era / 100);
    let march_month = (5 * in_year + 2) / 153;
    let day = in_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_in_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::format;

    #[test]
    fn times_are_printed_as_the_calendar_has_them() {
        // Compared with `date -u -d @SECONDS`.
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000000001Z"),
            (951_782_399, "2000-02-28T23:59:59.000000001Z"),
            (951_782_400, "2000-02-29T00:00:00.000000001Z"),
            (951_868_800, "2000-03-01T00:00:00.000000001Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000000001Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000000001Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000001Z"),
        ] {
            assert_eq!(format(seconds, 1), expected);
        }
    }
}
