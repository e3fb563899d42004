//! A log that is written, and then cut, altered and mixed up.

use std::{fs, path::PathBuf};

use proptest::prelude::*;

use super::{
    filter::Filter,
    log::{Limits, Log},
    read::Reader,
    verify::verify,
    *,
};

/// So small that every few entries make a file.
const SMALL: Limits = Limits { file_bytes: 1000, files: 3 };
/// One file for all that a test writes.
const ONE_FILE: Limits = Limits { file_bytes: 1 << 20, files: 3 };

fn entry(name: &str) -> Entry {
    let (actor, verb, resource) = ("jane".into(), "create".into(), "pods".into());
    Entry { actor, verb, resource, name: name.into(), code: 201, ..Entry::default() }.at(1_000)
}

fn state() -> (tempfile::TempDir, PathBuf) {
    let state = tempfile::tempdir().expect("a directory");
    let dir = state.path().join(DIR);
    (state, dir)
}

fn open(state: &tempfile::TempDir, limits: Limits) -> (Log, Vec<String>) {
    Log::open(state.path(), limits).expect("a log")
}

/// Writes so many entries, one by one.
fn write(state: &tempfile::TempDir, limits: Limits, count: usize) {
    let (mut log, found) = open(state, limits);
    assert_eq!(found, [""; 0]);
    for number in 0..count {
        log.append(&mut [entry(&format!("pod-{number}"))]).expect("room");
    }
}

/// A log of ten entries in one file, and its lines.
fn ten() -> (tempfile::TempDir, PathBuf, Vec<String>) {
    let (state, dir) = state();
    write(&state, ONE_FILE, 10);
    let file = files(&dir).expect("files").remove(0).1;
    let text = fs::read_to_string(&file).expect("text");
    (state, file, text.lines().map(str::to_owned).collect())
}

/// What is found in a log: where and what.
fn faults(dir: &Path) -> String {
    let report = verify(dir).expect("a report");
    let faults = report.faults.iter().map(|fault| format!("{} {}", fault.line, fault.kind));
    faults.collect::<Vec<_>>().join(", ")
}

/// What is found if a log of ten entries has other lines.
fn found_in(alter: impl FnOnce(&mut Vec<String>)) -> String {
    let (_state, file, mut lines) = ten();
    alter(&mut lines);
    fs::write(&file, lines.iter().map(|line| format!("{line}\n")).collect::<String>())
        .expect("a file");
    faults(file.parent().expect("a directory"))
}

fn read(dir: &Path, filter: Filter) -> Vec<Entry> {
    let mut reader = Reader::new(dir, filter);
    let mut entries = Vec::new();
    loop {
        let batch = reader.look().expect("lines");
        let lines = batch.lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        entries.extend(lines.map(|line| Entry::parse(line).expect("an entry").0));
        if batch.at_end {
            return entries;
        }
    }
}

#[test]
fn what_is_written_is_read_and_sound_over_every_border_and_start() {
    let (state, dir) = state();
    for round in 0..4 {
        write(&state, Limits { files: 100, ..SMALL }, 5);
        let report = verify(&dir).expect("a report");
        assert!(report.is_sound() && report.has_head, "{report:?}");
        assert_eq!((report.oldest, report.newest), (1, (round + 1) * 5));
    }
    assert!(files(&dir).expect("files").len() > 3);
    let names: Vec<String> = read(&dir, Filter::default()).into_iter().map(|e| e.name).collect();
    assert_eq!(names[4..7], ["pod-4", "pod-0", "pod-1"]);
}

#[test]
fn the_oldest_file_goes_and_the_rest_stays_provable() {
    let (state, dir) = state();
    write(&state, SMALL, 40);
    assert_eq!(files(&dir).expect("files").len(), 3);
    let report = verify(&dir).expect("a report");
    assert!(report.is_sound() && report.oldest > 20 && report.newest == 40, "{report:?}");
    // One that somebody else deletes is missed.
    let oldest = files(&dir).expect("files").remove(0).1;
    fs::remove_file(oldest).expect("deleted");
    assert_eq!(faults(&dir), "1 missing");
    // Without what is kept apart, the beginning and the end are taken as they are.
    fs::remove_file(head::path_of(&dir)).expect("deleted");
    let report = verify(&dir).expect("a report");
    assert!(report.is_sound() && !report.has_head, "{report:?}");
}

#[test]
fn what_was_altered_is_found_where_it_was() {
    assert_eq!(found_in(|_| {}), "");
    assert_eq!(found_in(|lines| lines[3] = lines[3].replace("jane", "joan")), "4 changed");
    assert_eq!(found_in(|lines| lines[9] = lines[9].replace("jane", "joan")), "10 changed");
    assert_eq!(found_in(|lines| lines[0] = lines[0].replace("jane", "joan")), "1 changed");
    assert_eq!(found_in(|lines| drop(lines.remove(4))), "5 missing");
    assert_eq!(found_in(|lines| drop(lines.remove(0))), "1 missing");
    assert_eq!(found_in(|lines| drop(lines.pop())), "9 cut");
    assert_eq!(found_in(|lines| lines.swap(4, 5)), "5 missing, 6 reordered, 7 missing");
    assert_eq!(found_in(|lines| lines.insert(2, lines[1].clone())), "3 reordered");
    assert_eq!(found_in(|lines| lines[5] = "rubbish".into()), "6 unreadable");
    assert_eq!(found_in(|lines| lines[5] = "x".repeat(3 * MAX_LINE_BYTES)), "6 unreadable");
    assert_eq!(found_in(Vec::clear), "0 cut");
}

#[test]
fn who_writes_the_rest_anew_has_another_hash_at_the_end() {
    let (state, dir, ours) = {
        let (state, dir) = state();
        write(&state, ONE_FILE, 10);
        let hash = verify(&dir).expect("a report").newest_hash;
        (state, dir, hash)
    };
    let (other, forged) = self::state();
    let (mut log, _) = open(&other, ONE_FILE);
    for number in 0..10 {
        let mut entry = entry(&format!("pod-{number}"));
        if number == 3 {
            entry.actor = "joan".into();
        }
        log.append(&mut [entry]).expect("room");
    }
    let theirs = verify(&forged).expect("a report");
    assert!(theirs.is_sound() && theirs.newest_hash != ours);
    // And what the hub keeps apart does not know it.
    let from = files(&forged).expect("files").remove(0).1;
    fs::copy(from, files(&dir).expect("files").remove(0).1).expect("copied");
    assert_eq!(faults(&dir), "10 changed");
    drop(state);
}

#[test]
fn half_a_line_is_cut_off_at_the_next_start_and_told() {
    let (state, file, lines) = ten();
    let dir = file.parent().expect("a directory");
    let torn = format!("{}\n{}", lines.join("\n"), &lines[0][..20]);
    fs::write(&file, torn).expect("a file");
    assert_eq!(faults(dir), "", "it may be being written");
    let (mut log, found) = open(&state, ONE_FILE);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("only in part"), "{found:?}");
    log.append(&mut [entry("next")]).expect("room");
    assert_eq!(faults(dir), "");
    assert_eq!(read(dir, Filter::default()).len(), 11);
}

#[test]
fn what_was_taken_away_while_the_hub_was_stopped_is_told_and_stays_visible() {
    let (state, file, lines) = ten();
    let dir = file.parent().expect("a directory");
    fs::write(&file, lines[..7].iter().map(|line| format!("{line}\n")).collect::<String>())
        .expect("a file");
    let (mut log, found) = open(&state, ONE_FILE);
    assert!(found.len() == 1 && found[0].contains("ends with entry 7"), "{found:?}");
    log.append(&mut [entry("next")]).expect("room");
    assert_eq!(faults(dir), "8 missing");
    let (mut log, found) = open(&state, ONE_FILE);
    assert_eq!(found, [""; 0]);
    log.append(&mut [entry("next")]).expect("room");
    assert_eq!(faults(dir), "8 missing");
    // All of it.
    fs::remove_dir_all(dir).expect("deleted");
    let (mut log, found) = open(&state, ONE_FILE);
    assert!(found.len() == 1 && found[0].contains("before entry 12"), "{found:?}");
    log.append(&mut [entry("next")]).expect("room");
    assert_eq!(faults(dir), "1 missing");
}

#[test]
fn a_start_never_writes_behind_what_it_can_not_read() {
    let (state, file, mut lines) = ten();
    let dir = file.parent().expect("a directory");
    lines[9] = "rubbish".into();
    let garbage = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    fs::write(&file, &garbage).expect("a file");
    let (mut log, found) = open(&state, ONE_FILE);
    assert_eq!(found.len(), 2, "{found:?}");
    log.append(&mut [entry("next")]).expect("room");
    assert_eq!(fs::read_to_string(&file).expect("text"), garbage);
    assert_eq!(faults(dir), "10 unreadable");
    assert_eq!(files(dir).expect("files").len(), 2);
}

#[test]
fn a_batch_that_finds_no_room_is_not_there_and_can_be_tried_again() {
    let (state, dir) = state();
    let (mut log, _) = open(&state, ONE_FILE);
    // The directory of a file that is to be begun is gone: no disk refuses more.
    fs::remove_dir_all(&dir).expect("deleted");
    let mut batch = [entry("a"), entry("b")];
    assert!(log.append(&mut batch).is_err());
    fs::create_dir(&dir).expect("made");
    log.append(&mut batch).expect("room");
    assert_eq!(faults(&dir), "");
    assert_eq!(read(&dir, Filter::default()).len(), 2);
}

#[test]
fn filters_ask_for_what_they_say() {
    let on = |resource: &str, group: &str, name: &str| Entry {
        resource: resource.into(),
        group: group.into(),
        name: name.into(),
        ..entry("")
    };
    let check = |filter: &Filter, entry: &Entry, expected: bool| {
        assert_eq!(filter.wants(entry), expected, "{filter:?} {entry:?}");
    };
    let about = |resource: &str| Filter { resource: Some(resource.into()), ..Filter::default() };
    check(&about("deployments"), &on("deployments", "apps", "web"), true);
    check(&about("deployments"), &on("deployments/scale", "apps", "web"), true);
    check(&about("deployments/scale"), &on("deployments", "apps", "web"), false);
    check(&about("deployments.apps"), &on("deployments", "apps", "web"), true);
    check(&about("deployments.batch"), &on("deployments", "apps", "web"), false);
    let node = Filter { node: Some("pi".into()), ..Filter::default() };
    check(&node, &on("nodes/resume", "lichen.dev", "pi"), true);
    check(&node, &on("pods", "", "pi"), false);
    check(&node, &Entry { actor: "system:node:pi".into(), ..entry("") }, true);
    let since = |ms| Filter { since_ms: Some(ms), ..Filter::default() };
    check(&since(1_000), &entry("").at(1_000), true);
    check(&since(1_001), &entry("").at(1_000), false);
    check(&Filter { until_ms: Some(999), ..Filter::default() }, &entry("").at(1_000), false);
    let refused = Filter { refused: true, ..Filter::default() };
    check(&refused, &entry(""), false);
    check(&refused, &Entry { code: 401, ..entry("") }, true);
}

#[test]
fn nothing_that_strangers_send_makes_a_line_too_long() {
    let long = "\u{1}".repeat(100_000);
    let mut entry = Entry {
        groups: vec![long.clone(); 100],
        path: long.clone(),
        name: long.clone(),
        note: long,
        ..entry("x")
    };
    let line = entry.line(1, LineHash::default());
    assert!(line.len() < MAX_LINE_BYTES, "{}", line.len());
    assert!(!line.contains(&b'\n') && Entry::parse(&line).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_one_byte_that_is_altered_is_found(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let (_state, file, _) = ten();
        let mut bytes = fs::read(&file).expect("a file");
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        fs::write(&file, &bytes).expect("a file");
        prop_assert_ne!(faults(file.parent().expect("a directory")), "");
    }

    #[test]
    fn a_log_that_ends_early_is_found(left in any::<prop::sample::Index>()) {
        let (_state, file, _) = ten();
        let bytes = fs::read(&file).expect("a file");
        fs::write(&file, &bytes[..left.index(bytes.len())]).expect("a file");
        prop_assert_ne!(faults(file.parent().expect("a directory")), "");
    }

    #[test]
    fn garbage_is_read_checked_and_written_beside_without_harm(
        garbage in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..4),
        head in prop::collection::vec(any::<u8>(), 0..600),
        numbers in prop::collection::vec(any::<u64>(), 4),
    ) {
        let (state, dir) = state();
        fs::create_dir(&dir).expect("made");
        for (bytes, number) in garbage.iter().zip(&numbers) {
            fs::write(file_of(&dir, *number), bytes).expect("a file");
        }
        fs::write(head::path_of(&dir), &head).expect("a file");
        let _ = verify(&dir).expect("a report");
        let _ = read(&dir, Filter::default());
        let (mut log, _) = open(&state, SMALL);
        log.append(&mut [entry("a")]).expect("room");
        let entries = read(&dir, Filter::default());
        prop_assert_eq!(entries.last().map(|entry| entry.name.as_str()), Some("a"));
    }
}
