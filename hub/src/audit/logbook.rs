//! Devices' logbooks ([`firmware_compat::logbook`]) as entries: each record is one, with its place in the logbook, so that the
//! log itself knows what of each device it has; and an entry of the hub's own wherever a logbook does not go on as it ended.

use std::{collections::BTreeMap, io, path::Path};

use firmware_compat::logbook::{MAX_SEQUENCE, Record};
use lichen_hub_core::api::{Kind, time::rfc3339};
use serde::{Deserialize, Serialize};

use super::{Entry, LineHash, filter::Filter, read::Reader};

/// What devices' names begin with as actors.
const DEVICE: &str = "system:node:";
/// The verb of a device's own entries, and of what the hub says of a logbook.
pub const VERB: &str = "log";
const VERB_OF_HUB: &str = "logbook";

/// A place in a logbook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// Which logbook.
    pub log: String,
    /// Which record of it.
    pub sequence: u64,
    /// SHA-256 of that one's line.
    pub hash: String,
}

/// A record as it was handed over.
#[derive(Clone, Debug)]
pub struct Line {
    record: Record,
    hash: String,
}

impl Line {
    /// Reads one; none if it is no record.
    #[must_use]
    pub fn read(line: &[u8]) -> Option<Self> {
        let record: Record = serde_json::from_slice(line).ok()?;
        LineHash::parse(&record.previous)?;
        let sound = (1..MAX_SEQUENCE).contains(&record.sequence) && !record.log.is_empty();
        sound.then(|| Self { record, hash: LineHash::of(line).to_string() })
    }

    fn place(&self) -> Place {
        let Record { log, sequence, .. } = &self.record;
        Place { log: log.as_str().to_owned(), sequence: *sequence, hash: self.hash.clone() }
    }
}

/// The entries that a handover makes, and what the hub has then. `known`: what it had. `by`: an entry of the device.
#[must_use]
pub fn take(
    device: &str,
    known: Option<&Place>,
    lines: &[Line],
    by: &Entry,
) -> (Vec<Entry>, Option<Place>) {
    let mut place = known.cloned();
    let mut entries = Vec::new();
    for line in lines {
        match judge(place.as_ref(), line) {
            Judged::Had => continue,
            Judged::Follows => {}
            Judged::Breaks(why) => {
                let about = Entry::of_hub(VERB_OF_HUB, why);
                let (resource, name) = (Kind::Node.plural().to_owned(), device.to_owned());
                entries.push(Entry { resource, name, ..about });
            }
        }
        place = Some(line.place());
        entries.push(entry(device, line, by));
    }
    (entries, place)
}

enum Judged {
    /// The hub has it.
    Had,
    /// It goes on where the hub's knowledge ends.
    Follows,
    /// It does not; why, in words.
    Breaks(String),
}

fn judge(known: Option<&Place>, line: &Line) -> Judged {
    let Record { log, sequence, previous, .. } = &line.record;
    let Some(known) = known else {
        return match sequence {
            1 => Judged::Follows,
            _ => Judged::Breaks(format!(
                "what the device noted before record {sequence} of its logbook is not known here"
            )),
        };
    };
    if known.log != log.as_str() {
        return Judged::Breaks(format!(
            "the device has begun another logbook: its own was lost, damaged or altered after record {}",
            known.sequence
        ));
    }
    let next = known.sequence + 1;
    match sequence {
        _ if *sequence < known.sequence => Judged::Had,
        _ if *sequence == known.sequence && line.hash == known.hash => Judged::Had,
        _ if *sequence == known.sequence => Judged::Breaks(format!(
            "record {sequence} of the device's logbook is not the one that it handed over before: it was altered"
        )),
        _ if *sequence > next => Judged::Breaks(format!(
            "records {next} to {} of the device's logbook are missing: it was full, or they were taken out",
            sequence - 1
        )),
        _ if previous.as_str() != known.hash => Judged::Breaks(format!(
            "record {sequence} of the device's logbook does not follow the one that it handed over before: it was altered"
        )),
        _ => Judged::Follows,
    }
}

fn entry(device: &str, line: &Line, by: &Entry) -> Entry {
    let Record { at_ms, pod, reason, message, .. } = &line.record;
    let (resource, name) = match pod {
        Some(pod) => (Kind::Pod.plural(), pod.to_string()),
        None => (Kind::Node.plural(), device.to_owned()),
    };
    let at = rfc3339(*at_ms);
    Entry {
        verb: VERB.to_owned(),
        resource: resource.to_owned(),
        name,
        note: format!("{reason}: {message} ({at} by its clock)"),
        logbook: Some(line.place()),
        ..by.clone()
    }
}

/// What a log has of each device.
///
/// # Errors
/// It can't be read.
pub fn known(dir: &Path) -> io::Result<BTreeMap<String, Place>> {
    let mut known = BTreeMap::new();
    let filter = Filter { verb: Some(VERB.to_owned()), ..Filter::default() };
    let mut reader = Reader::new(dir, filter);
    loop {
        let batch = reader.look()?;
        for line in batch.lines.split(|byte| *byte == b'\n') {
            let Some((entry, _)) = Entry::parse(line) else { continue };
            let device = entry.actor.strip_prefix(DEVICE).map(str::to_owned);
            if let (Some(device), Some(place)) = (device, entry.logbook) {
                known.insert(device, place);
            }
        }
        if batch.at_end {
            return Ok(known);
        }
    }
}

#[cfg(test)]
mod tests {
    use firmware_compat::{
        id::BootId,
        logbook::{HASH, Text},
    };

    use super::*;

    /// A logbook of so many records.
    fn book(log: &str, count: u64, message: &str) -> Vec<Line> {
        let mut previous = "0".repeat(HASH);
        let line = |sequence| {
            let record = Record {
                log: Text::cut(log),
                sequence,
                at_ms: 0,
                known_ms: 0,
                boot: BootId([0; 16]),
                pod: None,
                reason: Text::cut("Started"),
                message: Text::cut(message),
                previous: Text::cut(&previous),
            };
            let line = serde_json::to_vec(&record).expect("JSON");
            previous = LineHash::of(&line).to_string();
            Line::read(&line).expect("a record")
        };
        (1..=count).map(line).collect()
    }

    fn by() -> Entry {
        Entry { actor: "system:node:pi".into(), ..Entry::default() }
    }

    /// What becomes of a handover after another one: notes of the hub, and how many records are new.
    fn check(had: &[Line], given: &[Line], expected: &str, new: usize) {
        let (_, known) = take("pi", None, had, &by());
        let (entries, place) = take("pi", known.as_ref(), given, &by());
        let (own, notes): (Vec<_>, Vec<_>) =
            entries.iter().partition(|entry| entry.logbook.is_some());
        let said: Vec<&str> = notes.iter().map(|entry| entry.note.as_str()).collect();
        assert!(said.len() <= 1, "{said:?}");
        assert!(said.first().map_or("", |note| note).contains(expected), "{said:?}");
        assert_eq!((said.is_empty(), own.len()), (expected.is_empty(), new), "{said:?}");
        if new > 0 {
            assert_eq!(place, given.last().map(Line::place));
        } else {
            assert_eq!(place, known);
        }
    }

    #[test]
    fn a_logbook_goes_on_where_it_ended_or_it_is_said_why_not() {
        let ours = book("a", 9, "ours");
        let forged = book("a", 9, "forged");
        check(&ours[..4], &ours[4..], "", 5);
        check(&ours[..4], &ours[2..], "", 5);
        check(&ours[..4], &ours[..4], "", 0);
        check(&ours[..4], &ours[..2], "", 0);
        check(&ours[..4], &ours[6..], "records 5 to 6 of the device's logbook are missing", 3);
        check(&ours[..4], &forged[4..], "does not follow", 5);
        check(&ours[..4], &forged[3..], "record 4 of the device's logbook is not the one", 6);
        check(&ours[..4], &book("b", 3, "new"), "begun another logbook", 3);
        check(&[], &ours[..3], "", 3);
        check(&[], &ours[3..], "before record 4 of its logbook is not known", 6);
    }

    #[test]
    fn what_is_no_record_is_none() {
        for text in ["", "{}", "[]", "{\"log\":\"a\",\"sequence\":0}"] {
            assert!(Line::read(text.as_bytes()).is_none(), "{text}");
        }
    }
}
