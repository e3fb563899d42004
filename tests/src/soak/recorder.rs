//! Writes down every start of a shim: a few lines of shell that an agent is given as its shim, and that become the shim.
//!
//! So no start is missed, however short it was, and no program under test has to be believed.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::history::{Event, What};

const LOG: &str = "shims";

/// Makes the program for a device, in a directory of the test's. `shim` is the one that it becomes.
///
/// # Panics
/// If the directory cannot be written.
#[must_use]
pub fn install(dir: &Path, shim: &Path) -> PathBuf {
    let (program, log) = (dir.join("shim"), dir.join(LOG));
    // One write of a short line to a file that is only appended to: lines of several starts do not mix.
    let text = format!(
        "#!/bin/bash\nprintf '%s %s\\n' \"$EPOCHREALTIME\" \"$*\" >> {}\nexec {} \"$@\"\n",
        log.display(),
        shim.display()
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

/// What has been written down for a device.
#[must_use]
pub fn read(dir: &Path, device: &str) -> Vec<Event> {
    let text = fs::read_to_string(dir.join(LOG)).unwrap_or_default();
    text.lines().filter_map(|line| event(line, device)).collect()
}

/// The container of each Pod whose starts are judged: the one that leaves a line.
const JUDGED: &str = "main-0";

/// Reads `SECONDS.MICROSECONDS launch …/run/POD/CONTAINER/ATTEMPT NAMESPACE/NAME/CONTAINER` or `… clean-up …`.
fn event(line: &str, device: &str) -> Option<Event> {
    let mut words = line.split(' ');
    let at = words.next()?.replace('.', "").parse().ok()?;
    let verb = words.next()?;
    let mut dir = Path::new(words.next()?).iter().rev().map(|part| part.to_string_lossy());
    let attempt = dir.next()?.parse().ok()?;
    let container = dir.next()?;
    let (uid, device) = (dir.next()?.into_owned(), device.to_owned());
    let what = match verb {
        "launch" if container != JUDGED => return None,
        "launch" => {
            let pod = words.next()?.split('/').nth(1)?.to_owned();
            What::Launched { device, uid, pod, attempt }
        }
        "clean-up" => What::CleanedUp { device, uid },
        _ => return None,
    };
    Some(Event { at, what })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::soak::history::now;

    #[test]
    fn a_start_is_written_down_and_the_shim_gets_its_words() {
        let dir = tempfile::tempdir().expect("a directory");
        let program = install(dir.path(), Path::new("/bin/echo"));
        let before = now();
        let run = dir.path().join("run/0102/main-0/3");
        let output = Command::new(&program)
            .args(["launch", run.to_str().expect("text"), "default/web-x/app"])
            .env_clear()
            .output()
            .expect("it runs");
        assert!(String::from_utf8_lossy(&output.stdout).starts_with("launch "));
        let events = read(dir.path(), "a");
        let [Event { at, what }] = events.as_slice() else { panic!("one start: {events:?}") };
        assert!((before..=now()).contains(at));
        let expected = What::Launched {
            device: "a".into(),
            uid: "0102".into(),
            pod: "web-x".into(),
            attempt: 3,
        };
        assert_eq!(*what, expected);
    }
}
