//! The real shim with ordinary processes. Needs neither root nor network.

mod support;

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::{env, fs};

use lichen_shim::protocol::encode;
use lichen_shim::{
    Client, ClientError, Decoder, Found, Kind, LogLimits, Outcome, Phase, Private, Refusal, Reply,
    Request, SpawnError, clean_up, connect, inspect, spawn, spawn_private,
};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use support::{DEADLINE, Run, command, eventually, gone, is_alive, kill_9, script, shim};

#[test]
fn output_and_exit_code_are_on_disk_when_the_run_has_ended() {
    let run = Run::new();
    let shim_pid = run.start(&script("echo one; echo two >&2; printf three; exit 3"));
    let exit = run.ended();
    assert_eq!((exit.outcome, exit.message.as_str()), (Outcome::Code(3), ""));
    assert!(exit.started_at_ms.is_some_and(|at| at <= exit.finished_at_ms));
    assert_eq!(run.lines("stdout"), ["one", "three"]);
    assert_eq!(run.lines("stderr"), ["two"]);
    gone(shim_pid);
    assert!(!run.dir.join("shim.sock").exists(), "nothing stays for a dead container");
    assert!(matches!(inspect(&run.dir), Ok(Found::Exited(again)) if again == exit));
}

#[test]
fn a_signal_that_ends_the_process_is_recorded() {
    let run = Run::new();
    run.start(&script("kill -SEGV $$"));
    assert_eq!(run.ended().outcome, Outcome::Signal(11));
}

#[test]
fn the_environment_and_directory_are_as_specified_and_nothing_is_inherited() {
    let run = Run::new();
    let mut spec = command(&["/usr/bin/env"]);
    if let Kind::Process(process) = &mut spec.kind {
        process.env = vec![("A".into(), "1 2".into()), ("B".into(), String::new())];
        process.cwd = "/tmp".into();
    }
    run.start(&spec);
    run.ended();
    assert_eq!(run.lines("stdout"), ["A=1 2", "B="]);

    let run = Run::new();
    let mut spec = script("pwd; ls -l /proc/self/fd | wc -l");
    if let Kind::Process(process) = &mut spec.kind {
        process.cwd = "/tmp".into();
    }
    run.start(&spec);
    run.ended();
    // A total, the three standard streams, and the directory that `ls` itself reads.
    assert_eq!(run.lines("stdout"), ["/tmp", "5"]);
}

#[test]
fn what_is_private_is_its_input_and_on_no_disk() {
    let run = Run::new();
    let mut spec = script("tr a-z A-Z; cat");
    let private = Private::new(b"hunter2\n").expect("a memory file");
    let refused = spawn_private(shim(), &run.dir, &spec, Some(&private));
    assert!(matches!(refused, Err(SpawnError::Private)), "nobody asked for it");
    if let Kind::Process(process) = &mut spec.kind {
        process.private = true;
    }
    assert!(matches!(spawn(shim(), &run.dir, &spec), Err(SpawnError::Private)), "it is missing");
    run.start_private(&spec, Some(&private));
    assert_eq!(run.ended().outcome, Outcome::Code(0));
    assert_eq!(run.lines("stdout"), ["HUNTER2"]);
    for entry in fs::read_dir(&run.dir).expect("listed").flatten() {
        let content = fs::read(entry.path()).unwrap_or_default();
        assert!(!content.windows(7).any(|window| window == b"hunter2"), "{:?}", entry.path());
    }
}

#[test]
fn a_program_that_cannot_run_leaves_a_reason() {
    let run = Run::new();
    run.start(&command(&["/no/such/program"]));
    let exit = run.ended();
    assert_eq!((exit.outcome, exit.started_at_ms), (Outcome::StartError, None));
    assert!(exit.message.contains("/no/such/program"), "{}", exit.message);
}

#[test]
fn a_stop_lets_the_process_end_by_itself() {
    let run = Run::new();
    run.start(&script("trap 'echo bye; exit 7' TERM; echo ready; sleep 1000 & wait"));
    run.line("the trap is set", |line| (line == "ready").then_some(()));
    let (mut follower, phase) = run.follow();
    let Phase::Running(started) = phase else { panic!("{phase:?}") };
    let state = run.request(&Request::Stop { signal: 15, grace_ms: 60_000 });
    assert_eq!(state.phase, Phase::Stopping(started));
    let reply = follower.wait_for_push(DEADLINE).expect("a push");
    assert!(matches!(&reply, Reply::Exited(exit) if exit.outcome == Outcome::Code(7)), "{reply:?}");
    assert!(run.dir.join("exit").exists(), "the record is there before anybody is told");
    assert_eq!(run.lines("stdout"), ["ready", "bye"]);
}

#[test]
fn a_process_that_ignores_the_signal_is_killed_after_the_grace() {
    let run = Run::new();
    run.start(&script("trap '' TERM; echo ready; while :; do sleep 1000; done"));
    run.line("the trap is set", |line| (line == "ready").then_some(()));
    run.request(&Request::Stop { signal: 15, grace_ms: 50 });
    assert_eq!(run.ended().outcome, Outcome::Signal(9));
}

#[test]
fn a_kill_takes_effect_at_once_even_while_a_long_grace_runs() {
    let run = Run::new();
    run.start(&script("trap '' TERM; echo ready; while :; do sleep 1000; done"));
    run.line("the trap is set", |line| (line == "ready").then_some(()));
    run.request(&Request::Stop { signal: 15, grace_ms: 3_600_000 });
    run.request(&Request::Kill);
    assert_eq!(run.ended().outcome, Outcome::Signal(9));
}

#[test]
fn nothing_that_the_process_left_behind_survives_it() {
    let run = Run::new();
    run.start(&script("sleep 1000 & echo $!; setsid sleep 1000 & echo $!; sleep 0.05; exit 0"));
    assert_eq!(run.ended().outcome, Outcome::Code(0));
    let pids: Vec<i32> =
        run.lines("stdout").iter().map(|line| line.parse().expect("a pid")).collect();
    assert_eq!(pids.len(), 2);
    for pid in pids {
        assert!(!is_alive(pid), "{pid} lives on");
    }
}

#[test]
fn orphans_are_reaped_while_the_process_runs() {
    let run = Run::new();
    run.start(&script("(sh -c 'echo $$; exec sleep 0.01' &); exec sleep 1000"));
    let orphan: i32 = run.line("the orphan's pid", |line| line.parse().ok());
    eventually("the orphan is reaped", || {
        (!fs::exists(format!("/proc/{orphan}")).expect("readable")).then_some(())
    });
}

/// Not a test of its own: the process that the next test starts and kills.
#[test]
fn spawner() {
    let Some(dir) = env::var_os("LICHEN_TEST_SPAWN_IN") else { return };
    spawn(shim(), dir.as_ref(), &script("echo begin; sleep 1000")).expect("a shim");
    println!("spawned");
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
fn an_instance_outlives_the_process_group_that_spawned_it_and_is_found_again() {
    let run = Run::new();
    let mut spawner = Command::new(env::current_exe().expect("this program"))
        .args(["--exact", "spawner", "--nocapture"])
        .env("LICHEN_TEST_SPAWN_IN", &run.dir)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .process_group(0)
        .spawn()
        .expect("a spawner");
    run.line_after_spawn();
    let before = run.started();
    kill_process_group(Pid::from_child(&spawner), Signal::KILL).expect("it lives");
    spawner.wait().expect("its end");
    let Ok(Found::Running(state)) = inspect(&run.dir) else { panic!("not found again") };
    assert_eq!(state.phase, Phase::Running(before));
    assert!(is_alive(before.pid));
    let stat = fs::read_to_string(format!("/proc/{}/stat", state.shim_pid)).expect("a shim");
    let fields: Vec<&str> = stat.rsplit_once(") ").expect("a name").1.split(' ').collect();
    assert_eq!(fields[3], state.shim_pid.to_string(), "it leads a session of its own");
}

impl Run {
    /// The spawner is another process; the first line shows that it has done its work.
    fn line_after_spawn(&self) {
        self.line("the container begins", |line| (line == "begin").then_some(()));
    }
}

#[test]
fn a_killed_shim_takes_its_process_along_and_the_run_is_lost_until_it_is_cleaned_up() {
    let run = Run::new();
    let shim_pid = run.start(&script("sleep 1000 & echo $!; wait"));
    let child: i32 = run.line("the child's pid", |line| line.parse().ok());
    let started = run.started();
    kill_9(shim_pid);
    gone(started.pid);
    gone(shim_pid);
    assert!(matches!(inspect(&run.dir), Ok(Found::Lost)));
    let exit = clean_up(shim(), &run.dir).expect("cleaned up");
    assert_eq!((exit.outcome, exit.started_at_ms), (Outcome::Lost, Some(started.at_ms)));
    assert!(!is_alive(child), "the rest of the session is gone too");
    assert!(matches!(inspect(&run.dir), Ok(Found::Exited(again)) if again == exit));
    assert_eq!(clean_up(shim(), &run.dir).expect("nothing to do"), exit);
}

#[test]
fn a_loss_is_of_the_boot_that_the_run_was_of_whenever_it_is_found() {
    use lichen_shim::{BootId, run_dir::SPEC};
    let found_with = |spec: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        let run = Run::new();
        let shim_pid = run.start(&script("sleep 1000"));
        let started = run.started();
        kill_9(shim_pid);
        gone(started.pid);
        gone(shim_pid);
        let path = run.dir.join(SPEC);
        let before = std::fs::read(&path).expect("readable");
        std::fs::write(&path, spec(before)).expect("writable");
        let exit = clean_up(shim(), &run.dir).expect("cleaned up");
        assert_eq!(exit.outcome, Outcome::Lost);
        exit.boot_id
    };
    // Behind the version.
    let of_an_earlier_boot = |mut spec: Vec<u8>| {
        spec[1..17].fill(7);
        spec
    };
    assert_eq!(found_with(&of_an_earlier_boot), BootId([7; 16]));
    assert_eq!(found_with(&|spec| spec[..20].to_vec()), BootId([0; 16]), "a torn one");
}

#[test]
fn a_directory_without_a_shim_is_lost_and_a_living_shim_is_not_cleaned_up() {
    let run = Run::new();
    assert!(matches!(inspect(&run.dir), Ok(Found::Lost)));
    run.start(&script("sleep 1000"));
    let error = clean_up(shim(), &run.dir).expect_err("it lives").to_string();
    assert!(error.contains("ask it to stop"), "{error}");
    assert!(matches!(inspect(&run.dir), Ok(Found::Running(_))));
}

#[test]
fn one_directory_holds_one_run() {
    let run = Run::new();
    let spec = script("sleep 1000");
    run.start(&spec);
    let again = spawn(shim(), &run.dir, &spec);
    assert!(matches!(again, Err(SpawnError::AlreadySupervised(_))), "{again:?}");
    run.request(&Request::Kill);
    run.ended();
    let again = eventually("the shim leaves", || match spawn(shim(), &run.dir, &spec) {
        Err(SpawnError::AlreadySupervised(_)) => None,
        other => Some(other),
    });
    assert!(matches!(again, Err(SpawnError::AlreadyEnded(_))), "{again:?}");
}

#[test]
fn the_log_stays_within_its_bound_and_keeps_the_newest_lines() {
    let run = Run::new();
    let mut spec =
        script("i=0; while [ $i -lt 3000 ]; do echo line $i of the output; i=$((i+1)); done");
    spec.log = LogLimits { bytes_per_file: 32 * 1024, files: 2 };
    run.start(&spec);
    run.ended();
    let mut names: Vec<String> = fs::read_dir(&run.dir)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("log"))
        .collect();
    names.sort();
    assert_eq!(names, ["log", "log.1"]);
    for name in names {
        assert!(fs::metadata(run.dir.join(name)).expect("a file").len() <= 32 * 1024);
    }
    assert_eq!(run.lines("stdout").last().map(String::as_str), Some("line 2999 of the output"));
}

#[test]
fn a_log_that_cannot_be_written_costs_lines_and_not_the_instance() {
    let run = Run::new();
    // A directory in the place of the log file: it cannot be written, also not by root.
    fs::create_dir(run.dir.join("log")).expect("a directory");
    run.start(&script("echo one; echo two; exec sleep 1000"));
    let state = eventually("both lines are counted", || {
        Some(run.request(&Request::Status)).filter(|state| state.dropped_log_lines == 2)
    });
    assert!(matches!(state.phase, Phase::Running(_)));
}

#[test]
fn a_shim_that_is_told_to_end_stops_its_instance_first() {
    let run = Run::new();
    let shim_pid = run.start(&script("trap 'exit 0' TERM; echo ready; sleep 1000 & wait"));
    run.line("the trap is set", |line| (line == "ready").then_some(()));
    kill_process(Pid::from_raw(shim_pid).expect("a pid"), Signal::TERM).expect("it lives");
    assert_eq!(run.ended().outcome, Outcome::Code(0));
}

#[test]
fn a_run_directory_may_lie_deeper_than_a_socket_address_is_long() {
    let run = Run::below(&["a-rather-long-directory-name"; 8].join("/"));
    run.start(&script("exit 4"));
    assert_eq!(run.ended().outcome, Outcome::Code(4));
}

#[test]
fn an_unknown_request_is_refused_and_the_connection_goes_on() {
    let run = Run::new();
    run.start(&script("sleep 1000"));
    let mut stream = connect(&run.dir).expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    let status = encode(&Request::Status).expect("a request");
    let newer = [&[4, 0, 0, 0, 1, 77, 1, 2][..], &[1, 0, 0, 0, 9], &[0, 0, 0, 0], &status].concat();
    stream.write_all(&newer).expect("sent");
    let mut decoder = Decoder::default();
    let mut replies = Vec::new();
    while replies.len() < 4 {
        let mut bytes = [0; 512];
        let length = stream.read(&mut bytes).expect("an answer");
        assert!(length > 0, "disconnected after {replies:?}");
        decoder.push(&bytes[..length]);
        while let Some(reply) = decoder.next_reply().expect("a frame") {
            replies.push(reply);
        }
    }
    assert_eq!(replies[0], Reply::Refused(Refusal::Unsupported(77)));
    assert_eq!(replies[1], Reply::Refused(Refusal::Version(1)));
    assert_eq!(replies[2], Reply::Refused(Refusal::Malformed));
    assert!(matches!(replies[3], Reply::State(_)));
}

#[test]
fn a_frame_above_the_bound_ends_the_connection_and_nothing_else() {
    let run = Run::new();
    run.start(&script("sleep 1000"));
    let mut stream = connect(&run.dir).expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    stream.write_all(&[0xff; 4]).expect("sent");
    assert!(matches!(stream.read(&mut [0; 64]), Ok(0)));
    run.request(&Request::Status);
}

#[test]
fn connections_are_bounded_and_freed_when_they_close() {
    let run = Run::new();
    run.start(&script("sleep 1000"));
    let ask = |client: &mut Client| client.request(&Request::Status);
    let mut clients: Vec<Client> =
        (0..8).map(|_| Client::open(&run.dir).expect("a connection")).collect();
    for client in &mut clients {
        ask(client).expect("an answer");
    }
    let ninth = Client::open(&run.dir).and_then(|mut client| client.wait_for_push(DEADLINE));
    assert!(matches!(ninth, Ok(Reply::Refused(Refusal::Busy))), "{ninth:?}");
    clients.clear();
    eventually("a place is free", || match Client::open(&run.dir).and_then(|mut c| ask(&mut c)) {
        Ok(_) => Some(()),
        Err(ClientError::Refused(Refusal::Busy) | ClientError::Broken(_)) => None,
        Err(other) => panic!("{other}"),
    });
}

#[test]
fn a_signal_that_does_not_exist_is_refused() {
    let run = Run::new();
    run.start(&script("sleep 1000"));
    let answer = lichen_shim::request(&run.dir, &Request::Stop { signal: 99, grace_ms: 0 });
    assert!(matches!(answer, Err(ClientError::Refused(Refusal::Signal(99)))), "{answer:?}");
}
