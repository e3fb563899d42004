//! `lichen hub backup` and `restore`: a hub that is saved while it is written to goes on elsewhere.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use lichen_hub::cli::kubeconfig::Places;

use crate::{machine::Machine, support::lichen};

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn fingerprint(version: &str) -> String {
    let (_, after) = version.split_once("fingerprint ").expect("it shows its fingerprint");
    after.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_hub_that_is_saved_while_it_is_written_to_goes_on_on_another_machine() {
    let dir = tempfile::tempdir().expect("a directory");
    let (here, there, file) =
        (dir.path().join("here"), dir.path().join("there"), dir.path().join("hub.tar.gz"));
    let first = Machine::start(&here);
    first.apply(dir.path(), 1);
    let (done, saved) = (AtomicBool::new(false), shown(&file));
    let (said, last) = thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut number = 1;
            while !done.load(Relaxed) {
                number += 1;
                first.apply(dir.path(), number);
            }
            number
        });
        let said = first.lichen(&format!("hub backup -o {saved}"));
        done.store(true, Relaxed);
        (said, writing.join().expect("it wrote"))
    });
    assert!(said.err.contains("keep them where only you can"), "{said:?}");
    assert!(said.well().contains(&format!("is in {saved}: 0 devices, 0 artefacts, with its keys")));
    assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    let authority = fingerprint(&first.version());
    drop(first);

    let restore = format!("hub restore {saved} --state {}", shown(&there));
    let said = lichen(&Places::default(), &restore);
    for part in
        ["never starts again", "lichen resume --all", "wait for approval", "--advertise NAME"]
    {
        assert!(said.err.contains(part), "{part}: {said:?}");
    }
    assert!(said.well().contains(&format!("is in {}: 0 devices", shown(&there))));
    let second = Machine::start(&there);
    assert_eq!(fingerprint(&second.version()), authority);
    let [a, b] = second.numbers();
    // Each apply changes them one after the other.
    assert!(a == b || a == b + 1, "{a} {b}");
    assert!((1..=last).contains(&b), "{b} of {last}");
}

#[test]
fn a_hub_that_does_not_run_is_saved_from_its_directory_and_one_that_runs_says_how() {
    let dir = tempfile::tempdir().expect("a directory");
    let (state, file) = (dir.path().join("state"), shown(&dir.path().join("hub.tar.gz")));
    let backup = format!("hub backup --state {} -o {file}", shown(&state));
    let refused = lichen(&Places::default(), &backup).failed();
    assert!(refused.contains("could not make a backup: there is no hub in"), "{refused}");
    assert!(!state.exists(), "nothing was made");

    let hub = Machine::start(&state);
    hub.apply(dir.path(), 7);
    let refused = hub.lichen(&backup).failed();
    assert!(
        refused.contains("runs (process ") && refused.contains("leave out --state"),
        "{refused}"
    );
    drop(hub);
    lichen(&Places::default(), &backup).well();

    let restore = format!("hub restore {file} --state {}", shown(&state));
    let refused = lichen(&Places::default(), &restore).failed();
    assert!(refused.contains(&format!("could not restore {file}: there is a hub in")), "{refused}");
    let said = lichen(&Places::default(), &format!("{restore} --replace")).well();
    assert!(said.contains("the hub that was there is kept in"), "{said}");
    assert_eq!(Machine::start(&state).numbers(), [7, 7]);
}

#[test]
fn keys_go_where_they_are_told_to_and_are_needed_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| shown(&dir.path().join(name));
    let (file, keys, there) = (path("hub.tar.gz"), path("keys.tar.gz"), path("there"));
    let hub = Machine::start(&dir.path().join("state"));
    hub.apply(dir.path(), 3);
    let said = hub.lichen(&format!("hub backup -o {file} --keys apart {keys} --without-artefacts"));
    assert!(said.well().contains(&format!("its keys in {keys}")));
    assert_eq!(fs::metadata(&keys).expect("there").permissions().mode() & 0o777, 0o600);
    let refused = hub.lichen(&format!("hub backup -o {file} --keys elsewhere"));
    assert_eq!(refused.code, 2);
    let only = hub.lichen(&format!("hub backup -o {file}2 --keys none")).well();
    assert!(only.contains("without its keys"), "{only}");
    drop(hub);

    let restore = format!("hub restore {file} --state {there}");
    let refused = lichen(&Places::default(), &restore).failed();
    assert!(refused.contains("name that file with --keys FILE"), "{refused}");
    let said = lichen(&Places::default(), &format!("{restore} --keys {keys}"));
    assert!(said.err.contains("Images are not in this backup"), "{said:?}");
    said.well();
    assert_eq!(Machine::start(Path::new(&there)).numbers(), [3, 3]);
}

#[test]
fn a_backup_goes_through_a_pipe_and_a_damaged_one_leaves_everything_as_it_was() {
    let dir = tempfile::tempdir().expect("a directory");
    let (state, there) = (dir.path().join("state"), dir.path().join("there"));
    let hub = Machine::start(&state);
    let file = dir.path().join("hub.tar.gz");
    hub.lichen(&format!("hub backup -o {}", shown(&file))).well();
    let said = hub.lichen("hub backup -o -");
    assert!(said.err.contains("the hub of 20"), "{}", said.err);
    // It is read as text here, of which its first two bytes are not.
    assert!(said.well().starts_with('\u{1f}'));
    drop(hub);

    let bytes = fs::read(&file).expect("there");
    fs::write(&file, &bytes[..bytes.len() / 2]).expect("cut short");
    let restore = format!("hub restore {} --state {}", shown(&file), shown(&there));
    let refused = lichen(&Places::default(), &restore).failed();
    assert!(refused.contains("it is cut short: copy it again"), "{refused}");
    fs::write(&file, "a letter to somebody else").expect("something else");
    let refused = lichen(&Places::default(), &restore).failed();
    assert!(refused.contains("it is no backup of a hub"), "{refused}");
    let left: Vec<PathBuf> = fs::read_dir(&there)
        .expect("listed")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert_eq!(left, [there.join("hub.lock")]);
}
