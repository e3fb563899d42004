//! Finding runtimes by trying them: the real ones of this machine and a pretender. Run by `make test` as root.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lichen_oci::runtime::{Search, find};

/// Each test looks for what its trials left on the whole machine, so they take turns.
static ALONE: Mutex<()> = Mutex::new(());

/// What a trial could leave behind: mounts, cgroups, files, processes.
fn traces(scratch: &Path) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let mut traces: Vec<_> =
        mounts.lines().filter(|line| line.contains("trial")).map(str::to_owned).collect();
    let trials = fs::read_dir(scratch.join("trials")).into_iter().flatten().flatten();
    traces.extend(trials.map(|entry| entry.path().display().to_string()));
    let id = format!("lichen-trial-{}", std::process::id());
    let named = |directory: &Path| -> Vec<String> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path().display().to_string());
        paths.filter(|path| path.contains(&id)).collect()
    };
    let cgroups = Path::new("/sys/fs/cgroup");
    traces.extend(named(cgroups));
    for hierarchy in fs::read_dir(cgroups).into_iter().flatten().flatten() {
        traces.extend(named(&hierarchy.path()));
    }
    for process in fs::read_dir("/proc").expect("proc").flatten() {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let ours = String::from_utf8_lossy(&line).contains(&id);
        traces.extend(ours.then(|| String::from_utf8_lossy(&line).into_owned()));
    }
    traces
}

#[test]
#[ignore = "needs root, crun and runc: run by make test"]
fn both_runtimes_are_found_usable_and_their_trials_leave_nothing() {
    let _alone = ALONE.lock();
    let scratch = tempfile::tempdir().expect("scratch");
    let findings = find(&Search {
        forced: None,
        path: None,
        scratch: scratch.path().join("trials"),
        exhaustive: true,
    });
    let names: Vec<_> = findings.usable.iter().map(|found| found.name.as_str()).collect();
    assert!(names.contains(&"crun") && names.contains(&"runc"), "{findings:#?}");
    let best = findings.best().expect("a runtime");
    assert!(best.limits_enforced, "{findings:#?}");
    for found in &findings.usable {
        println!("{found:#?}");
        assert!(!found.version.is_empty());
        assert_eq!(found.limits_enforced, found.limits_problem.is_none(), "{found:#?}");
    }
    assert_eq!(traces(scratch.path()), [""; 0]);
}

#[test]
#[ignore = "needs root: run by make test"]
fn a_program_that_is_no_runtime_is_refused_with_what_it_said() {
    use std::os::unix::fs::PermissionsExt;
    let _alone = ALONE.lock();
    let scratch = tempfile::tempdir().expect("scratch");
    let program = scratch.path().join("pretender");
    fs::write(&program, "#!/bin/sh\necho 'I am a shell script' >&2\nexit 3\n").expect("script");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("mode");
    let search = Search {
        forced: Some(program.display().to_string()),
        path: None,
        scratch: scratch.path().join("trials"),
        exhaustive: false,
    };
    let started = Instant::now();
    let findings = find(&search);
    assert!(findings.usable.is_empty());
    assert!(findings.why_none().contains("I am a shell script"), "{}", findings.why_none());
    assert!(started.elapsed() < Duration::from_secs(60), "a refusal needs no deadline");
    assert_eq!(traces(scratch.path()), [""; 0]);
}
