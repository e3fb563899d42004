//! The real shim with real runtimes and a busybox root file system. Needs root, crun, runc, busybox-static.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use lichen_shim::{
    Container, Found, Kind, LogLimits, Orphan, Outcome, Overlay, Phase, Private, Request, Spec,
    SubPath, clean_up, inspect,
};
use support::{Run, eventually, gone, is_alive, kill_9, shim};

/// A run of a container: the run directory, and beside it the bundle and the layers.
struct Boxed {
    run: Run,
    id: String,
    way: Way,
    /// More of `config.json`'s `linux` object.
    resources: &'static str,
    layers: usize,
    /// Name of the directory of the layers.
    layers_in: &'static str,
}

/// How a container is run.
#[derive(Clone, Copy)]
struct Way {
    runtime: &'static str,
    /// Its `config.json` is on no disk.
    private: bool,
}

const CRUN: Way = Way { runtime: "crun", private: false };
const RUNC: Way = Way { runtime: "runc", private: false };

/// Stands in every container's environment.
const MARK: &str = "hunter2-5f3759df";

impl Boxed {
    fn new(way: Way) -> Self {
        let run = Run::new();
        let unique = run.dir.parent().and_then(Path::file_name).expect("a temporary directory");
        let id = format!("lichen-test{}", unique.to_string_lossy().replace('.', "-"));
        Self { run, id, way, resources: "{}", layers: 1, layers_in: "layers" }
    }

    fn start(&self, script: &str) -> i32 {
        self.start_command(&["/bin/sh", "-c", script])
    }

    fn start_command(&self, argv: &[&str]) -> i32 {
        self.run.start_private(&self.spec(argv), self.private(argv).as_ref())
    }

    /// What is to be on no disk.
    fn private(&self, argv: &[&str]) -> Option<Private> {
        let config = self.way.private.then(|| self.config(argv));
        config.map(|config| Private::new(config.as_bytes()).expect("a memory file"))
    }

    fn spec(&self, argv: &[&str]) -> Spec {
        let base = self.run.dir.parent().expect("a temporary directory").to_owned();
        let bundle = base.join("bundle");
        let overlay = self.overlay(&base);
        fs::create_dir_all(&bundle).expect("a bundle");
        if !self.way.private {
            fs::write(bundle.join("config.json"), self.config(argv)).expect("a config");
        }
        let hybrid = !Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let private_cgroup2 = hybrid && self.way.runtime == "crun";
        let disabled = "--cgroup-manager=disabled".to_owned();
        Spec {
            kind: Kind::Container(Container {
                runtime: program(self.way.runtime),
                runtime_args: private_cgroup2.then_some(disabled).into_iter().collect(),
                id: self.id.clone(),
                bundle,
                overlay: Some(overlay),
                cgroup: (!private_cgroup2).then(|| self.id.clone()),
                private_cgroup2,
                sub_paths: Vec::new(),
                private: self.way.private,
            }),
            log: LogLimits::default(),
            label: format!("default/{}", self.id),
        }
    }

    /// Busybox lies in the lowest layer; every layer brings a file of its own and hides a common one.
    fn overlay(&self, base: &Path) -> Overlay {
        let layer = |number: usize| base.join(self.layers_in).join(number.to_string());
        for number in 0..self.layers {
            fs::create_dir_all(layer(number).join("from")).expect("a layer");
            fs::write(layer(number).join(format!("from/{number}")), "").expect("a file");
            fs::write(layer(number).join("newest"), format!("{number}\n")).expect("a file");
        }
        let bin = layer(0).join("bin");
        for dir in ["bin", "proc", "dev", "sys", "tmp"] {
            fs::create_dir_all(layer(0).join(dir)).expect("a directory");
        }
        fs::copy(program("busybox"), bin.join("busybox")).expect("a static busybox");
        for applet in ["sh", "sleep", "echo", "ls", "cat", "wc", "true", "head", "tail"] {
            let _ = std::os::unix::fs::symlink("busybox", bin.join(applet));
        }
        Overlay {
            lower: (0..self.layers).rev().map(layer).collect(),
            upper: base.join("upper"),
            work: base.join("work"),
            target: base.join("bundle/rootfs"),
        }
    }

    fn config(&self, argv: &[&str]) -> String {
        let args: Vec<String> = argv.iter().map(|word| format!("{word:?}")).collect();
        format!(
            r#"{{"ociVersion":"1.0.2",
            "process":{{"terminal":false,"user":{{"uid":0,"gid":0}},"args":[{}],"env":["PATH=/bin","MARK={MARK}"],"cwd":"/"}},
            "root":{{"path":"rootfs"}},"hostname":"box",
            "mounts":[{{"destination":"/proc","type":"proc","source":"proc"}},
                {{"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["nosuid","mode=755"]}}],
            "linux":{{"cgroupsPath":"/{}","resources":{},
            "namespaces":[{{"type":"pid"}},{{"type":"mount"}},{{"type":"ipc"}},{{"type":"uts"}}]}}}}"#,
            args.join(","),
            self.id,
            self.resources
        )
    }

    /// No process, mount, cgroup or runtime state is left.
    fn assert_nothing_is_left(&self) {
        let base = self.run.dir.parent().expect("a temporary directory");
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        assert!(!mounts.contains(&*base.to_string_lossy()), "{mounts}");
        assert_eq!(cgroups_named(&self.id), Vec::<PathBuf>::new());
        assert!(!self.run.dir.join("oci").join(&self.id).exists());
        let processes = processes_in(base);
        assert_eq!(processes, Vec::<String>::new());
        self.assert_it_is_on_no_disk();
    }

    /// Nothing in the directories of a private run, of which all file systems are looked through, holds its environment.
    fn assert_it_is_on_no_disk(&self) {
        let base = self.run.dir.parent().expect("a temporary directory");
        let marked = files_with(base, MARK.as_bytes());
        assert_eq!(marked.is_empty(), self.way.private, "{marked:?}");
    }
}

/// The program's absolute path; a test that needs it fails without it.
fn program(name: &str) -> PathBuf {
    let path = env::var_os("PATH").expect("PATH");
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{name} is not installed: run `make test`"))
}

/// Files below a directory that hold these bytes.
fn files_with(dir: &Path, bytes: &[u8]) -> Vec<PathBuf> {
    let (mut found, mut dirs) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => dirs.push(entry.path()),
                Ok(kind) if kind.is_file() => {
                    let content = fs::read(entry.path()).unwrap_or_default();
                    let is_there = content.windows(bytes.len()).any(|window| window == bytes);
                    found.extend(is_there.then(|| entry.path()));
                }
                _ => {}
            }
        }
    }
    found
}

fn cgroups_named(id: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![(PathBuf::from("/sys/fs/cgroup"), 0)];
    while let Some((dir, depth)) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if entry.file_name().to_string_lossy().contains(id) {
                found.push(entry.path());
            } else if depth < 4 {
                dirs.push((entry.path(), depth + 1));
            }
        }
    }
    found
}

/// Living processes whose command line or root names the directory.
fn processes_in(base: &Path) -> Vec<String> {
    let base = base.to_string_lossy();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let mounts = fs::read_to_string(entry.path().join("mountinfo")).unwrap_or_default();
        let named = String::from_utf8_lossy(&words).contains(&*base) || mounts.contains(&*base);
        if named && is_alive(pid) {
            found.push(format!("{pid} {}", String::from_utf8_lossy(&words)));
        }
    }
    found
}

fn runs_to_its_exit(way: Way) {
    let container = Boxed::new(way);
    let shim_pid = container
        .start("echo one; echo two >&2; echo pid $$; echo x > /written; cat /newest; exit 5");
    let exit = container.run.ended();
    assert_eq!((exit.outcome, exit.message.as_str()), (Outcome::Code(5), ""));
    assert_eq!(container.run.lines("stdout"), ["one", "pid 1", "0"]);
    assert_eq!(container.run.lines("stderr"), ["two"]);
    assert!(!exit.oom_killed);
    gone(shim_pid);
    container.assert_nothing_is_left();
    let base = container.run.dir.parent().expect("a directory");
    assert!(base.join("upper/written").exists(), "writes go to the upper directory");
}

fn stops_by_itself_or_is_killed_after_the_grace(way: Way) {
    let container = Boxed::new(way);
    container.start("trap 'echo bye; exit 7' TERM; echo ready; sleep 1000 & wait");
    container.run.line("the trap is set", |line| (line == "ready").then_some(()));
    container.run.request(&Request::Stop { signal: 15, grace_ms: 60_000 });
    assert_eq!(container.run.ended().outcome, Outcome::Code(7));

    let container = Boxed::new(way);
    let shim_pid = container.start("sleep 1000 & echo ready; wait");
    container.run.line("it runs", |line| (line == "ready").then_some(()));
    container.run.request(&Request::Stop { signal: 15, grace_ms: 50 });
    assert_eq!(container.run.ended().outcome, Outcome::Signal(9));
    gone(shim_pid);
    container.assert_nothing_is_left();
}

fn leaves_a_reason_if_it_cannot_start(way: Way) {
    let container = Boxed::new(way);
    let shim_pid = container.start_command(&["/bin/no-such-program"]);
    let exit = container.run.ended();
    assert_eq!((exit.outcome, exit.started_at_ms), (Outcome::StartError, None));
    assert!(exit.message.contains("no-such-program"), "{}", exit.message);
    assert!(exit.message.contains(way.runtime), "{}", exit.message);
    gone(shim_pid);
    container.assert_nothing_is_left();
}

fn is_cleaned_up_after_its_shim_was_killed(way: Way) {
    let container = Boxed::new(way);
    let shim_pid = container.start("sleep 1000 & echo ready; wait");
    container.run.line("it runs", |line| (line == "ready").then_some(()));
    let started = container.run.started();
    kill_9(shim_pid);
    gone(shim_pid);
    assert!(matches!(inspect(&container.run.dir), Ok(Found::Lost)));
    assert!(
        is_alive(started.pid),
        "a container does not die with its shim; cleaning up is what ends it"
    );
    let exit = clean_up(shim(), &container.run.dir).expect("cleaned up");
    assert_eq!((exit.outcome, exit.started_at_ms), (Outcome::Lost, Some(started.at_ms)));
    assert!(!is_alive(started.pid));
    container.assert_nothing_is_left();
}

fn can_be_asked_to_end_after_its_shim_was_killed(way: Way) {
    let container = Boxed::new(way);
    let marks = container.run.dir.parent().expect("a directory").join("upper/asked");
    let shim_pid = container
        .start("trap 'echo > /asked; exit 0' TERM; echo ready; while :; do sleep 1 & wait; done");
    container.run.line("the trap is set", |line| (line == "ready").then_some(()));
    assert!(Orphan::find(&container.run.dir).expect("readable").is_none(), "its shim lives");
    let started = container.run.started();
    kill_9(shim_pid);
    gone(shim_pid);
    let orphan = Orphan::find(&container.run.dir).expect("readable").expect("it lives");
    assert!(!orphan.has_ended());
    orphan.signal(15);
    gone(started.pid);
    assert!(orphan.has_ended());
    assert!(marks.exists(), "it could tidy up");
    assert!(Orphan::find(&container.run.dir).expect("readable").is_none(), "it has ended");
    clean_up(shim(), &container.run.dir).expect("cleaned up");
    container.assert_nothing_is_left();
}

fn has_many_layers_with_any_names(way: Way) {
    let mut container = Boxed::new(way);
    (container.layers, container.layers_in) =
        (60, "with : and , in its rather long name, as digests have it");
    container.start("ls /from | wc -l; cat /newest");
    assert_eq!(container.run.ended().outcome, Outcome::Code(0));
    assert_eq!(container.run.lines("stdout"), ["60", "59"]);
}

/// The delays are not waited for anything: they spread the kills over the steps of the start.
fn leaves_nothing_whenever_its_shim_is_killed(way: Way) {
    for delay_ms in (0..90).step_by(6) {
        let container = Boxed::new(way);
        let shim_pid = container.start("sleep 1000");
        std::thread::sleep(Duration::from_millis(delay_ms));
        kill_9(shim_pid);
        gone(shim_pid);
        let exit = clean_up(shim(), &container.run.dir).expect("cleaned up");
        assert_eq!(exit.outcome, Outcome::Lost, "after {delay_ms} ms");
        container.assert_nothing_is_left();
    }
}

fn has_its_environment_and_no_disk_has_it(way: Way) {
    let container = Boxed::new(way);
    let shim_pid =
        container.start("trap 'exit 0' TERM; echo $MARK; while :; do sleep 1 & wait; done");
    container.run.line("it has its environment", |line| (line == MARK).then_some(()));
    // Its output is its own business.
    fs::remove_file(container.run.dir.join("log")).expect("removable");
    container.run.started();
    container.assert_it_is_on_no_disk();
    container.run.request(&Request::Stop { signal: 15, grace_ms: 60_000 });
    container.run.ended();
    gone(shim_pid);
    container.assert_nothing_is_left();
}

macro_rules! for_each_runtime {
    ($($name:ident)*) => {
        mod crun {$(
            #[test]
            #[ignore = "needs root, crun and busybox-static: run by make test"]
            fn $name() { super::$name(super::CRUN) }
        )*}
        mod runc {$(
            #[test]
            #[ignore = "needs root, runc and busybox-static: run by make test"]
            fn $name() { super::$name(super::RUNC) }
        )*}
        mod crun_in_private {$(
            #[test]
            #[ignore = "needs root, crun and busybox-static: run by make test"]
            fn $name() { super::$name(super::Way { private: true, ..super::CRUN }) }
        )*}
        mod runc_in_private {$(
            #[test]
            #[ignore = "needs root, runc and busybox-static: run by make test"]
            fn $name() { super::$name(super::Way { private: true, ..super::RUNC }) }
        )*}
    };
}

for_each_runtime! {
    runs_to_its_exit
    stops_by_itself_or_is_killed_after_the_grace
    leaves_a_reason_if_it_cannot_start
    is_cleaned_up_after_its_shim_was_killed
    can_be_asked_to_end_after_its_shim_was_killed
    has_many_layers_with_any_names
    leaves_nothing_whenever_its_shim_is_killed
    has_its_environment_and_no_disk_has_it
}

#[test]
#[ignore = "needs root, runc and busybox-static: run by make test"]
fn a_process_killed_for_want_of_memory_is_told_apart() {
    let mut container = Boxed::new(RUNC);
    container.resources = r#"{"memory":{"limit":16777216}}"#;
    container.start("tail /dev/zero");
    let exit = container.run.ended();
    assert!(exit.oom_killed, "{exit:?}");
}

/// A runtime whose `create` never ends, and says so.
fn stuck_runtime(container: &Boxed) -> Spec {
    let script = container.run.dir.join("stuck");
    fs::write(
        &script,
        "#!/bin/sh\ncase \"$*\" in *create*) touch \"$3/../creating\"; exec sleep 1000;; esac\n",
    )
    .expect("a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("executable");
    let mut spec = container.spec(&["/bin/true"]);
    if let Kind::Container(spec) = &mut spec.kind {
        spec.runtime = script;
        // `stuck --root ROOT create`: give the script a stable first word.
        spec.runtime_args = vec!["x".to_owned()];
    }
    spec
}

#[test]
#[ignore = "needs root and busybox-static: run by make test"]
fn a_stop_reaches_an_instance_whose_runtime_hangs() {
    let container = Boxed::new(CRUN);
    fs::create_dir_all(container.run.dir.join("oci")).expect("a directory");
    container.run.start(&stuck_runtime(&container));
    eventually("create runs", || container.run.dir.join("creating").exists().then_some(()));
    let state = container.run.request(&Request::Status);
    assert_eq!(state.phase, Phase::Starting);
    container.run.request(&Request::Stop { signal: 15, grace_ms: 10 });
    let exit = container.run.ended();
    assert_eq!((exit.outcome, exit.started_at_ms), (Outcome::NeverStarted, None));
}

/// Every program is without a command line for a moment when it is executed, and crun executes itself again. This
/// runtime makes that moment long: nothing in its words says whose it is.
#[test]
#[ignore = "needs root and busybox-static: run by make test"]
fn cleaning_up_waits_for_a_runtime_that_no_command_line_names() {
    let container = Boxed::new(CRUN);
    let mut spec = container.spec(&["/bin/true"]);
    let script = container.run.dir.join("nameless");
    // Called as `nameless x --root ROOT create …`.
    let text = "#!/bin/sh\ncd $3/.. && exec sh -c 'touch creating; sleep 0.5; mkdir -p oci/late; touch created'\n";
    fs::write(&script, text).expect("a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("executable");
    fs::create_dir_all(container.run.dir.join("oci")).expect("a directory");
    if let Kind::Container(spec) = &mut spec.kind {
        (spec.runtime, spec.runtime_args) = (script, vec!["x".to_owned()]);
    }
    let shim_pid = container.run.start(&spec);
    eventually("create runs", || container.run.dir.join("creating").exists().then_some(()));
    kill_9(shim_pid);
    gone(shim_pid);
    clean_up(shim(), &container.run.dir).expect("cleaned up");
    assert!(container.run.dir.join("created").exists(), "it was not waited for");
    assert!(!container.run.dir.join("oci").exists(), "what it left was not removed");
}

/// A runtime that makes a control group, and does not remove it though it says that it has. runc does so when the threads
/// of a killed process take longer than a third of a second to go.
fn forgetful_runtime(container: &Boxed) -> Spec {
    let script = container.run.dir.join("forgetful");
    let mut groups = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"].iter().map(Path::new);
    let group = groups.find(|root| root.join("cgroup.procs").exists()).expect("control groups");
    // Called as `forgetful --root ROOT VERB …`; `create --bundle DIR --pid-file FILE ID`.
    let text = format!(
        "#!/bin/sh\ncase $3 in create) mkdir {group}; sleep 1000 & pid=$!; \
         echo $pid > {group}/cgroup.procs && echo $pid > $7;; esac\n",
        group = group.join(&container.id).display()
    );
    fs::write(&script, text).expect("a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("executable");
    let mut spec = container.spec(&["/bin/true"]);
    if let Kind::Container(spec) = &mut spec.kind {
        (spec.runtime, spec.runtime_args) = (script, Vec::new());
        spec.private_cgroup2 = false;
        spec.cgroup = Some(container.id.clone());
    }
    spec
}

#[test]
#[ignore = "needs root and busybox-static: run by make test"]
fn a_control_group_that_the_runtime_has_left_is_removed() {
    let container = Boxed::new(RUNC);
    container.run.start(&forgetful_runtime(&container));
    let started = container.run.started();
    assert_ne!(cgroups_named(&container.id), Vec::<PathBuf>::new());
    container.run.request(&Request::Stop { signal: 9, grace_ms: 0 });
    assert_eq!(container.run.ended().outcome, Outcome::Signal(9));
    assert!(!is_alive(started.pid));
    container.assert_nothing_is_left();

    let container = Boxed::new(RUNC);
    let shim_pid = container.run.start(&forgetful_runtime(&container));
    let started = container.run.started();
    kill_9(shim_pid);
    gone(shim_pid);
    // As after a runtime that died before it had written down what it made.
    let _ = fs::remove_file(container.run.dir.join("pid"));
    clean_up(shim(), &container.run.dir).expect("cleaned up");
    assert!(!is_alive(started.pid), "a member of the group is one of the container's");
    container.assert_nothing_is_left();
}

#[test]
#[ignore = "needs root and busybox-static: run by make test"]
fn a_missing_layer_is_named() {
    let container = Boxed::new(CRUN);
    let mut spec = container.spec(&["/bin/true"]);
    if let Kind::Container(Container { overlay: Some(overlay), .. }) = &mut spec.kind {
        overlay.lower.push("/no/such/layer".into());
    }
    container.run.start(&spec);
    let exit = container.run.ended();
    assert_eq!(exit.outcome, Outcome::StartError);
    assert!(exit.message.contains("/no/such/layer"), "{}", exit.message);
}

fn a_part_of_a_volume_is_shown_and_never_what_a_link_leads_to(way: Way) {
    // What stands in the place of the part by the time of the start, and whether it is shown.
    for (is_link, inner) in [(false, "a/part"), (false, "a/part/file"), (true, "a/part")] {
        let container = Boxed::new(way);
        let base = container.run.dir.parent().expect("a temporary directory").to_owned();
        let [volume, outside] = ["volume", "outside"].map(|name| base.join(name));
        for (dir, text) in [(volume.join("a/part"), "inside\n"), (outside.clone(), "secret\n")] {
            fs::create_dir_all(&dir).expect("a directory");
            fs::write(dir.join("file"), text).expect("a file");
        }
        if is_link {
            fs::rename(volume.join("a/part"), volume.join("a/before")).expect("renamed");
            std::os::unix::fs::symlink(&outside, volume.join("a/part")).expect("a link");
        }
        let mut spec = container.spec(&["/bin/sh", "-c", "cat /shown /shown/file; exit 7"]);
        let target = base.join("sub-paths/0");
        let Kind::Container(of) = &mut spec.kind else { panic!("a container") };
        of.sub_paths = vec![SubPath { volume, inner: inner.into(), target: target.clone() }];
        let config = of.bundle.join("config.json");
        let mount = format!(
            r#""mounts":[{{"destination":"/shown","type":"bind","source":{target:?},"options":["rbind"]}},"#
        );
        let text = fs::read_to_string(&config).expect("a config").replace(r#""mounts":["#, &mount);
        fs::write(&config, text).expect("writable");
        container.run.start(&spec);
        let exit = container.run.ended();
        if is_link {
            assert_eq!(exit.outcome, Outcome::StartError);
            assert!(exit.message.contains("could not open a/part in "), "{}", exit.message);
        } else {
            assert_eq!(exit.outcome, Outcome::Code(7), "{}", exit.message);
            assert_eq!(container.run.lines("stdout"), ["inside"]);
        }
        container.assert_nothing_is_left();
    }
}

#[test]
#[ignore = "needs root, crun and busybox-static: run by make test"]
fn with_crun_a_part_of_a_volume_is_shown_and_never_what_a_link_leads_to() {
    a_part_of_a_volume_is_shown_and_never_what_a_link_leads_to(CRUN);
}

#[test]
#[ignore = "needs root, runc and busybox-static: run by make test"]
fn with_runc_a_part_of_a_volume_is_shown_and_never_what_a_link_leads_to() {
    a_part_of_a_volume_is_shown_and_never_what_a_link_leads_to(RUNC);
}
