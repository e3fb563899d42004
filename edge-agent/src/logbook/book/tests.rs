//! A logbook over restarts, power cuts and damage.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

use proptest::prelude::*;

use super::*;

const BOOT: BootId = BootId([7; 16]);

fn happened(number: u64) -> Happened {
    let (reason, message) = ("Started".to_owned(), format!("started with process id {number}"));
    Happened { at_ms: number, known_ms: 1, pod: Some(PodId([1; 16])), reason, message }
}

fn open(dir: &Path) -> Book {
    Book::open(dir, BOOT, Written::default()).unwrap()
}

fn records(dir: &Path) -> PathBuf {
    dir.join("logbook/records")
}

/// What a hub would say that takes it all.
fn taken(handover: &Handover) -> Kept {
    let line = handover.lines.last().unwrap();
    let record = read(line.as_bytes()).unwrap();
    let hash = Text::cut(&hash(line.as_bytes()));
    Kept { log: record.log, sequence: record.sequence, hash }
}

#[test]
fn what_is_noted_is_one_chain_over_restarts_and_is_handed_over_once() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let mut book = open(dir.path());
        assert_eq!(book.is_pending(), round > 0);
        book.note(&[happened(1), happened(2)]).unwrap();
    }
    let mut book = open(dir.path());
    let handover = book.handover().unwrap();
    assert_eq!(handover.lines.len(), 6);
    let lines: Vec<Vec<u8>> = handover.lines.iter().map(|line| line.as_bytes().to_vec()).collect();
    assert_eq!(chain_of(&lines).unwrap().1.0, 6);
    book.is_kept(&taken(&handover)).unwrap();
    assert!(!book.is_pending() && !open(dir.path()).is_pending());
    book.note(&[happened(3)]).unwrap();
    assert_eq!(open(dir.path()).handover().unwrap().lines.len(), 1);
}

#[test]
fn it_never_grows_beyond_its_two_files_and_the_numbers_say_what_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut book = open(dir.path());
    for _ in 0..100 {
        let batch: Vec<Happened> = (0..32).map(happened).collect();
        book.note(&batch).unwrap();
    }
    let size = |name: &str| fs::metadata(dir.path().join("logbook").join(name)).unwrap().len();
    assert!(size("records") + size("records.before") < 3 * FILE_BYTES);
    let first = read(open(dir.path()).handover().unwrap().lines[0].as_bytes()).unwrap();
    assert!(first.sequence > 1000, "{}", first.sequence);
    assert_eq!(book.newest.0, 3200);
}

#[test]
fn half_a_line_is_cut_off_and_the_chain_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).note(&[happened(1), happened(2)]).unwrap();
    let bytes = fs::read(records(dir.path())).unwrap();
    fs::write(records(dir.path()), &bytes[..bytes.len() - 9]).unwrap();
    let mut book = open(dir.path());
    assert_eq!(book.newest.0, 1);
    book.note(&[happened(3)]).unwrap();
    assert_eq!(open(dir.path()).newest.0, 2);
}

#[test]
fn a_logbook_that_was_altered_is_put_aside_and_another_one_begun() {
    let dir = tempfile::tempdir().unwrap();
    let mut book = open(dir.path());
    book.note(&[happened(1), happened(2), happened(3)]).unwrap();
    let before = book.log.clone();
    let text = fs::read_to_string(records(dir.path())).unwrap();
    fs::write(records(dir.path()), text.replacen("process id 2", "process id 9", 1)).unwrap();
    let book = open(dir.path());
    assert_ne!(book.log, before);
    assert_eq!(book.newest.0, 0);
    assert!(dir.path().join("logbook/records.damaged").exists());
}

#[test]
fn a_hub_that_knows_more_or_something_else_makes_it_begin_another_one() {
    for (sequence, hash) in [(9, "0"), (1, "f")] {
        let dir = tempfile::tempdir().unwrap();
        let mut book = open(dir.path());
        book.note(&[happened(1)]).unwrap();
        let before = book.log.clone();
        let kept = Kept { log: Text::cut(&before), sequence, hash: Text::cut(&hash.repeat(64)) };
        book.is_kept(&kept).unwrap();
        assert_ne!(book.log, before);
        assert!(!book.is_pending());
    }
    // One that takes nothing is not asked for ever.
    let dir = tempfile::tempdir().unwrap();
    let mut book = open(dir.path());
    book.note(&[happened(1)]).unwrap();
    let kept = Kept { log: Text::cut(&book.log), sequence: 0, hash: Text::cut(&"0".repeat(64)) };
    assert!(book.is_kept(&kept).is_err());
}

#[test]
fn the_longest_record_fits_a_line_and_as_many_as_travel_at_once_fit_a_document() {
    let dir = tempfile::tempdir().unwrap();
    let mut book = open(dir.path());
    for long in ["\"", "\\", "\u{1}", "ä"] {
        let long = Happened { message: long.repeat(2000), ..happened(1) };
        book.note(&vec![long; LINES]).unwrap();
    }
    let handover = book.handover().unwrap();
    assert_eq!(handover.lines.len(), LINES);
    let json = serde_json::to_vec(&handover).unwrap();
    assert!(json.len() < firmware_compat::enrolment::MAX_DOCUMENT_BYTES, "{}", json.len());
}

proptest! {
    #[test]
    fn garbage_is_no_obstacle(
        files in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 3),
    ) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("logbook")).unwrap();
        for (name, bytes) in ["records", "records.before", "kept"].iter().zip(&files) {
            fs::write(dir.path().join("logbook").join(name), bytes).unwrap();
        }
        let mut book = open(dir.path());
        book.note(&[happened(1)]).unwrap();
        prop_assert_eq!(open(dir.path()).handover().unwrap().lines.len(), 1);
    }
}
