//! What the words of a table say to the eye: the hub picks the words, this picks the colour. A word that is not known here
//! is shown plain, or as something to look at where a state stands.

use super::ui::Tone;

/// States in which all is well.
const GOOD: [&str; 10] = [
    "Ready",
    "Running",
    "Completed",
    "Succeeded",
    "Complete",
    "Active",
    "Bound",
    "Available",
    "True",
    "Healthy",
];
/// Parts of words that say that something is wrong.
const BAD: [&str; 14] = [
    "NotReady",
    "Error",
    "Err",
    "Failed",
    "BackOff",
    "OOMKilled",
    "ExitCode",
    "Evicted",
    "Lost",
    "Invalid",
    "Unknown",
    "Paused",
    "Refused",
    "Exceeded",
];

/// The tone of a cell below a heading.
#[must_use]
pub fn of(heading: &str, text: &str) -> Tone {
    if text == "<none>" || text == "<unknown>" {
        return Tone::Dim;
    }
    match heading {
        "STATUS" => state(text),
        "TYPE" if text == "Warning" => Tone::Warn,
        "READY" => reached(text),
        _ => Tone::Plain,
    }
}

/// `Ready`, `NotReady,SchedulingDisabled`, `CrashLoopBackOff`.
#[must_use]
pub fn state(text: &str) -> Tone {
    if BAD.iter().any(|part| text.contains(part)) {
        return Tone::Bad;
    }
    let first = text.split([',', ' ']).next().unwrap_or_default();
    if GOOD.contains(&first) { Tone::Good } else { Tone::Warn }
}

/// `1/3`; a count alone says nothing.
fn reached(text: &str) -> Tone {
    match text.split_once('/') {
        Some((count, wanted)) if count == wanted => Tone::Good,
        Some(_) => Tone::Warn,
        None => Tone::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_their_colours() {
        for (heading, text, tone) in [
            ("STATUS", "Ready", Tone::Good),
            ("STATUS", "Ready,SchedulingDisabled", Tone::Good),
            ("STATUS", "NotReady", Tone::Bad),
            ("STATUS", "NotReady,SchedulingDisabled", Tone::Bad),
            ("STATUS", "CrashLoopBackOff", Tone::Bad),
            ("STATUS", "Init:Error", Tone::Bad),
            ("STATUS", "Init:0/1", Tone::Warn),
            ("STATUS", "ContainerCreating", Tone::Warn),
            ("STATUS", "ImageUnknown", Tone::Bad),
            ("STATUS", "Terminating", Tone::Warn),
            ("READY", "2/2", Tone::Good),
            ("READY", "0/1", Tone::Warn),
            ("READY", "3", Tone::Plain),
            ("TYPE", "Warning", Tone::Warn),
            ("TYPE", "Normal", Tone::Plain),
            ("NODE", "<none>", Tone::Dim),
            ("NAME", "Failed", Tone::Plain),
        ] {
            assert_eq!(of(heading, text), tone, "{heading} {text}");
        }
    }
}
